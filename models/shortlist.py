"""Vocabulary shortlists: for each source sentence, the few target tokens that its translation may be made of.

A translation's words are nearly always among those that often stand opposite the source's words, and the most frequent
ones (Jean et al. 2015, section 3.2). The projection to the vocabulary, and choosing among its results, then costs a
fraction. The batch computes the union of its sentences' choices in one product, and each sentence sees its own: what it
is translated to does not depend on the others.

Probabilities are among the choices, so they are somewhat higher than those of the whole vocabulary.

Legend: B sentences, S source columns, V target vocabulary, C columns of choices, U tokens of the union.
"""

from typing import Any, NamedTuple

import tensorflow as tf


class ShortlistTable(NamedTuple):
    """What may stand opposite a source token, and what may stand anywhere: arrays, or variables of a saved model."""

    candidates: Any  # [source vocabulary, n] int32 target ids, padded by repetition of any of `always`
    always: Any  # [m] int32 target ids, the end token among them


class Choices(NamedTuple):
    """The target tokens that the sentences of a batch choose from."""

    ids: tf.Tensor  # [B, C] int32 target ids, ascending, padded with V - 1
    places: tf.Tensor  # [B, C] int32, where they are in `union`, the padding at U
    union: tf.Tensor  # [U] int32, ascending


def choose(
    table: ShortlistTable,
    source_ids: tf.Tensor,
    vocabulary_size: int,
    least: int,
    given: tf.Tensor | None = None,
) -> Choices:
    """The choices of each source sentence.

    Args:
        table: by source token.
        source_ids: `[B, S]`, padded with an id whose candidates are among `always`.
        vocabulary_size: V.
        least: least number of columns C.
        given: `[B, P]` target ids that are choices, too, such as those of a given beginning; padded with any of
            `always`.
    """
    batch = tf.shape(source_ids)[0]
    candidates = tf.gather(table.candidates, source_ids)  # --> [B, S, n]
    parts = [tf.reshape(candidates, [batch, tf.shape(source_ids)[1] * table.candidates.shape[1]])]
    parts.append(tf.tile(tf.convert_to_tensor(table.always)[tf.newaxis], [batch, 1]))
    parts += [] if given is None else [tf.cast(given, tf.int32)]
    ids = tf.concat(parts, axis=1)
    rows = tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(ids))
    # A matrix of yes and no: so each token counts once, in ascending order.
    chosen = tf.scatter_nd(tf.stack([rows, ids], axis=2), tf.ones_like(ids), [batch, vocabulary_size]) > 0
    places = tf.cast(tf.where(chosen), tf.int32)  # row by row
    ragged = tf.RaggedTensor.from_value_rowids(places[:, 1], places[:, 0], tf.cast(batch, tf.int32), validate=False)
    columns = tf.maximum(tf.cast(ragged.bounding_shape(axis=1), tf.int32), least)
    shape = tf.stack([batch, columns])
    in_union = tf.reduce_any(chosen, axis=0)
    union = tf.cast(tf.where(in_union)[:, 0], tf.int32)
    in_order = tf.cumsum(tf.cast(in_union, tf.int32), exclusive=True)  # [V], the place of each token that is in it
    return Choices(
        ragged.to_tensor(vocabulary_size - 1, shape=shape),
        ragged.with_values(tf.gather(in_order, ragged.values)).to_tensor(tf.size(union), shape=shape),
        union,
    )


def place_of(ids: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
    """The column of each token `[N]` among the ids `[N, C]` of its row's choices; of one that is absent, any column."""
    found = tf.searchsorted(ids, tokens[:, tf.newaxis])[:, 0]
    return tf.minimum(found, tf.shape(ids)[1] - 1)
