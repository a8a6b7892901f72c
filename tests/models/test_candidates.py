"""The two-stage choice of the best against sorting, and the search with a vocabulary large enough for it."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates import top_k
from models.losses import log_normalizer
from tests import reference_search
from tests.models.automaton import END, Automaton, hypotheses
from tests.reference import log_softmax
from tests.reference_search import Rules


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(0, 3),
    size=st.integers(20, 3000),
    k=st.integers(1, 20),
    ties=st.booleans(),
)
def test_top_k_equals_sorting(seed, rows, size, k, ties):
    values = np.random.default_rng(seed).normal(size=(rows, size)).astype("float32")
    if ties:
        values = np.round(values)
    found, indices = top_k(tf.constant(values), k)
    np.testing.assert_array_equal(found, -np.sort(-values, axis=1)[:, :k])
    np.testing.assert_array_equal(np.take_along_axis(values, indices.numpy(), axis=1), found)
    assert all(len(set(row)) == k for row in indices.numpy())


def test_top_k_of_values_that_may_not_be():
    """Whole chunks of -inf, and fewer values than are asked for."""
    values = np.full((2, 1500), -np.inf, "float32")
    values[0, [3, 1400, 70]] = 1.0, 3.0, 2.0
    found, indices = top_k(tf.constant(values), 4)
    assert found[0].numpy().tolist() == [3.0, 2.0, 1.0, -np.inf] and indices[0, :3].numpy().tolist() == [1400, 70, 3]
    assert np.isneginf(found[1]).all() and (indices.numpy() < 1500).all()


def test_the_normalizer_is_that_of_the_softmax():
    logits = np.random.default_rng(0).normal(size=(4, 900)).astype("float32") * 30
    found = log_normalizer(tf.constant(logits), tf.nn.softmax(logits))
    expected = (logits - log_softmax(logits.astype("float64")))[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("banned", [(), ((5,), (900, 7))])
def test_a_large_vocabulary(banned):
    vocabulary = 2000
    automaton = Automaton(2, 3, vocabulary)
    rules = Rules(vocabulary, END, 4, 1.0, never=(0, 2), banned=banned, ngram=2)
    result = automaton.search([rules] * 2, 3, 3)
    for sentence in range(2):
        expected, _ = reference_search.beam_search(
            lambda tokens, sentence=sentence: automaton.model(sentence, tokens), rules, 3, 3
        )
        assert hypotheses(result, sentence) == [hypothesis.tokens for hypothesis in expected]
        np.testing.assert_allclose(result.scores[sentence], [one.score for one in expected], atol=1e-4)
