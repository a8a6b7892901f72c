"""Files of JSON lines as a corpus: one object a line.

{"id": 7, "translation": {"de": "Ein Hund.", "en": "A dog."}}
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from preprocessing.corpora import Corpus, FileShard, Split
from preprocessing.file_patterns import matching_files


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
        return [JsonLinesShard(path, alone=len(paths) == 1, keys=self.keys) for path in paths]


@dataclass(frozen=True)
class JsonLinesShard(FileShard):
    """One file of JSON objects; `keys` are those of source and target."""

    keys: tuple[str, str] = ("source", "target")

    expected: ClassVar[str] = "one JSON object"

    def texts(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The two values."""
        return _texts(line, self.keys)


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
