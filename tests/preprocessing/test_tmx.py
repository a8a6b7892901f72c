import gzip
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing import tmx
from preprocessing.corpora import Row
from preprocessing.errors import DataError
from preprocessing.filters import Reason
from preprocessing.tmx import Tmx

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tmx") / "a.tmx"


def unit(*variants: tuple[str, str]) -> str:
    texts = "".join(f'<tuv xml:lang="{code}"><seg>{segment}</seg></tuv>' for code, segment in variants)
    return f"<tu>{texts}</tu>"


def rows(path: Path, *units: str, languages: tuple[str, str] = ("de", "en"), max_line_bytes: int = 1000) -> list[Row]:
    beginning = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    body = "\n".join(units)
    path.write_text(f'{beginning}<tmx version="1.4"><header/><body>\n{body}\n</body></tmx>\n', encoding="utf-8")
    return read(path, languages, max_line_bytes)


def read(path: Path, languages: tuple[str, str] = ("de", "en"), max_line_bytes: int = 1000) -> list[Row]:
    return [row for shard in Tmx(str(path), languages).shards() for row in shard.rows(max_line_bytes)]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_texts(path: Path, pairs: list[tuple[str, str]]) -> None:
    found = rows(path, *(unit(("de", escape(de)), ("en", escape(en))) for de, en in pairs), max_line_bytes=10**6)
    assert [(row.source.decode(), row.target.decode()) for row in found] == pairs
    assert [row.line for row in found] == list(range(4, 4 + len(pairs)))


@pytest.mark.parametrize(
    ("wanted", "codes", "chosen"),
    [
        ("de", ["de-AT", "fr", "de"], 2),
        ("de", ["fr", "de-AT", "de-DE"], 1),
        ("DE_de", ["de", "de-DE"], 1),
        ("de-DE", ["de", "de-AT"], None),
        ("de", ["den", "en"], None),
        ("sr-Latn", ["sr-Cyrl-RS", "sr_latn_RS"], 1),
    ],
)
def test_languages(path: Path, wanted: str, codes: list[str], chosen: int | None) -> None:
    variants = [*((code, str(place)) for place, code in enumerate(codes)), ("x", "target")]
    (row,) = rows(path, unit(*variants), languages=(wanted, "x"))
    assert row == (Row(4, b"", b"", Reason.MISSING_LANGUAGE) if chosen is None else Row(4, b"%d" % chosen, b"target"))


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        ('Ein <bpt i="1">&lt;b></bpt>Hund<ept i="1">&lt;/b></ept>.', "Ein Hund."),
        ("a <hi>b <hi>c</hi> d</hi> e<!-- no --> f<?no no?>", "a b c d e f"),
        ("<ph>{1}</ph><it pos='begin'>x</it>b<ut>y</ut>", "b"),
        ("<![CDATA[a < b]]> &#228;", "a < b \u00e4"),
        ("", ""),
    ],
)
def test_codes_are_no_text(path: Path, segment: str, text: str) -> None:
    assert rows(path, unit(("de", segment), ("en", "x"))) == [Row(4, text.encode(), b"x")]


def test_every_unit_has_an_outcome(path: Path) -> None:
    found = rows(
        path,
        unit(("de", "eins")) + unit(("de", "zwei"), ("en", "two")),
        "<tu><tuv lang='DE'><seg>drei</seg></tuv><tuv lang='EN-gb'><seg>three</seg></tuv></tu>",
        unit(("de", "x" * 301), ("en", "long")),
        '<tu><tuv xml:lang="de"/><tuv xml:lang="en"><seg>five</seg></tuv></tu>',
        unit(("de", "&unknown;"), ("en", "six")),
        unit(("de", ""), ("en", "seven")),
        max_line_bytes=300,
    )
    assert found == [
        Row(4, b"eins", b"", Reason.MISSING_LANGUAGE),
        Row(5, b"zwei", b"two"),
        Row(6, b"drei", b"three"),
        Row(7, b"x" * 256, b"long", Reason.LINE_TOO_LONG),
        Row(8, b"", b"five", Reason.MALFORMED_ROW),
        Row(9, b"", b"six", Reason.MALFORMED_ROW),
        Row(10, b"", b"seven"),
    ], "where two units are on one line, lines run ahead until there are more lines than units"


BOMB = '<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{inner};" * 10}">' for inner, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("beginning", "told"),
    [
        (
            f"<!DOCTYPE tmx [{BOMB}]><tmx><body>{unit(('de', '&i;'), ('en', 'x'))}",
            "declares XML entities, which are refused",
        ),
        ('<!DOCTYPE tmx [<!ENTITY x SYSTEM "file:///etc/hostname">]><tmx><body>', "declares XML entities"),
        ('<!DOCTYPE tmx [<!ENTITY % x "y">]><tmx><body>', "declares XML entities"),
        ("<xliff>", "expected TMX, found XML of 'xliff'"),
        ("", r"not well-formed XML \("),
        ("plain text", r"not well-formed XML \("),
        (f"<tmx><body>{unit(('de', 'a'), ('en', 'b'))}<tu></body></tmx>", r"not well-formed XML \(.*line 1, column"),
        ("<tmx><body>" + "<tu>" * 300, r"not well-formed XML \("),
    ],
)
def test_what_is_refused(path: Path, beginning: str, told: str) -> None:
    path.write_text(beginning)
    with pytest.raises(DataError, match=told) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_packed_and_damaged(tmp_path: Path, path: Path) -> None:
    expected = rows(path, *(unit(("de", f"satz {n}"), ("en", f"sentence {n}")) for n in range(9999)))
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "a.tmx.gz").write_bytes(packed)
    assert read(tmp_path / "a.tmx.gz") == expected
    (tmp_path / "a.tmx.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match=r"a\.tmx\.gz: the gzip file is truncated after line \d{3}"):
        read(tmp_path / "a.tmx.gz")
    with pytest.raises(DataError, match=r"none\.tmx: no such file"):
        read(tmp_path / "none.tmx")


def test_what_has_been_read_is_forgotten(path: Path) -> None:
    one = unit(("de", "satz"), ("en", "sentence"))
    path.write_text(f"<tmx><body>\n{(one + chr(10)) * 3000}</body></tmx>")
    with path.open("rb") as stream:
        left = [sum(1 for _ in read_unit.itersiblings(preceding=True)) for read_unit in tmx._units(stream)]
    assert len(left) == 3000
    assert max(left) <= 1


def test_lines_beyond_those_that_the_parser_counts_in_sixteen_bits(path: Path) -> None:
    path.write_text("<tmx><body>" + "\n" * 70_000 + unit(("de", "a"), ("en", "b")) + "</body></tmx>")
    assert read(path) == [Row(70_001, b"a", b"b")]
