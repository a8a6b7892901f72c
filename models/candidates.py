"""Which tokens may continue a hypothesis, and the best of them.

Logits are the largest values of a search, and with a vocabulary of some thousands as expensive as the network itself.
So no step makes a matrix of log-probabilities: the best tokens are chosen by their logits, a few more than are needed,
and only those become log-probabilities, and only among those are the few forbidden ones struck out.

Legend: R hypotheses, V vocabulary, F fetched tokens.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.losses import log_normalizer
from models.search_options import SearchOptions

CHUNK = 64
"""Neighbouring values, or somewhat more, of which `top_k` first knows only the largest."""


class Limits(NamedTuple):
    """Which tokens may not follow."""

    options: SearchOptions  # its `never` and `banned_tokens`
    end_id: int
    may_end: tf.Tensor  # [R] bool
    forbidden: tf.Tensor | None  # [P, 2] int32 pairs of row and token, see `models.constraints`


class Continuations(NamedTuple):
    """Tokens that may follow, in any order."""

    log_probabilities: tf.Tensor  # [R, F] under the model; -inf for tokens that may not follow
    tokens: tf.Tensor  # [R, F] int32
    normalizer: tf.Tensor  # [R] what a logit exceeds its log-probability by


def top_k(values: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """As `tf.math.top_k` of `[R, V]`, in two stages: the largest k of V are in the k chunks with the largest maxima.

    Of equal values, those that are returned need not be the first ones.
    """
    size = values.shape[1]
    if size < 2 * k * CHUNK:
        return tuple(tf.math.top_k(values, k))
    # Chunks that leave no rest need no padding, which would copy all values.
    chunk = next((one for one in range(CHUNK, 2 * CHUNK) if size % one == 0), CHUNK)
    chunks = -(-size // chunk)
    rest = chunks * chunk - size
    padded = tf.pad(values, [[0, 0], [0, rest]], constant_values=float("-inf")) if rest else values
    parts = tf.reshape(padded, [-1, chunks, chunk])
    _, best = tf.math.top_k(tf.reduce_max(parts, axis=2), k)
    fetched = tf.reshape(tf.gather(parts, best, batch_dims=1), [-1, k * chunk])
    found, positions = tf.math.top_k(fetched, k)
    indices = tf.gather(best, positions // chunk, batch_dims=1) * chunk + positions % chunk
    return found, tf.minimum(indices, size - 1)  # of values that are -inf, it may be the padding's


def best_continuations(logits: tf.Tensor, count: int, limits: Limits) -> Continuations:
    """The `count` best tokens of each row that may follow (all, where there are fewer), and some that may not.

    Args:
        logits: `[R, V]` float32.
        count: how many are needed.
        limits: what may not follow.
    """
    never, banned = limits.options.never, limits.options.banned_tokens
    is_struck = tf.pad(~limits.may_end[:, tf.newaxis], [[0, 0], [len(never), 0]], constant_values=True)
    fetched = min(count + len(never) + 1, logits.shape[1])
    normalizer = log_normalizer(logits, tf.nn.softmax(logits))
    values, tokens = top_k(_without(logits, banned, limits.forbidden), fetched)
    found = tokens[:, :, tf.newaxis] == tf.constant([*never, limits.end_id])  # --> [R, F, never and end]
    values = tf.where(tf.reduce_any(found & is_struck[:, tf.newaxis], axis=2), float("-inf"), values)
    return Continuations(values - normalizer[:, tf.newaxis], tokens, normalizer)


def allowed_logits(logits: tf.Tensor, limits: Limits) -> tf.Tensor:
    """`[R, V]`: -inf for all tokens that may not follow; arguments: those of `best_continuations`."""
    logits = _without(logits, (*limits.options.never, *limits.options.banned_tokens), limits.forbidden)
    is_end = tf.range(logits.shape[1]) == limits.end_id
    return tf.where(is_end & ~limits.may_end[:, tf.newaxis], float("-inf"), logits)


def force(continuations: Continuations, logits: tf.Tensor, forced: tf.Tensor) -> Continuations:
    """Where a token is forced, that one alone, at its own price, whatever forbids it.

    Args:
        continuations: what would be possible.
        logits: `[R, V]`.
        forced: `[R]` int32, -1 where nothing is forced.
    """
    log_probabilities, tokens, normalizer = continuations
    is_forced = (forced >= 0)[:, tf.newaxis]
    price = tf.gather(logits, tf.maximum(forced, 0), batch_dims=1) - normalizer
    others = [[0, 0], [0, tokens.shape[1] - 1]]
    alone = tf.pad(price[:, tf.newaxis], others, constant_values=float("-inf"))
    return Continuations(
        tf.where(is_forced, alone, log_probabilities), tf.where(is_forced, forced[:, tf.newaxis], tokens), normalizer
    )


def _without(logits: tf.Tensor, ids: tuple[int, ...], pairs: tf.Tensor | None) -> tf.Tensor:
    if ids:
        struck = np.zeros(logits.shape[1], np.bool_)
        struck[list(ids)] = True
        logits = tf.where(struck, float("-inf"), logits)
    if pairs is not None:
        logits = tf.tensor_scatter_nd_update(logits, pairs, tf.fill([tf.shape(pairs)[0]], float("-inf")))
    return logits
