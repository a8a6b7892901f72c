"""Choices against sets, and the projection to them against the whole one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ensemble import EnsembleNetwork
from models.shortlist import ShortlistTable, choose, place_of
from tests.models.test_networks import NETWORKS
from tests.models.test_teacher_forcing import make_model
from tests.reference import log_softmax

VOCABULARY = 12
ALWAYS = (0, 2, 3)
tables = st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=2), min_size=5, max_size=5)


@settings(max_examples=40, deadline=None)
@given(
    candidates=tables,
    sources=st.lists(st.lists(st.integers(1, 4), max_size=4), max_size=4),
    least=st.integers(1, 15),
    given_ids=st.lists(st.integers(0, VOCABULARY - 1), min_size=4, max_size=4),
)
def test_choices_are_a_sentences_own(candidates, sources, least, given_ids):
    candidates[0] = [ALWAYS[0]] * 2  # of padding
    table = ShortlistTable(np.array(candidates, np.int32), np.array(ALWAYS, np.int32))
    padded = keras.utils.pad_sequences(sources, maxlen=4, padding="post").reshape(len(sources), 4)
    beginnings = tf.constant([[token] for token in given_ids[: len(sources)]], tf.int32, [len(sources), 1])
    chosen = choose(table, tf.constant(padded), VOCABULARY, least, beginnings)
    expected = [
        sorted({*ALWAYS, token, *(one for word in words for one in candidates[word])})
        for words, token in zip(sources, given_ids, strict=False)
    ]
    columns = max([least, *map(len, expected)])
    union = chosen.union.numpy().tolist()
    assert union == sorted(set().union(*expected))
    assert chosen.ids.shape == chosen.places.shape == (len(sources), columns)
    for row, tokens in enumerate(expected):
        assert chosen.ids[row].numpy().tolist() == tokens + [VOCABULARY - 1] * (columns - len(tokens))
        places = chosen.places[row].numpy().tolist()
        assert [union[place] for place in places[: len(tokens)]] == tokens
        assert places[len(tokens) :] == [len(union)] * (columns - len(tokens))
        found = place_of(tf.repeat(chosen.ids[row : row + 1], len(tokens), axis=0), tf.constant(tokens))
        assert found.numpy().tolist() == list(range(len(tokens)))


@pytest.mark.parametrize("network", [NETWORKS["lstm"], NETWORKS["general"]], ids=["own kernel", "tied"])
def test_logits_of_choices_are_those_of_the_vocabulary(network):
    decoder = make_model(network=network, source_size=13).decoder
    features, union, places = some_choices(decoder.feature_size)
    every, found = decoder.projector()(features).numpy(), decoder.chooser(union)(features, places).numpy()
    for row, columns in enumerate(np.repeat(places, 2, axis=0)):
        expected = [every[row, union[place]] if place < len(union) else -np.inf for place in columns]
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_an_ensembles_probabilities_are_the_mean_among_the_choices():
    network = EnsembleNetwork(members=(NETWORKS["lstm"], NETWORKS["transformer"]))
    decoder = make_model(network=network, source_size=13).decoder
    features, union, places = some_choices(decoder.feature_size)
    parts = tf.split(features, decoder.sizes, axis=1)
    each = [member.chooser(union)(part, places) for member, part in zip(decoder.members, parts, strict=True)]
    expected = np.mean([np.exp(log_softmax(logits.numpy().astype("float64"))) for logits in each], axis=0)
    np.testing.assert_allclose(np.exp(decoder.chooser(union)(features, places)), expected, atol=1e-6)


def some_choices(feature_size):
    """Features of two rows for each of three sentences, a union, and places in it or of padding."""
    generator = np.random.default_rng(1)
    features = tf.constant(generator.normal(size=(6, feature_size)), tf.float32)
    return features, tf.constant([0, 3, 4, 7]), np.array([[0, 1, 3], [2, 4, 4], [0, 3, 4]], np.int32)
