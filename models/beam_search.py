"""Beam search over any step function, as one graph of core TensorFlow operations.

Legend: B sentences, K beam size, V vocabulary, N hypotheses returned, L longest hypothesis with its end token.

Each step extends K live hypotheses by every token and takes the best 2K candidates, for even if K of them end, K
others go on. A candidate that ends enters the finished list if it ranks among the best K; there it is frozen, and
competes by its length-normalised score. A sentence is done when no live hypothesis can still enter its list.
The search keeps back-pointers, not sequences, and walks them back once at the end.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]


class BeamSearchResult(NamedTuple):
    """The N best hypotheses of each sentence, best first."""

    ids: tf.Tensor  # [B, N, L] int32, without start and end tokens, padded on the right
    lengths: tf.Tensor  # [B, N] int32, tokens without the end token
    scores: tf.Tensor  # [B, N] float32, length-normalised; -inf where fewer than N hypotheses exist
    log_probabilities: tf.Tensor  # [B, N] float32, of the hypothesis and its end token
    steps: tf.Tensor  # scalar int32, how many steps the search took


class _Finished(NamedTuple):
    scores: tf.Tensor  # [B, N]
    log_probabilities: tf.Tensor  # [B, N]
    lengths: tf.Tensor  # [B, N] tokens before the end token
    slots: tf.Tensor  # [B, N] the live slot that was extended by the end token


class _Search(NamedTuple):
    length: tf.Tensor  # scalar, tokens generated so far
    token_ids: tf.Tensor  # [B, K] last token of each live hypothesis
    log_probabilities: tf.Tensor  # [B, K] of the live hypotheses; -inf marks an unused slot
    state: Any  # the step function's state, leading dimension B K
    tokens: tf.Tensor  # [L, B, K] token chosen at each step
    parents: tf.Tensor  # [L, B, K] slot that it extended
    finished: _Finished
    done: tf.Tensor  # [B] bool


def length_penalty(length: tf.Tensor, alpha: float) -> tf.Tensor:
    """`((5 + length) / 6) ** alpha` (Wu et al. 2016, equation 14); a score is a log-probability divided by it."""
    return tf.pow((5.0 + tf.cast(length, tf.float32)) / 6.0, alpha)


def beam_search(
    step: Step,
    initial_state: Any,
    *,
    max_lengths: tf.Tensor,
    start_id: int,
    end_id: int,
    padding_id: int,
    beam_size: int,
    n_best: int = 1,
    alpha: float = 0.0,
    banned_ids: Sequence[int] = (),
) -> BeamSearchResult:
    """Search for the hypotheses with the highest `log P(y) / length_penalty(|y|, alpha)`.

    With `beam_size` 1 it is greedy search: the first end token that is an argmax ends it. With a beam that holds every
    candidate it is exhaustive search. No row's result depends on the other rows.

    Args:
        step: `(token_ids [B K], state) -> (logits [B K, V], state)`.
        initial_state: nest of tensors with leading dimension B.
        max_lengths: `[B]` int32, most tokens before the end token; there the end token is forced, at its own price.
        start_id: the first input.
        end_id: ends a hypothesis. It counts in |y|.
        padding_id: fills the rows of the result.
        beam_size: K.
        n_best: N, at most K.
        alpha: exponent of the length penalty, at least 0; 0 compares plain log-probabilities.
        banned_ids: tokens that no hypothesis may hold; the other tokens' probabilities stay as they are.

    Returns:
        A `BeamSearchResult`; B may be 0.

    Raises:
        ValueError: an argument out of its range.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size must be a positive number, got {beam_size}")
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"n_best must be between 1 and beam_size {beam_size}, got {n_best}")
    if alpha < 0:
        raise ValueError(f"alpha must not be negative, got {alpha}: the early exit relies on it")
    if end_id in banned_ids:
        raise ValueError(f"banned_ids must not hold the end token {end_id}, got {tuple(banned_ids)}")
    max_lengths = tf.cast(max_lengths, tf.int32)
    limit = tf.reduce_max(tf.concat([[0], max_lengths], axis=0)) + 1

    def body(search: _Search) -> tuple[_Search]:
        logits, state = step(tf.reshape(search.token_ids, [-1]), search.state)
        log_probabilities = _next_log_probabilities(logits, search.length, max_lengths, end_id, banned_ids, beam_size)
        candidates = _best_candidates(search.log_probabilities, log_probabilities)
        finished = _finish(search, candidates, end_id, beam_size, alpha)
        return (_extend(search, candidates, state, finished, end_id, alpha, max_lengths),)

    initial = _initial_search(initial_state, tf.shape(max_lengths)[0], limit, start_id, beam_size, n_best)
    (search,) = tf.while_loop(
        lambda search: ~tf.reduce_all(search.done),
        body,
        (initial,),
        maximum_iterations=limit,
    )
    ids = _backtrace(search, padding_id)
    finished = search.finished
    return BeamSearchResult(ids, finished.lengths, finished.scores, finished.log_probabilities, search.length)


