"""Token-weighted cross entropy, with the projection to the vocabulary that it comes from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from models.scopes import in_scope

SCORED_TOGETHER = 1024
"""Tokens whose logits are in memory at the same time where each sequence is scored: there may be many, and thousands of
logits each."""


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


def sequence_nll(
    project: Callable[[tf.Tensor], tf.Tensor], features: tf.Tensor, target_ids: tf.Tensor, lengths: tf.Tensor
) -> tf.Tensor:
    """Negative log-likelihood of each sequence, in nats, float32 `[B]`; a limited number of rows of logits at once.

    Args:
        project: features `[N, F]` to logits `[N, V]`.
        features: `[B, T, F]`.
        target_ids: `[B, T]` int, padded on the right.
        lengths: `[B]` int, real targets of each row, at least one.
    """
    real = tf.sequence_mask(lengths, tf.shape(target_ids)[1])
    nll = _token_nll(project, tf.boolean_mask(features, real), tf.boolean_mask(target_ids, real))
    return tf.math.segment_sum(nll, tf.cast(tf.where(real)[:, 0], tf.int32))


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


def _token_nll(project: Callable[[tf.Tensor], tf.Tensor], features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Of each target `[N]` after features `[N, F]`, float32 `[N]`."""
    count = tf.shape(targets)[0]

    def part(first: tf.Tensor, nll: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        last = tf.minimum(first + SCORED_TOGETHER, count)
        logits = tf.cast(project(features[first:last]), tf.float32)
        scored = log_normalizer(logits, tf.nn.softmax(logits)) - tf.gather(logits, targets[first:last], batch_dims=1)
        return last, tf.concat([nll, scored], axis=0)

    nothing = tf.raw_ops.PlaceholderWithDefault(input=tf.zeros([0]), shape=[None])
    _, nll = tf.while_loop(lambda first, _: first < count, part, (0, nothing))
    return nll
