"""The signature `attention`: the translation, its tokens, and where they looked."""

import numpy as np
import pytest
import tensorflow as tf

from models.ensemble import EnsembleNetwork
from preprocessing.special_tokens import END_ID
from tests.serving.conftest import ATTENTION, MEMBERS, make_translator

TEXTS = ["ein hund", "", "Schön! 😀", "x" * 9]
END = b"</s>"


@pytest.fixture(scope="module", params=[ATTENTION, MEMBERS[0]], ids=["general", "additive"])
def translator(request):
    return make_translator(request.param, beam_size=2, n_best=1)


@pytest.fixture(scope="module")
def answer(translator):
    return {name: values.numpy() for name, values in translator.attention(tf.constant(TEXTS)).items()}


def test_tokens_are_those_of_both_texts(translator, answer):
    assert (answer["translation"] == translator.translate(tf.constant(TEXTS))["translation"].numpy()).all()
    sources, targets = answer["source_tokens"], answer["target_tokens"]
    assert answer["weights"].shape == (4, targets.shape[1], sources.shape[1])
    for row, text in enumerate(TEXTS):
        tokens = [token.decode() for token in sources[row] if token]
        assert tokens == [*translator.source.normalize(tf.constant([text])).numpy()[0].decode(), "</s>"]
        words = [token for token in targets[row] if token]
        assert words[-1] == END and END not in words[:-1]
        assert words == [END] if not text else len(words) >= 1
        ids = [translator.target.tokens.index(word.decode()) for word in words[:-1]]
        assert translator.target.decode(tf.ragged.constant([ids], tf.int64))[0] == answer["translation"][row]


def test_weights_are_those_of_the_search_step_by_step(translator, answer):
    encoder, decoder = translator.search.encoder, translator.search.decoder
    for row, text in enumerate(TEXTS):
        ids = tf.concat([translator.source.encode(tf.constant([text])).to_tensor(), [[END_ID]]], axis=1)
        memory = encoder(tf.cast(ids, tf.int32), tf.constant([ids.shape[1]]))
        state, token = decoder.initial_state(memory), 2
        for t, word in enumerate(word for word in answer["target_tokens"][row] if word):
            _, state, weights = decoder.step(tf.constant([token]), state, memory)
            np.testing.assert_allclose(answer["weights"][row, t, : ids.shape[1]], weights[0], atol=1e-5)
            token = translator.target.tokens.index(word.decode())
        assert not answer["weights"][row, t + 1 :].any() and not answer["weights"][row, :, ids.shape[1] :].any()
        np.testing.assert_allclose(answer["weights"][row, : t + 1].sum(axis=1), 1.0, atol=1e-5)


def test_only_networks_with_attention_have_the_signature(translator):
    assert "attention" in translator.signatures()
    for network, expected in ((None, False), (MEMBERS[2], False), (EnsembleNetwork(members=MEMBERS[1:3]), True)):
        other = make_translator(network)
        assert other.has_attention == expected == ("attention" in other.signatures())


def test_no_text_at_all(translator):
    answer = translator.attention(tf.constant([], tf.string))
    assert all(values.shape[0] == 0 for values in answer.values())
    assert answer["weights"].shape.rank == 3 and answer["target_tokens"].shape.rank == 2
