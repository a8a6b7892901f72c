"""Drawn segmentations: with the right probabilities, by brute force, and always the same."""

import hashlib
import itertools
import math
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.learning import VocabularyOptions, learn_sentencepiece
from preprocessing.special_tokens import UNKNOWN_ID
from preprocessing.subword_sampling import BpeDropout, UnigramSampling, WordSampler
from preprocessing.text import SPACE_MARK, TextConfig

WORDS = [("abab", 9), ("abc", 7), ("bcab", 5), ("cab", 4), ("aab", 3), ("漢字漢", 2), ("baba", 6), ("ccc", 2)]
MODELS = {
    unit: learn_sentencepiece(WORDS, VocabularyOptions(text=TextConfig(unit=unit), max_size=24))
    for unit in ("bpe", "unigram")
}
PIECES = {unit: sentencepiece.SentencePieceProcessor(model_proto=model) for unit, model in MODELS.items()}
DRAWS = 20_000

any_word = st.text(alphabet="abc漢字xy.", min_size=1, max_size=12)


def distance(drawn: Counter, exact: dict) -> float:
    """Total variation between drawn shares and probabilities."""
    total = drawn.total()
    return sum(abs(drawn[key] / total - exact.get(key, 0)) for key in {*drawn, *exact}) / 2


def bpe_distribution(word, ranks, dropout) -> Counter:
    """Algorithm 1 of Provilkov et al., over every subset of merges that can be dropped."""

    def follow(pieces, probability, result):
        merges = [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(pieces)) if a + b in ranks]
        for dropped in itertools.product([False, True], repeat=len(merges)):
            chance = probability * math.prod(dropout if drop else 1 - dropout for drop in dropped)
            left = [merge for merge, drop in zip(merges, dropped, strict=True) if not drop]
            if not chance:
                continue
            if left:
                _, i = min(left)
                follow((*pieces[:i], pieces[i] + pieces[i + 1], *pieces[i + 2 :]), chance, result)
            else:
                result[pieces] += chance
        return result

    return follow(tuple(word), 1.0, Counter())


def unigram_distribution(word, scores, alpha) -> dict:
    """Every segmentation into pieces, and its probability."""
    weights = {}
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        places = [0, *(place for place, cut in enumerate(cuts, start=1) if cut), len(word)]
        pieces = tuple(word[start:end] for start, end in itertools.pairwise(places))
        if all(piece in scores for piece in pieces):
            weights[pieces] = math.exp(alpha * sum(scores[piece] for piece in pieces))
    total = sum(weights.values())
    return {pieces: weight / total for pieces, weight in weights.items()}


@pytest.mark.parametrize("dropout", [0.1, 0.5])
@pytest.mark.parametrize("word", ["abab", "bcabc"])
def test_bpe_dropout_has_the_papers_distribution(word, dropout):
    pieces = [SPACE_MARK + "a", "ab", "abab", "bc", "cab", "ca", SPACE_MARK + "ab", "b"]
    exact = bpe_distribution(SPACE_MARK + word, {piece: rank for rank, piece in enumerate(pieces)}, dropout)
    assert sum(exact.values()) == pytest.approx(1) and len(exact) > 3
    drawn = BpeDropout(pieces, dropout).draw(SPACE_MARK + word, DRAWS, random.Random(1).random)
    assert drawn.total() == DRAWS
    assert distance(drawn, exact) < 0.015


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_unigram_sampling_has_the_papers_distribution(alpha):
    scores = {"▁": -1.0, "a": -2.0, "b": -2.5, "▁a": -1.5, "ab": -1.0, "▁ab": -2.2, "ba": -3.0, "bab": -1.7}
    exact = unigram_distribution("▁abab", scores, alpha)
    assert len(exact) > 5
    drawn = UnigramSampling(scores, alpha).draw("▁abab", DRAWS, random.Random(1).random)
    assert drawn.total() == DRAWS
    assert distance(drawn, exact) < 0.015


@settings(deadline=None)
@given(any_word)
def test_without_dropout_it_is_sentencepieces_bpe(word):
    pieces = PIECES["bpe"]
    learned = [pieces.id_to_piece(number) for number in range(4, pieces.vocab_size())]
    (segmentation,) = BpeDropout(learned, 0.0).draw(SPACE_MARK + word, 3, random.random)
    drawn = [pieces.piece_to_id(piece) for piece in segmentation]
    joined = [n for i, n in enumerate(drawn) if n != UNKNOWN_ID or i == 0 or drawn[i - 1] != UNKNOWN_ID]
    assert joined == pieces.encode(word)


@settings(deadline=None)
@given(any_word)
def test_a_large_alpha_gives_sentencepieces_best(word):
    pieces = PIECES["unigram"]
    ((count, ids),) = WordSampler(MODELS["unigram"], 0.0, 1e6).draw(word, 5)
    assert count == 5
    score = {n: pieces.get_score(n) for n in range(4, pieces.vocab_size())}
    best = pieces.encode(word)
    # Of two equally likely ones either will do.
    assert list(ids) == best or sum(score.get(n, 0) for n in ids) == pytest.approx(sum(score.get(n, 0) for n in best))


def test_everything_dropped_leaves_characters():
    assert BpeDropout(["ab", "abc"], 1.0).draw("abc", 7, random.random) == {("a", "b", "c"): 7}


@settings(deadline=None)
@given(any_word, st.sampled_from([("bpe", 0.3, 0.0), ("unigram", 0.0, 0.3)]))
def test_every_segmentation_spells_the_word(word, how):
    unit, dropout, alpha = how
    drawn = WordSampler(MODELS[unit], dropout, alpha).draw(word, 8)
    assert sum(count for count, _ in drawn) == 8
    assert [count for count, _ in drawn] == sorted((count for count, _ in drawn), reverse=True)
    for _, ids in drawn:
        assert not any(a == b == UNKNOWN_ID for a, b in itertools.pairwise(ids))
        if UNKNOWN_ID not in ids:
            assert PIECES[unit].decode(list(ids)) == word


def summary():
    """Everything that must not depend on the process: models, and draws from them."""
    hashes = [hashlib.sha256(MODELS[unit]).hexdigest() for unit in sorted(MODELS)]
    draws = [
        WordSampler(MODELS[unit], *how).draw(word, 32)
        for unit, how in (("bpe", (0.3, 0.0)), ("unigram", (0.0, 0.3)))
        for word in ("abab", "漢字")
    ]
    assert len(draws[0]) > 2 and len(draws[2]) > 2
    return repr((hashes, draws))


def test_models_and_draws_are_the_same_in_every_process():
    code = "from tests.preprocessing.test_subword_sampling import summary; print(summary())"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout == summary() + "\n"
