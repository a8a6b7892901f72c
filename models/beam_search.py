"""Beam search over any step function, as one graph of core TensorFlow operations.

Legend: B sentences, A of them still searched, K beam size, J live slots, one before the first step, then K, V
vocabulary, N hypotheses returned, L longest hypothesis with its end token, S source tokens, R rows of a step, A J.

Each step extends the live hypotheses by every token and takes the best 2K candidates, for even if K of them end, K
others go on. A candidate that ends enters the finished list if it ranks among the best K; there it is frozen, and
competes by its score (`models.ranking`). A sentence is done when no live hypothesis can still enter its list, or when
as many hypotheses have ended as the options say; when an eighth of the sentences are done, the others go on without
them. The search keeps back-pointers, not sequences, and walks them back once at the end.

Several hypotheses often go on from the same one. What a step knows before its token is theirs together: the decoder may
compute it once (`models.states.Begin`) when the states of those that go on are picked.

With one live hypothesis it is greedy search, or, where a sentence's continuation is drawn, sampling: then a step has
one candidate, the token that `models.sampling` drew, and everything else is the same.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from models.backtrace import Past, empty_past, record, walk_back
from models.candidates import Candidates, Limits, best_candidates, force, scored
from models.constraints import forbidden_pairs
from models.ranking import coverage_penalty, length_penalty
from models.sampling import drawn_candidate
from models.search_options import Prefix, Sampling, SearchOptions, SpecialIds
from models.states import Begin, Nothing, StepFunction, take_rows


class BeamSearchResult(NamedTuple):
    """The N best hypotheses of each sentence, best first."""

    ids: tf.Tensor  # [B, N, L] int32, without start and end tokens, padded on the right
    lengths: tf.Tensor  # [B, N] int32, tokens without the end token
    scores: tf.Tensor  # [B, N] float32, see `models.ranking`; -inf where fewer than N hypotheses exist
    log_probabilities: tf.Tensor  # [B, N] float32, of the hypothesis and its end token
    alignment: tf.Tensor | Nothing  # [B, N, L] int32, the source token that each token looked at most, if asked for
    steps: tf.Tensor  # [B] int32, how many steps the search of each sentence took


class _Finished(NamedTuple):
    scores: tf.Tensor  # [A, N]
    log_probabilities: tf.Tensor  # [A, N]
    lengths: tf.Tensor  # [A, N] tokens before the end token
    slots: tf.Tensor  # [A, N] the live slot that was extended by the end token


class _Sentences(NamedTuple):
    """What does not change while a sentence is searched."""

    numbers: tf.Tensor  # [A] places in the batch
    max_lengths: tf.Tensor  # [A]
    memory: Any  # [A, ...]
    prefix: Prefix | Nothing  # [A, ...]
    sampling: Sampling | Nothing  # [A, ...]
    source_lengths: tf.Tensor | Nothing  # [A]
    choices: tf.Tensor | Nothing  # [A, C]


class _Search(NamedTuple):
    token_ids: tf.Tensor  # [A, J] last token of each live hypothesis
    log_probabilities: tf.Tensor  # [A, J] of the live hypotheses; -inf marks an unused slot
    state: Any  # [A J, ...] what the next step begins with
    written: tf.Tensor | Nothing  # [A, J, L] the live hypotheses, if what they hold matters
    coverage: tf.Tensor | Nothing  # [A, J, S] see `coverage_penalty`
    finished: _Finished
    ended: tf.Tensor | Nothing  # [A] how many hypotheses have ended, if that matters
    steps: tf.Tensor  # [A]
    done: tf.Tensor  # [A] bool


def beam_search(
    step: StepFunction,
    initial_state: Any,
    memory: Any,
    *,
    max_lengths: tf.Tensor,
    special: SpecialIds,
    options: SearchOptions,
    prefix: Prefix | None = None,
    sampling: Sampling | None = None,
    source_lengths: tf.Tensor | None = None,
    choices: tf.Tensor | None = None,
    begin: Begin = take_rows,
) -> BeamSearchResult:
    """Search for the hypotheses with the highest score of `models.ranking`.

    With `beam_size` 1 it is greedy search: the first end token that is an argmax ends it. With a beam that holds every
    candidate it is exhaustive search. No sentence's result depends on the other sentences.

    Args:
        step: the decoder's step.
        initial_state: nest of tensors with leading dimension B.
        memory: nest of tensors with leading dimension B.
        max_lengths: `[B]` int32, most tokens before the end token, or the prefix' length if that is more; there the end
            token is forced, at its own price.
        special: the special tokens.
        options: what to look for.
        prefix: how the hypotheses of each sentence begin.
        sampling: with `beam_size` 1, how continuations are drawn; `None` for the most likely ones.
        source_lengths: `[B]`, real source tokens; needed for a coverage penalty.
        choices: `[B, C]` int32, ascending, the tokens that a sentence may choose from, where the step's logits are of
            these alone, in this order. The end token, what a prefix holds and what is `never` are among them. C is at
            least `models.candidates.least_choices`; a row with fewer is padded with the largest id, whose further
            logits are -inf.
        begin: makes of a step's states what the next step takes.

    Returns:
        A `BeamSearchResult`; B may be 0.

    Raises:
        ValueError: an argument that does not fit the others.
    """
    if special.end in (*options.never, *options.banned_tokens):
        raise ValueError(f"never and banned must not hold the end token {special.end}")
    if sampling is not None and options.beam_size > 1:
        raise ValueError(f"beam_size must be 1 with sampling, got {options.beam_size}")
    if sampling is not None and choices is not None:
        raise ValueError("choices must be None with sampling, which draws from the whole vocabulary")
    if options.coverage_penalty and source_lengths is None:
        raise ValueError("source_lengths must be given with a coverage penalty, got None")
    max_lengths = tf.cast(max_lengths, tf.int32)
    if prefix is not None:
        max_lengths = tf.maximum(max_lengths, prefix.lengths)
    batch = tf.size(max_lengths)
    limit = tf.reduce_max(tf.concat([[0], max_lengths], axis=0)) + 1
    sentences = _Sentences(
        numbers=tf.range(batch),
        max_lengths=max_lengths,
        memory=memory,
        prefix=() if prefix is None else prefix,
        sampling=() if sampling is None else sampling,
        source_lengths=() if source_lengths is None else source_lengths,
        choices=() if choices is None else choices,
    )
    search = _initial_search(begin(initial_state, None), sentences, limit, special.start, options)
    past = empty_past(limit, batch, options.beam_size, options.alignment)

    def some_done(values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Search until an eighth of the sentences are done, keep their results, go on with the others."""
        length, sentences, search, past, results = values
        length, search, past = _search_until_done(step, begin, length, sentences, search, past, special, options)
        results = tf.nest.map_structure(
            lambda every, some: tf.tensor_scatter_nd_update(every, sentences.numbers[:, tf.newaxis], some),
            results,
            (search.finished, search.steps),
        )
        going_on = tf.where(~search.done)[:, 0]
        return length, take_rows(sentences, going_on), _live_rows(search, going_on, options.beam_size), past, results

    initial = (tf.constant(0), sentences, search, past, (search.finished, search.steps))
    final = _while(lambda values: tf.size(values[1].numbers) > 0, some_done, initial)
    _, _, _, past, (finished, steps) = final
    ids, alignment = walk_back(past, finished.lengths, finished.slots, special.padding)
    return BeamSearchResult(ids, finished.lengths, finished.scores, finished.log_probabilities, alignment, steps)


