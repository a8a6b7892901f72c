"""Token-weighted cross entropy."""

import tensorflow as tf


def token_cross_entropy(logits: tf.Tensor, target_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Summed negative log-likelihood of target tokens, and their number; divide late, by a global count.

    Args:
        logits: `[N, V]`, any float type; the softmax is taken in float32 or wider.
        target_ids: `[N]` int: the real tokens of a batch. The end token counts, padding does not belong here.

    Returns:
        Two float32 scalars: the sum in nats, and the number of tokens.
    """
    logits = tf.cast(logits, tf.float64 if logits.dtype == tf.float64 else tf.float32)
    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(target_ids, logits)  # --> [N]
    return tf.cast(tf.reduce_sum(nll), tf.float32), tf.cast(tf.size(target_ids), tf.float32)
