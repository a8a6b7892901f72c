"""Vocabularies: counted right, ordered the same way always, and refused when broken."""

import pickle
import random
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import TextConfig
from preprocessing.vocabulary import CountTokens, TopTokens, TopTokensFn, read_vocabulary, write_vocabulary

HEAD = "".join(f"{token}\t0\n" for token in SPECIAL_TOKENS)


def expected_top(counts, max_size, min_count=1):
    kept = [entry for entry in counts if entry[1] >= min_count]
    return sorted(kept, key=lambda entry: (-entry[1], entry[0].encode()))[:max_size]


def test_a_file_survives(tmp_path):
    path = str(tmp_path / "v.tsv")
    write_vocabulary(path, [("b", 2), (" ", 5), ("漢", 2), ("\U0001f468", 2), ("\uffed.", 2), ("a", 9)])
    # U+FFED comes before U+1F468, as in UTF-8 and unlike in UTF-16.
    assert read_vocabulary(path) == [*SPECIAL_TOKENS, "a", " ", "b", "漢", "\uffed.", "\U0001f468"]
    assert (tmp_path / "v.tsv").read_text().startswith(HEAD + "a\t9\n \t5\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected token<TAB>count"),
        (HEAD + "a 3\n", "line 5: expected token<TAB>count, found 'a 3'"),
        (HEAD + "a\tmany\n", "line 5"),
        (HEAD + "\t3\n", "line 5"),
        (HEAD + "a\t3\n\nb\t2\n", "line 6"),
        (HEAD + "a\t3\nb\t2\na\t1\n", "line 7: token 'a' stands there twice"),
        (HEAD + "a\t3\n<pad>\t1\n", "line 6: token '<pad>' stands there twice"),
        ("a\t3\nb\t2\nc\t2\nd\t1\ne\t1\n", "expected the first lines to be"),
        (HEAD, "expected at least one token besides"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, content, message):
    path = tmp_path / "v.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_vocabulary(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "v.tsv").write_bytes(HEAD.encode() + b"\xff\t3\n")
    with pytest.raises(DataError, match=r"v\.tsv: expected UTF-8"):
        read_vocabulary(str(tmp_path / "v.tsv"))
    with pytest.raises(DataError, match=r"w\.tsv.*cannot be read"):
        read_vocabulary(str(tmp_path / "w.tsv"))


@pytest.mark.parametrize("counts", [[], [("<s>", 3)], [("", 1)], [("a\tb", 1)]])
def test_what_no_file_can_hold_is_not_written(tmp_path, counts):
    with pytest.raises(DataError, match=r"v\.tsv"):
        write_vocabulary(str(tmp_path / "v.tsv"), counts)
    assert not list(tmp_path.iterdir())


def test_tokens_are_counted_and_ranked():
    texts = ["B a a .", "a, b", "", "<pad> c"]
    counts = {"a": 3, "b": 2, ".": 1, "\uffed,": 1, "<\uffed": 1, "pad": 1, "\uffed>": 1, "c": 1}

    def build(pipeline):
        counted = pipeline | beam.Create(texts) | CountTokens(TextConfig())
        assert_that(counted, equal_to(list(counts.items())), label="counts")
        top = counted | TopTokens(5, 1)
        assert_that(top, equal_to([expected_top(counts.items(), 5)]), label="top")
        frequent = counted | "Frequent" >> TopTokens(None, 2)
        assert_that(frequent, equal_to([[("a", 3), ("b", 2)]]), label="frequent")

    assert run(build)["tokens_counted"] == sum(counts.values())


def test_nothing_gives_an_empty_list():
    def build(pipeline):
        top = pipeline | beam.Create([], reshuffle=False) | CountTokens(TextConfig()) | TopTokens(5, 1)
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
