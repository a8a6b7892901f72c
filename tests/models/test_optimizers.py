"""The fused Adam against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.optimizers import FusedAdam


def train(optimizer, sparse=False, steps=30):
    """Weights after some steps of a small problem, in which some rows of a table have no gradient at times."""
    table, kernel = keras.Variable(np.full((5, 3), 0.5)), keras.Variable(np.eye(3))
    optimizer.build([table, kernel])

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            values = tf.gather(table.value, ids) @ kernel.value
            loss = tf.reduce_sum((values - 1.0) ** 2)
        gradients = tape.gradient(loss, [table.value, kernel.value])
        assert isinstance(gradients[0], tf.IndexedSlices)
        if not sparse:
            gradients[0] = tf.convert_to_tensor(gradients[0])
        optimizer.apply_gradients(zip(gradients, [table, kernel], strict=True))

    generator = np.random.default_rng(0)
    for _ in range(steps):
        step(tf.constant(generator.integers(0, 4, 3)))
    return [table.numpy(), kernel.numpy()]


@pytest.mark.parametrize(
    "options", [{}, {"global_clipnorm": 0.1}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}, {"weight_decay": 0.01}]
)
def test_weights_are_those_of_keras(options):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 40)
    ours, theirs = (train(kind(schedule, **options)) for kind in (FusedAdam, keras.optimizers.Adam))
    assert np.abs(ours[0] - 0.5).max() > 0.1  # it did train
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4)


def test_it_survives_serialization():
    optimizer = FusedAdam(0.01, global_clipnorm=1.0)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, FusedAdam) and copy.get_config() == optimizer.get_config()


def test_sparse_gradients_are_added_up():
    dense, sparse = train(FusedAdam(0.05)), train(FusedAdam(0.05), sparse=True)
    for one, other in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_under_a_strategy_it_is_keras_update():
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    results = []
    for kind in (FusedAdam, keras.optimizers.Adam):
        with strategy.scope():
            variable, optimizer = keras.Variable(np.ones(3)), kind(0.05)
            optimizer.build([variable])
        for scale in (1.0, -2.0, 3.0):
            gradient = tf.constant([scale, 0.0, 1.0])
            strategy.run(lambda: optimizer.apply_gradients([(gradient, variable)]))  # noqa: B023
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)
    assert (results[0] != 1).tolist() == [True, False, True]


def test_amsgrad_is_refused():
    with pytest.raises(ValueError, match="amsgrad must be False, got True"):
        FusedAdam(amsgrad=True)
