"""Vocabulary shortlists: which target tokens a source token's sentences are translated with, as ``shortlist.json``.

    {"always": [0, 1, 2, 3, 4, 5, ...], "candidates": [[], [], [], [], [17, 230, ...], ...]}

``always`` are the special tokens and the most frequent others; ``candidates`` has a list for each source id, of the
others that belong to it most, best first. How much two tokens belong together is their Dice coefficient
``2 n(s, t) / (n(s) + n(t))``, n being the number of training pairs that hold them. Those are sums of integers, so
workers and order do not show.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton
from apache_beam.transforms.combiners import ToList

from preprocessing.beam_run import run
from preprocessing.counting import BATCH
from preprocessing.errors import DataError
from preprocessing.examples import TRAIN, Record, from_example, record_files, splits_of
from preprocessing.records import read_records, write_whole
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.transform import ReadPairRecords
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

SHORTLIST_FILE = "shortlist.json"

Ids = npt.NDArray[np.int64]
Counts = tuple[Ids, Ids]
"""Ids, ascending, and how often each was counted."""

_ALL = -1

COUNTED_TOGETHER = 2**22
"""Pairs of tokens that are in memory before they are added up."""


@dataclass(frozen=True, kw_only=True)
class ShortlistOptions:
    """How long the lists are.

    Raises:
      ValueError: a number is out of its range.
    """

    candidates: int
    """Target tokens for each source token, at most."""

    frequent: int
    """The most frequent target tokens, which belong to every source."""

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.frequent < 0:
            raise ValueError(
                f"candidates must be at least 1 and frequent at least 0; received {self.candidates} and {self.frequent}"
            )


def shortlist(
    transform_dir: str, output_dir: str, options: ShortlistOptions, beam_args: Sequence[str] = ()
) -> dict[str, float]:
    """Counts over the training pairs and writes ``shortlist.json``.

    Args:
      transform_dir: directory that `preprocessing.transform.transform` wrote.
      output_dir: directory for the file.
      options: how long the lists are.
      beam_args: Beam options.

    Returns:
      Of the validation split, where there is one: `covered`, the share of the target tokens that are in their
      sentence's shortlist, and `shortlist_tokens`, the mean length of a shortlist.

    Raises:
      DataError: there are no records of split train, it holds no pair, or a record is damaged.
    """
    files = record_files(transform_dir, TRAIN)
    if not any(True for path in files for _ in read_records(path)):
        raise DataError(f"{transform_dir}: expected pairs in split {TRAIN!r}, found none; give more data")
    sizes = [len(read_vocabulary(vocabulary_file(transform_dir, side))) for side in SIDES]
    path = os.path.join(output_dir, SHORTLIST_FILE)

    def build(pipeline: beam.Pipeline) -> None:
        counted = (
            pipeline
            | "Read" >> ReadPairRecords({TRAIN: files})
            | "Batch" >> beam.BatchElements(max_batch_size=BATCH)
            | "Count" >> beam.ParDo(CountTogether(*sizes)).with_output_types(tuple[int, Counts])
            | "Sum" >> beam.CombinePerKey(SumCounts())
        )
        single = counted | "Targets" >> beam.Filter(lambda entry: entry[0] == _ALL) | "TargetCounts" >> beam.Values()
        targets = AsSingleton(single)
        always = AsSingleton(single | "Always" >> beam.Map(most_frequent, options.frequent))
        _ = (
            counted
            | "Sources" >> beam.Filter(lambda entry: entry[0] != _ALL)
            | "Best" >> beam.Map(closest_targets, targets, always, options.candidates)
            | "Collect" >> ToList()
            | "Write" >> beam.Map(_write, always, sizes[0], path)
        )

    run(build, beam_args)
    return _describe(transform_dir, output_dir) if "validation" in splits_of(transform_dir) else {}


def read_shortlist(directory: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The tables of `models.shortlist.ShortlistTable`: candidates `[source ids, n]`, filled up, and always `[m]`."""
    path = os.path.join(directory, SHORTLIST_FILE)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        content = json.loads(file.read())
    always = np.array(content["always"], np.int32)
    candidates = np.full([len(content["candidates"]), max(1, *map(len, content["candidates"]))], always[0], np.int32)
    for row, ids in enumerate(content["candidates"]):
        candidates[row, : len(ids)] = ids
    return candidates, always


