import random

import pytest

from preprocessing import tally
from preprocessing.errors import DataError
from preprocessing.filters import Reason


def add(entries: list[tally.Entry], groups: int = 1) -> str:
    total = tally.SumEntries()
    accumulators = [total.create_accumulator() for _ in range(groups)]
    for place, entry in enumerate(entries):
        accumulators[place % groups] = total.add_input(accumulators[place % groups], entry)
    return total.extract_output(total.merge_accumulators(accumulators))


def drop(reason: Reason, line: int) -> tally.Entry:
    return tally.dropped(reason, f"0-a.de:{line:09d}", "data/a.de", line, b"Quelle %d" % line, b"")


ENTRIES = [
    tally.read(20),
    tally.read(10),
    tally.kept("train", 15),
    tally.kept("test", 4),
    *(drop(Reason.EMPTY_TARGET, line) for line in range(1, 9)),
    *(drop(Reason.NUL_BYTE, line) for line in range(11, 14)),
]


def test_counts_balance_in_any_order() -> None:
    counts = tally.counts_of(add(ENTRIES))
    assert counts["read"] == 30
    assert counts["kept"] == {"train": 15, "validation": 0, "test": 4}
    assert {reason: entry["count"] for reason, entry in counts["dropped"].items()} == {"nul_byte": 3, "empty_target": 8}
    first = {"file": "data/a.de", "line": 1, "source": "Quelle 1", "target": ""}
    assert counts["dropped"]["empty_target"]["examples"][0] == first
    assert [example["line"] for example in counts["dropped"]["empty_target"]["examples"]] == [1, 2, 3, 4, 5]
    for groups in (1, 3):
        assert tally.counts_of(add(random.Random(7).sample(ENTRIES, len(ENTRIES)), groups)) == counts


def test_lost_pairs_are_noticed() -> None:
    with pytest.raises(RuntimeError, match="30 pairs were read and 0 repeated, but 29 kept or dropped"):
        tally.counts_of(add([*ENTRIES[:-2], drop(Reason.NUL_BYTE, 12)]))


def test_copies_count_as_read() -> None:
    counts = tally.counts_of(add([*ENTRIES, tally.repeated(5), tally.repeated(2), tally.kept("train", 7)]))
    assert (counts["read"], counts["repeated"], counts["kept"]["train"]) == (30, 7, 22)


def test_failures_come_first_and_are_counted() -> None:
    with pytest.raises(DataError, match=r"^a: no such file \(and 1 more like this\)$"):
        tally.counts_of(add([*ENTRIES[:3], tally.failed("b: no such file"), tally.failed("a: no such file")]))


def test_too_many_errors() -> None:
    counts = tally.counts_of(add(ENTRIES))
    tally.check_counts(counts, ["train", "test"], 11 / 30)
    with pytest.raises(DataError) as caught:
        tally.check_counts(counts, ["train"], 0.36)
    message = str(caught.value)
    assert "11 of 30 pairs are unusable (36.7%, more than the 36.0% allowed): empty_target 8, nul_byte 3" in message
    assert "first data/a.de line 1 ('Quelle 1' -> '')" in message


def test_dropping_by_choice_is_no_error() -> None:
    entries = [tally.read(9), tally.kept("train", 1), *(drop(Reason.DUPLICATE, line) for line in range(8))]
    tally.check_counts(tally.counts_of(add(entries)), ["train"], 0.0)


def test_needed_splits() -> None:
    counts = tally.counts_of(add(ENTRIES))
    with pytest.raises(DataError, match="no pair is left for validation: 30 pairs read, 19 kept in other splits"):
        tally.check_counts(counts, ["train", "validation"], 1.0)
    with pytest.raises(DataError, match="no pair is left for train: 0 pairs read"):
        tally.check_counts(tally.counts_of(add([])), ["train"], 0.0)


@pytest.mark.parametrize("text", [b"\xff" * 1000, "語".encode() * 1000, "😀".encode() * 1000, b"x" * 81])
def test_examples_are_short(text: bytes) -> None:
    example = tally.dropped(Reason.INVALID_UTF8, "k", "f", 1, text, text).example
    assert example is not None
    assert all(len(shown) == 80 and shown.endswith("…") for shown in example[3:])
