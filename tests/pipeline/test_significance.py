"""The bootstrap against a slow one that scores texts again, and against cases with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scores import Score, perplexity, ratio
from pipeline.significance import SEED, compare, intervals


def share(right):
    return Score(np.array([(value, 1) for value in right], float), ratio)


def test_intervals_are_those_of_scores_of_resampled_items():
    generator = np.random.default_rng(1)
    nll, tokens = generator.uniform(1, 30, 40), generator.integers(1, 9, 40)
    right = generator.integers(0, 2, 40)
    found = intervals({"perplexity": perplexity(nll, tokens), "exact_match": share(right)}, 200)
    drawing, perplexities, shares = np.random.default_rng(SEED), [], []
    for _ in range(200):
        items = drawing.integers(40, size=40)
        perplexities.append(np.exp(sum(nll[i] for i in items) / sum(tokens[i] for i in items)))
        shares.append(np.mean([right[i] for i in items]))
    for name, values in (("perplexity", perplexities), ("exact_match", shares)):
        assert found[name] == pytest.approx(np.percentile(values, [2.5, 97.5]))


def test_an_interval_of_a_mean_is_as_wide_as_theory_says():
    found = intervals({"exact_match": share([1] * 300 + [0] * 700)}, 2000)["exact_match"]
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found == pytest.approx((0.3 - half, 0.3 + half), abs=0.005)


def test_a_score_that_cannot_vary_has_no_width():
    assert intervals({"exact_match": share([1] * 5)}, 100) == {"exact_match": (1, 1)}


def test_equal_systems():
    one = share([0, 1, 1, 0, 1])
    assert compare(one, share([0, 1, 1, 0, 1]), 500) == (0, (0, 0), 1)


def test_a_clearly_better_system():
    better, worse = share([1] * 90 + [0] * 10), share([1] * 50 + [0] * 50)
    found = compare(better, worse, 1000)
    assert found.difference == pytest.approx(0.4) and found.p == pytest.approx(1 / 1001)
    assert 0.25 < found.interval.low < 0.4 < found.interval.high < 0.55


def test_p_is_what_a_sign_test_says():
    # 100 sentences decide, 60 of them for one system: a two-sided sign test (normal approximation) says 0.0455.
    one, other = share([1] * 60 + [0] * 40 + [1] * 200), share([0] * 60 + [1] * 40 + [1] * 200)
    assert compare(one, other, 20_000).p == pytest.approx(0.0455, abs=0.015)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=30))
def test_turned_around(pairs):
    one, other = (share(column) for column in zip(*pairs, strict=True))
    forth, back = compare(one, other, 100), compare(other, one, 100)
    assert forth.difference == -back.difference
    assert forth.interval == pytest.approx((-back.interval.high, -back.interval.low))
    assert 0 < forth.p <= 1 and forth.p == pytest.approx(back.p)


def test_pairs_matter_not_totals():
    # Both differ by 5 points; where all other sentences are alike, that is far from chance.
    alike = compare(share([1] * 60 + [0] * 40), share([1] * 55 + [0] * 45), 2000)
    generator = np.random.default_rng(0)
    apart = compare(share([1] * 60 + [0] * 40), share(generator.permutation([1] * 55 + [0] * 45)), 2000)
    assert alike.difference == pytest.approx(apart.difference) == pytest.approx(0.05)
    assert alike.p < 0.05 < apart.p


def test_different_items_are_refused():
    with pytest.raises(ValueError, match=r"scores must be of the same items, got \{'candidate': 2, 'baseline': 1\}"):
        compare(share([1, 0]), share([1]), 100)
