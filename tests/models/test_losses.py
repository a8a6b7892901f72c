"""The projected cross entropy against NumPy: value and gradients, also of extreme logits."""

import numpy as np
import pytest
import tensorflow as tf

from models.losses import projected_cross_entropy
from tests.reference import log_softmax


def plain(features, kernel, bias, ids, weight, label_smoothing=0.0):
    """Loss, negative log-likelihood, and gradients of `weight` times the loss, in float64."""
    logits = features @ kernel + bias
    log_probabilities = log_softmax(logits)
    one_hot = np.eye(len(bias))[ids]
    wanted = (1.0 - label_smoothing) * one_hot + label_smoothing / len(bias)
    to_logits = np.exp(log_probabilities) - wanted
    loss, nll = (-(target * log_probabilities).sum() for target in (wanted, one_hot))
    return loss, nll, [weight * g for g in (to_logits @ kernel.T, features.T @ to_logits, to_logits.sum(axis=0))]


def ours(features, kernel, bias, ids, weight, dtype, product_dtype, label_smoothing=0.0):
    values = [tf.constant(value, dtype) for value in (features, kernel, bias)]

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss, nll = projected_cross_entropy(*values, tf.constant(ids), product_dtype, label_smoothing)
            weighted = loss * weight
        return loss, nll, tape.gradient(weighted, values)

    return run()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("scale", [0.1, 3.0, 300.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_values_and_gradients(scale, dtype, tolerance, label_smoothing):
    generator = np.random.default_rng(0)
    features, kernel = generator.normal(size=(7, 5)), generator.normal(size=(5, 11)) * scale
    bias, ids = generator.normal(size=11), generator.integers(0, 11, 7)
    loss, nll, gradients = ours(features, kernel, bias, ids, 0.25, dtype, dtype, label_smoothing)
    expected, expected_nll, expected_gradients = plain(features, kernel, bias, ids, 0.25, label_smoothing)
    assert nll.dtype == loss.dtype == dtype and float(nll) == pytest.approx(expected_nll, rel=tolerance)
    assert float(loss) == pytest.approx(expected, rel=tolerance)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_no_token_has_no_loss(label_smoothing):
    arguments = (np.zeros((0, 5)), np.ones((5, 3)), np.zeros(3), np.zeros(0, int))
    loss, nll, gradients = ours(*arguments, 1.0, "float32", "float32", label_smoothing)
    assert float(loss) == float(nll) == 0.0 and not any(np.any(gradient) for gradient in gradients)


def test_smoothed_gradients_of_bfloat16_products_are_close():
    generator = np.random.default_rng(0)
    arguments = (generator.normal(size=(64, 32)), generator.normal(size=(32, 500)), np.zeros(500))
    ids = generator.integers(0, 500, 64)
    loss, _, gradients = ours(*arguments, ids, 1.0, "float32", "bfloat16", 0.1)
    expected, _, expected_gradients = plain(*arguments, ids, 1.0, 0.1)
    assert float(loss) == pytest.approx(expected, rel=0.01)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert np.linalg.norm(gradient - wanted) <= 0.02 * np.linalg.norm(wanted)


def test_float16_keeps_gradients_that_only_the_scale_makes_large_enough():
    features, kernel, bias = np.ones((1, 2)), np.zeros((2, 60_000)), np.zeros(60_000)
    kernel[:, 0] = -4.0  # a word of probability 1e-8 or so: below float16's smallest number, times 1024 above it
    *_, (_, to_kernel, _) = ours(features, kernel, bias, [1], 1024.0, "float32", "float16")
    assert float(to_kernel[0, 0]) == pytest.approx(1024.0 * np.exp(-8.0) / 60_000, rel=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(value):
    features = np.array([[1.0, value]])
    loss, nll, _ = ours(features, np.ones((2, 3)), np.zeros(3), [1], 1.0, "float32", "float32")
    assert not np.isfinite(float(nll)) and not np.isfinite(float(loss))
