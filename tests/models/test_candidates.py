"""The two-stage choice of the best against sorting, and the search with a vocabulary large enough for it."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates import CHUNK, chunk_maxima, scored, top_sums
from models.losses import log_normalizer
from tests import reference_search
from tests.models.automaton import END, Automaton, hypotheses
from tests.reference import log_softmax
from tests.reference_search import Rules


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sentences=st.integers(0, 3),
    beam_size=st.integers(1, 4),
    size=st.one_of(st.integers(20, 3000), st.integers(1, 50).map(lambda chunks: chunks * CHUNK)),
    k=st.integers(1, 20),
    ties=st.booleans(),
    static=st.booleans(),
)
def test_the_best_sums_equal_sorting(seed, sentences, beam_size, size, k, ties, static):
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(sentences * beam_size, size)).astype("float32")
    offsets = generator.normal(size=(sentences, beam_size)).astype("float32")
    if ties:
        values, offsets = np.round(values), np.round(offsets)
    shape = [None, size if static else None]
    signature = [tf.TensorSpec(shape), tf.TensorSpec([None, beam_size])]
    run = tf.function(lambda one, other: top_sums(one, chunk_maxima(one), other, k), input_signature=signature)
    found, slots, columns = (part.numpy() for part in run(values, offsets))
    sums = (values.reshape(sentences, beam_size, size) + offsets[:, :, np.newaxis]).reshape(sentences, beam_size * size)
    np.testing.assert_array_equal(found, -np.sort(-sums, axis=1)[:, :k])
    places = slots * size + columns
    np.testing.assert_array_equal(np.take_along_axis(sums, places, axis=1), found)
    assert all(len(set(row)) == k for row in places)


def test_the_best_sums_of_values_that_may_not_be():
    """Whole chunks of -inf, a hypothesis that does not exist, and fewer finite values than are asked for."""
    values = np.full((4, 24 * CHUNK), -np.inf, "float32")
    values[0, [3, 1400, 70]] = 1.0, 3.0, 2.0
    values[1] = 9.0
    offsets = np.array([[0.5, -np.inf], [0.0, 0.0]], "float32")
    found, slots, columns = (
        part.numpy()
        for part in top_sums(tf.constant(values), chunk_maxima(tf.constant(values)), tf.constant(offsets), 4)
    )
    assert found[0].tolist() == [3.5, 2.5, 1.5, -np.inf] and columns[0, :3].tolist() == [1400, 70, 3]
    assert slots[0, :3].tolist() == [0, 0, 0]
    assert np.isneginf(found[1]).all() and (columns < 24 * CHUNK).all() and (slots < 2).all()


def test_the_normalizer_is_that_of_the_softmax():
    logits = np.random.default_rng(0).normal(size=(4, 900)).astype("float32") * 30
    found = log_normalizer(tf.constant(logits), tf.nn.softmax(logits))
    expected = (logits - log_softmax(logits.astype("float64")))[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_where_there_are_fewer_sums_the_rest_may_not_be():
    found, slots, columns = top_sums(tf.constant([[1.0, 2.0], [4.0, 3.0]]), (), tf.constant([[0.0], [1.0]]), 4)
    np.testing.assert_array_equal(found, [[2.0, 1.0, -np.inf, -np.inf], [5.0, 4.0, -np.inf, -np.inf]])
    assert not slots.numpy().any() and columns[:, :2].numpy().tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("columns", [900, 15 * CHUNK])
def test_with_or_without_chunks_the_normalizer_is_the_same(columns):
    """Also where columns that are no token are -inf."""
    logits = np.random.default_rng(0).normal(size=(4, columns)).astype("float32") * 30
    padded = np.pad(logits, [[0, 0], [0, 2 * CHUNK - columns % CHUNK]], constant_values=-np.inf)
    for known in (logits, padded):
        found, expected = scored(tf.constant(known)), log_normalizer(tf.constant(logits), tf.nn.softmax(logits))
        assert isinstance(found.maxima, tuple) == bool(known.shape[1] % CHUNK)
        np.testing.assert_allclose(found.normalizer, expected, rtol=1e-6)


@pytest.mark.parametrize("vocabulary", [2000, 32 * CHUNK])
@pytest.mark.parametrize("banned", [(), ((5,), (900, 7))])
def test_a_large_vocabulary(banned, vocabulary):
    automaton = Automaton(2, 3, vocabulary)
    rules = Rules(vocabulary, END, 4, 1.0, never=(0, 2), banned=banned, ngram=2)
    result = automaton.search([rules] * 2, 3, 3)
    for sentence in range(2):
        expected, _ = reference_search.beam_search(
            lambda tokens, sentence=sentence: automaton.model(sentence, tokens), rules, 3, 3
        )
        assert hypotheses(result, sentence) == [hypothesis.tokens for hypothesis in expected]
        np.testing.assert_allclose(result.scores[sentence], [one.score for one in expected], atol=1e-4)
