"""Distances, against their definitions in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.drift import distances, jensen_shannon, l_infinity
from preprocessing.errors import DataError

HISTOGRAMS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 100), min_size=1)


def by_numpy(first, second):
    p, q = (np.array([histogram.get(bucket, 0) for bucket in "abcdef"], float) for histogram in (first, second))
    p, q = p / p.sum(), q / q.sum()
    m = (p + q) / 2

    def kl(a):
        return sum(x * np.log2(x / y) for x, y in zip(a, m, strict=True) if x > 0)

    return np.sqrt(max(0.0, (kl(p) + kl(q)) / 2))


@given(HISTOGRAMS, HISTOGRAMS)
def test_jensen_shannon(first, second):
    distance = jensen_shannon(first, second)
    assert distance == pytest.approx(by_numpy(first, second), abs=1e-7)
    assert 0 <= distance <= 1 and distance == pytest.approx(jensen_shannon(second, first), abs=1e-7)


def test_extremes():
    assert jensen_shannon({"a": 3}, {"a": 7}) == 0 and jensen_shannon({"a": 3}, {"b": 1}) == 1
    assert jensen_shannon({}, {}) == 0 and jensen_shannon({}, {"a": 1}) == 1
    assert l_infinity({}, {}) == 0 and l_infinity({"Latin": 0.7, "Greek": 0.3}, {"Latin": 1.0}) == pytest.approx(0.3)


def test_older_statistics_are_refused():
    with pytest.raises(DataError, match="'characters'"):
        list(
            distances(
                {"splits": {"train": {"source": {"characters": {"histogram": {}}}}}},
                {"splits": {"train": {"source": {}}}},
            )
        )
