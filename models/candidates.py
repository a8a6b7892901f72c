"""Which tokens may continue a sentence's hypotheses, and the best of the hypotheses that come of it.

Logits are the largest values of a search, and with a vocabulary of some thousands as expensive as the network itself.
So no step takes them to log-probabilities one by one: the best extensions of all of a sentence's hypotheses are chosen
by their logits and one number for each hypothesis, a few more than are needed, and only among those are the few
forbidden ones struck out. What is read but once is the largest logit of each chunk of neighbours: from it follow both
that number and the few chunks that hold the best.

Where a sentence has a shortlist (see `models.shortlist`), logits are of its choices alone, and V is their number.

Legend: A sentences, K beam size, J live hypotheses of each, R = A J rows, V vocabulary, M candidates.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from models.losses import log_normalizer
from models.search_options import SearchOptions
from models.shortlist import place_of
from models.states import Nothing

CHUNK = 64
"""Neighbouring values of which `top_sums` first knows only the largest, where their number is a multiple of it."""


class Limits(NamedTuple):
    """Which tokens may not follow."""

    options: SearchOptions  # its `never` and `banned_tokens`
    end_id: int
    may_end: tf.Tensor  # [A] bool
    forbidden: tf.Tensor | None  # [P, 2] int32 pairs of row and token, see `models.constraints`
    choices: tf.Tensor | None = None  # [A, V] int32, the tokens that the logits are of, ascending; None for all


class Scored(NamedTuple):
    """What follows the live hypotheses, as a step says it."""

    logits: tf.Tensor  # [R, V] float32; -inf in columns that are no token
    maxima: tf.Tensor | Nothing  # [R, V / CHUNK], see `chunk_maxima`
    normalizer: tf.Tensor  # [R], what a logit exceeds its log-probability by


class Candidates(NamedTuple):
    """Hypotheses of each sentence that are one token longer; the best K are the first ones."""

    log_probabilities: tf.Tensor  # [A, M] of the whole hypothesis; -inf for what may not be
    slots: tf.Tensor  # [A, M] int32, the live hypothesis that is extended
    tokens: tf.Tensor  # [A, M] int32


def least_choices(options: SearchOptions) -> int:
    """How many extensions to look at for each hypothesis, so that a sentence's best 2K that may be are among them.

    It is also how many tokens a sentence must at least have to choose from.
    """
    return 2 + len(options.never) + 1  # those that are never allowed, and the end


def chunk_maxima(values: tf.Tensor) -> tf.Tensor | Nothing:
    """The largest of each `CHUNK` neighbours of values `[R, V]`: `[R, V / CHUNK]`; nothing where V does not allow it.

    Then V is not known beforehand, or no multiple of `CHUNK`, for padding would copy all values.
    """
    size = values.shape[1]
    if size is None or size % CHUNK:
        return ()
    return tf.reduce_max(tf.reshape(values, [-1, size // CHUNK, CHUNK]), axis=2)


def scored(logits: tf.Tensor) -> Scored:
    """Logits `[R, V]` with their normalizer, `log sum exp(logits)`; see `models.losses.log_normalizer`."""
    probabilities, maxima = tf.nn.softmax(logits), chunk_maxima(logits)
    if isinstance(maxima, tuple):
        return Scored(logits, maxima, log_normalizer(logits, probabilities))
    # The largest probability is where the largest logit is.
    chunks = tf.reshape(probabilities, [-1, maxima.shape[1], CHUNK])
    probable = tf.gather(chunks, tf.argmax(maxima, axis=1, output_type=tf.int32), batch_dims=1)  # --> [R, CHUNK]
    return Scored(logits, maxima, log_normalizer(maxima, probable))


def best_candidates(known: Scored, live: tf.Tensor, limits: Limits) -> Candidates:
    """The best 2K extensions; where there are fewer, the rest has a log-probability of -inf.

    Args:
        known: of the R live hypotheses; with choices, V must be at least `least_choices`.
        live: `[A, J]`, log-probabilities of the live hypotheses.
        limits: what may not follow.
    """
    beam_size, never = limits.options.beam_size, limits.options.never
    size = beam_size * least_choices(limits.options)
    offsets = live - tf.reshape(known.normalizer, tf.shape(live))
    allowed = _without(known.logits, limits.options.banned_tokens, limits, tf.shape(live)[1])
    maxima = known.maxima if allowed is known.logits else chunk_maxima(allowed)
    values, slots, columns = top_sums(allowed, maxima, offsets, size)
    tokens = columns if limits.choices is None else tf.gather(limits.choices, columns, batch_dims=1)
    is_end = tokens == limits.end_id
    struck = tf.reduce_any(tokens[:, :, tf.newaxis] == tf.constant(never, tf.int32), axis=2)
    struck |= is_end & ~limits.may_end[:, tf.newaxis]
    best, order = tf.math.top_k(tf.where(struck, float("-inf"), values), 2 * beam_size)
    slots, tokens = (tf.gather(chosen, order, batch_dims=1) for chosen in (slots, tokens))
    # What may not be may come from a column that is no token.
    return Candidates(best, slots, tf.where(best > float("-inf"), tokens, 0))


def top_sums(
    values: tf.Tensor, maxima: tf.Tensor | Nothing, offsets: tf.Tensor, k: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The largest k of `values[a J + j, v] + offsets[a, j]` for each a, `[A, k]` descending, and their j and v.

    In two stages, where there are enough values: the largest k are in the k chunks with the largest maxima. Of equal
    sums, those that are returned need not be the first ones. Where there are fewer than k, the rest is -inf.

    Args:
        values: `[R, V]`.
        maxima: their `chunk_maxima`.
        offsets: `[A, J]`.
        k: how many.
    """
    sentences, each = tf.unstack(tf.shape(offsets))
    if isinstance(maxima, tuple) or values.shape[1] < k:
        count = tf.shape(values)[1]
        some = tf.minimum(k, each * count)
        sums = tf.reshape(values, [sentences, each, count]) + offsets[:, :, tf.newaxis]
        found, places = tf.math.top_k(tf.reshape(sums, [sentences, each * count]), some)
        rest = [[0, 0], [0, k - some]]
        slots, columns = (tf.pad(part, rest) for part in (places // count, places % count))
        return tf.pad(found, rest, constant_values=-np.inf), slots, columns
    chunks = maxima.shape[1]
    highest = tf.reshape(maxima, [sentences, each, chunks]) + offsets[:, :, tf.newaxis]
    some = tf.minimum(k, each * chunks)
    _, best = tf.math.top_k(tf.reshape(highest, [sentences, each * chunks]), some)
    parts = tf.gather(tf.reshape(values, [sentences, each * chunks, CHUNK]), best, batch_dims=1)  # [A, some, CHUNK]
    parts += tf.gather(offsets, best // chunks, batch_dims=1)[:, :, tf.newaxis]
    found, places = tf.math.top_k(tf.reshape(parts, [sentences, some * CHUNK]), k)
    chosen = tf.gather(best, places // CHUNK, batch_dims=1)
    return found, chosen // chunks, chosen % chunks * CHUNK + places % CHUNK


def allowed_logits(logits: tf.Tensor, limits: Limits) -> tf.Tensor:
    """`[A, V]` of one hypothesis a sentence: -inf for all tokens that may not follow."""
    logits = _without(logits, (*limits.options.never, *limits.options.banned_tokens), limits, each=1)
    is_end = tf.range(logits.shape[1]) == limits.end_id
    return tf.where(is_end & ~limits.may_end[:, tf.newaxis], float("-inf"), logits)


def force(
    candidates: Candidates, known: Scored, live: tf.Tensor, forced: tf.Tensor, choices: tf.Tensor | None = None
) -> Candidates:
    """Where a token is forced, the hypotheses with that one alone, at its own price, whatever forbids it.

    Args:
        candidates: what would be possible.
        known: as of `best_candidates`.
        live: as of `best_candidates`.
        forced: `[A]` int32, -1 where nothing is forced.
        choices: as of `Limits`; they hold what is forced.
    """
    sentences, each = tf.unstack(tf.shape(live))
    columns = tf.maximum(forced, 0) if choices is None else place_of(choices, forced)
    logits = tf.reshape(known.logits, [sentences, each, tf.shape(known.logits)[1]])
    price = tf.gather(logits, columns, axis=2, batch_dims=1) - tf.reshape(known.normalizer, [sentences, each])
    # All hypotheses go on, or all end, in the order that they have.
    count = candidates.tokens.shape[1]
    extended = tf.pad(live + price, [[0, 0], [0, count - each]], constant_values=float("-inf"))
    token = forced[:, tf.newaxis]
    is_forced = token >= 0
    return Candidates(
        tf.where(is_forced, extended, candidates.log_probabilities),
        tf.where(is_forced, tf.minimum(tf.range(count), each - 1), candidates.slots),
        tf.where(is_forced, token, candidates.tokens),
    )


def _without(logits: tf.Tensor, ids: tuple[int, ...], limits: Limits, each: int | tf.Tensor) -> tf.Tensor:
    pairs, choices = limits.forbidden, limits.choices
    if ids:
        if choices is None:
            struck: tf.Tensor = np.zeros(logits.shape[1], np.bool_)
            struck[list(ids)] = True
        else:
            mask = np.zeros(max(ids) + 2, np.bool_)
            mask[list(ids)] = True
            struck = tf.repeat(tf.gather(mask, tf.minimum(choices, max(ids) + 1)), each, axis=0)
        logits = tf.where(struck, float("-inf"), logits)
    if pairs is not None:
        if choices is not None:
            rows, tokens = pairs[:, 0], pairs[:, 1]
            own = tf.gather(choices, rows // each)
            columns = place_of(own, tokens)
            present = tf.gather(own, columns, batch_dims=1) == tokens
            pairs = tf.boolean_mask(tf.stack([rows, columns], axis=1), present)
        logits = tf.tensor_scatter_nd_update(logits, pairs, tf.fill([tf.shape(pairs)[0]], float("-inf")))
    return logits
