"""Slices against brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.scores import Score, perplexity, ratio
from pipeline.significance import intervals
from pipeline.slices import by_domain, by_length, by_unknown, score_slices


def members(slices):
    return {name: np.flatnonzero(chosen).tolist() for name, chosen in slices}


def test_configured_edges():
    lengths = np.array([1, 8, 9, 12, 13, 40])
    assert members(by_length(lengths, [8, 12])) == {"1-8": [0, 1], "9-12": [2, 3], "13+": [4, 5]}
    assert members(by_length(lengths, [40])) == {"1-40": [0, 1, 2, 3, 4, 5]}
    assert members(by_length(lengths, [1, 2, 8])) == {"1": [0], "3-8": [1], "9+": [2, 3, 4, 5]}  # 2 has none


def test_quartiles_make_four_parts():
    lengths = np.random.default_rng(0).permutation(np.arange(1, 101))
    found = by_length(lengths)
    assert [name for name, _ in found] == ["1-25", "26-50", "51-75", "76+"]
    assert [int(chosen.sum()) for _, chosen in found] == [25, 25, 25, 25]


def test_equal_lengths_are_one_slice():
    assert members(by_length(np.array([7, 7, 7]))) == {"1+": [0, 1, 2]}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.none() | st.sets(st.integers(1, 30), min_size=1))
def test_every_item_is_in_the_slice_whose_name_holds_its_length(lengths, edges):
    found = by_length(np.array(lengths), sorted(edges) if edges else None)
    assert sum(int(chosen.sum()) for _, chosen in found) == len(lengths)
    for name, chosen in found:
        low, _, high = name.removesuffix("+").partition("-")
        last = math.inf if name.endswith("+") else int(high or low)
        assert chosen.any() and all(int(low) <= lengths[n] <= last for n in np.flatnonzero(chosen))


def test_unknown_words_and_domains():
    assert members(by_unknown(np.array([True, False, True]))) == {"none": [1], "some": [0, 2]}
    assert members(by_unknown(np.array([False]))) == {"none": [0]}
    assert members(by_domain(["law", "", "chat", "law"])) == {"chat": [2], "law": [0, 3], "untagged": [1]}
    assert members(by_domain(["law", "law"])) == {"law": [0, 1]}
    assert by_domain(["", ""]) == []


def test_scores_of_slices():
    nll, tokens, right = np.array([2.0, 4, 8, 1]), np.array([1.0, 2, 2, 1]), [1, 0, 0, 1]
    scores = {
        "perplexity": perplexity(nll, tokens),
        "exact_match": Score(np.array([(value, 1) for value in right], float), ratio),
    }
    found = score_slices(scores, {"length": by_length(np.array([3, 9, 9, 2]), [3]), "domain": []}, few=3, resamples=50)
    assert found["length"][0].pop("intervals")["exact_match"] == (1, 1)  # both right
    assert found["length"][1].pop("intervals")["perplexity"][0] < math.exp(3)
    assert found == {
        "length": [
            {"name": "1-3", "sentences": 2, "few": True, "perplexity": pytest.approx(math.exp(1.5)), "exact_match": 1},
            {"name": "4+", "sentences": 2, "few": True, "perplexity": pytest.approx(math.exp(3)), "exact_match": 0},
        ]
    }
    everything = score_slices(scores, {"all": by_length(np.array([1, 1, 1, 1]))}, few=4, resamples=50)["all"][0]
    assert not everything["few"] and everything["perplexity"] == scores["perplexity"].value
    assert everything["intervals"] == intervals(scores, 50)
