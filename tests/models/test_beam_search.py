"""The search against exhaustive enumeration, against greedy search, by hand on a lattice, and its invariances."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.beam_search import beam_search, length_penalty
from tests.reference import exhaustive_search, log_softmax

PAD, START, END = 0, 2, 3
VOCABULARY = 6


class Automaton:
    """A random language model with memory: the state is a vector, so a wrongly gathered state changes every result.

    Each row of the batch has a table of its own: row b's logits are `tanh(state) @ tables[b]`.
    """

    def __init__(self, rows: int, seed: int, scale: float = 2.0) -> None:
        generator = np.random.default_rng(seed)
        self.tables = generator.normal(size=(rows, 4, VOCABULARY)).astype("float32") * scale
        self.embeddings = generator.normal(size=(VOCABULARY, 4)).astype("float32")

    def initial_state(self) -> dict[str, tf.Tensor]:
        rows = len(self.tables)
        return {"vector": tf.zeros([rows, 4]), "row": tf.range(rows)}

    def step(self, token_ids, state):
        vector = tf.tanh(0.7 * state["vector"] + tf.gather(self.embeddings, token_ids))
        logits = tf.einsum("bh,bhv->bv", vector, tf.gather(self.tables, state["row"]))
        return logits, {"vector": vector, "row": state["row"]}

    def log_probabilities(self, row: int, tokens) -> np.ndarray:
        vector = np.zeros(4, "float32")
        for token in (START, *tokens):
            vector = np.tanh(np.float32(0.7) * vector + self.embeddings[token])
        return log_softmax((vector @ self.tables[row]).astype("float64"))

    def search(self, max_lengths, graph=True, **options):
        def run():
            return beam_search(
                self.step,
                self.initial_state(),
                max_lengths=tf.constant(max_lengths),
                start_id=START,
                end_id=END,
                padding_id=PAD,
                **options,
            )

        return (tf.function(run) if graph else run)()


def hypotheses(result, row):
    return [
        tuple(ids[:length]) for ids, length in zip(result.ids[row].numpy(), result.lengths[row].numpy(), strict=True)
    ]


@pytest.mark.parametrize("graph", [True, False])
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    max_lengths=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    banned=st.sampled_from([(), (PAD, START), (1, PAD, START)]),
)
def test_a_wide_beam_equals_exhaustive_search(graph, seed, max_lengths, alpha, banned):
    automaton = Automaton(len(max_lengths), seed)
    # Room for every prefix and every end among the best K candidates.
    beam_size, n_best = (VOCABULARY - len(banned)) ** max(1, *max_lengths, 1), 4
    n_best = min(n_best, beam_size)
    result = automaton.search(max_lengths, graph, beam_size=beam_size, n_best=n_best, alpha=alpha, banned_ids=banned)
    for row, max_length in enumerate(max_lengths):
        expected = exhaustive_search(
            lambda tokens, row=row: automaton.log_probabilities(row, tokens), VOCABULARY, END, max_length, alpha, banned
        )[:n_best]
        count = len(expected)
        assert hypotheses(result, row)[:count] == [tokens for _, _, tokens in expected]
        np.testing.assert_allclose(result.scores[row][:count], [score for score, _, _ in expected], atol=1e-4)
        np.testing.assert_allclose(result.log_probabilities[row][:count], [p for _, p, _ in expected], atol=1e-4)
        assert np.isneginf(result.scores[row][count:]).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([0.0, 1.0]))
def test_beam_one_equals_greedy(seed, alpha):
    automaton, max_length = Automaton(3, seed), 8
    result = automaton.search([max_length] * 3, beam_size=1, alpha=alpha)
    for row in range(3):
        tokens, total = (), 0.0
        while len(tokens) < max_length:
            log_probabilities = automaton.log_probabilities(row, tokens)
            token = int(np.argmax(log_probabilities))
            total += log_probabilities[token]
            if token == END:
                break
            tokens += (token,)
        else:
            total += automaton.log_probabilities(row, tokens)[END]
        assert hypotheses(result, row) == [tokens]
        assert float(result.log_probabilities[row, 0]) == pytest.approx(total, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), beam_size=st.integers(1, 5), alpha=st.sampled_from([0.0, 1.0]))
def test_rows_do_not_see_each_other_and_scores_are_true(seed, beam_size, alpha):
    automaton = Automaton(4, seed)
    max_lengths = [5, 0, 9, 3]
    result = automaton.search(max_lengths, beam_size=beam_size, n_best=beam_size, alpha=alpha)
    for row, max_length in enumerate(max_lengths):
        alone = Automaton(4, seed)
        alone.tables = alone.tables[row : row + 1]
        single = alone.search([max_length], beam_size=beam_size, n_best=beam_size, alpha=alpha)
        assert hypotheses(single, 0) == hypotheses(result, row)
        np.testing.assert_allclose(single.scores[0], result.scores[row], atol=1e-5)
        for tokens, score in zip(hypotheses(result, row), result.scores[row].numpy(), strict=True):
            if np.isneginf(score):
                continue
            total = sum(
                automaton.log_probabilities(row, tokens[:position])[token]
                for position, token in enumerate((*tokens, END))
            )
            assert len(tokens) <= max_length and END not in tokens
            assert score == pytest.approx(total / ((5 + len(tokens) + 1) / 6) ** alpha, abs=1e-4)
        assert (result.scores[row, :-1].numpy() >= result.scores[row, 1:].numpy()).all()
        distinct = [
            tokens for tokens, s in zip(hypotheses(result, row), result.scores[row], strict=True) if s > -np.inf
        ]
        assert len(set(distinct)) == len(distinct)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), beam_size=st.integers(2, 5), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_the_early_exit_changes_nothing(seed, beam_size, alpha):
    """Asking for more hypotheses makes the search go on for longer; the best ones stay the same."""
    automaton = Automaton(3, seed)
    one = automaton.search([10] * 3, beam_size=beam_size, n_best=1, alpha=alpha)
    all_ = automaton.search([10] * 3, beam_size=beam_size, n_best=beam_size, alpha=alpha)
    assert int(one.steps) <= int(all_.steps)
    for row in range(3):
        assert hypotheses(one, row) == hypotheses(all_, row)[:1]
        np.testing.assert_allclose(one.scores[row, 0], all_.scores[row, 0], atol=1e-6)


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
        return beam_search(
            lambda token_ids, state: (tf.gather(table, token_ids), state),
            tf.zeros([1, 1]),
            max_lengths=tf.constant([5]),
            start_id=START,
            end_id=END,
            padding_id=PAD,
            beam_size=beam_size,
            n_best=n_best,
        )

    assert hypotheses(search(1, 1), 0) == [(a, c)]
    wide = search(3, 3)
    assert hypotheses(wide, 0) == [(b,), (a, c), (a,)]
    np.testing.assert_allclose(np.exp(wide.scores[0]), [0.36, 0.30, 0.18], rtol=1e-5)
    # With nothing worse than 0.36 to gain, the search for one hypothesis stops when the best live one is below that.
    assert int(search(3, 1).steps) == 2


def test_any_batch_size_in_one_trace_and_none_at_all():
    table = tf.constant(np.random.default_rng(0).normal(size=(VOCABULARY, VOCABULARY)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def search(max_lengths):
        return beam_search(
            lambda token_ids, state: (tf.gather(table, token_ids), state),
            tf.zeros([tf.shape(max_lengths)[0], 2]),
            max_lengths=max_lengths,
            start_id=START,
            end_id=END,
            padding_id=PAD,
            beam_size=4,
            n_best=2,
        )

    assert search(tf.constant([5, 3, 4])).ids.shape[:2] == [3, 2]
    assert search(tf.constant([7])).ids.shape[:2] == [1, 2]
    empty = search(tf.zeros([0], tf.int32))
    assert empty.ids.shape[:2] == [0, 2] and int(empty.steps) == 0


def test_length_penalty_is_the_formula():
    assert float(length_penalty(tf.constant(7), 0.6)) == pytest.approx((12 / 6) ** 0.6)
    assert float(length_penalty(tf.constant(1), 1.0)) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be a positive number, got 0"),
        ({"beam_size": 2, "n_best": 3}, "n_best must be between 1 and beam_size 2, got 3"),
        ({"beam_size": 2, "alpha": -1.0}, "alpha must not be negative, got -1.0"),
        ({"beam_size": 2, "banned_ids": [END]}, "banned_ids must not hold the end token 3"),
    ],
)
def test_refused_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Automaton(1, 0).search([3], **options)
