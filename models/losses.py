"""Token-weighted cross entropy."""

import tensorflow as tf


def token_cross_entropy(
    logits: tf.Tensor, target_ids: tf.Tensor, target_lengths: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Summed negative log-likelihood of the real target tokens, and their number; divide late, by a global count.

    Args:
        logits: `[B, T, V]`, any float type; the softmax is taken in float32.
        target_ids: `[B, T]` int, padded on the right; the end token counts, padding never.
        target_lengths: `[B]` int, real tokens of each row.

    Returns:
        Two float32 scalars: the sum in nats, and the number of tokens.
    """
    nll = tf.nn.sparse_softmax_cross_entropy_with_logits(target_ids, tf.cast(logits, tf.float32))  # --> [B, T]
    weights = tf.sequence_mask(target_lengths, tf.shape(target_ids)[1], dtype=tf.float32)
    return tf.reduce_sum(nll * weights), tf.reduce_sum(weights)
