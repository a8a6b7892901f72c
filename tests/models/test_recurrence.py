"""The recurrent layers against NumPy loops, against Keras' layers, and against numeric gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.packing import pack, pack_lengths, unpack
from models.recurrence import GRU, LSTM, Recurrent
from tests import reference

LAYERS = {"lstm": LSTM, "gru": GRU}
KERAS_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def make(name: str, units: int = 5, inputs: int = 3, seed: int = 0) -> Recurrent:
    layer = LAYERS[name](units, dtype="float64")
    layer.build((None, None, inputs))
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def unroll(layer: Recurrent, inputs, lengths, state):
    """Padded inputs [B, T, I] to padded outputs [B, T, H] and the final state."""
    packing = pack_lengths(lengths, tf.shape(inputs)[1])
    outputs, final = layer.unroll(pack(inputs, packing), packing, state)
    return unpack(outputs, packing), final


def random_state(layer: Recurrent, batch: int, seed: int = 1):
    generator = np.random.default_rng(seed)
    zero = layer.zero_state(batch)
    return type(zero)(*(tf.constant(generator.normal(size=value.shape)) for value in zero))


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("graph", [False, True])
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_unroll_equals_the_numpy_loop(name, graph, lengths, seed):
    layer = make(name, seed=seed)
    inputs = np.random.default_rng(seed).normal(size=(len(lengths), max(*lengths, 1), 3))
    state = random_state(layer, len(lengths), seed)
    run = tf.function(unroll) if graph else unroll
    outputs, final = run(layer, tf.constant(inputs), tf.constant(lengths), state)
    expected, expected_final = getattr(reference, name)(
        inputs, lengths, *layer.get_weights(), *(value.numpy() for value in state)
    )
    np.testing.assert_allclose(outputs, expected, atol=1e-12)
    for value, expected_value in zip(final, expected_final, strict=True):
        np.testing.assert_allclose(value, expected_value, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_weights_and_gradients_are_those_of_keras(name):
    layer = make(name)
    peer = KERAS_LAYERS[name](5, return_sequences=True, return_state=True, dtype="float64")
    peer.build((None, None, 3))
    peer.set_weights(layer.get_weights())
    inputs, lengths = tf.constant(np.random.default_rng(2).normal(size=(4, 6, 3))), tf.constant([4, 6, 1, 5])
    mask = tf.sequence_mask(lengths, 6)

    def loss(outputs, state):
        real = tf.where(mask[:, :, tf.newaxis], tf.sin(outputs), 0.0)
        return tf.reduce_sum(real) + tf.add_n([tf.reduce_sum(value**2) for value in state])

    gradients = []
    for run, weights in (
        (lambda: unroll(layer, inputs, lengths, layer.zero_state(4)), layer.trainable_variables),
        (lambda: (lambda outputs, *state: (outputs, state))(*peer(inputs, mask=mask)), peer.trainable_variables),
    ):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*run())
        gradients.append([value, *tape.gradient(value, [inputs, *weights])])
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gradient_to_the_initial_state_equals_differences(name):
    layer = make(name)
    inputs, lengths = tf.constant(np.random.default_rng(3).normal(size=(2, 4, 3))), tf.constant([4, 2])
    state = random_state(layer, 2)

    def loss(state):
        outputs, final = unroll(layer, inputs, lengths, state)
        return tf.reduce_sum(tf.sin(outputs)) + tf.add_n([tf.reduce_sum(value**3) for value in final])

    with tf.GradientTape() as tape:
        tape.watch(state)
        value = loss(state)
    gradients = tape.gradient(value, state)
    step = 1e-6
    for field, gradient in zip(state._fields, gradients, strict=True):
        for index in np.ndindex(*gradient.shape):
            bump = np.zeros(gradient.shape)
            bump[index] = step
            values = [loss(state._replace(**{field: getattr(state, field) + sign * bump})) for sign in (1, -1)]
            assert float(values[0] - values[1]) / (2 * step) == pytest.approx(float(gradient[index]), abs=1e-7)


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("rows", [0, 2])
def test_without_any_step_the_gradient_passes_to_the_state(name, graph, rows):
    layer = make(name)
    state = random_state(layer, rows)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(state)
            _, final = unroll(layer, tf.zeros([rows, 3, 3], tf.float64), tf.zeros([rows], tf.int32), state)
            value = tf.reduce_sum(final.hidden**2)
        return tape.gradient(value, [state.hidden, *layer.trainable_variables])

    to_state, *to_weights = (tf.function(gradients) if graph else gradients)()
    np.testing.assert_allclose(to_state, 2 * state.hidden)
    assert not any(np.any(gradient) for gradient in to_weights)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_step_repeated_equals_unroll(name):
    layer = make(name)
    inputs = tf.constant(np.random.default_rng(4).normal(size=(3, 5, 3)))
    state = random_state(layer, 3)
    outputs, final = unroll(layer, inputs, tf.fill([3], 5), state)
    for t in range(5):
        output, state = layer.stepper()(inputs[:, t], state)
        np.testing.assert_allclose(output, outputs[:, t], atol=1e-12)
    for value, expected in zip(state, final, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_starting_values(name):
    layer = LAYERS[name](64, init_scale=0.08)
    layer.build((None, None, 32))
    values = np.concatenate([weight.ravel() for weight in layer.get_weights()])
    assert np.abs(values).max() <= 0.08 and np.abs(values.mean()) < 1e-3
    assert values.std() == pytest.approx(0.08 / np.sqrt(3), rel=0.02)
    plain = LAYERS[name](64)
    plain.build((None, None, 32))
    peer = KERAS_LAYERS[name](64)
    peer.build((None, None, 32))
    np.testing.assert_array_equal(plain.get_weights()[2], peer.get_weights()[2])  # forget gate's bias 1, others 0
    recurrent = plain.get_weights()[1]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-5)


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="units must be a positive number, got 0"):
        LSTM(0)
