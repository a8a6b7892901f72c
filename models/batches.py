"""A batch of sentence pairs, and what can be said of it without a model."""

from typing import TypedDict

import tensorflow as tf


class Batch(TypedDict):
    """A batch of pairs; every row ends with the end token and is padded on the right."""

    source_ids: tf.Tensor  # [B, S] int32
    source_lengths: tf.Tensor  # [B] int32
    target_ids: tf.Tensor  # [B, T] int32
    target_lengths: tf.Tensor  # [B] int32


def slice_rows(batch: Batch, begin: tf.Tensor, end: tf.Tensor) -> Batch:
    """Rows `begin` to `end` (exclusive; beyond the last row is no mistake), padded as they were."""
    sliced: Batch = tf.nest.map_structure(lambda values: values[begin:end], batch)
    return sliced


def token_counts(batch: Batch, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Real tokens of both sides, and cells of the two padded matrices, as scalars of a float type."""
    real = tf.reduce_sum(batch["source_lengths"]) + tf.reduce_sum(batch["target_lengths"])
    every = tf.size(batch["source_ids"]) + tf.size(batch["target_ids"])
    return tf.cast(real, dtype), tf.cast(every, dtype)
