import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import LineShard, Row
from preprocessing.errors import DataError
from preprocessing.filters import Reason
from preprocessing.json_lines import JsonLines
from preprocessing.line_blocks import LineRange, Place

TEXT = st.text(max_size=9)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json") / "a.jsonl"


def rows(corpus: JsonLines, max_line_bytes: int = 1000) -> list[Row]:
    return [row for shard in corpus.shards() for row in shard.rows(max_line_bytes)]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1), st.booleans())
def test_what_python_writes(path: Path, pairs: list[tuple[str, str]], ascii_only: bool) -> None:
    lines = [json.dumps({"x": 1, "t": {"de": de, "en": en}}, ensure_ascii=ascii_only) for de, en in pairs]
    path.write_bytes("\n".join(lines).encode())
    found = rows(JsonLines(str(path), ("t.de", "t.en")))
    assert [(row.source.decode(), row.target.decode()) for row in found] == pairs
    assert [row.line for row in found] == list(range(1, len(pairs) + 1))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"source": "a", "target": "b", "x": null}', None),
        (b'{"source": "a"}', Reason.MALFORMED_ROW),
        (b'{"source": "a", "target": 7}', Reason.MALFORMED_ROW),
        (b'["a", "b"]', Reason.MALFORMED_ROW),
        (b'"a"', Reason.MALFORMED_ROW),
        (b'{"source": "a", "target": "b"', Reason.MALFORMED_ROW),
        (b"", Reason.MALFORMED_ROW),
        (b"[" * 9000, Reason.MALFORMED_ROW),
        (b'{"source": "a", "target": "b", "n": ' + b"9" * 5000 + b"}", Reason.MALFORMED_ROW),
        (b'{"source": "a", "target": "' + b"b" * 10_000 + b'"}', Reason.LINE_TOO_LONG),
    ],
)
def test_every_line_has_an_outcome(path: Path, line: bytes, reason: Reason | None) -> None:
    path.write_bytes(line + b'\n{"source": "c", "target": "d"}\n')
    first, last = rows(JsonLines(str(path)), 9999)
    assert (first.line, first.reason) == (1, reason)
    assert last == Row(2, b"c", b"d")


@pytest.mark.parametrize("text", [b"\xff", b"\\ud800"])
def test_what_is_not_unicode_stays_so(path: Path, text: bytes) -> None:
    path.write_bytes(b'{"source": "' + text + b'", "target": "b"}')
    (row,) = rows(JsonLines(str(path)))
    with pytest.raises(UnicodeDecodeError):
        row.source.decode()


def test_shards_and_parts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"source": "1", "target": "2"}\n' * 3)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b""))
    whole, empty = JsonLines(f"{tmp_path}/*").shards()
    assert isinstance(whole, LineShard)
    assert [row.line for row in whole.part(LineRange(1, 2, (Place(0, 1),))).rows(99)] == [2, 3]
    assert list(empty.rows(99)) == []
    with pytest.raises(DataError, match=r"b\.jsonl\.gz is empty; expected one JSON object a line"):
        rows(JsonLines(empty.name))