def _while(condition: Callable[[Any], tf.Tensor], body: Callable[[Any], Any], values: Any) -> Any:
    """A loop over a nest whose tensors may change their leading dimension."""

    def of_any_size(value: tf.Tensor) -> tf.Tensor:
        shape = [None, *value.shape[1:]] if value.shape.rank else []
        return tf.raw_ops.PlaceholderWithDefault(input=value, shape=shape)

    # A loop takes the shapes of its first values for those of all; `shape_invariants` do not keep TensorFlow's graph
    # optimizer from doing the same.
    values = tf.nest.map_structure(of_any_size, values)
    (values,) = tf.while_loop(lambda it: condition(it), lambda it: (body(it),), (values,))
    return values


def _live_rows(search: _Search, rows: tf.Tensor, beam_size: int) -> _Search:
    """The search of some of the sentences."""
    every = tf.reshape(rows[:, tf.newaxis] * beam_size + tf.range(beam_size, dtype=rows.dtype), [-1])
    some: _Search = take_rows(search._replace(state=()), rows)
    return some._replace(state=take_rows(search.state, every))


def _initial_search(
    state: Any, sentences: _Sentences, limit: tf.Tensor, start_id: int, options: SearchOptions
) -> _Search:
    batch, n_best = tf.size(sentences.numbers), options.n_best
    # One live hypothesis, the empty one. TensorFlow must not take the number for that of all steps.
    slots = tf.raw_ops.PlaceholderWithDefault(input=1, shape=[])
    coverage: tf.Tensor | Nothing = ()
    if options.coverage_penalty:
        columns = tf.reduce_max(tf.concat([[0], tf.cast(sentences.source_lengths, tf.int32)], axis=0))
        coverage = tf.zeros([batch, slots, columns])
    return _Search(
        token_ids=tf.fill([batch, slots], start_id),
        log_probabilities=tf.zeros([batch, slots]),
        state=state,
        written=tf.zeros([batch, slots, limit], tf.int32) if options.remembers else (),
        coverage=coverage,
        finished=_Finished(
            scores=tf.fill([batch, n_best], float("-inf")),
            log_probabilities=tf.fill([batch, n_best], float("-inf")),
            lengths=tf.zeros([batch, n_best], tf.int32),
            slots=tf.zeros([batch, n_best], tf.int32),
        ),
        ended=tf.zeros([batch], tf.int32) if options.stop_after else (),
        steps=tf.zeros([batch], tf.int32),
        done=tf.zeros([batch], tf.bool),
    )


