import gzip
from pathlib import Path

import polib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import Row
from preprocessing.errors import DataError
from preprocessing.filters import Reason
from preprocessing.po_files import Po

HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=%s\\n"\n\n'
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('\n\t"\\'), min_size=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("po") / "a.po"


def rows(path: Path, reverse: bool = False, max_line_bytes: int = 1000) -> list[Row]:
    return [row for shard in Po(str(path), reverse).shards() for row in shard.rows(max_line_bytes)]


@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=5))
def test_what_polib_writes(path: Path, messages: dict[str, str]) -> None:
    file = polib.POFile()
    file.metadata = {"Content-Type": "text/plain; charset=utf-8"}
    file.extend(polib.POEntry(msgid=message, msgstr=translation) for message, translation in messages.items())
    path.write_text(str(file), encoding="utf-8")
    found = rows(path, max_line_bytes=10**6)
    assert [(row.source.decode(), row.target.decode()) for row in found] == list(messages.items())
    assert [row.line for row in found] == sorted({row.line for row in found})
    assert [(row.target, row.source) for row in found] == [row[1:3] for row in rows(path, True, 10**6)]


def test_every_message_has_an_outcome(path: Path) -> None:
    path.write_text(
        HEADER % "utf-8"
        + """#: a.c:1
msgid "Open"
msgstr "\u00d6ffnen"

#, fuzzy, c-format
msgid "Close %s"
msgstr "Klaus %s"

msgctxt "menu"
msgid "Save"
msgstr ""

msgid ""
"Long "
"line\u2028of two\\n"
msgstr "Lang"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d Datei"
msgstr[1] ""

#~ msgid "Old"
#~ msgstr "Alt"
""",
        encoding="utf-8",
    )
    assert rows(path) == [
        Row(4, b"Open", "\u00d6ffnen".encode()),
        Row(8, b"Close %s", b"Klaus %s", Reason.FUZZY),
        Row(12, b"Save", b"", Reason.UNTRANSLATED),
        Row(16, "Long line\u2028of two\n".encode(), b"Lang"),
        Row(21, b"%d file", b"%d Datei"),
        Row(22, b"%d files", b"", Reason.UNTRANSLATED),
        Row(26, b"Old", b"Alt", Reason.OBSOLETE),
    ]
    assert [row.reason for row in rows(path, max_line_bytes=6)][:2] == [Reason.LINE_TOO_LONG] * 2


@pytest.mark.parametrize(
    ("forms", "pairs"),
    [
        (["f\u00e1jl"], [("file", "f\u00e1jl"), ("files", "f\u00e1jl")]),
        (["plik", "pliki", "plik\u00f3w"], [("file", "plik"), ("files", "pliki"), ("files", "plik\u00f3w")]),
    ],
)
def test_plural_forms(path: Path, forms: list[str], pairs: list[tuple[str, str]]) -> None:
    translations = "".join(f'msgstr[{number}] "{form}"\n' for number, form in enumerate(forms))
    path.write_text(HEADER % "UTF-8" + f'msgid "file"\nmsgid_plural "files"\n{translations}', encoding="utf-8")
    found = rows(path)
    assert [(row.source.decode(), row.target.decode()) for row in found] == pairs
    assert len({row.line for row in found}) == len(found)


def test_encodings(path: Path) -> None:
    text = HEADER % "ISO-8859-1" + 'msgid "Open"\nmsgstr "\u00d6ffnen"\n'
    path.write_bytes(text.encode("latin-1"))
    assert rows(path) == [Row(4, b"Open", "\u00d6ffnen".encode())]
    path.write_bytes(text.replace("ISO-8859-1", "UTF-8").encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.po: expected the encoding utf-8 that its header names.*msgconv"):
        rows(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('msgid "a"\nmsgstr "b"\nrubbish\n', r"a\.po line 3: not a valid PO file"),
        ('msgid "a"\nmsgstr "b"c"\n', r"a\.po line 2: not a valid PO file"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[x] "c"\n', r"a\.po line 3: not a valid PO file"),
    ],
)
def test_what_is_refused(path: Path, text: str, told: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=told) as caught:
        rows(path)
    assert "\n" not in str(caught.value)


def test_packed_damaged_and_missing(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER % "utf-8" + 'msgid "a"\nmsgstr "b"\n').encode())
    path = tmp_path / "a.po.gz"
    path.write_bytes(packed)
    assert rows(path) == [Row(4, b"a", b"b")]
    path.write_bytes(packed[:-9])
    with pytest.raises(DataError, match=r"a\.po\.gz: the gzip file is truncated"):
        rows(path)
    with pytest.raises(DataError, match=r"none\.po: no such file"):
        rows(tmp_path / "none.po")
