"""CSV files as a corpus: two columns of a table, quoted as spreadsheets do."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preprocessing.corpora import Corpus, Row, Split
from preprocessing.errors import DataError
from preprocessing.file_patterns import matching_files
from preprocessing.filters import Reason
from preprocessing.lines import Line, read_lines


@dataclass(frozen=True)
class Csv(Corpus):
    """CSV files (RFC 4180): a field in double quotes may hold delimiters, line ends and doubled quotes.

    Attributes:
      path: path or glob, as in `corpora.FilePairs`.
      columns: of source and target: names in the header, or numbers from 1.
      header: whether the first row of a file names its columns; None: if `columns` has a name.
      delimiter: what separates the fields, one character.
      split: where the pairs go; None divides them by hash.
    """

    path: str
    columns: tuple[str | int, str | int] = (1, 2)
    header: bool | None = None
    delimiter: str = ","
    split: Split | None = None

    def __post_init__(self) -> None:
        """Checks that a header is there if a column is named."""
        super().__post_init__()
        if self.header is False and self._named:
            raise ValueError(f"header must be True where a column has a name, got False with {self._named[0]!r}")

    @property
    def has_header(self) -> bool:
        """Whether the first row of a file names its columns."""
        return bool(self._named) if self.header is None else self.header

    @property
    def _named(self) -> list[str]:
        return [column for column in self.columns if isinstance(column, str)]

    def shards(self) -> Sequence["CsvShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        paths = matching_files(self.path)
        return [CsvShard(path, self, alone=len(paths) == 1) for path in paths]


@dataclass(frozen=True)
class CsvShard:
    """One file. `alone`: an empty file is an error, as there is no other shard to hold the pairs."""

    name: str
    table: Csv
    alone: bool

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the rows, each with the line it begins on; see `corpora.Shard.rows`."""
        places, width, read = _numbers(self.table.columns), 0, 0
        for line, found in _records(self.name, self.table.delimiter, max_line_bytes):
            read += 1
            if self.table.has_header and read == 1:
                if not isinstance(found, list):
                    raise DataError(f"{self.name} line {line}: expected a header, found no readable row; correct it")
                places, width = [_column(self.name, found, column) for column in self.table.columns], len(found)
            elif not isinstance(found, list):
                yield Row(line, b"", b"", found)
            elif len(found) != width if width else len(found) <= max(places):
                yield Row(line, _bytes(self.table.delimiter.join(found)), b"", Reason.MALFORMED_ROW)
            else:
                yield Row(line, _bytes(found[places[0]]), _bytes(found[places[1]]))
        if self.alone and read <= self.table.has_header:
            raise DataError(f"{self.name} is empty; expected a table with columns for source and target")


class _TooLongError(Exception):
    """A row has more bytes than a line may have."""


class _Lines:
    """What `csv.reader` reads, row by row, bounded; lines that were read in vain can be read again."""

    def __init__(self, lines: Iterator[Line], max_row_bytes: int) -> None:
        self.number = 0
        self._lines = lines
        self._limit = max_row_bytes
        self._left = max_row_bytes
        self._row: list[Line] = []
        self._again: deque[Line] = deque()

    def begin_row(self) -> int:
        """Number of the line that the next row begins on."""
        self._row, self._left = [], self._limit
        return self.number + 1

    def retry(self) -> None:
        """Gives all lines of the row again but the first, which is at fault."""
        again = self._row[1:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)

    @property
    def retried(self) -> bool:
        """Whether lines that were read in vain are still to come."""
        return bool(self._again)

    @property
    def quotes(self) -> int:
        """How many quotes the row's lines hold."""
        return sum(line.text.count(b'"') for line in self._row)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.number += 1
        self._row.append(line)
        self._left -= len(line.text)
        if line.too_long or self._left < 0:
            raise _TooLongError
        # Bytes that are not UTF-8 come out of `_bytes` as they were.
        return line.text.decode("utf-8", "surrogateescape") + "\n"


def _records(path: str, delimiter: str, max_line_bytes: int) -> Iterator[tuple[int, list[str] | Reason]]:
    """Yields the first line of each row and its fields, or why there are none.

    A quote that is never closed takes in all lines behind it, until there are too many. Then its own line is at fault
    alone, and the others are read again: as rows, unless a quote is left over, where they were the rest of a field.
    """
    lines = _Lines(read_lines(path, max_line_bytes), max_line_bytes)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line, retried = lines.begin_row(), lines.retried
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (_TooLongError, csv.Error) as error:
            lines.retry()
            yield line, Reason.LINE_TOO_LONG if isinstance(error, _TooLongError) else Reason.MALFORMED_ROW
        else:
            yield line, Reason.MALFORMED_ROW if retried and lines.quotes % 2 else fields


def _numbers(columns: tuple[str | int, str | int]) -> list[int]:
    return [column - 1 for column in columns if isinstance(column, int)]


def _column(path: str, header: list[str], column: str | int) -> int:
    """Place of a column, from 0."""
    if isinstance(column, int) and 1 <= column <= len(header):
        return column - 1
    if isinstance(column, str) and header.count(column) == 1:
        return header.index(column)
    found = "two of them" if isinstance(column, str) and column in header else f"only {', '.join(map(repr, header))}"
    raise DataError(f"{path} line 1: expected a column {column!r} in the header, found {found}; correct `columns`")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
