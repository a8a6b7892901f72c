"""Which tokens may continue a hypothesis, and the best of them.

Logits are the largest values of a search, and with a vocabulary of some thousands as expensive as the network itself.
So no step makes a matrix of log-probabilities: the best tokens are chosen by their logits, a few more than are needed,
and only those become log-probabilities, and only among those are the few forbidden ones struck out.

Where a sentence has a shortlist (see `models.shortlist`), logits are of its choices alone, and V is their number.

Legend: R hypotheses, V vocabulary, F fetched tokens, A sentences.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.losses import log_normalizer
from models.search_options import SearchOptions
from models.shortlist import place_of

CHUNK = 64
"""Neighbouring values, or somewhat more, of which `top_k` first knows only the largest."""


class Limits(NamedTuple):
    """Which tokens may not follow."""

    options: SearchOptions  # its `never` and `banned_tokens`
    end_id: int
    may_end: tf.Tensor  # [R] bool
    forbidden: tf.Tensor | None  # [P, 2] int32 pairs of row and token, see `models.constraints`
    choices: tf.Tensor | None = None  # [R, V] int32, the tokens that the logits are of, ascending; None for all


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
    if size is None or size < 2 * k * CHUNK:
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
        logits: `[R, V]` float32; of choices, V must be at least what `fetched` says.
        count: how many are needed.
        limits: what may not follow.
    """
    never = limits.options.never
    is_struck = tf.pad(~limits.may_end[:, tf.newaxis], [[0, 0], [len(never), 0]], constant_values=True)
    choices, size = limits.choices, fetched(count, limits.options)
    normalizer = log_normalizer(logits, tf.nn.softmax(logits))
    size = size if choices is not None else min(size, logits.shape[1])
    values, tokens = top_k(_without(logits, limits.options.banned_tokens, limits), size)
    if choices is not None:
        tokens = tf.gather(choices, tokens, batch_dims=1)
    found = tokens[:, :, tf.newaxis] == tf.constant([*never, limits.end_id])  # --> [R, F, never and end]
    values = tf.where(tf.reduce_any(found & is_struck[:, tf.newaxis], axis=2), float("-inf"), values)
    return Continuations(values - normalizer[:, tf.newaxis], tokens, normalizer)


def fetched(count: int, options: SearchOptions) -> int:
    """How many tokens have to be looked at for `count` that may follow."""
    return count + len(options.never) + 1


def allowed_logits(logits: tf.Tensor, limits: Limits) -> tf.Tensor:
    """`[R, V]`: -inf for all tokens that may not follow; arguments: those of `best_continuations`."""
    logits = _without(logits, (*limits.options.never, *limits.options.banned_tokens), limits)
    is_end = tf.range(logits.shape[1]) == limits.end_id
    return tf.where(is_end & ~limits.may_end[:, tf.newaxis], float("-inf"), logits)


def force(
    continuations: Continuations, logits: tf.Tensor, forced: tf.Tensor, choices: tf.Tensor | None = None
) -> Continuations:
    """Where a token is forced, that one alone, at its own price, whatever forbids it.

    Args:
        continuations: what would be possible.
        logits: `[R, V]`.
        forced: `[R]` int32, -1 where nothing is forced.
        choices: as of `Limits`; they hold what is forced.
    """
    log_probabilities, tokens, normalizer = continuations
    is_forced = (forced >= 0)[:, tf.newaxis]
    column = tf.maximum(forced, 0) if choices is None else place_of(choices, forced)
    price = tf.gather(logits, column, batch_dims=1) - normalizer
    others = [[0, 0], [0, tokens.shape[1] - 1]]
    alone = tf.pad(price[:, tf.newaxis], others, constant_values=float("-inf"))
    return Continuations(
        tf.where(is_forced, alone, log_probabilities), tf.where(is_forced, forced[:, tf.newaxis], tokens), normalizer
    )


def _without(logits: tf.Tensor, ids: tuple[int, ...], limits: Limits) -> tf.Tensor:
    pairs, choices = limits.forbidden, limits.choices
    if ids:
        if choices is None:
            struck: tf.Tensor = np.zeros(logits.shape[1], np.bool_)
            struck[list(ids)] = True
        else:
            struck = tf.reduce_any(choices[:, :, tf.newaxis] == tf.constant(ids), axis=2)
        logits = tf.where(struck, float("-inf"), logits)
    if pairs is not None:
        if choices is not None:
            rows, tokens = pairs[:, 0], pairs[:, 1]
            columns = place_of(tf.gather(choices, rows), tokens)
            present = tf.gather_nd(choices, tf.stack([rows, columns], axis=1)) == tokens
            pairs = tf.boolean_mask(tf.stack([rows, columns], axis=1), present)
        logits = tf.tensor_scatter_nd_update(logits, pairs, tf.fill([tf.shape(pairs)[0]], float("-inf")))
    return logits
