"""Files of JSON lines as a corpus: one object a line.

{"id": 7, "translation": {"de": "Ein Hund.", "en": "A dog."}}
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from preprocessing.corpora import Corpus, Row, Split, first_line
from preprocessing.errors import DataError
from preprocessing.file_patterns import matching_files
from preprocessing.filters import Reason
from preprocessing.line_blocks import LineRange, read_range


@dataclass(frozen=True)
class JsonLines(Corpus):
    """Files with one JSON object a line.

    Attributes:
      path: path or glob, as in `corpora.FilePairs`.
      keys: of source and target; dots lead into objects, as in "translation.de".
      split: where the pairs go; None divides them by hash.
    """

    path: str
    keys: tuple[str, str] = ("source", "target")
    split: Split | None = None

    def shards(self) -> Sequence["JsonLinesShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        paths = matching_files(self.path)
        return [JsonLinesShard(path, self.keys, alone=len(paths) == 1) for path in paths]


@dataclass(frozen=True)
class JsonLinesShard:
    """One file. `alone`: an empty file is an error, as there is no other shard to hold the pairs."""

    name: str
    keys: tuple[str, str]
    alone: bool
    lines: LineRange | None = None

    @property
    def files(self) -> tuple[str]:
        """See `corpora.LineShard.files`."""
        return (self.name,)

    def part(self, lines: LineRange) -> Self:
        """See `corpora.LineShard.part`."""
        return replace(self, lines=lines)

    def check(self, lines: Sequence[int]) -> None:
        """See `corpora.LineShard.check`."""
        if self.alone and not lines[0]:
            raise DataError(f"{self.name} is empty; expected one JSON object a line")

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the rows; see `corpora.Shard.rows`."""
        start = first_line(self.lines)
        number = start - 1
        for number, line in enumerate(read_range(self.name, max_line_bytes, self.lines), start=start):
            texts = None if line.too_long else _texts(line.text, self.keys)
            if texts is None:
                reason = Reason.LINE_TOO_LONG if line.too_long else Reason.MALFORMED_ROW
                yield Row(number, line.text, b"", reason)
            else:
                yield Row(number, *texts)
        self.check([number])


def _texts(line: bytes, keys: tuple[str, str]) -> tuple[bytes, bytes] | None:
    """Source and target, or None if there are no such strings; what is not UTF-8 stays so, for `filters` to judge."""
    try:
        row = json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    source, target = (_find(row, key) for key in keys)
    if not isinstance(source, str) or not isinstance(target, str):
        return None
    return source.encode("utf-8", "surrogatepass"), target.encode("utf-8", "surrogatepass")


def _find(row: object, key: str) -> object:
    for name in key.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row
