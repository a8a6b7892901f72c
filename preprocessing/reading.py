"""How the pairs of all sources become one Beam collection, in any order and on any worker.

shards ─▶ Divide ─┬─▶ small, packed or not of lines ──────────────────────────────┬─▶ ReadShard ─▶ pairs
                  └─▶ blocks ─▶ CountBlock ─▶ group by shard ─▶ parts of shards ──┘
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import apache_beam as beam
from apache_beam.coders import typecoders
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PBegin, TaggedOutput

from preprocessing.corpora import LineShard, PairSource, Shard, Split
from preprocessing.errors import DataError
from preprocessing.line_blocks import BlockCount, count_block, index_lines, line_ranges
from preprocessing.lines import is_compressed
from preprocessing.tally import ENTRIES, Noted, dropped, failed, note, read
from preprocessing.wording import counted

PAIRS = "pairs"
_WHOLE, _BLOCKS, _COUNTS, _PARTS = "whole", "blocks", "counts", "parts"

_LOGGER = logging.getLogger("heliograph.preprocessing")
_LINES_PER_REPORT = 200_000


class Pair(NamedTuple):
    """One sentence and its translation.

    Attributes:
      key: "SHARD-FILE:LINE" with leading zeros, such as "00002-train.de.gz:000000017". Sorting by it gives the order in
        which sources, files and lines were named, and no two pairs of a corpus share it.
      split: where the pair goes; None is not decided yet.
      source: UTF-8 text.
      target: UTF-8 text.
      file: where it was found: the path of the source side's file, or the name of a built-in corpus.
      line: line of that file, from 1.
      weight: how often it stands in an epoch of training; see `corpora.Corpus`.
      domain: what its corpus is about, or "".
      given: whether its corpus has a split; else that is chosen by hash.
    """

    key: str
    split: Split | None
    source: bytes
    target: bytes
    file: str
    line: int
    weight: float = 1.0
    domain: str = ""
    given: bool = False


class PairCoder(beam.coders.Coder):
    """Encodes a pair as the tuple it is; for a NamedTuple Beam would fall back to pickle, ten times slower."""

    _tuples = beam.coders.FastPrimitivesCoder()

    def encode(self, value: Pair) -> bytes:
        """Encodes a pair."""
        return cast(bytes, self._tuples.encode(tuple(value)))

    def decode(self, encoded: bytes) -> Pair:
        """Decodes what `encode` gave."""
        return Pair(*self._tuples.decode(encoded))

    def is_deterministic(self) -> bool:
        """Equal pairs have equal bytes."""
        return True

    def to_type_hint(self) -> type[Pair]:
        """The type this coder is for."""
        return Pair


typecoders.registry.register_coder(Pair, PairCoder)


class Listed(NamedTuple):
    """A shard, with what is known of its corpus."""

    split: Split | None
    weight: float
    domain: str
    shard: Any  # a Shard; Beam checks annotations at construction and cannot compare protocols


def list_shards(sources: Sequence[PairSource]) -> list[Listed]:
    """All shards of some sources, in their order: the number in a pair's key is the place in this list.

    Raises:
      DataError: a source has no files.
    """
    return [
        Listed(source.split, source.weight, source.domain, shard) for source in sources for shard in source.shards()
    ]


class ReadPairs(beam.PTransform[PBegin, Any]):
    """Reads all pairs of some shards.

    Example: ``found = pipeline | ReadPairs(list_shards([Tsv("pairs.tsv")]), 1 << 16, 16 << 20)``; then `found[PAIRS]`
    holds `Pair`s, in no order, and `found[ENTRIES]` `tally.Entry`s: how many rows were read, which were dropped because
    they cannot be used at all, and which files could not be read. An exception would come out of Beam wrapped in a
    traceback, and perhaps tried again.

    Args:
      shards: see `list_shards`.
      max_line_bytes: longest line that is loaded.
      block_bytes: files of plain lines that are larger are read in parallel, in parts of this size. What is read does
        not depend on it.
    """

    def __init__(self, shards: Sequence[Listed], max_line_bytes: int, block_bytes: int) -> None:
        """Holds the arguments; Beam's own constructor has no types."""
        super().__init__()
        self._shards = shards
        self._max_line_bytes = max_line_bytes
        self._block_bytes = block_bytes

    def expand(self, pipeline: PBegin) -> Any:
        """Gives a dictionary of the two collections, which Beam has no type hint for."""
        divided = (
            pipeline
            | "ListShards" >> beam.Create(list(enumerate(self._shards)), reshuffle=False)
            | "SpreadShards" >> beam.Reshuffle()
            | "Divide" >> beam.ParDo(_Divide(self._block_bytes)).with_outputs(_BLOCKS, main=_WHOLE)
        )
        counted = (
            divided[_BLOCKS]
            | "SpreadBlocks" >> beam.Reshuffle()
            | "CountBlock" >> beam.ParDo(_CountBlock(self._block_bytes)).with_outputs(ENTRIES, main=_COUNTS)
        )
        ranges = (
            counted[_COUNTS]
            | "GroupByShard" >> beam.GroupByKey()
            | "PartsOfShards" >> beam.ParDo(_PartsOfShard(self._block_bytes)).with_outputs(ENTRIES, main=_PARTS)
        )
        found = (
            (divided[_WHOLE], ranges[_PARTS])
            | "AllParts" >> beam.Flatten()
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadShard" >> beam.ParDo(_ReadShard(self._max_line_bytes)).with_outputs(ENTRIES, main=PAIRS)
        )
        entries = (counted[ENTRIES], ranges[ENTRIES], found[ENTRIES]) | "AllEntries" >> beam.Flatten()
        return {PAIRS: found[PAIRS], ENTRIES: entries}


