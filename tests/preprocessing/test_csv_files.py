import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import Row
from preprocessing.csv_files import Csv
from preprocessing.errors import DataError
from preprocessing.filters import Reason

FIELD = st.text(st.sampled_from('ab ,;"\n\t\u2028ü'), max_size=8)


def rows(table: Csv, max_line_bytes: int = 1000) -> list[Row]:
    return [row for shard in table.shards() for row in shard.rows(max_line_bytes)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "a.csv"


@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1), st.sampled_from(",;\t"), st.booleans())
def test_what_python_writes(path: Path, table: list[tuple[str, str, str]], delimiter: str, header: bool) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter).writerows([("id", "de", "en"), *table] if header else table)
    path.write_bytes(written.getvalue().encode())
    columns: tuple[str | int, str | int] = ("de", "en") if header else (2, 3)
    found = rows(Csv(str(path), columns, header=header, delimiter=delimiter))
    assert [(row.source.decode(), row.target.decode()) for row in found] == [row[1:] for row in table]
    assert {row.reason for row in found} == {None}
    line, lines = 1 + header, []
    for row in table:
        lines.append(line)
        line += 1 + sum(field.count("\n") for field in row)
    assert [row.line for row in found] == lines


def test_every_row_has_an_outcome(path: Path) -> None:
    path.write_bytes(
        b'\xef\xbb\xbfde,en\r\ngut,good\r\nallein\r\n,\r\na,b,c\r\n"drei\r\nvier","three\r\nfour"\r\n"x"y,z\r\n'
        b'\xff,x\r\n\r\n"'
        + b"w" * 60
        + b"\n"
        + b"w" * 60
        + b'",long\r\n'
        + b"v" * 101
        + b',long\r\nd"rei,three\r\n"open,end'
    )
    found = rows(Csv(str(path), ("de", "en")), max_line_bytes=100)
    assert found == [
        Row(2, b"gut", b"good"),
        Row(3, b"allein", b"", Reason.MALFORMED_ROW),
        Row(4, b"", b""),
        Row(5, b"a,b,c", b"", Reason.MALFORMED_ROW),
        Row(6, b"drei\nvier", b"three\nfour"),
        Row(9, b"", b"", Reason.MALFORMED_ROW),
        Row(10, b"\xff", b"x"),
        Row(11, b"", b"", Reason.MALFORMED_ROW),
        Row(12, b"", b"", Reason.LINE_TOO_LONG),
        Row(13, b"", b"", Reason.MALFORMED_ROW),
        Row(14, b"", b"", Reason.LINE_TOO_LONG),
        Row(15, b'd"rei', b"three"),
        Row(16, b"", b"", Reason.MALFORMED_ROW),
    ]


@pytest.mark.parametrize("stray", [b'a,"open', b'"open,a', b'"op"en,a'])
def test_a_quote_that_is_never_closed_takes_its_own_line_alone(path: Path, stray: bytes) -> None:
    lines = [stray if number in (0, 10, 70) else b"b,%d" % number for number in range(100)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = rows(Csv(str(path)), max_line_bytes=50)
    assert [row.line for row in found] == list(range(1, 101))
    broken = [row.line for row in found if row.reason is not None]
    assert broken == [1, 11, 71] and found[1] == Row(2, b"b", b"1") and found[-1] == Row(100, b"b", b"99")


def test_columns(path: Path) -> None:
    path.write_bytes(b"id,en,de,en\n1,one,eins,uno\n")
    assert rows(Csv(str(path), ("de", 2))) == [Row(2, b"eins", b"one")]
    assert rows(Csv(str(path), (3, 2))) == [Row(1, b"de", b"en"), Row(2, b"eins", b"one")]
    assert [row.reason for row in rows(Csv(str(path), (3, 5)))] == [Reason.MALFORMED_ROW] * 2
    for column, told in (
        ("fr", "found only 'id', 'en', 'de', 'en'"),
        ("en", "found two of them"),
        (5, "found only 'id'"),
    ):
        with pytest.raises(DataError, match=rf"a\.csv line 1: expected a column {column!r} in the header, {told}"):
            rows(Csv(str(path), ("de", column)))
    with pytest.raises(ValueError, match="header must be True where a column has a name, got False with 'de'"):
        Csv(str(path), ("de", "en"), header=False)


@pytest.mark.parametrize(("content", "header"), [(b"", False), (b"", True), (b"1,2\n", True)])
def test_no_rows(path: Path, content: bytes, header: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.csv is empty; expected a table"):
        rows(Csv(str(path), header=header))


def test_a_header_that_cannot_be_read(path: Path) -> None:
    path.write_bytes(b'"a"b,c\n1,2\n')
    with pytest.raises(DataError, match=r"a\.csv line 1: expected a header, found no readable row"):
        rows(Csv(str(path), ("a", "b")))
