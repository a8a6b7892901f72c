"""Ensembles against the mean of their members' probabilities, and as models like any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.ensemble import EnsembleNetwork
from models.networks import RecurrentNetwork, TransformerNetwork
from models.seq2seq import Seq2Seq
from models.teacher_forcing import shift_right
from tests.models.test_teacher_forcing import make_batch
from tests.reference import log_softmax

MEMBERS = (
    RecurrentNetwork(cell="lstm", embedding_size=6, hidden_size=8, num_layers=1, init_scale=0.8),
    RecurrentNetwork(
        cell="gru",
        embedding_size=4,
        hidden_size=4,
        num_layers=2,
        init_scale=1.2,
        tied="target",
        attention="dot",
        output_size=4,
    ),
    TransformerNetwork(hidden_size=8, num_layers=2, heads=2, feed_forward_size=12, init_scale=0.5),
)
SIZES = {"source_vocabulary_size": 11, "target_vocabulary_size": 13, "start_id": 2}


def make_ensemble() -> tuple[Seq2Seq, list[Seq2Seq]]:
    keras.utils.set_random_seed(2)
    members = [Seq2Seq(network=network, **SIZES) for network in MEMBERS]
    ensemble = Seq2Seq(network=EnsembleNetwork(members=MEMBERS), **SIZES)
    for index, member in enumerate(members):
        ensemble.encoder.members[index].set_weights(member.encoder.get_weights())
        ensemble.decoder.members[index].set_weights(member.decoder.get_weights())
    return ensemble, members


def test_probabilities_are_the_mean_of_the_members():
    ensemble, members = make_ensemble()
    batch = make_batch([5, 2, 1], [6, 3, 4])
    each = [np.exp(log_softmax(member(batch).numpy().astype("float64"))) for member in members]
    np.testing.assert_allclose(np.exp(log_softmax(ensemble(batch).numpy())), np.mean(each, axis=0), atol=1e-6)
    memory = ensemble.encoder(batch["source_ids"], batch["source_lengths"])
    state = ensemble.decoder.initial_state(memory)
    inputs = shift_right(batch["target_ids"], 2)
    for t in range(6):
        logits, state, _ = ensemble.decoder.step(inputs[:, t], state, memory)
        inside = batch["target_lengths"].numpy() > t
        np.testing.assert_allclose(np.exp(logits)[inside], np.mean(each, axis=0)[inside, t], atol=1e-6)


def test_perplexity_is_that_of_the_mean():
    ensemble, _ = make_ensemble()
    ensemble.compile(keras.optimizers.Adam())
    batch = make_batch([5, 2, 1], [6, 3, 4])
    log_probabilities = log_softmax(ensemble(batch).numpy().astype("float64"))
    nll = -sum(
        log_probabilities[row, t, int(batch["target_ids"][row, t])]
        for row, length in enumerate([6, 3, 4])
        for t in range(length)
    )
    figures = ensemble.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    assert figures["perplexity"] == pytest.approx(np.exp(nll / 13), rel=1e-5)
    assert figures["free_running_perplexity"] > 1.0


def test_copies_of_one_network_are_that_network():
    ensemble = Seq2Seq(network=EnsembleNetwork(members=MEMBERS[:1] * 3), **SIZES)
    member = Seq2Seq(network=MEMBERS[0], **SIZES)
    for part in ("encoder", "decoder"):
        for one in getattr(ensemble, part).members:
            one.set_weights(getattr(member, part).get_weights())
    batch = make_batch([5, 2, 1], [6, 3, 4])
    expected = tf.nn.log_softmax(member(batch))
    np.testing.assert_allclose(ensemble(batch), expected, atol=1e-5)


def test_no_member_is_refused():
    with pytest.raises(ValueError, match="members must hold at least one network, got none"):
        EnsembleNetwork(members=())
