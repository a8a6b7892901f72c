import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing import lines
from preprocessing.errors import DataError
from preprocessing.lines import Line, read_lines

ANY_LINE = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"").rstrip(b"\r"))


def read(content: bytes, max_line_bytes: int = 1000) -> list[Line]:
    return list(lines._bounded_lines(io.BytesIO(content), max_line_bytes))


@given(st.lists(ANY_LINE), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_lines_end_at_newline_only(texts: list[bytes], end: bytes, last_ended: bool) -> None:
    content = b"".join(text + end for text in texts)
    if texts and texts[-1] and not last_ended:
        content = content.removesuffix(end)
    assert [line.text for line in read(content)] == texts


def test_unicode_line_separators_and_nul_stay_inside() -> None:
    text = "a\u2028b\u0085c\x00d\x0be\x0cf\rg"
    assert read((text + "\nnext").encode()) == [Line(text.encode(), False), Line(b"next", False)]


@given(st.lists(st.integers(0, 40)), st.integers(1, 20), st.sampled_from([b"\n", b"\r\n"]))
def test_long_lines_are_noted_and_keep_their_place(sizes: list[int], limit: int, end: bytes) -> None:
    found = read(b"".join(b"x" * size + end for size in sizes), limit)
    assert [line.too_long for line in found] == [size > limit for size in sizes]
    assert all(line.text == b"x" * size for line, size in zip(found, sizes, strict=True) if size <= limit)


def test_a_long_line_is_not_loaded(tmp_path: Path) -> None:
    class Watched(io.BytesIO):
        largest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            chunk = super().readline(size)
            self.largest = max(self.largest, len(chunk))
            return chunk

    stream = Watched(b"x" * 5_000_000 + b"\nshort\n")
    found = list(lines._bounded_lines(stream, 1000))
    assert [(len(line.text), line.too_long) for line in found] == [(256, True), (5, False)]
    assert stream.largest < 100_000


@pytest.mark.parametrize("name", ["plain.txt", "packed.txt.gz"])
def test_plain_and_gzip_files_and_byte_order_mark(tmp_path: Path, name: str) -> None:
    content = "\ufeffeins\nzwei\ufeff\r\n\ndrei".encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [line.text.decode() for line in read_lines(str(path), 1000)] == ["eins", "zwei\ufeff", "", "drei"]


def test_gzip_of_several_members_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert [line.text for line in read_lines(str(path), 1000)] == [b"one", b"two"]


PACKED = gzip.compress(b"".join(b"%d some text\n" % number for number in range(5000)), mtime=0)
FLIPPED = bytearray(PACKED)
FLIPPED[-8] ^= 0xFF  # The first byte of the checksum.


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PACKED[: len(PACKED) // 2], "truncated after line"),
        (PACKED[:-4], "truncated after line"),
        (bytes(FLIPPED), "not a valid gzip file after line"),
        (b"plain text\n", "not a valid gzip file after line 0"),
        (PACKED + b"rubbish", "not a valid gzip file after line"),
    ],
)
def test_damaged_gzip(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        list(read_lines(str(path), 1000))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_directory_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        list(read_lines(str(tmp_path / "none.txt"), 1000))
    with pytest.raises(DataError, match="expected a file, found a directory"):
        list(read_lines(str(tmp_path), 1000))

    def refuse(path: str, **_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    # The tests may run as root, who may read everything.
    monkeypatch.setattr(lines.FileSystems, "open", refuse)
    with pytest.raises(DataError, match=r"a.txt: not readable \(permission denied\)"):
        list(read_lines("a.txt", 1000))
