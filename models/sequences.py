"""From ragged ids to what the networks eat: an end token on every row, dense, padded on the right, with lengths."""

import tensorflow as tf


def with_end(ids: tf.RaggedTensor, end_id: int) -> tf.RaggedTensor:
    """Ragged ids `[B, None]` with the end token appended to each row, as int32.

    Thanks to it every row has a real token, even that of an empty text.
    """
    ids = tf.cast(ids, tf.int32)
    ends = tf.fill([ids.nrows(out_type=tf.int32), 1], end_id)
    return tf.concat([ids, tf.RaggedTensor.from_tensor(ends, row_splits_dtype=ids.row_splits.dtype)], axis=1)


def pad(ids: tf.RaggedTensor, padding_id: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Ragged ids `[B, None]` as a dense `[B, T]` padded on the right, and their lengths `[B]` int32."""
    return ids.to_tensor(padding_id), tf.cast(ids.row_lengths(), tf.int32)
