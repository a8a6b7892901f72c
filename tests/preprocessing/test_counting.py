"""Counting on Beam: right, and ranked the same way always."""

import pickle
import random
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.beam_run import run
from preprocessing.counting import CountTokens, TopTokens, TopTokensFn, by_frequency
from preprocessing.text import TextConfig


def expected_top(counts, max_size, min_count=1):
    kept = [entry for entry in counts if entry[1] >= min_count]
    return sorted(kept, key=lambda entry: (-entry[1], entry[0].encode()))[:max_size]


def test_equal_counts_stand_in_the_order_of_their_bytes():
    counts = [("b", 2), (" ", 5), ("漢", 2), ("\U0001f468", 2), ("\uffed.", 2), ("a", 9)]
    # U+FFED comes before U+1F468, as in UTF-8 and unlike in UTF-16.
    assert [token for token, _ in by_frequency(counts)] == ["a", " ", "b", "漢", "\uffed.", "\U0001f468"]


@pytest.mark.parametrize("held_tokens", [1, 1000])
def test_tokens_are_counted_and_ranked(tmp_path, held_tokens):
    batches = [["b a a .", "a, b"], ["", "<pad> c"]]
    counts = {"a": 3, "b": 2, ".": 1, "\uffed,": 1, "<\uffed": 1, "pad": 1, "\uffed>": 1, "c": 1}

    def build(pipeline):
        counted = pipeline | beam.Create(batches) | CountTokens(TextConfig(), str(tmp_path), 3, held_tokens)
        assert_that(counted, equal_to(list(counts.items())), label="counts")
        top = counted | TopTokens(5, 1)
        assert_that(top, equal_to([expected_top(counts.items(), 5)]), label="top")
        frequent = counted | "Frequent" >> TopTokens(None, 2)
        assert_that(frequent, equal_to([[("a", 3), ("b", 2)]]), label="frequent")

    assert run(build)["tokens_counted"] == sum(counts.values())


def test_nothing_gives_an_empty_list(tmp_path):
    def build(pipeline):
        counted = pipeline | beam.Create([], reshuffle=False) | CountTokens(TextConfig(), str(tmp_path), 2)
        top = counted | TopTokens(5, 1)
        assert_that(top, equal_to([[]]))

    run(build)


@settings(deadline=None)
@given(
    tokens=st.lists(st.text(alphabet="ab漢\uffed\U0001f468", min_size=1, max_size=3), unique=True, max_size=40),
    max_size=st.sampled_from([1, 2, 7, None]),
    seed=st.integers(0, 1000),
)
def test_any_order_of_merging_gives_the_same(tokens, max_size, seed):
    chance = random.Random(seed)
    counts = [(token, chance.randint(1, 3)) for token in tokens]
    parts = [[] for _ in range(4)]
    for entry in counts:
        chance.choice(parts).append(entry)
    top = pickle.loads(pickle.dumps(TopTokensFn(max_size)))
    accumulators = []
    for part in parts:
        accumulator = top.create_accumulator()
        for entry in part:
            accumulator = top.add_input(accumulator, entry)
        accumulators.append(pickle.loads(pickle.dumps(accumulator)))
    first = top.merge_accumulators(accumulators[:2])
    merged = top.merge_accumulators([accumulators[3], first, accumulators[2]])
    assert top.extract_output(merged) == expected_top(counts, max_size)


def test_the_heap_is_bounded_and_right_beyond_its_bound():
    top = TopTokensFn(10)
    counts = Counter({f"t{number}": number % 997 for number in range(20_000)})
    accumulator = top.create_accumulator()
    longest = 0
    for entry in counts.items():
        accumulator = top.add_input(accumulator, entry)
        longest = max(longest, len(accumulator))
    assert longest < 2000
    assert top.extract_output(accumulator) == expected_top(counts.items(), 10)
