"""Token-weighted cross entropy, with the projection to the vocabulary that it comes from."""

from typing import Any

import tensorflow as tf


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
    def run(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        dtype = bias.dtype
        inputs, used = tf.cast(features, product_dtype), tf.cast(kernel, product_dtype)
        logits = tf.cast(tf.matmul(inputs, used), dtype) + bias  # --> [N, V]
        nll, to_logits = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(features=logits, labels=target_ids)

        def gradient(upstream: tf.Tensor) -> Any:
            early = product_dtype == "float16"
            weighted, after = (to_logits * upstream, 1.0) if early else (to_logits, upstream)
            grad_logits = tf.cast(weighted, product_dtype)
            grad_features = tf.cast(tf.matmul(grad_logits, used, transpose_b=True), dtype)
            grad_kernel = tf.cast(tf.matmul(inputs, grad_logits, transpose_a=True), dtype)
            # Not in bfloat16: it is a sum over all tokens.
            return [grad * after for grad in (grad_features, grad_kernel, tf.reduce_sum(weighted, axis=0))]

        return tf.reduce_sum(nll), gradient

    total: tf.Tensor = run(features, kernel, bias)
    return total