class Block(NamedTuple):
    """One block of one of a shard's files."""

    listed: Listed
    file: int
    number: int
    size: int


class _Divide(beam.DoFn):
    """(number, shard) -> the same, or the blocks of its files if one of them is large and they can be divided."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes

    def process(self, element: tuple[int, Any]) -> Iterator[Any]:
        number, listed = element
        sizes = self._sizes(listed.shard)
        if max(sizes, default=0) <= self._block_bytes:
            yield element
            return
        for file, size in enumerate(sizes):
            for block, start in enumerate(range(0, size, self._block_bytes)):
                part = Block(listed, file, block, min(self._block_bytes, size - start))
                yield TaggedOutput(_BLOCKS, (number, part))

    @staticmethod
    def _sizes(shard: Shard) -> list[int]:
        """Sizes of the files of a shard that can be divided, else nothing."""
        if not isinstance(shard, LineShard) or any(map(is_compressed, shard.files)):
            return []
        try:
            return [FileSystems.get_filesystem(path).size(path) for path in shard.files]
        except (OSError, BeamIOError):  # reading it tells what is the matter
            return []


class _CountBlock(beam.DoFn):
    """Counts the lines of a block: (number of the shard, (block, count)); the count is None of what cannot be read."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes

    def process(self, element: tuple[int, Any]) -> Iterator[Any]:
        number, block = element
        path = block.listed.shard.files[block.file]
        count: BlockCount | None = None
        try:
            count = count_block(path, block.number * self._block_bytes, block.size)
        except DataError as error:
            yield note(failed(str(error)))
        yield number, (block, count)


class _PartsOfShard(beam.DoFn):
    """All blocks of one shard -> (number, shard of some of its lines)."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes

    def process(self, element: tuple[int, Iterable[tuple[Any, Any]]]) -> Iterator[Any]:
        number, found = element
        blocks = sorted(found, key=lambda counted: (counted[0].file, counted[0].number))
        if any(count is None for _, count in blocks):
            return
        listed: Listed = blocks[0][0].listed
        shard: LineShard = listed.shard
        indexes = [
            index_lines([count for block, count in blocks if block.file == file]) for file in range(len(shard.files))
        ]
        try:
            shard.check([index.lines for index in indexes])
        except DataError as error:
            yield note(failed(str(error)))
            return
        for lines in line_ranges(indexes, self._block_bytes):
            yield number, listed._replace(shard=shard.part(lines))


class _ReadShard(beam.DoFn):
    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes

    def process(self, element: tuple[int, Any]) -> Iterator[Pair | Noted]:
        number, (split, weight, domain, shard) = element
        prefix = f"{number:05d}-{shard.name.rsplit('/', 1)[-1]}"
        rows = 0
        try:
            for row in shard.rows(self._max_line_bytes):
                rows += 1
                key = f"{prefix}:{row.line:09d}"
                if row.reason is None:
                    yield Pair(
                        key, split, row.source, row.target, shard.name, row.line, weight, domain, split is not None
                    )
                else:
                    entry = dropped(row.reason, key, shard.name, row.line, row.source, row.target)
                    yield note(entry)
                if rows % _LINES_PER_REPORT == 0:
                    _LOGGER.info("%s: %s read", shard.name, counted(rows, "pair"))
        except DataError as error:
            yield note(failed(str(error)))
        yield note(read(rows))
        _LOGGER.info("%s: %s read, done", shard.name, counted(rows, "pair"))
