"""TMX files (Translation Memory eXchange 1.1 to 1.4b) as a corpus.

    <tu>
      <tuv xml:lang="de-DE"><seg>Ein <bpt i="1">&lt;b></bpt>Hund<ept i="1">&lt;/b></ept>.</seg></tuv>
      <tuv xml:lang="en"><seg>A dog.</seg></tuv>
    </tu>

A unit is read, used and forgotten, so memory does not grow with the file. Entities are refused: a translation memory
has no use for its own, and a few lines of them can expand to gigabytes or name files of the machine that reads them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from lxml import etree

from preprocessing.corpora import Corpus, Row, Split
from preprocessing.errors import DataError
from preprocessing.file_patterns import matching_files
from preprocessing.filters import Reason
from preprocessing.lines import READ_ERRORS, explain, opened

_LANGUAGE = ("{http://www.w3.org/XML/1998/namespace}lang", "lang")  # the second one in TMX 1.1
# The one element within a segment whose text is text; the others hold codes of the format it came from.
_HIGHLIGHT = "hi"
_PREVIEW_BYTES = 256


@dataclass(frozen=True)
class Tmx(Corpus):
    """Translation memories.

    Attributes:
      path: path or glob, as in `corpora.FilePairs`.
      languages: codes of source and target. "de" is also "de-DE" or "de_AT", "de-DE" is nothing else; case does not
        matter. Of several texts of a language the first with just that code is taken, else the first.
      split: where the pairs go; None divides them by hash.
    """

    path: str
    languages: tuple[str, str]
    split: Split | None = None

    def shards(self) -> Sequence["TmxShard"]:
        """Finds the files; raises DataError when the pattern matches nothing."""
        return [TmxShard(path, self.languages) for path in matching_files(self.path)]


@dataclass(frozen=True)
class TmxShard:
    """One file."""

    name: str
    languages: tuple[str, str]

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the units, each with the line it begins on; see `corpora.Shard.rows`.

        Beyond line 65,535 the number may be a few lines off: libxml2 then knows the lines of texts only, and gives
        that of one in the unit or beside it.
        """
        line = 0
        try:
            with opened(self.name) as stream:
                _check_beginning(self.name, stream)
            with opened(self.name) as stream:
                for unit in _units(stream):
                    line = max(line + 1, unit.sourceline)
                    yield _row(unit, line, self.languages, max_line_bytes)
        except etree.XMLSyntaxError as error:
            told = " ".join(str(error.msg).split())
            raise DataError(f"{self.name}: not well-formed XML ({told}); correct it, or export it again") from error
        except READ_ERRORS as error:
            raise DataError(explain(self.name, line, error)) from error


def _parse(stream: BinaryIO, event: str, tag: str | None = None) -> Iterator[tuple[str, Any]]:
    # Nothing is fetched and nothing expanded; the parser's limits of depth and of text in one piece stay on.
    events: Iterator[tuple[str, Any]] = etree.iterparse(
        stream,
        events=(event,),
        tag=tag,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    return events


def _check_beginning(path: str, stream: BinaryIO) -> None:
    """Refuses what is no TMX before all of it is read, and entities before any is met."""
    _, root = next(_parse(stream, "start"))
    if etree.QName(root).localname != "tmx":
        raise DataError(f"{path}: expected TMX, found XML of {root.tag!r}; export it as TMX")
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and next(dtd.iterentities(), None) is not None:
        raise DataError(f"{path}: declares XML entities, which are refused; export it again without a DTD of its own")


def _units(stream: BinaryIO) -> Iterator[Any]:
    for _, unit in _parse(stream, "end", "{*}tu"):
        yield unit
        unit.clear(keep_tail=False)
        while unit.getprevious() is not None:
            del unit.getparent()[0]


def _row(unit: Any, line: int, languages: tuple[str, str], max_line_bytes: int) -> Row:
    source, target = (_variant(unit, language) for language in languages)
    if source is None or target is None or source is target:
        text = b"" if source is None else (_text(source) or b"")[:_PREVIEW_BYTES]
        return Row(line, text, b"", Reason.MISSING_LANGUAGE)
    texts = _text(source), _text(target)
    if texts[0] is None or texts[1] is None:
        return Row(line, texts[0] or b"", texts[1] or b"", Reason.MALFORMED_ROW)
    if max(map(len, (texts[0], texts[1]))) > max_line_bytes:
        return Row(line, texts[0][:_PREVIEW_BYTES], texts[1][:_PREVIEW_BYTES], Reason.LINE_TOO_LONG)
    return Row(line, texts[0], texts[1])


def _variant(unit: Any, language: str) -> Any | None:
    """The element of a language, or None."""
    wanted, found = _code(language), None
    for variant in unit.iterchildren("{*}tuv"):
        code = _code(next((variant.get(name) for name in _LANGUAGE if variant.get(name)), ""))
        if code == wanted:
            return variant
        if found is None and code.startswith(f"{wanted}-"):
            found = variant
    return found


def _code(language: str) -> str:
    return language.lower().replace("_", "-")


def _text(variant: Any) -> bytes | None:
    """The text of the segment without codes, UTF-8; None if there is no segment or it has an unknown entity."""
    segment = next(variant.iterchildren("{*}seg"), None)
    if segment is None or any(not isinstance(part.tag, str) for part in segment.iter()):
        return None
    return "".join(_pieces(segment)).encode()


def _pieces(element: Any) -> Iterator[str]:
    yield element.text or ""
    for part in element:
        if etree.QName(part).localname == _HIGHLIGHT:
            yield from _pieces(part)
        yield part.tail or ""
