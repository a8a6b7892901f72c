"""ExampleGen: pairs from everywhere become text-only records and counts.json, in one Beam pipeline.

ReadPairs ─▶ JudgePairs ─▶ group by source ─▶ settle ─▶ group by pair ─▶ keep_first ─▶ WeighPairs ─▶ WriteShards
    └────────────┴────────────── tally ──────────┴───────────────────────────┴─────────────┴─▶ SumEntries

    SPLIT-00000-of-00008.tfrecord.gz    counts.json

The second grouping is there only where duplicates are to be dropped. Between the steps pairs lie in files, not in the
runner's memory (see `preprocessing.grouping`), and no step keeps a group's pairs in memory, however often a sentence
occurs.
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from preprocessing import tally
from preprocessing.beam_run import run
from preprocessing.corpora import PairSource, Split
from preprocessing.counting import BATCH
from preprocessing.duplicates import keep_first, near_form, pair_key, source_key
from preprocessing.errors import DataError
from preprocessing.examples import TRAIN, WriteShards, to_example
from preprocessing.file_patterns import list_folder
from preprocessing.filters import Duplicates, FilterOptions
from preprocessing.grouping import GroupThroughFiles, SpreadThroughFiles, delete_folder, shuffle_folder
from preprocessing.judge import JudgeGroups, JudgePairs, WeighPairs
from preprocessing.reading import PAIRS, Listed, Pair, PairCoder, ReadPairs, list_shards
from preprocessing.records import delete_leftovers
from preprocessing.splits import settle, split_by_hash
from preprocessing.text import TextConfig
from preprocessing.wording import counted

COUNTS_FILE = "counts.json"

_LOGGER = logging.getLogger("heliograph.preprocessing")


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """How pairs become examples.

    Attributes:
      source_text: how the source is normalised, and whether its length is counted in characters or words.
      target_text: likewise.
      filters: what is dropped from the training split.
      validation_fraction: share of the distinct sources that go to validation, of those sources without a given split.
      test_fraction: likewise for test.
      salt: another salt is another division by hash.
      shards: number of files of the training split, and of tasks that pairs are grouped in; the other splits are one
        file each.
      max_error_share: largest share of broken pairs (see `filters.DATA_ERRORS`) that is tolerated.
      max_line_bytes: longest line that is loaded.
      block_bytes: plain files of lines that are larger are read in parallel, in parts of this size.
    """

    source_text: TextConfig = field(default_factory=TextConfig)
    target_text: TextConfig = field(default_factory=TextConfig)
    filters: FilterOptions = field(default_factory=FilterOptions)
    validation_fraction: float = 0.05
    test_fraction: float = 0.05
    salt: str = ""
    shards: int = 8
    max_error_share: float = 0.05
    max_line_bytes: int = 1 << 16
    block_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("validation_fraction", "test_fraction", "max_error_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)!r}")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction + test_fraction must be below 1 to leave something for training, got"
                f" {self.validation_fraction} + {self.test_fraction}"
            )
        for name in ("shards", "max_line_bytes", "block_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")


def generate_examples(
    sources: Sequence[PairSource], options: GenerateOptions, output_dir: str, beam_args: Sequence[str] = ()
) -> dict[str, Any]:
    """Reads, normalises, filters and splits all pairs and writes them.

    Everything is written aside and moved to `output_dir` at the end, counts.json last. The same sources and options
    give the same bytes whatever the runner, the number of workers and the order of reading.

    Args:
      sources: where the pairs come from.
      options: what to do with them.
      output_dir: folder for the records and counts.json, on any file system Beam knows; made if necessary.
      beam_args: Beam options.

    Returns:
      The content of counts.json; see `preprocessing.tally`.

    Raises:
      DataError: a source cannot be read, too many pairs are broken, or nothing is left of a split. Nothing is written.
    """
    if not sources:
        raise DataError("no corpus is given; name at least one source of pairs")
    started, needed = time.monotonic(), _needed_splits(sources, options)
    aside = f"{output_dir.rstrip('/')}.aside-{uuid.uuid4().hex}"
    try:
        FileSystems.mkdirs(aside)
    except OSError as error:
        raise DataError(f"{output_dir}: cannot be written ({error}); choose another folder or free it") from error
    try:
        _LOGGER.info("reading %s", counted(len(sources), "corpus", "corpora"))
        shards = list_shards(sources)
        with shuffle_folder(aside) as folder:
            run(lambda pipeline: _build(pipeline, shards, needed, options, aside, folder), beam_args)
        counts = tally.counts_of(_read_text(FileSystems.join(aside, COUNTS_FILE)))
        counts["files"] = [listed.shard.name for listed in shards]
        tally.check_counts(counts, needed, options.max_error_share)
        _write_text(json.dumps(counts, indent=2, ensure_ascii=False) + "\n", FileSystems.join(aside, COUNTS_FILE))
        delete_leftovers(aside)
        _move_files(aside, output_dir)
    finally:
        delete_folder(aside)
    _report(counts, time.monotonic() - started)
    return counts


def _build(
    pipeline: beam.Pipeline,
    listed: Sequence[Listed],
    needed: Sequence[Split],
    options: GenerateOptions,
    output_dir: str,
    folder: str,
) -> None:
    found = pipeline | "Read" >> ReadPairs(listed, options.max_line_bytes, options.block_bytes)
    duplicates = options.filters.drop_duplicates
    choose_split = partial(
        _split_by_near_form if duplicates == "near" else split_by_hash,
        validation_fraction=options.validation_fraction,
        test_fraction=options.test_fraction,
        salt=options.salt,
    )
    judge = JudgePairs(options.source_text, options.target_text, options.filters, choose_split)
    judged = (
        found[PAIRS]
        | "Spread" >> SpreadThroughFiles(folder, PairCoder(), BATCH)
        | "Judge" >> beam.ParDo(judge).with_outputs(tally.ENTRIES, main=PAIRS)
    )
    steps, pairs = {"Read": found, "Judged": judged}, judged[PAIRS]
    groups = [("Source", source_key, settle)]
    if duplicates != "none":
        groups.append(("Pair", pair_key, keep_first))
    for name, key, judge_group in groups:
        grouped = (
            pairs
            | f"KeyBy{name}" >> beam.Map(_keyed, key, duplicates).with_output_types(tuple[bytes, Pair])
            | f"GroupBy{name}" >> GroupThroughFiles(folder, options.shards, PairCoder())
            | f"JudgeBy{name}" >> beam.ParDo(JudgeGroups(judge_group)).with_outputs(tally.ENTRIES, main=PAIRS)
        )
        steps[f"JudgedBy{name}"], pairs = grouped, grouped[PAIRS]
    weighed = pairs | "Weigh" >> beam.ParDo(WeighPairs()).with_outputs(tally.ENTRIES, main=PAIRS)
    steps["Weighed"] = weighed
    shards: dict[str, int] = {split: options.shards if split == TRAIN else 1 for split in needed}
    _ = (
        weighed[PAIRS]
        | "Serialize" >> beam.Map(_record).with_output_types(tuple[str, str, bytes])
        | "Write" >> WriteShards(output_dir, shards, folder)
    )
    _ = (
        [outputs[tally.ENTRIES] | f"Sum{step}" >> beam.ParDo(tally.SumBundle()) for step, outputs in steps.items()]
        | "Entries" >> beam.Flatten()
        | "Sum" >> beam.CombineGlobally(tally.SumEntries())
        | "WriteCounts" >> beam.Map(_write_text, FileSystems.join(output_dir, COUNTS_FILE))
    )


def _record(pair: Pair) -> tuple[str, str, bytes]:
    example = to_example(pair.source.decode(), pair.target.decode(), key=pair.key, domain=pair.domain)
    return str(pair.split), pair.key, example


def _needed_splits(sources: Sequence[PairSource], options: GenerateOptions) -> list[Split]:
    """Training always, the others when anything is to feed them."""
    needed: set[Split] = {"train", *(source.split for source in sources if source.split is not None)}
    if any(source.split is None for source in sources):
        fractions: dict[Split, float] = {"validation": options.validation_fraction, "test": options.test_fraction}
        needed.update(split for split, fraction in fractions.items() if fraction > 0)
    return [split for split in tally.SPLITS if split in needed]


def _keyed(pair: Pair, key: Callable[[Pair, Duplicates], bytes], duplicates: Duplicates) -> tuple[bytes, Pair]:
    return key(pair, duplicates), pair


def _split_by_near_form(source: bytes, **options: Any) -> Split:
    return split_by_hash(near_form(source), **options)


def _read_text(path: str) -> str:
    with FileSystems.open(path) as stream:
        content: bytes = stream.read()
    return content.decode()


def _write_text(text: str, path: str) -> None:
    with FileSystems.create(path) as stream:
        stream.write(text.encode())


def _move_files(from_dir: str, to_dir: str) -> None:
    if not FileSystems.exists(to_dir):
        FileSystems.mkdirs(to_dir)
    for name in sorted(list_folder(from_dir), key=lambda name: (name == COUNTS_FILE, name)):
        FileSystems.rename([FileSystems.join(from_dir, name)], [FileSystems.join(to_dir, name)])


def _report(counts: dict[str, Any], seconds: float) -> None:
    kept = ", ".join(f"{count:,} {split}" for split, count in counts["kept"].items())
    dropped = ", ".join(f"{entry['count']:,} {reason}" for reason, entry in counts["dropped"].items()) or "none"
    repeated = f", {counts['repeated']:,} repeated" if counts["repeated"] else ""
    read = counted(counts["read"], "pair")
    _LOGGER.info("%s read in %.1f s%s; kept: %s; dropped: %s", read, seconds, repeated, kept, dropped)
