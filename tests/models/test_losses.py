"""The projected cross entropy against NumPy: value and gradients, also of extreme logits."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import projected_cross_entropy
from tests.reference import log_softmax


def plain(features, kernel, bias, ids, weight):
    """Loss and gradients of `weight` times it, in float64."""
    logits = features @ kernel + bias
    log_probabilities = log_softmax(logits)
    to_logits = np.exp(log_probabilities)
    to_logits[np.arange(len(ids)), ids] -= 1.0
    nll = -log_probabilities[np.arange(len(ids)), ids].sum()
    return nll, [weight * g for g in (to_logits @ kernel.T, features.T @ to_logits, to_logits.sum(axis=0))]


def ours(features, kernel, bias, ids, weight, dtype, product_dtype):
    values = [tf.constant(value, dtype) for value in (features, kernel, bias)]

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(values)
            nll = projected_cross_entropy(*values, tf.constant(ids), product_dtype)
            loss = nll * weight
        return nll, tape.gradient(loss, values)

    return run()


@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_value_and_gradients(scale, dtype, tolerance):
    generator = np.random.default_rng(0)
    features, kernel = generator.normal(size=(7, 5)), generator.normal(size=(5, 11)) * scale
    bias, ids = generator.normal(size=11), generator.integers(0, 11, 7)
    nll, gradients = ours(features, kernel, bias, ids, 0.25, dtype, dtype)
    expected, expected_gradients = plain(features, kernel, bias, ids, 0.25)
    assert nll.dtype == dtype and float(nll) == pytest.approx(expected, rel=tolerance)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


def test_no_token_has_no_loss():
    nll, gradients = ours(np.zeros((0, 5)), np.ones((5, 3)), np.zeros(3), np.zeros(0, int), 1.0, "float32", "float32")
    assert float(nll) == 0.0 and not any(np.any(gradient) for gradient in gradients)


def test_float16_keeps_gradients_that_only_the_scale_makes_large_enough():
    features, kernel, bias = np.ones((1, 2)), np.zeros((2, 60_000)), np.zeros(60_000)
    kernel[:, 0] = -4.0  # a word of probability 1e-8 or so: below float16's smallest number, times 1024 above it
    _, (_, to_kernel, _) = ours(features, kernel, bias, [1], 1024.0, "float32", "float16")
    assert float(to_kernel[0, 0]) == pytest.approx(1024.0 * np.exp(-8.0) / 60_000, rel=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(value):
    features = np.array([[1.0, value]])
    nll, _ = ours(features, np.ones((2, 3)), np.zeros(3), [1], 1.0, "float32", "float32")
    assert not np.isfinite(float(nll))
