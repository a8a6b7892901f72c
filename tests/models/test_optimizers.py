"""The fused Adam against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.optimizers import FusedAdam, check_clipping


def train(optimizer, steps=30):
    """Weights after some steps of a small problem, in which some rows of a table have no gradient at times."""
    table, kernel = keras.Variable(np.full((5, 3), 0.5)), keras.Variable(np.eye(3))
    optimizer.build([table, kernel])

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            values = tf.gather(table.value, ids) @ kernel.value
            loss = tf.reduce_sum((values - 1.0) ** 2)
        gradients = tape.gradient(loss, [table.value, kernel.value])
        gradients[0] = tf.convert_to_tensor(gradients[0])
        optimizer.apply_gradients(zip(gradients, [table, kernel], strict=True))

    generator = np.random.default_rng(0)
    for _ in range(steps):
        step(tf.constant(generator.integers(0, 4, 3)))
    return [table.numpy(), kernel.numpy()]


@pytest.mark.parametrize("options", [{}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}])
def test_weights_are_those_of_keras(options):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 40)
    ours, theirs = (train(kind(schedule, **options)) for kind in (FusedAdam, keras.optimizers.Adam))
    assert np.abs(ours[0] - 0.5).max() > 0.1  # it did train
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4)


def test_it_survives_serialization():
    optimizer = FusedAdam(0.01, ema_momentum=0.9, beta_1=0.8)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert isinstance(copy, FusedAdam) and copy.get_config() == optimizer.get_config()


def test_the_moving_average_follows_its_formula():
    variable, optimizer = keras.Variable(np.zeros(2)), FusedAdam(0.5, ema_momentum=0.3)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    expected = None
    for update in range(6):
        step(tf.constant([1.0, -1.0]) * (update + 1))
        decay = min(0.3, (1 + update) / (10 + update)) if update else 0.0
        weight = variable.numpy()
        expected = weight if update == 0 else decay * expected + (1 - decay) * weight
        np.testing.assert_allclose(optimizer.averages[0].numpy(), expected, rtol=1e-5)
    assert (expected != weight).all()


def test_without_momentum_there_is_no_average():
    optimizer = FusedAdam(0.5)
    optimizer.build([keras.Variable(np.zeros(2))])
    assert optimizer.averages == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amsgrad": True}, "options must be beta_1, beta_2, epsilon and name, got amsgrad"),
        ({"ema_momentum": 1.0}, "ema_momentum must lie between 0 and 1, got 1.0"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FusedAdam(**options)


def test_an_optimizer_that_clips_is_refused():
    with pytest.raises(ValueError, match=r"optimizer must not clip, got global_clipnorm=1\.0: give clip_norm"):
        check_clipping(keras.optimizers.Adam(global_clipnorm=1.0))
