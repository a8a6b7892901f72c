"""Subword regularisation: segmentations of a word drawn at random, in plain Python, with random numbers of our own.

Neither SentencePiece nor TF Text lets its sampling be seeded. Here a word draws a number of segmentations at once: they
start together and part where their random choices differ, so what they have in common is computed once.

A word is written with SentencePiece's mark in front, as ``▁hunde``, and a segmentation as its pieces.
"""

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Protocol

import sentencepiece

from preprocessing.special_tokens import SPECIAL_TOKENS, UNKNOWN_ID
from preprocessing.text import SPACE_MARK

LONGEST_SAMPLED_WORD = 200
"""Characters of the longest word that is worth drawing segmentations of: their cost grows with its square."""

Segmentation = tuple[str, ...]

UNKNOWN_PENALTY = 10.0
"""How much less likely than the least likely piece SentencePiece takes an unknown character to be, in nats."""


class Sampler(Protocol):
    """Draws segmentations."""

    def draw(self, word: str, number: int, uniform: Callable[[], float]) -> Counter[Segmentation]:
        """Draws `number` independent segmentations of a word; `uniform` returns random numbers from [0, 1)."""


class BpeDropout:
    """Byte pair encoding that leaves merges out (Provilkov et al. 2020, arXiv:1910.13267, algorithm 1).

    In each step every possible merge is dropped with probability p; of those that are left, the one learned first is
    applied, at its leftmost place. The word is done when none is left. p = 0 is BPE itself, p = 1 gives characters.

    Args:
      pieces: in the order in which they were learned.
      dropout: p.
    """

    def __init__(self, pieces: Sequence[str], dropout: float) -> None:
        self._ranks = {piece: rank for rank, piece in enumerate(pieces)}
        self._dropout = dropout

    def draw(self, word: str, number: int, uniform: Callable[[], float]) -> Counter[Segmentation]:
        """See `Sampler.draw`."""
        done: Counter[Segmentation] = Counter()
        going = Counter({tuple(word): number})
        while going:
            merged: Counter[Segmentation] = Counter()
            for pieces, here in going.items():
                for place in self._merges(pieces):
                    kept = sum(uniform() >= self._dropout for _ in range(here))
                    if kept:
                        merged[(*pieces[:place], pieces[place] + pieces[place + 1], *pieces[place + 2 :])] += kept
                    here -= kept
                    if not here:
                        break
                if here:
                    done[pieces] += here
            going = merged
        return done

    def _merges(self, pieces: Segmentation) -> list[int]:
        """Places of pairs that can be merged, the one to prefer first."""
        ranks = self._ranks
        found = []
        for place, (left, right) in enumerate(itertools.pairwise(pieces)):
            rank = ranks.get(left + right)
            if rank is not None:
                found.append((rank, place))
        found.sort()
        return [place for _, place in found]


class UnigramSampling:
    """Segmentations x of a word by P(x)^alpha (Kudo 2018, arXiv:1804.10959), P the product of their probabilities.

    Exact: alpha-th powers are summed over all segmentations of each beginning of the word, then pieces are drawn from
    its end (forward filtering, backward sampling). A large alpha gives the best segmentation, a small one any.

    Args:
      scores: log-probability of each piece, in nats.
      alpha: see above.
    """

    def __init__(self, scores: Mapping[str, float], alpha: float) -> None:
        self._scores = scores
        self._alpha = alpha
        self._unknown = min(scores.values()) - UNKNOWN_PENALTY
        self._longest = max(map(len, scores))

    def draw(self, word: str, number: int, uniform: Callable[[], float]) -> Counter[Segmentation]:
        """See `Sampler.draw`."""
        choices = self._choices(word)
        done: Counter[Segmentation] = Counter()
        # Where the segmented rest of the word begins, and how it is segmented.
        going: Counter[tuple[int, Segmentation]] = Counter({(len(word), ()): number})
        while going:
            longer: Counter[tuple[int, Segmentation]] = Counter()
            for (end, pieces), here in going.items():
                starts, shares = choices[end]
                for _ in range(here):
                    # The last share is 1 but for rounding.
                    start = starts[min(bisect.bisect_right(shares, uniform()), len(starts) - 1)]
                    longer[start, (word[start:end], *pieces)] += 1
            going = Counter()
            for (start, pieces), here in longer.items():
                if start == 0:
                    done[pieces] += here
                else:
                    going[start, pieces] = here
        return done

    def _choices(self, word: str) -> list[tuple[list[int], list[float]]]:
        """Per end of a beginning of the word: where its last piece can start, and the cumulative probabilities."""
        choices: list[tuple[list[int], list[float]]] = [([], [])]
        sums = [0.0]  # log of the sum over all segmentations of the beginning
        for end in range(1, len(word) + 1):
            starts, weights = [], []
            for start in range(max(0, end - self._longest), end):
                score = self._scores.get(word[start:end], self._unknown if start == end - 1 else None)
                if score is not None:
                    starts.append(start)
                    weights.append(sums[start] + self._alpha * score)
            highest = max(weights)
            powers = [math.exp(weight - highest) for weight in weights]
            total = sum(powers)
            sums.append(highest + math.log(total))
            choices.append((starts, [power / total for power in itertools.accumulate(powers)]))
        return choices


class WordSampler:
    """Words to segmentations in ids; which are drawn depends on the word alone, not on when or where.

    Args:
      model: serialised SentencePiece model.
      bpe_dropout: p of a bpe model, 0 for none.
      sampling_alpha: alpha of a unigram model, 0 for none.
    """

    def __init__(self, model: bytes, bpe_dropout: float, sampling_alpha: float) -> None:
        loaded = sentencepiece.SentencePieceProcessor(model_proto=model)
        first = len(SPECIAL_TOKENS)
        scores = {loaded.id_to_piece(number): loaded.get_score(number) for number in range(first, loaded.vocab_size())}
        self._ids = {piece: number for number, piece in enumerate(scores, start=first)}
        self._sampler: Sampler = (
            BpeDropout(list(scores), bpe_dropout) if bpe_dropout else UnigramSampling(scores, sampling_alpha)
        )

    def draw(self, word: str, number: int) -> list[tuple[int, tuple[int, ...]]]:
        """Draws `number` segmentations: how often each was drawn, and its ids; the most frequent first."""
        drawn: Counter[tuple[int, ...]] = Counter()
        # Of all that `random` offers, only this is promised to be the same in every version of Python.
        uniform = Random(word).random
        for pieces, count in self._sampler.draw(SPACE_MARK + word, number, uniform).items():
            drawn[tuple(self._encode(pieces))] += count
        return sorted(((count, ids) for ids, count in drawn.items()), key=lambda entry: (-entry[0], entry[1]))

    def _encode(self, pieces: Segmentation) -> Iterator[int]:
        """Ids; unknown pieces in a row have one together, as in SentencePiece."""
        before = None
        for piece in pieces:
            number = self._ids.get(piece, UNKNOWN_ID)
            if number != UNKNOWN_ID or before != UNKNOWN_ID:
                yield number
            before = number
