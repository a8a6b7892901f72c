"""Drawing against plain NumPy, its numbers against plain integers, and what it promises: one seed, one answer."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.sampling import draw, uniform
from models.search_options import Sampling
from tests.models.automaton import END, VOCABULARY, Automaton, hypotheses
from tests.reference import log_softmax
from tests.reference_search import Rules, may_follow

MASK = 2**64 - 1


def mix(value):
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def sampling(seeds, temperature=1.0, top_k=0, top_p=1.0):
    rows = len(seeds)
    return Sampling(
        tf.constant(seeds, tf.int64), tf.fill([rows], temperature), tf.fill([rows], top_k), tf.fill([rows], top_p)
    )


@settings(max_examples=50, deadline=None)
@given(seeds=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4), step=st.integers(0, 1000))
def test_numbers_are_those_of_splitmix(seeds, step):
    expected = [(mix((mix(seed & MASK) + (step + 1) * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24 for seed in seeds]
    assert uniform(tf.constant(seeds, tf.int64), tf.constant(step)).numpy().tolist() == expected


def test_numbers_are_uniform_over_seeds_and_over_steps():
    over_seeds = uniform(tf.range(20_000, dtype=tf.int64), tf.constant(5)).numpy()
    over_steps = np.array([uniform(tf.constant([7], tf.int64), tf.constant(step))[0] for step in range(2000)])
    for numbers in (over_seeds, over_steps):
        counts, _ = np.histogram(numbers, bins=10, range=(0.0, 1.0))
        expected = len(numbers) / 10
        assert ((counts - expected) ** 2 / expected).sum() < 28  # chi-square, 9 degrees of freedom: chance 0.001
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.08


def plain_draw(logits, number, temperature, top_k, top_p):
    """By the definition, in float64."""
    order = np.argsort(-logits, kind="stable")
    order = order[: top_k or len(order)]
    probabilities = np.exp(log_softmax(logits[order].astype("float64") / temperature))
    before = np.cumsum(probabilities) - probabilities
    kept = (before < top_p) | (np.arange(len(order)) == 0)
    reached = np.cumsum(probabilities[kept]) / probabilities[kept].sum()
    return order[kept][min(np.searchsorted(reached, number, side="right"), kept.sum() - 1)], reached


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    number=st.integers(0, 2**24 - 1).map(lambda bits: bits / 2**24),
    temperature=st.sampled_from([0.25, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 2, 5]),
    top_p=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    struck=st.booleans(),
)
def test_draw_inverts_the_distribution_function(seed, number, temperature, top_k, top_p, struck):
    logits = np.random.default_rng(seed).normal(size=9).astype("float32") * 2
    if struck:
        logits[[0, 4]] = -np.inf
    expected, reached = plain_draw(logits, number, temperature, top_k, top_p)
    assume(np.abs(reached - number).min() > 1e-5)  # else float32 may decide either way
    found = draw(tf.constant(logits[None]), tf.constant([number]), sampling([0], temperature, top_k, top_p))
    assert found.numpy().tolist() == [expected]


def test_extreme_temperatures_draw_no_forbidden_token():
    logits = tf.constant([[-np.inf, 40.0, 50.0, 30.0]] * 2, tf.float32)
    numbers = tf.constant([0.0, 0.999])
    assert draw(logits, numbers, sampling([0, 0], 1e-37)).numpy().tolist() == [2, 2]
    assert 0 not in draw(logits, numbers, sampling([0, 0], 1e30)).numpy().tolist()


def test_frequencies_are_the_probabilities():
    rows = 20_000
    logits = tf.tile([[2.0, 1.0, 0.0, -1.0]], [rows, 1])
    seeds = tf.range(rows, dtype=tf.int64)
    tokens = draw(logits, uniform(seeds, tf.constant(0)), sampling([0] * rows)).numpy()
    expected = np.exp(log_softmax(np.array([2.0, 1.0, 0.0, -1.0]))) * rows
    assert ((np.bincount(tokens, minlength=4) - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom: 0.001


def test_a_sentence_and_a_seed_have_one_answer_in_any_batch():
    automaton, rules = Automaton(6, 0), [Rules(VOCABULARY, END, 8, never=(0, 2))] * 6
    seeds = [5, -1, 2**62, 0, 7, 7]
    together = automaton.search(rules, 1, 1, sampling=sampling(seeds))
    for sentence, seed in enumerate(seeds):
        alone = automaton.only(sentence).search(rules[:1], 1, 1, sampling=sampling([seed]))
        assert hypotheses(alone, 0) == hypotheses(together, sentence)
        # The log-probability is the model's own, whatever was done to draw.
        (tokens,) = hypotheses(together, sentence)
        total = sum(automaton.model(sentence, tokens[:count])[0][token] for count, token in enumerate((*tokens, END)))
        assert float(together.log_probabilities[sentence, 0]) == pytest.approx(total, abs=1e-4)


def test_seeds_matter_and_a_small_temperature_is_greedy():
    one = Automaton(1, 2)
    several = Automaton(12, 0)
    several.tables, several.keys, several.lengths = (np.repeat(v, 12, 0) for v in (one.tables, one.keys, one.lengths))
    several.embeddings = one.embeddings
    rules = [Rules(VOCABULARY, END, 8)] * 12
    drawn = several.search(rules, 1, 1, sampling=sampling(list(range(12))))
    assert len({hypotheses(drawn, sentence)[0] for sentence in range(12)}) > 3
    greedy = hypotheses(several.search(rules, 1, 1), 0)
    for options in ({"temperature": 1e-3}, {"top_k": 1}, {"top_p": 0.0}):
        cold = several.search(rules, 1, 1, sampling=sampling(list(range(12)), **options))
        assert all(hypotheses(cold, sentence) == greedy for sentence in range(12))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_forbidden_is_never_drawn(seed):
    rules = Rules(VOCABULARY, END, 7, min_length=2, ngram=2, never=(0, 2), banned=((4,), (5, 6)), prefix=(6, 5))
    result = Automaton(4, seed).search([rules] * 4, 1, 1, sampling=sampling([seed, 1, 2, 3], temperature=5.0))
    for sentence in range(4):
        (tokens,) = hypotheses(result, sentence)
        for count, token in enumerate((*tokens, END)):
            assert token in list(may_follow(tokens[:count], rules))


def test_where_everything_is_forbidden_a_sample_ends():
    rules = Rules(VOCABULARY, END, 7, min_length=7, ngram=1, never=(0, 2))
    result = Automaton(2, 0).search([rules] * 2, 1, 1, sampling=sampling([1, 2]))
    for sentence in range(2):
        (tokens,) = hypotheses(result, sentence)
        assert sorted(tokens) == [1, 4, 5, 6]
        assert np.isfinite(result.log_probabilities[sentence])


def test_sampling_needs_one_hypothesis():
    with pytest.raises(ValueError, match="beam_size must be 1 with sampling, got 2"):
        Automaton(1, 0).search([Rules(VOCABULARY, END, 2)], 2, 1, sampling=sampling([0]))
