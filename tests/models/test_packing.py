"""Packed sequences against a plain enumeration of the steps."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.packing import mirror, pack, pack_lengths, swap, unpack


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), max_size=6), extra=st.integers(0, 3))
def test_packing_equals_the_plain_enumeration(lengths, extra):
    columns = max(lengths, default=0) + extra
    packing = pack_lengths(tf.constant(lengths, tf.int32), tf.constant(columns))
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    steps = [(row, t) for t in range(columns) for row in rows if t < lengths[row]]
    assert packing.rows.numpy().tolist() == rows
    assert [tuple(position) for position in packing.positions.numpy().tolist()] == steps
    assert packing.lengths.numpy().tolist() == lengths
    assert packing.counts.numpy().tolist() == [
        sum(length > t for length in lengths) for t in range(max(lengths, default=0))
    ]
    # [initial states; packed steps]: a state is named by the row and the number of steps behind it.
    states = [(row, 0) for row in rows] + [(row, t + 1) for row, t in steps]
    assert [states[index] for index in packing.entering.numpy()] == steps
    assert [states[index] for index in packing.final.numpy()] == list(enumerate(lengths))
    values = np.random.default_rng(0).normal(size=(len(lengths), columns, 2))
    expected = values * (np.arange(columns) < np.array(lengths, int).reshape(-1, 1))[:, :, np.newaxis]
    np.testing.assert_array_equal(unpack(pack(tf.constant(values), packing), packing), expected)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), max_size=6), kept=st.integers(0, 2))
def test_the_mirror_reverses_every_row_but_for_its_last_steps(lengths, kept):
    packing = pack_lengths(tf.constant(lengths, tf.int32), tf.constant(6))
    values = tf.constant(np.random.default_rng(0).normal(size=(len(lengths), 6, 2)))
    places = mirror(packing, kept)
    with tf.GradientTape() as tape:
        tape.watch(values)
        swapped = unpack(swap(pack(values, packing), places), packing)
        loss = tf.reduce_sum(swapped**2 * tf.range(6.0, dtype=tf.float64)[:, tf.newaxis])
    gradient = tape.gradient(loss, values)
    for row, length in enumerate(lengths):
        order = [*reversed(range(length - kept)), *range(max(length - kept, 0), length)]
        np.testing.assert_array_equal(swapped[row, :length], values.numpy()[row, order])
        for t, origin in enumerate(order):
            np.testing.assert_allclose(gradient[row, origin], 2.0 * t * values[row, origin])
    np.testing.assert_array_equal(swap(swap(pack(values, packing), places), places), pack(values, packing))


@pytest.mark.parametrize("static", [True, False])
def test_it_works_in_a_graph_whatever_is_known_of_the_shape(static):
    signature = [tf.TensorSpec([3] if static else [None], tf.int32)]
    packing = tf.function(lambda lengths: pack_lengths(lengths, tf.constant(4)), input_signature=signature)([1, 4, 2])
    assert packing.counts.numpy().tolist() == [3, 2, 1, 1]
    assert packing.offsets.numpy().tolist() == [0, 3, 5, 6]
