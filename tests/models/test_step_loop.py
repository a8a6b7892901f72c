"""Dropout within the loop over steps: another mask at each step, and the same ones for the same seed."""

import numpy as np
import tensorflow as tf

from models.cells import product
from models.dropout import drop
from models.networks import RecurrentNetwork
from models.packing import pack_lengths
from models.states import Advance
from models.step_loop import run_steps
from tests.models.test_teacher_forcing import make_batch, make_model

LENGTHS = [3, 5, 4]


def masks(seed):
    packing = pack_lengths(tf.constant(LENGTHS), tf.constant(5))
    kernel = tf.eye(8)

    def step(inputs, state, memory, dropout_seed, multiply=product):
        values = multiply(drop(tf.ones_like(inputs), 0.5, dropout_seed), kernel)
        return Advance(values, state, memory)

    state, memory = tf.zeros([3, 1]), tf.ones([3, 2])
    inputs = tf.zeros([sum(LENGTHS), 8])
    features, _ = run_steps(step, inputs, packing, state, memory, None if seed is None else tf.constant(seed))
    ends = np.cumsum(packing.counts)
    return np.split(features.numpy(), ends[:-1])


def test_every_step_has_a_mask_of_its_own():
    found, again, other = masks([1, 2]), masks([1, 2]), masks([1, 3])
    assert [len(mask) for mask in found] == [3, 3, 3, 2, 1]
    for one, two in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(np.concatenate(found), np.concatenate(other))
    firsts = {tuple(mask[0]) for mask in found}
    assert len(firsts) == 5 and {value for row in firsts for value in row} == {0.0, 2.0}
    assert all((mask == 1.0).all() for mask in masks(None))


def test_a_looped_decoder_drops_between_its_layers():
    network = RecurrentNetwork(
        embedding_size=6, hidden_size=8, num_layers=2, cell="gru", attention="additive", dropout=0.5, init_scale=0.8
    )
    model, batch = make_model(network=network, dtype="float64"), make_batch([5, 2, 1], [6, 3, 4])
    # Without embeddings their dropout changes nothing, so what changes is the dropout between the layers.
    model.decoder.embedding.embeddings.assign(tf.zeros_like(model.decoder.embedding.embeddings))
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    losses = [
        float(model.cross_entropy(batch, batch["target_ids"], memory, None if seed is None else tf.constant(seed))[0])
        for seed in ([1, 2], [1, 2], [1, 3], None)
    ]
    assert losses[0] == losses[1] and len(set(losses)) == 3