def _search_until_done(
    step: StepFunction,
    begin: Begin,
    length: tf.Tensor,
    sentences: _Sentences,
    search: _Search,
    past: Past,
    special: SpecialIds,
    options: SearchOptions,
) -> tuple[tf.Tensor, _Search, Past]:
    """Steps until an eighth of the sentences are done; at least one step."""
    count = tf.size(sentences.numbers)
    long_enough = tf.minimum(sentences.max_lengths, options.min_length)
    # Of the longest hypothesis: log-probabilities only fall, the length penalty only grows and the one of coverage is
    # at most 0, so that no live hypothesis can reach a score above its log-probability over this.
    least_penalty = length_penalty(sentences.max_lengths + 1, options.length_penalty, options.length_normalization)

    def body(values: tuple[tf.Tensor, _Search, Past]) -> tuple[tf.Tensor, _Search, Past]:
        length, search, past = values
        logits, state, attention = step(tf.reshape(search.token_ids, [-1]), search.state, sentences.memory)
        if options.attends and not tf.is_tensor(attention):
            raise ValueError("options must not ask for coverage or alignment of a decoder without attention")
        candidates = _candidates(
            tf.cast(logits, tf.float32), length, sentences, search, length >= long_enough, special, options
        )
        coverage = search.coverage
        if options.coverage_penalty:
            weights = tf.convert_to_tensor(attention)[
                :, : tf.shape(coverage)[2]
            ]  # without padding that no sentence needs
            coverage += tf.reshape(tf.cast(weights, tf.float32), tf.shape(coverage))
        ends = _ends(candidates, special.end, options)
        finished = _finish(search, candidates, ends, length, coverage, sentences, options)
        search, slots = _extend(search, candidates, state, coverage, length, special.end, options, begin)
        reachable = search.log_probabilities[:, 0] / least_penalty
        done = search.done | (finished.scores[:, -1] >= reachable) | (length >= sentences.max_lengths)
        if options.stop_after:
            ended = search.ended + tf.math.count_nonzero(ends, axis=1, dtype=tf.int32)
            search = search._replace(ended=ended)
            done |= ended >= options.stop_after
        if options.beam_size == 1:
            done |= finished.scores[:, 0] > float("-inf")  # the only slot is taken: greedy search ends here
        past = record(past, length, sentences.numbers, search.token_ids, slots, attention)
        steps = search.steps + tf.cast(~search.done, tf.int32)
        return length + 1, search._replace(finished=finished, steps=steps, done=done), past

    def enough_go_on(values: tuple[tf.Tensor, _Search, Past]) -> tf.Tensor:
        return 8 * tf.math.count_nonzero(~values[1].done, dtype=tf.int32) > 7 * count

    result: tuple[tf.Tensor, _Search, Past] = _while(enough_go_on, body, (length, search, past))
    return result


