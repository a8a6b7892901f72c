"""What is counted of each pair: sums of integers, so that the order of counting and merging does not show."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import apache_beam as beam

from preprocessing.errors import DataError
from preprocessing.examples import Record
from preprocessing.findings import Findings, add_findings, note
from preprocessing.pair_traits import length_bucket, looks_untranslated, numbers_differ, ratio_bucket
from preprocessing.scripts import main_script
from preprocessing.vocabulary import SIDES
from preprocessing.weights import is_copy

_MOMENTS = ("1", "x", "y", "xx", "xy", "yy")


class SideCounts(NamedTuple):
    """What is counted of one side of one split; all is bounded by the longest line, the vocabulary or Unicode."""

    lengths: Counter[int]  # pairs by their number of tokens
    character_lengths: Counter[int]  # pairs by the bucket of their number of characters
    tokens: Counter[int]  # running tokens by their id
    characters: Counter[str]


class SplitCounts(NamedTuple):
    """What is counted of one split, before anything is known of the corpus as a whole.

    Pairs that stand more than once because of their corpus's weight count so often in the sides, where they are what
    training sees, and once in everything else.

    The kinds of findings:

    ("untranslated",)                   pairs that look so
    ("numbers",), ("numbers_differ",)   pairs with numbers on both sides; those of them whose numbers differ
    ("ratio", bucket)                   pairs by their length ratio in characters
    ("script", side, name)              pairs by the script of most letters of a side
    """

    sides: dict[str, SideCounts]
    findings: Findings
    moments: Counter[str]  # sums over the pairs of 1, x, y, xx, xy, yy for x, y = characters of source, target


Accumulator = dict[str, SplitCounts]  # by split


def nothing_of_side() -> SideCounts:
    """No text seen."""
    return SideCounts(Counter(), Counter(), Counter(), Counter())


def nothing_of_split() -> SplitCounts:
    """No pair seen."""
    return SplitCounts({side: nothing_of_side() for side in SIDES}, {}, Counter())


class CountPairs(beam.CombineFn):
    """Counts (split, record) per split and side."""

    def __init__(self) -> None:
        """Takes nothing; typed, unlike the one it would inherit."""

    def create_accumulator(self) -> Accumulator:
        """Nothing counted yet."""
        return {}

    def add_input(self, accumulator: Accumulator, element: tuple[str, Record]) -> Accumulator:
        """Counts one pair.

        Raises:
          DataError: the record holds no ids.
        """
        split, record = element
        copy = is_copy(record.key)
        counts = accumulator.get(split) or accumulator.setdefault(split, nothing_of_split())
        sides = (record.source, record.source_ids), (record.target, record.target_ids)
        for side, (text, ids) in zip(SIDES, sides, strict=True):
            if ids is None:
                raise DataError(
                    f"record {record.key!r} of split {split!r}: expected {side}_ids, found none; run Transform"
                )
            _count_side(counts.sides[side], text, ids)
            if not copy and (script := main_script(Counter(text))) is not None:
                note(counts.findings, ("script", side, script), record)
        if copy:
            return accumulator
        _count_traits(counts.findings, record)
        x, y = len(record.source), len(record.target)
        for name, value in zip(_MOMENTS, (1, x, y, x * x, x * y, y * y), strict=True):
            counts.moments[name] += value
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Adds everything up."""
        merged: Accumulator = {}
        for accumulator in accumulators:
            for split, counts in accumulator.items():
                total = merged.setdefault(split, nothing_of_split())
                for side in SIDES:
                    _add_side(total.sides[side], counts.sides[side])
                add_findings(total.findings, counts.findings)
                total.moments.update(counts.moments)
        return merged

    def extract_output(self, accumulator: Accumulator) -> Accumulator:
        """The counts themselves."""
        return accumulator


def _add_side(total: SideCounts, more: SideCounts) -> None:
    counters = cast(tuple[Counter[Any], ...], total)
    for counter, other in zip(counters, cast(tuple[Counter[Any], ...], more), strict=True):
        counter.update(other)


def _count_side(counts: SideCounts, text: str, ids: Iterable[int]) -> None:
    listed = list(ids)
    counts.lengths[len(listed)] += 1
    counts.character_lengths[length_bucket(len(text))] += 1
    counts.tokens.update(listed)
    counts.characters.update(text)


def _count_traits(findings: Findings, record: Record) -> None:
    if looks_untranslated(record.source, record.target):
        note(findings, ("untranslated",), record)
    differ = numbers_differ(record.source, record.target)
    if differ is not None:
        note(findings, ("numbers",), record)
    if differ:
        note(findings, ("numbers_differ",), record)
    if record.source and record.target:
        note(findings, ("ratio", ratio_bucket(len(record.source), len(record.target))), record)
