"""The search against slow oracles, exhaustive enumeration, a lattice by hand, and its invariances."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.beam_search import beam_search
from models.ranking import coverage_penalty, length_penalty
from models.search_options import SearchOptions, SpecialIds
from models.states import Step
from tests import reference_search
from tests.models.automaton import END, PAD, START, UNKNOWN, VOCABULARY, Automaton, hypotheses
from tests.reference_search import Rules

SPECIAL = SpecialIds(START, END, PAD)
WORDS = [token for token in range(VOCABULARY) if token not in (PAD, START, END)]

rules = st.builds(
    Rules,
    vocabulary_size=st.just(VOCABULARY),
    end_id=st.just(END),
    max_length=st.just(0),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    normalization=st.sampled_from(["gnmt", "tokens"]),
    beta=st.sampled_from([0.0, 0.0, 0.2, 1.0]),
    min_length=st.sampled_from([0, 0, 1, 3]),
    ngram=st.sampled_from([0, 0, 1, 2, 3]),
    never=st.sampled_from([(), (PAD, START), (PAD, START, UNKNOWN)]),
    banned=st.sampled_from([(), ((4,),), ((4, 5), (6,)), ((5, 5), (4, 5, 6), (UNKNOWN, 4))]),
)
prefixes = st.lists(st.sampled_from(WORDS), max_size=3).map(tuple)


def sentences(common, lengths, beginnings):
    """The rules of each sentence: what all have in common, and what is its own."""
    own = zip(lengths, beginnings, strict=False)
    return [dataclasses.replace(common, max_length=length, prefix=prefix) for length, prefix in own]


def check(automaton, result, sentence, expected):
    """Ids, scores, log-probabilities and alignment of a sentence's hypotheses."""
    assert hypotheses(result, sentence) == [hypothesis.tokens for hypothesis in expected]
    for place, hypothesis in enumerate(expected):
        assert float(result.scores[sentence, place]) == pytest.approx(hypothesis.score, abs=1e-4)
        assert float(result.log_probabilities[sentence, place]) == pytest.approx(hypothesis.log_probability, abs=1e-4)
        looked_at = [
            int(np.argmax(automaton.model(sentence, hypothesis.tokens[:count])[1]))
            for count in range(len(hypothesis.tokens))
        ]
        assert result.alignment[sentence, place, : len(looked_at)].numpy().tolist() == looked_at
    assert np.isneginf(result.scores[sentence, len(expected) :]).all()


def check_against_a_plain_search(automaton, each, beam_size, n_best):
    """Everything that is found, and the steps it took."""
    result = automaton.search(each, beam_size, n_best)
    for sentence, own in enumerate(each):
        found, steps = reference_search.beam_search(
            lambda tokens, sentence=sentence, own=own: automaton.model(sentence, tokens, own.choices),
            own,
            beam_size,
            n_best,
        )
        check(automaton, result, sentence, found)
        assert int(result.steps[sentence]) == steps


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    common=rules,
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=4),
    beginnings=st.lists(prefixes, min_size=4, max_size=4),
    beam_size=st.integers(1, 4),
    data=st.data(),
)
def test_it_equals_a_plain_search_with_any_options(seed, common, lengths, beginnings, beam_size, data):
    n_best = data.draw(st.integers(1, beam_size))
    common = dataclasses.replace(common, stop_after=data.draw(st.sampled_from([0, n_best, beam_size])))
    each = sentences(common, lengths, beginnings)
    check_against_a_plain_search(Automaton(len(lengths), seed), each, beam_size, n_best)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    common=rules,
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=3),
    beginnings=st.lists(prefixes, min_size=3, max_size=3),
    beam_size=st.integers(1, 4),
    lists=st.lists(st.sets(st.sampled_from(WORDS)), min_size=3, max_size=3),
    data=st.data(),
)
def test_with_choices_it_equals_a_plain_search_among_them(seed, common, lengths, beginnings, beam_size, lists, data):
    each = [
        dataclasses.replace(own, choices=tuple(sorted({PAD, START, END, *common.never, *own.prefix, *chosen})))
        for own, chosen in zip(sentences(common, lengths, beginnings), lists, strict=False)
    ]
    check_against_a_plain_search(Automaton(len(lengths), seed), each, beam_size, data.draw(st.integers(1, beam_size)))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    common=rules,
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=2),
    beginnings=st.lists(prefixes, min_size=2, max_size=2),
)
def test_a_wide_beam_equals_exhaustive_search(seed, common, lengths, beginnings):
    automaton, each = Automaton(len(lengths), seed), sentences(common, lengths, beginnings)
    # Room for every prefix and every end among the best K candidates.
    beam_size = (VOCABULARY - len(common.never)) ** max(1, *lengths, 1)
    result = automaton.search(each, beam_size, 4)
    for sentence, own in enumerate(each):
        model = lambda tokens, sentence=sentence: automaton.model(sentence, tokens)  # noqa: E731
        check(automaton, result, sentence, reference_search.exhaustive_search(model, own)[:4])


