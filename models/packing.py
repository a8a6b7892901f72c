"""Packed sequences: the real steps of a padded batch, and nothing else, in the order in which a recurrence needs them.

Rows are sorted by falling length, steps come first: step 0 of all rows, step 1 of the rows that have one, and so on.

    lengths 2 4 1     row 1:  a0 a1 a2 a3
                      row 0:  b0 b1           -->  a0 b0 c0 | a1 b1 | a2 | a3     counts 3 2 1 1
                      row 2:  c0

A recurrence over packed steps computes no padding, whatever lengths a batch mixes, so batches need not be bucketed by
length to be fast. (PyTorch's `PackedSequence` and cuDNN's RNN lay sequences out in the same way.)
"""

from typing import Any, NamedTuple

import tensorflow as tf


class Packing(NamedTuple):
    """Where the steps of a padded batch lie when packed. B rows, T columns, N real steps, L the longest row's."""

    rows: tf.Tensor  # [B] int32, the batch's rows by falling length; rows of equal length keep their order
    counts: tf.Tensor  # [L] int32, rows that have a step t
    offsets: tf.Tensor  # [L] int32, where step t begins
    positions: tf.Tensor  # [N, 2] int32, each packed step's row and column in the padded batch
    entering: tf.Tensor  # [N] int32, for each packed step, the step before it in `[initial states; packed steps]`
    final: tf.Tensor  # [B] int32, each row's last step, in the batch's order, in `[initial states; packed steps]`
    lengths: tf.Tensor  # [B] int32, each row's steps, in the batch's order
    shape: tf.Tensor  # [2] int32, B and T


def pack_lengths(lengths: tf.Tensor, columns: tf.Tensor) -> Packing:
    """The packing of a batch.

    Args:
        lengths: `[B]` int, real steps of each row, 0 to `columns`.
        columns: T, the padded length.
    """
    lengths = tf.cast(lengths, tf.int32)
    batch = tf.size(lengths)
    rows = tf.argsort(lengths, direction="DESCENDING", stable=True)
    real = tf.transpose(tf.sequence_mask(tf.gather(lengths, rows)))  # --> [L, B], sorted rows
    counts = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
    offsets = tf.cumsum(counts, exclusive=True)
    steps = tf.cast(tf.where(real), tf.int32)  # [N, 2]: column, sorted row; column by column
    column, sorted_row = steps[:, 0], steps[:, 1]

    def index(column: tf.Tensor, sorted_row: tf.Tensor) -> tf.Tensor:
        """Where the state before `column` lies: among the initial states, or after the packed step before."""
        before = tf.gather(tf.concat([[0], offsets + batch], axis=0), column)
        return before + sorted_row

    return Packing(
        rows=rows,
        counts=counts,
        offsets=offsets,
        positions=tf.stack([tf.gather(rows, sorted_row), column], axis=1),
        entering=index(column, sorted_row),
        final=index(lengths, tf.argsort(rows)),
        lengths=lengths,
        shape=tf.stack([batch, tf.cast(columns, tf.int32)]),
    )


def pack(values: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Padded values `[B, T, ...]` to packed ones `[N, ...]`."""
    return tf.gather_nd(values, packing.positions)


def unpack(values: tf.Tensor, packing: Packing) -> tf.Tensor:
    """Packed values `[N, ...]` to padded ones `[B, T, ...]`, zero in the padding."""
    return tf.scatter_nd(packing.positions, values, tf.concat([packing.shape, tf.shape(values)[1:]], axis=0))


def mirror(packing: Packing, kept: int = 0) -> tf.Tensor:
    """Where each packed step's mirror image lies, `[N]` int32: step t of a row of n changes places with n - 1 - t.

    Args:
        packing: where the N steps belong.
        kept: so many last steps of every row stay where they are, and the others are mirrored among themselves.
    """
    row, column = packing.positions[:, 0], packing.positions[:, 1]
    last = tf.gather(packing.lengths, row) - 1 - kept
    sorted_row = tf.range(tf.size(column)) - tf.gather(packing.offsets, column)
    return tf.gather(packing.offsets, tf.where(column > last, column, last - column)) + sorted_row


@tf.custom_gradient
def swap(values: tf.Tensor, places: tf.Tensor) -> Any:
    """Packed values `[N, ...]` with every step at its mirror image's place; `places` as of `mirror`.

    An exchange is its own inverse, so the gradient is exchanged likewise. That of a plain `tf.gather` would be a sum of
    rows that may repeat, which takes three times as long.
    """
    return tf.gather(values, places), lambda upstream: (tf.gather(upstream, places), None)


def any_rows(state: Any) -> Any:
    """Shape invariants for a loop in which the tensors of `state` lose rows from step to step."""
    return tf.nest.map_structure(lambda values: tf.TensorShape([None, *values.shape[1:]]), state)
