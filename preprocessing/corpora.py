"""Where pairs come from: line-aligned files, tab-separated files, and whatever else can list its shards.

A source is a small frozen description. It splits itself into shards, each of which one worker reads from start to end;
shards are read in any order, and the key of a pair (shard and line) says where it belongs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, NamedTuple, Protocol

from apache_beam.io.filesystems import FileSystems

from preprocessing.errors import DataError
from preprocessing.filters import Reason
from preprocessing.lines import Line, read_lines

Split = Literal["train", "validation", "test"]


class Row(NamedTuple):
    """One pair as a shard has it.

    Attributes:
      line: from 1; rises within a shard.
      source: UTF-8 text as found, of an unusable row a preview.
      target: likewise.
      reason: why the row cannot be used at all, or None.
    """

    line: int
    source: bytes
    target: bytes
    reason: Reason | None = None


class Shard(Protocol):
    """What one worker reads from start to end; has to be picklable."""

    @property
    def name(self) -> str:
        """What a person knows it by, such as the path of the (source) file."""

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the rows in order; raises DataError when they cannot be read."""


class PairSource(Protocol):
    """A corpus: `FilePairs`, `Tsv`, `dates.Dates`, `emoji_names.EmojiNames`."""

    @property
    def split(self) -> Split | None:
        """The split all its pairs belong to; None divides them by a stable hash of the source text."""

    def shards(self) -> Sequence[Shard]:
        """Lists the shards; raises DataError when there is none."""


@dataclass(frozen=True)
class FilePairs:
    """Line-aligned files: line N of a source file is translated by line N of its target file.

    Attributes:
      source: path or glob on any file system Beam knows; names ending in ``.gz`` are decompressed.
      target: likewise. The files matched by two globs are paired in sorted order.
      split: where the pairs go; None divides them by hash.
    """

    source: str
    target: str
    split: Split | None = None

    def shards(self) -> Sequence["FilePairShard"]:
        """Finds the files.

        Raises:
          DataError: a pattern matches nothing, or the two match different numbers of files.
        """
        sources, targets = matching_files(self.source), matching_files(self.target)
        if len(sources) != len(targets):
            raise DataError(
                f"{self.source} matches {len(sources)} files but {self.target} matches {len(targets)};"
                " both sides of a pair need the same number of files, paired in sorted order"
            )
        alone = len(sources) == 1
        return [FilePairShard(source, target, alone) for source, target in zip(sources, targets, strict=True)]


@dataclass(frozen=True)
class FilePairShard:
    """Two files read in lockstep. `alone`: an empty file is an error, as there is no other shard to hold the pairs."""

    name: str
    target: str
    alone: bool

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the pairs of lines; see `Shard.rows`."""
        lines = zip_longest(read_lines(self.name, max_line_bytes), read_lines(self.target, max_line_bytes))
        sources = targets = 0
        for number, (source, target) in enumerate(lines, start=1):
            sources += source is not None
            targets += target is not None
            if source is not None and target is not None:
                yield Row(number, source.text, target.text, _too_long(source, target))
        if sources != targets:
            raise DataError(
                f"{self.name} has {sources} lines but {self.target} has {targets};"
                " a pair of files needs the same number of lines, line N translating line N"
            )
        if self.alone and not sources:
            raise DataError(f"{self.name} and {self.target} are empty; expected one sentence a line")


@dataclass(frozen=True)
class Tsv:
    """Tab-separated files of two columns, source and target, without a header and without quoting.

    Attributes:
      path: path or glob on any file system Beam knows; names ending in ``.gz`` are decompressed.
      split: where the pairs go; None divides them by hash.
    """

    path: str
    split: Split | None = None

    def shards(self) -> Sequence["TsvShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        paths = matching_files(self.path)
        return [TsvShard(path, alone=len(paths) == 1) for path in paths]


@dataclass(frozen=True)
class TsvShard:
    """One tab-separated file. `alone`: an empty file is an error, as there is no other shard to hold the pairs."""

    name: str
    alone: bool

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the rows; see `Shard.rows`."""
        number = 0
        for number, line in enumerate(read_lines(self.name, max_line_bytes), start=1):
            columns = line.text.split(b"\t")
            if line.too_long:
                yield Row(number, line.text, b"", Reason.LINE_TOO_LONG)
            elif len(columns) != 2:
                yield Row(number, line.text, b"", Reason.MALFORMED_ROW)
            else:
                yield Row(number, columns[0], columns[1])
        if self.alone and not number:
            raise DataError(f"{self.name} is empty; expected two columns, source and target, a line")


def matching_files(pattern: str) -> list[str]:
    """Lists the files a path or glob matches, sorted by name.

    Raises:
      DataError: there is none, or the file system is unknown.
    """
    if pattern.endswith("/"):
        raise DataError(
            f"{pattern}: expected a file, found a directory; name the file, or a pattern such as {pattern}*"
        )
    try:
        # As in a shell, and as in the fingerprint of a run, a wildcard does not match hidden files.
        found = [found.path for found in FileSystems.match([pattern])[0].metadata_list]
        paths = sorted(path for path in found if path == pattern or not path.rsplit("/", 1)[-1].startswith("."))
        # A name such as "corpus[1].txt" is a file before it is a pattern.
        if not paths and FileSystems.exists(pattern):
            paths = [pattern]
    except (OSError, ValueError) as error:
        raise DataError(f"{pattern}: cannot be listed ({' '.join(str(error).split())})") from error
    if not paths:
        remedy = "no file matches this pattern" if any(mark in pattern for mark in "*?[") else "no such file"
        raise DataError(f"{pattern}: {remedy}; check the path")
    return paths


def _too_long(source: Line, target: Line) -> Reason | None:
    return Reason.LINE_TOO_LONG if source.too_long or target.too_long else None