@pytest.mark.parametrize("seed", range(4))
def test_graph_equals_eager(seed):
    common = Rules(VOCABULARY, END, 0, 0.6, "gnmt", 0.2, 1, 2, (PAD, START), ((4, 5), (6,)))
    automaton, each = Automaton(3, seed), sentences(common, [6, 2, 9], [(), (5, 6), (4,)])
    eager, graph = (automaton.search(each, 3, 3, graph) for graph in (False, True))
    for one, other in zip(eager, graph, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), beam_size=st.integers(1, 5), common=rules)
def test_sentences_do_not_see_each_other(seed, beam_size, common):
    automaton, each = Automaton(5, seed), sentences(common, [5, 0, 12, 3, 1], [(), (4,), (), (5, 6, 4), ()])
    together = automaton.search(each, beam_size, beam_size)
    for sentence, own in enumerate(each):
        alone = automaton.only(sentence).search([own], beam_size, beam_size)
        assert hypotheses(alone, 0) == hypotheses(together, sentence)
        np.testing.assert_allclose(alone.scores[0], together.scores[sentence], atol=1e-5)
        assert alone.steps[0] == together.steps[sentence]


def test_greedy_search_follows_the_argmax_to_the_first_end():
    automaton = Automaton(6, 1)
    result = automaton.search([Rules(VOCABULARY, END, 8)] * 6, 1, 1)
    ended = 0
    for sentence in range(6):
        tokens: tuple[int, ...] = ()
        while len(tokens) < 8 and (token := int(np.argmax(automaton.model(sentence, tokens)[0]))) != END:
            tokens += (token,)
        assert hypotheses(result, sentence) == [tokens]
        ended += len(tokens) < 8
    assert 0 < ended < 6  # both ways to end occur


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), beam_size=st.integers(2, 5), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_the_early_exit_changes_nothing(seed, beam_size, alpha):
    """Asking for more hypotheses makes the search go on for longer; the best ones stay the same."""
    automaton, each = Automaton(3, seed), [Rules(VOCABULARY, END, 10, alpha)] * 3
    one, every = (automaton.search(each, beam_size, n_best) for n_best in (1, beam_size))
    assert (one.steps.numpy() <= every.steps.numpy()).all()
    for sentence in range(3):
        assert hypotheses(one, sentence) == hypotheses(every, sentence)[:1]
        np.testing.assert_allclose(one.scores[sentence, 0], every.scores[sentence, 0], atol=1e-6)


def test_a_search_that_stops_after_some_have_ended():
    automaton, rule = Automaton(6, 1), Rules(VOCABULARY, END, 10, 1.0)
    certain, early = (automaton.search([dataclasses.replace(rule, stop_after=count)] * 6, 4, 1) for count in (0, 2))
    assert (early.steps.numpy() <= certain.steps.numpy()).all() and (early.steps.numpy() < certain.steps.numpy()).any()
    assert (early.scores.numpy() <= certain.scores.numpy() + 1e-5).all() and np.isfinite(early.scores).all()


def test_sentences_that_are_done_take_no_more_steps():
    """The first step sees one row a sentence; of eight sentences, one that is done is seen no more."""
    automaton, rows = Automaton(8, 0), []
    step = automaton.step
    automaton.step = lambda token_ids, *rest: rows.append(token_ids.shape[0]) or step(token_ids, *rest)
    result = automaton.search([Rules(VOCABULARY, END, length) for length in (0, 0, 1, 1, 2, 2, 9, 9)], 2, 2)
    steps = result.steps.numpy()
    assert len(rows) == max(steps) and rows[0] == 8
    assert rows[1:] == [2 * np.count_nonzero(steps > step) for step in range(1, len(rows))]


def test_a_lattice_by_hand():
    """Greedy takes A (0.6), whose best end costs 0.3; the beam finds B (0.4), which ends at once.

    START --0.6--> A --0.5--> C, --0.3--> END, --0.2--> D      A END: 0.18
    START --0.4--> B --0.9--> END, --0.1--> C                  B END: 0.36
    C, D --1.0--> END                                          A C END: 0.30
    """
    a, b, c, d = 4, 5, 6, 7
    chances = np.full((8, 8), 1e-12, "float32")
    chances[START, [a, b]] = 0.6, 0.4
    chances[a, [c, END, d]] = 0.5, 0.3, 0.2
    chances[b, [END, c]] = 0.9, 0.1
    chances[[c, d], END] = 1.0
    table = tf.math.log(chances)

    def search(beam_size, n_best):
        options = SearchOptions(beam_size=beam_size, n_best=n_best)
        return beam_search(table_step(table), (), (), max_lengths=tf.constant([5]), special=SPECIAL, options=options)

    assert hypotheses(search(1, 1), 0) == [(a, c)]
    wide = search(3, 3)
    assert hypotheses(wide, 0) == [(b,), (a, c), (a,)]
    np.testing.assert_allclose(np.exp(wide.scores[0]), [0.36, 0.30, 0.18], rtol=1e-5)
    # With nothing worse than 0.36 to gain, the search for one hypothesis stops when the best live one is below that.
    assert search(3, 1).steps.numpy().tolist() == [2]


