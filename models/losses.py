"""Token-weighted cross entropy, with the projection to the vocabulary that it comes from."""

from typing import Any

import tensorflow as tf

from models.scopes import in_scope


def projected_cross_entropy(
    features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, target_ids: tf.Tensor, product_dtype: str
) -> tf.Tensor:
    """Summed negative log-likelihood of target tokens under `softmax(features kernel + bias)`; divide late.

    The logits are by far the largest values of a training step, and what takes its time with them is memory. So their
    gradient, `softmax - one hot`, goes into the matrix products as it is, and the factor that the loss was multiplied
    by is applied to the products' small results. In float16 it must come first: it is what keeps small gradients alive.

    Args:
        features: `[N, H]`, of the real tokens of a batch. The end token counts, padding does not belong here.
        kernel: `[H, V]`.
        bias: `[V]`.
        target_ids: `[N]` int.
        product_dtype: type of the matrix products. The softmax is taken in the type of `features`, `kernel` and
            `bias`, float32 or float64.

    Returns:
        The sum in nats, a scalar.
    """

    @tf.custom_gradient
    @in_scope("projection")
    def run(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        dtype = bias.dtype
        inputs, used = tf.cast(features, product_dtype), tf.cast(kernel, product_dtype)
        logits = tf.cast(tf.matmul(inputs, used), dtype) + bias  # --> [N, V]
        nll, to_logits = _cross_entropy(logits, target_ids)

        @in_scope("projection_gradient")
        def gradient(upstream: tf.Tensor) -> Any:
            early = product_dtype == "float16"
            weighted, after = (to_logits * upstream, 1.0) if early else (to_logits, upstream)
            grad_logits = tf.cast(weighted, product_dtype)
            grad_features = tf.cast(tf.matmul(grad_logits, used, transpose_b=True), dtype)
            grad_kernel = tf.cast(tf.matmul(inputs, grad_logits, transpose_a=True), dtype)
            # Not in bfloat16: it is a sum over all tokens.
            return [grad * after for grad in (grad_features, grad_kernel, tf.reduce_sum(weighted, axis=0))]

        return nll, gradient

    total: tf.Tensor = run(features, kernel, bias)
    return total


def _cross_entropy(logits: tf.Tensor, target_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Summed negative log-likelihood, and its gradient to the logits `[N, V]`.

    The softmax's largest value, which is at least 1 / V, gives the logarithm of its denominator without loss. On a CPU
    this takes a third of the time of `SparseSoftmaxCrossEntropyWithLogits`, because the softmax is oneDNN's.
    """
    probabilities = tf.nn.softmax(logits)
    log_total = tf.reduce_max(logits, axis=1) - tf.math.log(tf.reduce_max(probabilities, axis=1))  # --> [N]
    target_ids = tf.cast(target_ids, tf.int32)
    targets = tf.stack([tf.range(tf.size(target_ids)), target_ids], axis=1)
    nll = tf.reduce_sum(log_total - tf.gather_nd(logits, targets))
    to_targets = tf.gather_nd(probabilities, targets) - 1.0
    return nll, tf.tensor_scatter_nd_update(probabilities, targets, to_targets)