class _Candidates(NamedTuple):
    log_probabilities: tf.Tensor  # [B, 2K] descending
    slots: tf.Tensor  # [B, 2K] live slot extended
    tokens: tf.Tensor  # [B, 2K]


def _initial_search(
    state: Any, batch: tf.Tensor, limit: tf.Tensor, start_id: int, beam_size: int, n_best: int
) -> _Search:
    # One live hypothesis, the empty one; the other slots are copies that must not compete with it.
    live = tf.tile([[0.0] + [float("-inf")] * (beam_size - 1)], [batch, 1])
    return _Search(
        length=tf.constant(0),
        token_ids=tf.fill([batch, beam_size], start_id),
        log_probabilities=live,
        state=tf.nest.map_structure(lambda value: tf.repeat(value, beam_size, axis=0), state),  # --> [B K, ...]
        tokens=tf.zeros([limit, batch, beam_size], tf.int32),
        parents=tf.zeros([limit, batch, beam_size], tf.int32),
        finished=_Finished(
            scores=tf.fill([batch, n_best], float("-inf")),
            log_probabilities=tf.fill([batch, n_best], float("-inf")),
            lengths=tf.zeros([batch, n_best], tf.int32),
            slots=tf.zeros([batch, n_best], tf.int32),
        ),
        done=tf.zeros([batch], tf.bool),
    )


def _next_log_probabilities(
    logits: tf.Tensor,
    length: tf.Tensor,
    max_lengths: tf.Tensor,
    end_id: int,
    banned_ids: Sequence[int],
    beam_size: int,
) -> tf.Tensor:
    """`[B, K, V]`: log-softmax in float32, -inf where a token is banned or the end is forced."""
    vocabulary_size = logits.shape[-1]
    logits = tf.cast(logits, tf.float32)
    log_probabilities = logits - tf.reduce_logsumexp(logits, axis=-1, keepdims=True)
    log_probabilities = tf.reshape(log_probabilities, [-1, beam_size, vocabulary_size])
    allowed = tf.constant([token not in banned_ids for token in range(vocabulary_size)])
    must_end = (length >= max_lengths)[:, tf.newaxis, tf.newaxis]  # [B, 1, 1]
    allowed &= ~must_end | (tf.range(vocabulary_size) == end_id)
    return tf.where(allowed, log_probabilities, float("-inf"))


