"""A score as a function of sums over items, so that any selection of items is scored without reading text again."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Track = Literal["LC", "CASED", "TUT"]
"""How a text was treated before it was scored, see `pipeline.metrics`."""


@dataclass(frozen=True, eq=False)
class Score:
    """A score of a set of translations, and of any selection of them.

    Every score here is a function of sums over items, such as BLEU of counts of n-grams, or perplexity of
    log-likelihoods and tokens. So those of slices and of resamples need no text, and are not means of scores.
    """

    statistics: np.ndarray
    """`[items, K]`, what is summed."""
    of_sums: Callable[[np.ndarray], float]
    """The score of sums `[K]`."""
    track: Track | None = None
    """What it may be compared with."""
    signature: str | None = None
    """sacrebleu's description of how it was computed."""

    @property
    def value(self) -> float:
        """The score of the whole set."""
        return self.of_sums(self.statistics.sum(axis=0))

    def part(self, chosen: np.ndarray) -> "Score":
        """That of some of the items, given as a mask or as indices, of which there is at least one."""
        return replace(self, statistics=self.statistics[chosen])


def ratio(sums: np.ndarray) -> float:
    """Of two sums."""
    return float(sums[0] / sums[1])


def perplexity(nll: np.ndarray, tokens: np.ndarray) -> Score:
    """exp(total negative log-likelihood / total tokens).

    Args:
        nll: `[items]`, in nats, of all the references of each item.
        tokens: `[items]`, how many tokens those are; an end counts as one.
    """
    return Score(np.stack([nll, tokens], axis=1).astype(np.float64), lambda sums: math.exp(ratio(sums)))
