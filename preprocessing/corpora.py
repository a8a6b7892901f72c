"""Where pairs come from: line-aligned files, tab-separated files, and whatever else can list its shards.

A source is a small frozen description. It splits itself into shards, each of which one worker reads from start to end;
shards are read in any order, and the key of a pair (shard and line) says where it belongs. A shard of plain lines may
be divided once more, see `preprocessing.line_blocks`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, runtime_checkable

from preprocessing.errors import DataError
from preprocessing.file_patterns import matching_files, paired_files
from preprocessing.filters import Reason
from preprocessing.line_blocks import LineRange, read_range
from preprocessing.lines import Line
from preprocessing.wording import counted

Split = Literal["train", "validation", "test"]


class Row(NamedTuple):
    """One pair as a shard has it.

    Attributes:
      line: from 1; rises within a shard: of pairs that begin on one line, the later ones get the numbers after it.
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


@runtime_checkable
class LineShard(Shard, Protocol):
    """A shard whose rows are the lines of one file, or of several line-aligned ones."""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths."""

    def part(self, lines: LineRange) -> "LineShard":
        """The shard of some of its lines."""

    def check(self, lines: Sequence[int]) -> None:
        """Raises DataError when files with these numbers of lines cannot be read as a shard."""


class PairSource(Protocol):
    """A corpus, such as `FilePairs`, `Tsv`, `csv_files.Csv`, `json_lines.JsonLines`, `tmx.Tmx`, `po_files.Po`."""

    @property
    def split(self) -> Split | None:
        """The split all its pairs belong to; None divides them by a stable hash of the source text."""

    @property
    def weight(self) -> float:
        """See `Corpus`."""

    @property
    def domain(self) -> str:
        """See `Corpus`."""

    def shards(self) -> Sequence[Shard]:
        """Lists the shards; raises DataError when there is none."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What can be said of every corpus.

    Attributes:
      weight: how often a training pair stands in an epoch: 2 is twice, 0.5 lets half of them stand once.
      domain: what the corpus is about, to tell its pairs apart in the evaluation; "" for nothing.
    """

    weight: float = 1.0
    domain: str = ""

    def __post_init__(self) -> None:
        """Checks the weight."""
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be a number above 0, got {self.weight!r}; leave out what weighs nothing")


@dataclass(frozen=True)
class FilePairs(Corpus):
    """Line-aligned files: line N of a source file is translated by line N of its target file.

    Attributes:
      source: path or glob on any file system Beam knows; ``.gz``, ``.bz2`` and ``.zst`` are decompressed.
      target: likewise. The files matched by two globs are paired by name: what the wildcards stand for is the same.
      split: where the pairs go; None divides them by hash.
    """

    source: str
    target: str
    split: Split | None = None

    def shards(self) -> Sequence["FilePairShard"]:
        """Finds the files.

        Raises:
          DataError: a pattern matches nothing, or one of several files has no partner.
        """
        pairs = paired_files(self.source, self.target)
        return [FilePairShard(source, target, alone=len(pairs) == 1) for source, target in pairs]


@dataclass(frozen=True)
class FilePairShard:
    """Two files read in lockstep. `alone`: an empty file is an error, as there is no other shard to hold the pairs."""

    name: str
    target: str
    alone: bool
    lines: LineRange | None = None

    @property
    def files(self) -> tuple[str, str]:
        """See `LineShard.files`."""
        return self.name, self.target

    def part(self, lines: LineRange) -> Self:
        """See `LineShard.part`."""
        return replace(self, lines=lines)

    def check(self, lines: Sequence[int]) -> None:
        """See `LineShard.check`."""
        sources, targets = lines
        if sources != targets:
            raise DataError(
                f"{self.name} has {counted(sources, 'line')} but {self.target} has {targets};"
                " a pair of files needs the same number of lines, line N translating line N"
            )
        if self.alone and not sources:
            raise DataError(f"{self.name} and {self.target} are empty; expected one sentence a line")

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the pairs of lines; see `Shard.rows`."""
        sides = [read_range(path, max_line_bytes, self.lines, side) for side, path in enumerate(self.files)]
        sources = targets = 0
        for number, (source, target) in enumerate(zip_longest(*sides), start=first_line(self.lines)):
            sources += source is not None
            targets += target is not None
            if source is not None and target is not None:
                yield Row(number, source.text, target.text, _too_long(source, target))
        self.check((sources, targets))


@dataclass(frozen=True)
class Tsv(Corpus):
    """Tab-separated files of two columns, source and target, without a header and without quoting.

    Attributes:
      path: path or glob, as in `FilePairs`.
      split: where the pairs go; None divides them by hash.
    """

    path: str
    split: Split | None = None

    def shards(self) -> Sequence["TsvShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        paths = matching_files(self.path)
        return [TsvShard(path, alone=len(paths) == 1) for path in paths]


@dataclass(frozen=True)
class FileShard:
    """One file that has a pair in each line. `alone`: it must not be empty, as no other shard holds pairs."""

    name: str
    alone: bool
    lines: LineRange | None = None

    expected: ClassVar[str]
    """What a line holds, for a person."""

    def texts(self, line: bytes) -> tuple[bytes, bytes] | None:
        """Source and target of a line; None if it has another form."""
        raise NotImplementedError

    @property
    def files(self) -> tuple[str]:
        """See `LineShard.files`."""
        return (self.name,)

    def part(self, lines: LineRange) -> Self:
        """See `LineShard.part`."""
        return replace(self, lines=lines)

    def check(self, lines: Sequence[int]) -> None:
        """See `LineShard.check`."""
        if self.alone and not lines[0]:
            raise DataError(f"{self.name} is empty; expected {self.expected} a line")

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the rows; see `Shard.rows`."""
        start = first_line(self.lines)
        number = start - 1
        for number, line in enumerate(read_range(self.name, max_line_bytes, self.lines), start=start):
            texts = None if line.too_long else self.texts(line.text)
            if texts is None:
                yield Row(number, line.text, b"", Reason.LINE_TOO_LONG if line.too_long else Reason.MALFORMED_ROW)
            else:
                yield Row(number, *texts)
        self.check([number])


@dataclass(frozen=True)
class TsvShard(FileShard):
    """One tab-separated file."""

    expected: ClassVar[str] = "two columns, source and target,"

    def texts(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The two columns."""
        source, *others = line.split(b"\t")
        return (source, others[0]) if len(others) == 1 else None


def first_line(lines: LineRange | None) -> int:
    """Number, from 1, of the first line that a shard reads."""
    return lines.first + 1 if lines else 1


def _too_long(source: Line, target: Line) -> Reason | None:
    return Reason.LINE_TOO_LONG if source.too_long or target.too_long else None
