"""Gettext's PO files as a corpus: the messages of a program and their translations.

    msgid "%d file"
    msgid_plural "%d files"
    msgstr[0] "%d Datei"
    msgstr[1] "%d Dateien"

A file is the messages of one program in one language, and is held in memory.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polib

from preprocessing.corpora import Corpus, Row, Split
from preprocessing.errors import DataError
from preprocessing.file_patterns import matching_files
from preprocessing.filters import Reason
from preprocessing.lines import READ_ERRORS, explain, opened

_PREVIEW_BYTES = 256


@dataclass(frozen=True)
class Po(Corpus):
    """PO files. Untranslated, fuzzy and obsolete messages are left out.

    Attributes:
      path: path or glob, as in `corpora.FilePairs`.
      reverse: whether the translation is the source, and the program's own text the target.
      split: where the pairs go; None divides them by hash.
    """

    path: str
    reverse: bool = False
    split: Split | None = None

    def shards(self) -> Sequence["PoShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        return [PoShard(path, self.reverse) for path in matching_files(self.path)]


@dataclass(frozen=True)
class PoShard:
    """One file."""

    name: str
    reverse: bool

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the messages, each with the line its entry begins on; see `corpora.Shard.rows`."""
        line = 0
        for entry in sorted(_read(self.name), key=lambda entry: entry.linenum):
            for message, translation in _pairs_of(entry):
                line = max(line + 1, entry.linenum)
                sides = message.encode("utf-8", "surrogatepass"), translation.encode("utf-8", "surrogatepass")
                source, target = reversed(sides) if self.reverse else sides
                if max(len(source), len(target)) > max_line_bytes:
                    yield Row(line, source[:_PREVIEW_BYTES], target[:_PREVIEW_BYTES], Reason.LINE_TOO_LONG)
                else:
                    yield Row(line, source, target, _reason(entry, translation))


def _read(path: str) -> polib.POFile:
    try:
        # polib splits a string at U+2028 and the like, a file at line ends only.
        with opened(path) as stream, tempfile.NamedTemporaryFile(suffix=".po") as copy:
            shutil.copyfileobj(stream, copy)
            copy.flush()
            return _parse(path, copy.name)
    except READ_ERRORS as error:
        raise DataError(explain(path, 0, error)) from error


def _parse(path: str, copy: str) -> polib.POFile:
    try:
        return polib.pofile(copy)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected the encoding {error.encoding} that its header names, found another one"
            f" ({error.reason} at byte {error.start}); convert it with msgconv"
        ) from error
    except (OSError, ValueError) as error:  # polib has no exception of its own
        place = re.search(r"\(line (\d+)\)", str(error))
        where = f" line {place[1]}" if place else ""
        raise DataError(f"{path}{where}: not a valid PO file; check it with msgfmt") from error


def _pairs_of(entry: polib.POEntry) -> Iterator[tuple[str, str]]:
    """A message and its translation; of one with a plural, form 0 is the singular's and all others are the plural's.

    A language with one form has it for both.
    """
    forms = [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)]
    if not entry.msgid_plural or not forms:
        yield entry.msgid, entry.msgstr
        return
    yield entry.msgid, forms[0]
    for form in forms[1:] or forms:
        yield entry.msgid_plural, form


def _reason(entry: polib.POEntry, translation: str) -> Reason | None:
    if entry.obsolete:
        return Reason.OBSOLETE
    if "fuzzy" in entry.flags:
        return Reason.FUZZY
    return None if translation else Reason.UNTRANSLATED
