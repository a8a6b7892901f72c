"""StatisticsGen: what the encoded corpus looks like, as ``statistics.json``.

    {
      "splits": {
        "train": {
          "pairs": 29000,
          "source": {
            "tokens": 360412, "unknown_tokens": 9121, "unknown_rate": 0.0253,
            "length": {"min": 1, "mean": 12.43, "p50": 12, "p95": 20, "p99": 26, "max": 44, "histogram": {"1": 3, ...}}
          },
          "target": {...}
        }, ...
      },
      "vocabulary_sizes": {"source": 7855, "target": 5893},
      "example_gen": {...}
    }

Lengths are tokens without start and end, and percentiles are of the nearest rank: the shortest length that at least so
many percent of the pairs do not exceed. Everything is computed from sums of integers, so workers and order do not show.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.examples import Record, record_files, splits_of
from preprocessing.records import write_whole
from preprocessing.special_tokens import UNKNOWN_ID
from preprocessing.transform import ReadPairRecords
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

STATISTICS_FILE = "statistics.json"
PERCENTILES = (50, 95, 99)


class SideCounts(NamedTuple):
    """What is counted of one side of one split; summing two of them is all that merging takes."""

    lengths: Counter[int]  # pairs by their number of tokens
    unknown: Counter[int]  # pairs by their number of unknown tokens


Accumulator = dict[tuple[str, str], SideCounts]  # by (split, side)


class CountLengths(beam.CombineFn):
    """Counts (split, record) into histograms per split and side; any order of adding and merging gives the same."""

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
        for side, ids in zip(SIDES, (record.source_ids, record.target_ids), strict=True):
            if ids is None:
                raise DataError(
                    f"record {record.key!r} of split {split!r}: expected {side}_ids, found none; run Transform"
                )
            counts = accumulator.setdefault((split, side), SideCounts(Counter(), Counter()))
            counts.lengths[len(ids)] += 1
            counts.unknown[sum(token == UNKNOWN_ID for token in ids)] += 1
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        """Adds the histograms up."""
        merged: Accumulator = {}
        for accumulator in accumulators:
            for key, counts in accumulator.items():
                total = merged.setdefault(key, SideCounts(Counter(), Counter()))
                total.lengths.update(counts.lengths)
                total.unknown.update(counts.unknown)
        return merged

    def extract_output(self, accumulator: Accumulator) -> Accumulator:
        """The histograms themselves."""
        return accumulator


def statistics(
    transform_dir: str, counts: Mapping[str, object], output_dir: str, beam_args: Sequence[str] = ()
) -> dict[str, object]:
    """Describes the records of every split and writes ``statistics.json``.

    Args:
      transform_dir: directory that `preprocessing.transform.transform` wrote.
      counts: what ExampleGen counted, by reason; is passed on under ``example_gen``.
      output_dir: directory for the file; made if missing.
      beam_args: Beam options.

    Returns:
      What was written; the module's docstring has an example.

    Raises:
      DataError: there are no records, or one is damaged or without ids.
    """
    splits = splits_of(transform_dir)
    if not splits:
        raise DataError(f"{transform_dir}: expected SPLIT-*.tfrecord.gz, found none; run Transform first")
    files = {split: record_files(transform_dir, split) for split in splits}
    sizes = {side: len(read_vocabulary(vocabulary_file(transform_dir, side))) for side in SIDES}
    path = os.path.join(output_dir, STATISTICS_FILE)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Read" >> ReadPairRecords(files)
            | "CountLengths" >> beam.CombineGlobally(CountLengths())
            | "Write" >> beam.Map(_write, splits, sizes, dict(counts), path)
        )

    run(build, beam_args)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        written: dict[str, object] = json.loads(file.read())
    return written


def _write(
    counted: Accumulator, splits: Sequence[str], sizes: Mapping[str, int], example_gen: object, path: str
) -> None:
    nothing = SideCounts(Counter(), Counter())
    described = {
        split: {
            "pairs": counted.get((split, SIDES[0]), nothing).lengths.total(),
            **{side: _describe(counted.get((split, side), nothing)) for side in SIDES},
        }
        for split in splits
    }
    content = {"splits": described, "vocabulary_sizes": sizes, "example_gen": example_gen}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def _describe(counts: SideCounts) -> dict[str, object]:
    tokens = sum(length * pairs for length, pairs in counts.lengths.items())
    unknown = sum(number * pairs for number, pairs in counts.unknown.items())
    return {
        "tokens": tokens,
        "unknown_tokens": unknown,
        "unknown_rate": unknown / tokens if tokens else 0.0,
        "length": _describe_lengths(counts.lengths, tokens),
    }


def _describe_lengths(histogram: Counter[int], tokens: int) -> dict[str, object]:
    """Minimum and so on are `None` when there is no pair."""
    pairs = histogram.total()
    return {
        "min": min(histogram, default=None),
        "mean": tokens / pairs if pairs else None,
        **{f"p{percent}": percentile(histogram, percent) for percent in PERCENTILES},
        "max": max(histogram, default=None),
        "histogram": {str(length): histogram[length] for length in sorted(histogram)},
    }


def percentile(histogram: Mapping[int, int], percent: int) -> int | None:
    """The smallest value that at least `percent` % of the counted values do not exceed; `None` if none was counted."""
    total = sum(histogram.values())
    reached = 0
    for value in sorted(histogram):
        reached += histogram[value]
        if reached * 100 >= percent * total:
            return value
    return None