def table_step(table):
    """A step whose logits depend on the last token alone."""
    return lambda token_ids, state, memory: Step(tf.gather(table, token_ids), state)


def test_any_batch_size_in_one_trace_and_none_at_all():
    table = tf.constant(np.random.default_rng(0).normal(size=(VOCABULARY, VOCABULARY)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def search(max_lengths):
        options = SearchOptions(beam_size=4, n_best=2)
        return beam_search(table_step(table), (), (), max_lengths=max_lengths, special=SPECIAL, options=options)

    together = search(tf.constant([5, 3, 4]))
    for sentence, length in enumerate((5, 3, 4)):
        alone = search(tf.constant([length]))
        assert hypotheses(alone, 0) == hypotheses(together, sentence) != []
        np.testing.assert_allclose(alone.scores[0], together.scores[sentence], atol=1e-6)
    empty = search(tf.zeros([0], tf.int32))
    assert empty.ids.shape[:2] == [0, 2] and empty.steps.shape == [0]


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize(
    ("banned", "longest"),
    [
        (((4,), (5,)), 2),  # each of the other two may stand once
        (((4,), (5,), (6,), (UNKNOWN,)), 0),
        (((UNKNOWN,), (4,), (5, 6), (6, 5)), 1),
    ],
)
def test_where_everything_is_forbidden_hypotheses_end_before_the_least_length(beam_size, banned, longest):
    rule = Rules(VOCABULARY, END, 6, min_length=6, ngram=1, never=(PAD, START), banned=banned)
    automaton = Automaton(3, 0)
    check_against_a_plain_search(automaton, [rule, dataclasses.replace(rule, prefix=(4, 5)), rule], beam_size, 1)
    result = automaton.search([rule] * 3, beam_size, beam_size)
    for sentence in range(3):
        found = hypotheses(result, sentence)
        assert found and {len(tokens) for tokens in found} == {longest}
    if beam_size == 4:
        for sentence in range(3):
            model = lambda tokens, sentence=sentence: automaton.model(sentence, tokens)  # noqa: E731
            check(automaton, result, sentence, reference_search.exhaustive_search(model, rule)[:4])


def test_the_penalties_are_the_formulas():
    assert float(length_penalty(tf.constant(7), 0.6)) == pytest.approx((12 / 6) ** 0.6)
    assert float(length_penalty(tf.constant(1), 1.0)) == 1.0
    assert float(length_penalty(tf.constant(7), 0.5, "tokens")) == pytest.approx(7**0.5)
    coverage = tf.constant([[[0.5, 2.0, 0.25, 0.0]]])
    penalty = coverage_penalty(coverage, tf.constant([3]), 0.2)
    np.testing.assert_allclose(penalty, [[0.2 * np.log(0.5 * 0.25)]], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be a positive number, got 0"),
        ({"beam_size": 2, "n_best": 3}, "n_best must be between 1 and beam_size 2, got 3"),
        ({"length_penalty": -1.0}, "length_penalty must not be negative, got -1.0"),
        ({"coverage_penalty": -0.1}, "coverage_penalty must not be negative, got -0.1"),
        ({"length_normalization": "x"}, "length_normalization must be one of gnmt, tokens, got 'x'"),
        ({"beam_size": 3, "n_best": 3, "stop_after": 2}, "stop_after must be 0 or at least n_best 3, got 2"),
        ({"stop_after": -1}, "stop_after must be 0 or at least n_best 1, got -1"),
        ({"min_length": -1}, "min_length must not be negative, got -1"),
        ({"no_repeat_ngram": -2}, "no_repeat_ngram must not be negative, got -2"),
        ({"banned": ((),)}, "banned must hold sequences of at least one token"),
        ({"never": (END,)}, "never and banned must not hold the end token 3"),
        ({"banned": ((END,),)}, "never and banned must not hold the end token 3"),
        ({"coverage_penalty": 0.1}, "source_lengths must be given with a coverage penalty, got None"),
        ({"alignment": True}, "options must not ask for coverage or alignment of a decoder without attention"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        beam_search(
            table_step(tf.zeros([5, 5])),
            (),
            (),
            max_lengths=tf.constant([2]),
            special=SPECIAL,
            options=SearchOptions(**options),
        )