class CountTogether(beam.DoFn):
    """Batches of (split, record) -> (source id, counts of pairs by target id).

    Under the source id `_ALL` come the counts of all pairs, and under the target id that is the vocabulary's size those
    of all pairs with that source id.

    Args:
      source_size: of the vocabulary.
      target_size: of the vocabulary.
    """

    def __init__(self, source_size: int, target_size: int) -> None:
        self._source_size = source_size
        self._target_size = target_size

    def process(self, batch: Sequence[tuple[str, Record]]) -> Iterator[tuple[int, Counts]]:
        """Adds up whenever `COUNTED_TOGETHER` are in memory."""
        codes: list[Ids] = []
        size = 0
        for _, record in batch:
            sources = np.append(np.unique(np.array(record.source_ids, np.int64)), self._source_size)
            targets = np.append(np.unique(np.array(record.target_ids, np.int64)), self._target_size)
            codes.append((sources[:, np.newaxis] * (self._target_size + 1) + targets).ravel())
            size += len(codes[-1])
            if size >= COUNTED_TOGETHER:
                yield from self._added(codes)
                codes, size = [], 0
        if codes:
            yield from self._added(codes)

    def _added(self, codes: list[Ids]) -> Iterator[tuple[int, Counts]]:
        found, counts = np.unique(np.concatenate(codes), return_counts=True)
        sources, targets = np.divmod(found, self._target_size + 1)
        starts = np.flatnonzero(np.diff(sources, prepend=-1))
        for source, *part in zip(
            sources[starts].tolist(), np.split(targets, starts[1:]), np.split(counts, starts[1:]), strict=True
        ):
            # Copies: a view would keep the whole batch in memory for as long as its rarest token.
            yield (_ALL if source == self._source_size else source), (part[0].copy(), part[1].copy())


class SumCounts(beam.CombineFn):
    """Adds counts up; any order of adding and merging gives the same."""

    def __init__(self) -> None:
        """Takes nothing; typed, unlike the one it would inherit."""

    def create_accumulator(self) -> list[Counts]:
        """An accumulator is a list of counts that are still to be added up."""
        return []

    def add_input(self, accumulator: list[Counts], element: Counts) -> list[Counts]:
        """Appends, and adds up whenever there is twice as much as after the last time."""
        accumulator.append(element)
        later = sum(len(ids) for ids, _ in accumulator[1:])
        return accumulator if later <= len(accumulator[0][0]) + 1024 else self.compact(accumulator)

    def merge_accumulators(self, accumulators: Iterable[list[Counts]]) -> list[Counts]:
        """Never holds more than two accumulators."""
        merged: list[Counts] = []
        for accumulator in accumulators:
            merged = self.compact([*merged, *accumulator])
        return merged

    def compact(self, accumulator: list[Counts]) -> list[Counts]:
        """One entry, each id in it once."""
        if not accumulator:
            return []
        parts = zip(*accumulator, strict=True)
        ids, counts = (np.concatenate(part) for part in parts)
        every, places = np.unique(ids, return_inverse=True)
        total = np.zeros(len(every), np.int64)
        np.add.at(total, places, counts)
        return [(every, total)]

    def extract_output(self, accumulator: list[Counts]) -> Counts:
        """The sums."""
        return self.compact(accumulator)[0]


def most_frequent(targets: Counts, frequent: int) -> list[int]:
    """The special tokens, then the `frequent` most frequent others.

    Args:
      targets: pairs by target id, and under the largest id all of them.
      frequent: how many.
    """
    ids, counts = (values[:-1] for values in targets)
    ids, counts = ids[ids >= len(SPECIAL_TOKENS)], counts[ids >= len(SPECIAL_TOKENS)]
    first = np.lexsort((ids, -counts))[:frequent]
    return [*range(len(SPECIAL_TOKENS)), *ids[first].tolist()]


def closest_targets(
    counted: tuple[int, Counts], targets: Counts, always: list[int], most: int
) -> tuple[int, list[int]]:
    """A source token's candidates that are not in every shortlist anyway, best first, equally good ones by id.

    Args:
      counted: the source id, pairs that also hold a target id, and under the largest id all of them.
      targets: as of `most_frequent`.
      always: what is in every shortlist.
      most: how many.
    """
    source, (ids, together) = counted
    with_source, ids, together = together[-1], ids[:-1], together[:-1]
    rare = ~np.isin(ids, always)
    ids, together = ids[rare], together[rare]
    with_target = targets[1][np.searchsorted(targets[0], ids)]
    dice = 2.0 * together / (with_source + with_target)
    return source, ids[np.lexsort((ids, -dice))[:most]].tolist()


def _write(best: list[tuple[int, list[int]]], always: list[int], source_size: int, path: str) -> None:
    by_source = dict(best)
    content = {
        "always": always,
        "candidates": [by_source.get(source, []) for source in range(source_size)],
    }
    text = json.dumps(content) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def _describe(transform_dir: str, output_dir: str) -> dict[str, float]:
    candidates, always = read_shortlist(output_dir)
    covered = targets = tokens = pairs = 0
    for path in record_files(transform_dir, "validation"):
        for record in map(from_example, read_records(path)):
            chosen = np.union1d(candidates[np.array(record.source_ids, np.int64)], always)
            covered += int(np.isin(np.array(record.target_ids, np.int64), chosen).sum())
            targets += len(record.target_ids or ())
            tokens, pairs = tokens + len(chosen), pairs + 1
    return {"covered": covered / max(targets, 1), "shortlist_tokens": tokens / max(pairs, 1)}
