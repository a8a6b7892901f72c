"""How the pairs of all sources become one Beam collection, in any order and on any worker."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import apache_beam as beam
from apache_beam.coders import typecoders
from apache_beam.pvalue import PBegin

from preprocessing.corpora import PairSource, Shard, Split
from preprocessing.errors import DataError
from preprocessing.tally import ENTRIES, Noted, dropped, failed, note, read

PAIRS = "pairs"

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
    """

    key: str
    split: Split | None
    source: bytes
    target: bytes
    file: str
    line: int


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


class ReadPairs(beam.PTransform[PBegin, Any]):
    """Reads all pairs of some sources.

    Example: ``found = pipeline | ReadPairs([Tsv("pairs.tsv")])``; then `found[PAIRS]` holds `Pair`s, in no order, and
    `found[ENTRIES]` `tally.Entry`s: how many rows were read, which were dropped because they cannot be used at all, and
    which files could not be read. An exception would come out of Beam wrapped in a traceback, and perhaps tried again.

    Args:
      sources: where the pairs come from.
      max_line_bytes: longest line that is loaded.

    Raises:
      DataError: on construction of the pipeline, when a source has no files.
    """

    def __init__(self, sources: Sequence[PairSource], max_line_bytes: int) -> None:
        """Holds the sources; `expand` lists their shards."""
        super().__init__()
        self._sources = sources
        self._max_line_bytes = max_line_bytes

    def expand(self, pipeline: PBegin) -> Any:
        """Gives a dictionary of the two collections, which Beam has no type hint for."""
        shards = [(source.split, shard) for source in self._sources for shard in source.shards()]
        found = (
            pipeline
            | "ListShards" >> beam.Create(list(enumerate(shards)), reshuffle=False)
            | "SpreadShards" >> beam.Reshuffle()
            | "ReadShard" >> beam.ParDo(_ReadShard(self._max_line_bytes)).with_outputs(ENTRIES, main=PAIRS)
        )
        return {PAIRS: found[PAIRS], ENTRIES: found[ENTRIES]}


class _ReadShard(beam.DoFn):
    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes

    # Beam checks annotations at construction and cannot compare protocols, hence Any for the shard.
    def process(self, element: tuple[int, tuple[Split | None, Any]]) -> Iterator[Pair | Noted]:
        number, (split, shard) = element[0], cast(tuple[Split | None, Shard], element[1])
        prefix = f"{number:05d}-{shard.name.rsplit('/', 1)[-1]}"
        rows = 0
        try:
            for row in shard.rows(self._max_line_bytes):
                rows += 1
                key = f"{prefix}:{row.line:09d}"
                if row.reason is None:
                    yield Pair(key, split, row.source, row.target, shard.name, row.line)
                else:
                    entry = dropped(row.reason, key, shard.name, row.line, row.source, row.target)
                    yield note(entry)
                if rows % _LINES_PER_REPORT == 0:
                    _LOGGER.info("%s: %d pairs read", shard.name, rows)
        except DataError as error:
            yield note(failed(str(error)))
        yield note(read(rows))
        _LOGGER.info("%s: %d pairs read, done", shard.name, rows)
