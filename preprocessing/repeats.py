"""Which pairs and sources stand more than once, and in which splits: exact counts by sums per key on Beam.

    (split, record) ─▶ (digest of the pair | of the source, split) ─▶ group ─▶ count_per_split ─▶ SumRepeats ─▶ Findings

Texts travel as digests of 128 bits, with one shortened example; no process holds the strings of a corpus.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import combinations

import apache_beam as beam
from apache_beam.coders import FastPrimitivesCoder
from apache_beam.pvalue import PCollection

from preprocessing.examples import Record
from preprocessing.findings import EXAMPLES, Example, Finding, Findings, add_findings, example_of, first_examples
from preprocessing.grouping import GroupThroughFiles
from preprocessing.weights import is_copy

PAIRS, SOURCES, OVERLAP = "duplicate_pairs", "duplicate_sources", "overlap"
"""Kinds of findings: (PAIRS, split), (SOURCES, split), (OVERLAP, split, other split)."""

_DIGEST_BYTES = 16

# An example travels as the plain tuple it is: Beam would pickle a NamedTuple.
Shown = tuple[str, str, str]
Located = tuple[str, Shown]
PerSplit = dict[str, tuple[int, Shown]]  # how often, and the occurrence with the smallest key


class CountRepeats(beam.PTransform[PCollection[tuple[str, Record]], PCollection[Findings]]):
    """Counts, for each split, the pairs and sources beyond the first of their kind; for two splits, shared sources.

    Examples of duplicates are the first occurrences of what is repeated, those of an overlap lie in the second split.
    What ExampleGen wrote again because of its corpus's weight is no duplicate.

    Args:
      folder: where digests are grouped; see `preprocessing.grouping`.
      buckets: over how many tasks they are spread.
    """

    def __init__(self, folder: str, buckets: int) -> None:
        super().__init__()
        self._group = GroupThroughFiles(folder, buckets, FastPrimitivesCoder())

    def expand(self, pairs: PCollection[tuple[str, Record]]) -> PCollection[Findings]:
        """One element, for each digest one sum before."""
        findings: PCollection[Findings] = (
            pairs
            | "Digest" >> beam.FlatMap(_digests).with_output_types(tuple[bytes, Located])
            | "Group" >> self._group
            | "CountPerSplit" >> beam.Map(count_per_split)
            | "SumRepeats" >> beam.CombineGlobally(SumRepeats())
        )
        return findings


def _digests(element: tuple[str, Record]) -> Iterator[tuple[bytes, Located]]:
    split, record = element
    if is_copy(record.key):
        return
    example = example_of(record)
    located = split, (example.key, example.source, example.target)
    source = hashlib.sha256(record.source.encode()).digest()
    pair = hashlib.sha256(source + record.target.encode()).digest()
    yield b"s" + source[:_DIGEST_BYTES], located
    yield b"p" + pair[:_DIGEST_BYTES], located


def count_per_split(element: tuple[bytes, Iterable[Located]]) -> tuple[bytes, PerSplit]:
    """(digest, (split, example) of each occurrence) -> how often it stands in each split, with its first occurrence."""
    digest, occurrences = element
    counts: PerSplit = {}
    for split, example in occurrences:
        old = counts.get(split)
        counts[split] = (1, example) if old is None else (old[0] + 1, min(old[1], example))
    return digest, counts


class SumRepeats(beam.CombineFn):
    """(digest, counts per split) of every text -> findings."""

    def __init__(self) -> None:
        """Takes nothing; typed, unlike the one it would inherit."""

    def create_accumulator(self) -> Findings:
        """Nothing repeated yet."""
        return {}

    def add_input(self, accumulator: Findings, element: tuple[bytes, PerSplit]) -> Findings:
        """Looks at one text."""
        digest, counts = element
        is_source = digest.startswith(b"s")
        for split, (count, example) in counts.items():
            if count > 1:
                _count(accumulator, (SOURCES if is_source else PAIRS, split), count - 1, example)
        if is_source:
            for first, second in combinations(sorted(counts), 2):
                _count(accumulator, (OVERLAP, first, second), 1, counts[second][1])
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Findings]) -> Findings:
        """Adds up."""
        merged: Findings = {}
        for accumulator in accumulators:
            add_findings(merged, accumulator)
        return merged

    def extract_output(self, accumulator: Findings) -> Findings:
        """The findings themselves."""
        return accumulator


def _count(findings: Findings, kind: tuple[str, ...], count: int, shown: Shown) -> None:
    old, example = findings.get(kind, Finding(0, [])), Example(*shown)
    examples = old.examples
    if len(examples) < EXAMPLES or example < examples[-1]:
        examples = first_examples([*examples, example])
    findings[kind] = Finding(old.pairs + count, examples)