def _best_candidates(live: tf.Tensor, log_probabilities: tf.Tensor) -> _Candidates:
    """The best 2K of all K V extensions (or all of them, where K V is less)."""
    beam_size, vocabulary_size = log_probabilities.shape[1:]
    totals = tf.reshape(live[:, :, tf.newaxis] + log_probabilities, [-1, beam_size * vocabulary_size])
    best, indices = tf.math.top_k(totals, min(2 * beam_size, beam_size * vocabulary_size))  # --> [B, 2K]
    return _Candidates(best, indices // vocabulary_size, indices % vocabulary_size)


def _finish(search: _Search, candidates: _Candidates, end_id: int, beam_size: int, alpha: float) -> _Finished:
    """The finished list after this step: old entries stay as they are, new ones compete by score."""
    ranks = tf.range(candidates.tokens.shape[1])
    ends = (candidates.tokens == end_id) & (ranks < beam_size) & ~search.done[:, tf.newaxis]
    log_probabilities = tf.where(ends, candidates.log_probabilities, float("-inf"))
    new = _Finished(
        scores=log_probabilities / length_penalty(search.length + 1, alpha),
        log_probabilities=log_probabilities,
        lengths=tf.fill(tf.shape(candidates.slots), search.length),
        slots=candidates.slots,
    )
    both = _Finished(*(tf.concat(pair, axis=1) for pair in zip(search.finished, new, strict=True)))
    n_best = search.finished.scores.shape[1]
    _, best = tf.math.top_k(both.scores, n_best)
    return _Finished(*(tf.gather(values, best, batch_dims=1) for values in both))


def _extend(
    search: _Search,
    candidates: _Candidates,
    state: Any,
    finished: _Finished,
    end_id: int,
    alpha: float,
    max_lengths: tf.Tensor,
) -> _Search:
    """Go on with the best K candidates that do not end."""
    beam_size = search.token_ids.shape[1]
    going_on = tf.where(candidates.tokens == end_id, float("-inf"), candidates.log_probabilities)
    live, best = tf.math.top_k(going_on, beam_size)  # --> [B, K]
    slots = tf.gather(candidates.slots, best, batch_dims=1)
    tokens = tf.gather(candidates.tokens, best, batch_dims=1)
    rows = tf.reshape(tf.range(tf.shape(slots)[0])[:, tf.newaxis] * beam_size + slots, [-1])  # --> [B K]
    # Log-probabilities only fall and the penalty only grows, so this is the best a live hypothesis can still reach.
    reachable = live[:, 0] / length_penalty(max_lengths + 1, alpha)
    done = search.done | (finished.scores[:, -1] >= reachable)
    if beam_size == 1:
        done |= finished.scores[:, 0] > float("-inf")  # the only slot is taken: greedy search ends here
    position = tf.reshape(search.length, [1, 1])
    return _Search(
        length=search.length + 1,
        token_ids=tokens,
        log_probabilities=live,
        state=tf.nest.map_structure(lambda value: tf.gather(value, rows), state),
        tokens=tf.tensor_scatter_nd_update(search.tokens, position, tokens[tf.newaxis]),
        parents=tf.tensor_scatter_nd_update(search.parents, position, slots[tf.newaxis]),
        finished=finished,
        done=done,
    )


def _backtrace(search: _Search, padding_id: int) -> tf.Tensor:
    """Token ids `[B, N, L]` of the finished hypotheses, by following the parents from their ends."""
    lengths = search.finished.lengths
    longest = tf.reduce_max(tf.concat([[0], tf.reshape(lengths, [-1])], axis=0))
    ids = tf.fill(tf.concat([[longest], tf.shape(lengths)], axis=0), padding_id)  # [L, B, N]

    def body(t: tf.Tensor, slots: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        inside = t < lengths
        tokens = tf.where(inside, tf.gather(search.tokens[t], slots, batch_dims=1), padding_id)
        slots = tf.where(inside, tf.gather(search.parents[t], slots, batch_dims=1), slots)
        return t - 1, slots, tf.tensor_scatter_nd_update(ids, tf.reshape(t, [1, 1]), tokens[tf.newaxis])

    _, _, ids = tf.while_loop(lambda t, *_: t >= 0, body, (longest - 1, search.finished.slots, ids))
    return tf.transpose(ids, [1, 2, 0])
