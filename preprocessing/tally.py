"""What became of every pair: counted on the workers, balanced and judged at the end.

{"read": 29004,
 "repeated": 1200,
 "kept": {"train": 29167, "validation": 1014, "test": 0},
 "dropped": {"empty_target": {"count": 23, "examples": [
     {"file": "data/train.de", "line": 713, "source": "Ein Hund.", "target": ""}, ...]}},
 "files": ["data/train.de", "data/more/train.de"]}

What was read and what was repeated, because of the weight of its corpus, was kept or dropped. The files, which
`preprocessing.generate` adds, are in the order of the numbers that the records' keys begin with.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from preprocessing.corpora import Split
from preprocessing.errors import DataError
from preprocessing.filters import DATA_ERRORS, Reason
from preprocessing.wording import counted

SPLITS: tuple[Split, ...] = ("train", "validation", "test")

ENTRIES: Literal["entries"] = "entries"
"""The tag of the output on which the steps hand out entries."""

_EXAMPLES = 5
_SHOWN_CHARACTERS = 80
_READ, _REPEATED, _KEPT, _DROPPED, _FAILED = "read", "repeated", "kept", "dropped", "failed"

Example = tuple[str, str, int, str, str]


class Entry(NamedTuple):
    """One line of the tally.

    Attributes:
      kind: whether pairs were read, repeated, kept or dropped, or a file failed.
      name: of the split, the reason, or what to tell about the failure.
      pairs: number of pairs.
      example: of a dropped pair its key, file, line, source and target, shortened.
    """

    kind: str
    name: str
    pairs: int
    example: Example | None = None


Noted = TaggedOutput[Literal["entries"], Entry]


def note(entry: Entry) -> Noted:
    """Hands out an entry from a step that also hands out something else."""
    return TaggedOutput(ENTRIES, entry)


def read(count: int) -> Entry:
    """Counts pairs that were read, whatever becomes of them."""
    return Entry(_READ, "", count)


def repeated(count: int) -> Entry:
    """Counts copies of pairs, made because of the weight of their corpus."""
    return Entry(_REPEATED, "", count)


def kept(split: str, count: int) -> Entry:
    """Counts pairs that are written."""
    return Entry(_KEPT, split, count)


def dropped(reason: Reason, key: str, file: str, line: int, source: bytes, target: bytes) -> Entry:
    """Counts a pair that is not written."""
    return Entry(_DROPPED, reason.value, 1, (key, file, line, _shorten(source), _shorten(target)))


def failed(message: str) -> Entry:
    """Notes that a file could not be read, or not to its end."""
    return Entry(_FAILED, message, 1)


Totals = dict[tuple[str, str], tuple[int, list[Example]]]


class SumEntries(beam.CombineFn):
    """Adds up entries. Of each reason it keeps the five examples with the smallest keys, so order does not matter."""

    def __init__(self) -> None:
        """Holds nothing; Beam's own constructor has no types."""

    def create_accumulator(self) -> Totals:
        """Nothing counted yet."""
        return {}

    def add_input(self, accumulator: Totals, entry: Entry) -> Totals:
        """Counts one entry."""
        _add(accumulator, entry[:2], entry.pairs, [entry.example] if entry.example else [])
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Totals]) -> Totals:
        """Adds accumulators."""
        merged: Totals = {}
        for accumulator in accumulators:
            for key, (count, examples) in accumulator.items():
                _add(merged, key, count, examples)
        return merged

    def extract_output(self, accumulator: Totals) -> str:
        """Gives the totals as JSON."""
        rows = [[kind, name, count, examples] for (kind, name), (count, examples) in sorted(accumulator.items())]
        return json.dumps(rows)


class SumBundle(beam.DoFn):
    """Adds up a bundle's entries and hands on few that say the same: there is one for each pair or so."""

    def __init__(self) -> None:
        """Holds nothing; Beam's own constructor has no types."""

    def start_bundle(self) -> None:
        """Nothing counted yet."""
        self._totals: Totals = {}

    def process(self, entry: Entry) -> None:
        """Counts one entry."""
        SumEntries().add_input(self._totals, entry)

    def finish_bundle(self) -> Iterator[Any]:
        """Yields a count without an example, and examples without a count."""
        for (kind, name), (count, examples) in self._totals.items():
            yield GlobalWindows.windowed_value(Entry(kind, name, count))
            yield from (GlobalWindows.windowed_value(Entry(kind, name, 0, example)) for example in examples)


