"""Token-weighted cross entropy, with the projection to the vocabulary that it comes from."""

from typing import Any, NamedTuple

import tensorflow as tf

from models.scopes import in_scope


class CrossEntropy(NamedTuple):
    """Sums over target tokens, in nats, as scalars; divide late."""

    loss: tf.Tensor  # what training minimises, with label smoothing
    nll: tf.Tensor  # negative log-likelihood, without: a figure to report, through which no gradient flows


def projected_cross_entropy(
    features: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    target_ids: tf.Tensor,
    product_dtype: str,
    label_smoothing: float = 0.0,
) -> CrossEntropy:
    """Summed cross entropy of target tokens under `softmax(features kernel + bias)`.

    With label smoothing ε (Szegedy et al. 2016, section 7) the target distribution is (1 - ε) one hot + ε / V.

    The logits are by far the largest values of a training step, and what takes its time with them is memory. So their
    gradient, `softmax - (1 - ε) one hot`, goes into the matrix products as it is, and the factor that the loss was
    multiplied by is applied to the products' small results. In float16 it must come first: it is what keeps small
    gradients alive. The uniform part, -ε times the logits' mean, is linear in features and kernel: it needs sums of
    these, but no logits.

    Args:
        features: `[N, H]`, of the real tokens of a batch. The end token counts, padding does not belong here.
        kernel: `[H, V]`.
        bias: `[V]`.
        target_ids: `[N]` int.
        product_dtype: type of the matrix products. The softmax is taken in the type of `features`, `kernel` and
            `bias`, float32 or float64.
        label_smoothing: ε, at least 0 and below 1.
    """
    gold_share = 1.0 - label_smoothing

    @tf.custom_gradient
    @in_scope("projection")
    def run(features: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        dtype = bias.dtype
        inputs, used = tf.cast(features, product_dtype), tf.cast(kernel, product_dtype)
        logits = tf.cast(tf.matmul(inputs, used), dtype) + bias  # --> [N, V]
        sums, to_logits = _cross_entropy(logits, target_ids, gold_share)

        @in_scope("projection_gradient")
        def gradient(upstream: tf.Tensor, _: tf.Tensor) -> Any:
            early = product_dtype == "float16"
            weighted, after = (to_logits * upstream, 1.0) if early else (to_logits, upstream)
            grad_logits = tf.cast(weighted, product_dtype)
            grad_features = tf.cast(tf.matmul(grad_logits, used, transpose_b=True), dtype)
            grad_kernel = tf.cast(tf.matmul(inputs, grad_logits, transpose_a=True), dtype)
            # Not in bfloat16: it is a sum over all tokens.
            return [grad * after for grad in (grad_features, grad_kernel, tf.reduce_sum(weighted, axis=0))]

        return sums, gradient

    loss, nll = run(features, kernel, bias)
    if label_smoothing:
        tokens = tf.cast(tf.shape(features)[0], bias.dtype)
        mean_logits = tf.tensordot(tf.reduce_sum(features, axis=0), tf.reduce_mean(kernel, axis=1), 1)
        loss -= label_smoothing * (mean_logits + tokens * tf.reduce_mean(bias))
    return CrossEntropy(loss, tf.stop_gradient(nll))


def log_normalizer(logits: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """`log sum exp(logits)` `[N]` of logits `[N, V]` and their softmax.

    The softmax's largest value, which is at least 1 / V, gives the logarithm of its denominator without loss, and on a
    CPU one softmax is faster than exponentials and a sum.
    """
    return tf.reduce_max(logits, axis=1) - tf.math.log(tf.reduce_max(probabilities, axis=1))


def _cross_entropy(
    logits: tf.Tensor, target_ids: tf.Tensor, gold_share: float
) -> tuple[tuple[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Two sums and a gradient.

    The sum of `log sum exp(logits) - gold_share logits[target]`, the same with a gold share of 1, which is the negative
    log-likelihood, and the gradient of the first to the logits, `[N, V]`.

    On a CPU this takes a third of the time of `SparseSoftmaxCrossEntropyWithLogits`, because the softmax is oneDNN's.
    """
    probabilities = tf.nn.softmax(logits)
    log_total = log_normalizer(logits, probabilities)
    target_ids = tf.cast(target_ids, tf.int32)
    targets = tf.stack([tf.range(tf.size(target_ids)), target_ids], axis=1)
    gold = tf.gather_nd(logits, targets)
    sums = tf.reduce_sum(log_total - gold_share * gold), tf.reduce_sum(log_total - gold)
    to_targets = tf.gather_nd(probabilities, targets) - gold_share
    return sums, tf.tensor_scatter_nd_update(probabilities, targets, to_targets)