def _candidates(
    logits: tf.Tensor,
    length: tf.Tensor,
    sentences: _Sentences,
    search: _Search,
    may_end: tf.Tensor,
    special: SpecialIds,
    options: SearchOptions,
) -> Candidates:
    """The best extensions of each sentence's live hypotheses."""
    forbidden = None
    if options.remembers:
        written = tf.reshape(search.written, [-1, tf.shape(search.written)[2]])
        forbidden = forbidden_pairs(written, length, options)
    choices = None if isinstance(sentences.choices, tuple) else sentences.choices
    limits = Limits(options, special.end, may_end, forbidden, choices)
    known, live = scored(logits), search.log_probabilities
    if isinstance(sentences.sampling, Sampling):
        found = drawn_candidate(known, live, length, sentences.sampling, limits)
    else:
        found = best_candidates(known, live, limits)
    # Where nothing may follow any of a sentence's hypotheses, they end.
    stuck = tf.math.is_inf(found.log_probabilities[:, 0])
    forced = tf.where(stuck | (length >= sentences.max_lengths), special.end, -1)
    if isinstance(sentences.prefix, Prefix):
        ids, lengths = sentences.prefix
        columns = tf.maximum(tf.shape(ids)[1] - 1, 0)
        # One column more, lest there be none.
        token = tf.gather(tf.pad(ids, [[0, 0], [0, 1]]), tf.minimum(length, columns), axis=1)
        forced = tf.where(length < lengths, token, forced)
    any_forced = tf.reduce_any(forced >= 0)  # in few steps; else it would look up a price for nothing
    result: Candidates = tf.cond(any_forced, lambda: force(found, known, live, forced, choices), lambda: found)
    return result


def _ends(candidates: Candidates, end_id: int, options: SearchOptions) -> tf.Tensor:
    """Which of the candidates `[A, M]` end a hypothesis: of the best K those with the end token."""
    among_best = tf.range(candidates.tokens.shape[1]) < options.beam_size
    return (candidates.tokens == end_id) & among_best & (candidates.log_probabilities > float("-inf"))


def _finish(
    search: _Search,
    candidates: Candidates,
    ends: tf.Tensor,
    length: tf.Tensor,
    coverage: tf.Tensor | Nothing,
    sentences: _Sentences,
    options: SearchOptions,
) -> _Finished:
    """The finished list after this step: old entries stay as they are, new ones compete by score."""
    log_probabilities = tf.where(ends & ~search.done[:, tf.newaxis], candidates.log_probabilities, float("-inf"))
    scores = log_probabilities / length_penalty(length + 1, options.length_penalty, options.length_normalization)
    if options.coverage_penalty:
        penalties = coverage_penalty(coverage, sentences.source_lengths, options.coverage_penalty)
        scores += tf.gather(penalties, candidates.slots, batch_dims=1)
    new = _Finished(
        scores=scores,
        log_probabilities=log_probabilities,
        lengths=tf.fill(tf.shape(candidates.slots), length),
        slots=candidates.slots,
    )
    both = _Finished(*(tf.concat(pair, axis=1) for pair in zip(search.finished, new, strict=True)))
    _, best = tf.math.top_k(both.scores, options.n_best)
    return _Finished(*(tf.gather(values, best, batch_dims=1) for values in both))


def _extend(
    search: _Search,
    candidates: Candidates,
    state: Any,
    coverage: tf.Tensor | Nothing,
    length: tf.Tensor,
    end_id: int,
    options: SearchOptions,
    begin: Begin,
) -> tuple[_Search, tf.Tensor]:
    """Go on with the best K candidates that do not end; and the slots that they extend."""
    going_on = tf.where(candidates.tokens == end_id, float("-inf"), candidates.log_probabilities)
    live, best = tf.math.top_k(going_on, options.beam_size)  # --> [A, K]
    slots = tf.gather(candidates.slots, best, batch_dims=1)
    tokens = tf.gather(candidates.tokens, best, batch_dims=1)
    rows = None
    if options.beam_size > 1:  # else each sentence's only hypothesis goes on where it is
        sentences, each = tf.unstack(tf.shape(search.token_ids))
        rows = tf.reshape(tf.range(sentences)[:, tf.newaxis] * each + slots, [-1])  # --> [A K]
    state = begin(state, rows)
    written = search.written
    if options.remembers:
        here = tf.range(tf.shape(written)[2]) == length
        written = tf.where(here, tokens[:, :, tf.newaxis], tf.gather(written, slots, batch_dims=1))
    if options.coverage_penalty:
        coverage = tf.gather(coverage, slots, batch_dims=1)
    extended = search._replace(
        token_ids=tokens,
        log_probabilities=live,
        state=state,
        written=written,
        coverage=coverage,
    )
    return extended, slots