def counts_of(totals: str) -> dict[str, Any]:
    """Turns what `SumEntries` gave into the content of counts.json.

    Raises:
      DataError: a file could not be read.
      RuntimeError: pairs have got lost or doubled on the way.
    """
    rows: list[tuple[str, str, int, list[Example]]] = [tuple(row) for row in json.loads(totals)]
    failures = [name for kind, name, _, _ in rows if kind == _FAILED]
    if failures:
        more = f" (and {len(failures) - 1} more like this)" if len(failures) > 1 else ""
        raise DataError(failures[0] + more)
    found = {name: (count, examples) for kind, name, count, examples in rows if kind == _DROPPED}
    counts: dict[str, Any] = {
        **{total: sum(count for kind, _, count, _ in rows if kind == total) for total in (_READ, _REPEATED)},
        "kept": dict.fromkeys(SPLITS, 0) | {name: count for kind, name, count, _ in rows if kind == _KEPT},
        "dropped": {reason.value: _reason_counts(*found[reason]) for reason in Reason if reason in found},
    }
    accounted = sum(counts["kept"].values()) + sum(entry["count"] for entry in counts["dropped"].values())
    if counts["read"] + counts["repeated"] != accounted:
        raise RuntimeError(
            f"{counts['read']} pairs were read and {counts['repeated']} repeated, but {accounted} kept or dropped;"
            " this is a defect of the runner"
        )
    return counts


def check_counts(counts: dict[str, Any], needed: Iterable[str], max_error_share: float) -> None:
    """Refuses a corpus that is broken or leaves a split without pairs.

    Args:
      counts: see `counts_of`.
      needed: splits that must not be empty.
      max_error_share: largest share of the pairs read that may be dropped for one of `filters.DATA_ERRORS`.

    Raises:
      DataError: with the numbers, the reasons and the first example.
    """
    errors = {name: entry for name, entry in counts["dropped"].items() if name in DATA_ERRORS}
    broken = sum(entry["count"] for entry in errors.values())
    if broken > max_error_share * counts["read"]:
        raise DataError(
            f"{broken} of {counts['read']} pairs are unusable ({broken / counts['read']:.1%}, more than the"
            f" {max_error_share:.1%} allowed): {_describe(errors)}; correct the data, or allow a larger error share"
        )
    empty = [split for split in needed if not counts["kept"][split]]
    if empty:
        why = f": {_describe(counts['dropped'])}" if counts["dropped"] else ""
        elsewhere = sum(counts["kept"].values())
        raise DataError(
            f"no pair is left for {' and '.join(empty)}: {counted(counts['read'], 'pair')} read, {elsewhere:,} kept in "
            f"other splits{why}; give more data, larger validation and test fractions, or looser filters"
        )


def _describe(dropped_by_reason: dict[str, Any]) -> str:
    ranked = sorted(dropped_by_reason.items(), key=lambda item: (-item[1]["count"], item[0]))
    numbers = ", ".join(f"{name} {entry['count']}" for name, entry in ranked[:3])
    first = ranked[0][1]["examples"][0]
    return f"{numbers}, first {first['file']} line {first['line']} ({first['source']!r} -> {first['target']!r})"


def _reason_counts(count: int, examples: list[Example]) -> dict[str, Any]:
    shown: Iterator[dict[str, Any]] = (
        {"file": file, "line": line, "source": source, "target": target} for _, file, line, source, target in examples
    )
    return {"count": count, "examples": list(shown)}


def _add(totals: Totals, key: tuple[str, str], count: int, examples: list[Example]) -> None:
    old_count, old_examples = totals.get(key, (0, []))
    totals[key] = old_count + count, sorted([*old_examples, *examples])[:_EXAMPLES]


def _shorten(text: bytes) -> str:
    shown = text[: 4 * (_SHOWN_CHARACTERS + 1)].decode("utf-8", errors="backslashreplace")
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"
