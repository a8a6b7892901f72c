"""Sums over the replicas of a distribution strategy; without one, there is one replica."""

from typing import Any

import tensorflow as tf


def count() -> int:
    """Number of replicas; to be called where a replica's step is traced, as all functions here."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def index() -> tf.Tensor:
    """This replica's number, from 0."""
    context = tf.distribute.get_replica_context()
    return tf.convert_to_tensor(context.replica_id_in_sync_group, tf.int32)


def total(values: Any) -> Any:
    """The sum over all replicas of a tensor, or of each tensor in a list; every replica gets it."""
    if count() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def place(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where this replica's rows lie in the whole batch, which the replicas share in the order of their numbers.

    Args:
        rows: int32 scalar, rows of this replica.

    Returns:
        The number of rows before this replica's, and that of all replicas' rows, as int32 scalars.
    """
    if count() == 1:
        return tf.zeros([], tf.int32), rows
    each = total(tf.one_hot(index(), count(), dtype=tf.int32) * rows)
    return tf.reduce_sum(each[: index()]), tf.reduce_sum(each)
