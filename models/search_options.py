"""What a search looks for, as one frozen value; `models.beam_search` and `models.sampling` are the search."""

import dataclasses
from typing import Literal, NamedTuple, get_args

import tensorflow as tf

Normalization = Literal["gnmt", "tokens"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options that are constants of the graph.

    Raises:
        ValueError: a value out of its range.
    """

    beam_size: int = 1
    """K, the live hypotheses of each sentence; 1 is greedy search, or sampling."""
    n_best: int = 1
    """N, the hypotheses returned, at most K."""
    length_normalization: Normalization = "gnmt"
    """What a log-probability is divided by, see `models.ranking.length_penalty`."""
    length_penalty: float = 0.0
    """Its exponent alpha, at least 0; 0 compares plain log-probabilities."""
    coverage_penalty: float = 0.0
    """beta of `models.ranking.coverage_penalty`, at least 0; 0 = none. The decoder must have attention."""
    stop_after: int = 0
    """How many hypotheses of a sentence may end before its search stops, at least N; 0 to stop only when no live one
    can still win. Most toolkits stop after K, which takes fewer steps and may miss a better hypothesis (Kasai et al.
    2022)."""
    min_length: int = 0
    """Fewest tokens before the end token, unless the longest length is less. It gives way where the other options
    forbid every token after each of a sentence's hypotheses: then these end there."""
    no_repeat_ngram: int = 0
    """Size of the n-grams of tokens that no hypothesis may hold twice; 0 = all may repeat."""
    never: tuple[int, ...] = ()
    """Ids that no hypothesis may hold, the few special ones; the other tokens' probabilities stay as they are."""
    banned: tuple[tuple[int, ...], ...] = ()
    """Sequences of ids, of any number, that no hypothesis may hold."""
    alignment: bool = False
    """Whether the result says where each token looked. The decoder must have attention."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.beam_size < 1:
            raise ValueError(f"beam_size must be a positive number, got {self.beam_size}")
        if not 1 <= self.n_best <= self.beam_size:
            raise ValueError(f"n_best must be between 1 and beam_size {self.beam_size}, got {self.n_best}")
        if self.length_normalization not in get_args(Normalization):
            raise ValueError(
                f"length_normalization must be one of {', '.join(get_args(Normalization))}, "
                f"got {self.length_normalization!r}"
            )
        for name in ("length_penalty", "coverage_penalty"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}: the early exit relies on it")
        if self.stop_after and self.stop_after < self.n_best:
            raise ValueError(f"stop_after must be 0 or at least n_best {self.n_best}, got {self.stop_after}")
        for name in ("min_length", "no_repeat_ngram"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if () in self.banned:
            raise ValueError("banned must hold sequences of at least one token, got an empty one")

    @property
    def banned_tokens(self) -> tuple[int, ...]:
        """Those of `banned` that are a single token."""
        return tuple(phrase[0] for phrase in self.banned if len(phrase) == 1)

    @property
    def banned_phrases(self) -> tuple[tuple[int, ...], ...]:
        """Those of `banned` that are several tokens."""
        return tuple(phrase for phrase in self.banned if len(phrase) > 1)

    @property
    def remembers(self) -> bool:
        """Whether the search needs to know what a hypothesis already holds."""
        return self.no_repeat_ngram > 0 or bool(self.banned_phrases)

    @property
    def attends(self) -> bool:
        """Whether the search needs attention weights."""
        return self.alignment or self.coverage_penalty > 0.0


class SpecialIds(NamedTuple):
    """The tokens that mean something to the search."""

    start: int  # the first input
    end: int  # ends a hypothesis, and counts in its length
    padding: int  # fills the rows of the result


class Prefix(NamedTuple):
    """How each hypothesis must begin."""

    ids: tf.Tensor  # [B, P] int32, padded on the right; without start and end tokens
    lengths: tf.Tensor  # [B] int32, 0 for none


class Sampling(NamedTuple):
    """How each sentence's continuation is drawn; all `[B]`."""

    seeds: tf.Tensor  # int64: the same seed and sentence give the same draws, whatever else is in the batch
    temperature: tf.Tensor  # float32, positive: logits are divided by it
    top_k: tf.Tensor  # int32: only the most likely so many; 0 = all
    top_p: tf.Tensor  # float32: only the smallest set with at least this probability (Holtzman et al. 2020); 1 = all
