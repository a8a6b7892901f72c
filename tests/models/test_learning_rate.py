"""The learning rate's schedules against plain Python."""

import math

import keras
import pytest
import tensorflow as tf

from models.learning_rate import LearningRate, RateShape


def plain_rate(decay, i, peak, warmup, total):
    if i < warmup:
        return peak * (i + 1) / warmup
    if decay == "inverse_sqrt":
        return peak * math.sqrt(warmup / (i + 1))
    if decay == "cosine":
        return peak * (1 + math.cos(math.pi * min(1, (i - warmup) / (total - warmup)))) / 2
    return peak


DECAYS = ("constant", "cosine", "plateau")


@pytest.mark.parametrize(
    ("decay", "warmup"),
    [*((decay, warmup) for decay in DECAYS for warmup in (0, 1, 7)), ("inverse_sqrt", 1), ("inverse_sqrt", 7)],
)
def test_rates_equal_the_formula_in_one_trace(decay, warmup):
    traces = []

    @tf.function
    def rate(iteration):
        traces.append(1)
        return RateShape(peak=0.3, decay=decay, warmup_steps=warmup, total_steps=20).rate(iteration)

    found = [float(rate(tf.constant(i, tf.int64))) for i in range(25)]
    assert found == pytest.approx([plain_rate(decay, i, 0.3, warmup, 20) for i in range(25)], rel=1e-5, abs=1e-8)
    assert len(traces) == 1


def test_the_peak_is_reached_at_the_end_of_the_warm_up_without_a_jump():
    shape = RateShape(peak=1.0, decay="inverse_sqrt", warmup_steps=4)
    assert [float(shape.rate(tf.constant(i))) for i in (2, 3, 4)] == pytest.approx([0.75, 1.0, math.sqrt(0.8)])


def test_the_scale_reaches_an_optimizer_in_a_graph():
    rate = LearningRate(peak=0.5, decay="plateau")
    weight = keras.Variable(1.0)
    optimizer = keras.optimizers.SGD(rate)

    @tf.function
    def step():
        optimizer.apply([tf.constant(1.0)], [weight])

    step()
    assert float(weight.value) == pytest.approx(0.5)
    rate.scale.assign(0.1)
    step()
    assert float(weight.value) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peak": 0.0}, "peak must be a positive learning rate, got 0.0"),
        ({"peak": 1.0, "decay": "linear"}, "decay must be one of .*, got 'linear'"),
        ({"peak": 1.0, "decay": "inverse_sqrt"}, "warmup_steps must be at least 1 with decay 'inverse_sqrt', got 0"),
        ({"peak": 1.0, "warmup_steps": -1}, "warmup_steps must be at least 0"),
        (
            {"peak": 1.0, "decay": "cosine", "warmup_steps": 5, "total_steps": 5},
            r"total_steps must be more than warmup_steps \(5\)",
        ),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RateShape(**options)
