"""How much of a score is chance: the bootstrap (Efron 1979), and its paired test of two systems (Koehn 2004).

A resample draws as many items as there are, with replacement. Its sums are those of the items' statistics, so a
resample costs a few additions and no reading of text.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from pipeline.scores import Score

SEED = 12345
"""Of the resamples: the same evaluation has the same intervals."""

COVERED = 0.95
"""Share of the resamples' scores that lie in an interval."""


class Interval(NamedTuple):
    """From the 2.5th to the 97.5th percentile of the resamples."""

    low: float
    high: float


class Comparison(NamedTuple):
    """A candidate against a baseline on the same items."""

    difference: float
    """The candidate's score less the baseline's."""
    interval: Interval
    """Of the difference."""
    p: float
    """How likely so large a difference, in either direction, is by chance alone."""


def intervals(scores: Mapping[str, Score], count: int) -> dict[str, Interval]:
    """The interval of each score; all are of the same items.

    Args:
        scores: by name, at least one.
        count: how many resamples.
    """
    resampled = np.array(
        [[_of_counts(score, drawn) for score in scores.values()] for drawn in _resamples(_items(scores), count)]
    )
    return {name: _interval(values) for name, values in zip(scores, resampled.T, strict=True)}


def compare(candidate: Score, baseline: Score, count: int) -> Comparison:
    """The paired bootstrap test: both systems are scored on the same resamples.

    The differences of the resamples lie around the one that was seen. Moved to lie around 0, they show what a test set
    of this size makes of two systems that are equally good: p is the share of them that is as large as the one seen,
    as in sacrebleu (Post 2018), but that two equal systems have p = 1.

    Raises:
        ValueError: the two are not of the same number of items.
    """
    items = _items({"candidate": candidate, "baseline": baseline})
    differences = np.array(
        [_of_counts(candidate, drawn) - _of_counts(baseline, drawn) for drawn in _resamples(items, count)]
    )
    seen = candidate.value - baseline.value
    as_large = np.sum(np.abs(differences - differences.mean()) >= abs(seen))
    return Comparison(seen, _interval(differences), float((as_large + 1) / (count + 1)))


def _items(scores: Mapping[str, Score]) -> int:
    sizes = {name: len(score.statistics) for name, score in scores.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"scores must be of the same items, got {sizes}")
    return next(iter(sizes.values()))


def _resamples(items: int, count: int) -> Iterator[np.ndarray]:
    """How often each item was drawn, `[items]`, of each resample."""
    generator = np.random.default_rng(SEED)
    for _ in range(count):
        yield np.bincount(generator.integers(items, size=items), minlength=items)


def _of_counts(score: Score, counts: np.ndarray) -> float:
    return score.of_sums(counts @ score.statistics)


def _interval(values: np.ndarray) -> Interval:
    low, high = np.quantile(values, [(1 - COVERED) / 2, (1 + COVERED) / 2])
    return Interval(float(low), float(high))
