"""What a beam search chose at each step, and the hypotheses that follow from it.

Legend: B sentences, A of them still searched, K beam size, N hypotheses returned, L longest hypothesis with its end.
"""

from typing import NamedTuple

import tensorflow as tf

from models.attention import by_sentence
from models.states import Nothing


class Past(NamedTuple):
    """The choices of all steps so far."""

    tokens: tf.Tensor  # [L, B, K] int32, the token that each live slot took
    parents: tf.Tensor  # [L, B, K] int32, the slot of the step before that it extended
    looked_at: tf.Tensor | Nothing  # [L, B, K] int32, the source token that slots looked at in this step, if recorded


def empty_past(limit: tf.Tensor, batch: tf.Tensor, beam_size: int, alignment: bool) -> Past:
    """Of no step, with room for `limit` of them."""
    nothing = tf.zeros([limit, batch, beam_size], tf.int32)
    return Past(nothing, nothing, nothing if alignment else ())


def record(
    past: Past,
    length: tf.Tensor,
    sentences: tf.Tensor,
    tokens: tf.Tensor,
    slots: tf.Tensor,
    attention: tf.Tensor | Nothing,
) -> Past:
    """The past with one step more.

    Args:
        past: the steps before.
        length: scalar, their number.
        sentences: `[A]`, places in the batch of those that are still searched.
        tokens: `[A, K]`, tokens taken.
        slots: `[A, K]`, slots extended.
        attention: `[A J, S]`, of the J slots before they were extended: K, or a single one.
    """
    places = tf.stack([tf.fill(tf.shape(sentences), length), sentences], axis=1)
    looked_at = past.looked_at
    if not isinstance(looked_at, tuple):
        most = by_sentence(tf.argmax(attention, axis=1, output_type=tf.int32), tf.size(sentences))  # --> [A, J]
        looked_at = tf.tensor_scatter_nd_update(looked_at, places, tf.broadcast_to(most, tf.shape(slots)))
    return Past(
        tf.tensor_scatter_nd_update(past.tokens, places, tokens),
        tf.tensor_scatter_nd_update(past.parents, places, slots),
        looked_at,
    )


def walk_back(
    past: Past, lengths: tf.Tensor, slots: tf.Tensor, padding_id: int
) -> tuple[tf.Tensor, tf.Tensor | Nothing]:
    """Follow the parents from the hypotheses' ends.

    Args:
        past: all steps.
        lengths: `[B, N]`, tokens before the end token.
        slots: `[B, N]`, the live slots that were extended by the end token.
        padding_id: fills the rows.

    Returns:
        Token ids `[B, N, L]` without the end tokens, and the source tokens `[B, N, L]` that they looked at (0 in the
        padding), if recorded.
    """
    longest = tf.reduce_max(tf.concat([[0], tf.reshape(lengths, [-1])], axis=0))
    shape = tf.concat([[longest], tf.shape(lengths)], axis=0)  # [L, B, N]
    recorded = not isinstance(past.looked_at, tuple)
    looked_at = tf.zeros(shape, tf.int32) if recorded else ()

    def body(t: tf.Tensor, slots: tf.Tensor, ids: tf.Tensor, looked_at: tf.Tensor | Nothing) -> tuple[object, ...]:
        inside, position = t < lengths, tf.reshape(t, [1, 1])
        tokens = tf.where(inside, tf.gather(past.tokens[t], slots, batch_dims=1), padding_id)
        slots = tf.where(inside, tf.gather(past.parents[t], slots, batch_dims=1), slots)
        if recorded:
            # What the step looked at that chose this token is noted under the slot that it extended.
            sources = tf.where(inside, tf.gather(past.looked_at[t], slots, batch_dims=1), 0)
            looked_at = tf.tensor_scatter_nd_update(looked_at, position, sources[tf.newaxis])
        return t - 1, slots, tf.tensor_scatter_nd_update(ids, position, tokens[tf.newaxis]), looked_at

    initial = (longest - 1, slots, tf.fill(shape, padding_id), looked_at)
    _, _, ids, looked_at = tf.while_loop(lambda t, *_: t >= 0, body, initial)
    return tf.transpose(ids, [1, 2, 0]), tf.transpose(looked_at, [1, 2, 0]) if recorded else ()
