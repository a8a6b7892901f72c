import bz2
import gzip
import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from preprocessing import lines
from preprocessing.errors import DataError
from preprocessing.lines import Line, is_compressed, read_lines

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


PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_plain_and_packed_files_and_byte_order_mark(tmp_path: Path, ending: str) -> None:
    content = "\ufeffeins\nzwei\ufeff\r\n\ndrei".encode()
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(PACKERS[ending](content))
    assert [line.text.decode() for line in read_lines(str(path), 1000)] == ["eins", "zwei\ufeff", "", "drei"]
    assert is_compressed(str(path)) == bool(ending)


@pytest.mark.parametrize("ending", PACKERS)
def test_several_streams_in_one_file_are_read_whole(tmp_path: Path, ending: str) -> None:
    pack, path = PACKERS[ending], tmp_path / f"a{ending}"
    path.write_bytes(pack(b"one\n") + pack(b"") + pack(b"two\n" * 100_000))
    texts = [line.text for line in read_lines(str(path), 1000)]
    assert texts == [b"one"] + [b"two"] * 100_000


def test_unpacking_is_bounded(tmp_path: Path) -> None:
    """A small file that unpacks to a quarter of a gigabyte."""
    path = tmp_path / "bomb.zst"
    path.write_bytes(zstd.compress(b"x" * (1 << 26)) * 4)
    tracemalloc.start()
    try:
        assert [line.too_long for line in read_lines(str(path), 1000)] == [True]
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_reading_from_a_place_inside(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("eins\n\ufeffzwei\ndrei".encode())
    assert [line.text.decode() for line in read_lines(str(path), 1000, start=5)] == ["\ufeffzwei", "drei"]


CONTENT = b"".join(b"%d some text\n" % number for number in range(5000))


def damaged() -> Iterator[tuple[str, bytes, str]]:
    for ending, name in ((".gz", "gzip"), (".bz2", "bzip2"), (".zst", "zstd")):
        packed = PACKERS[ending](CONTENT)
        truncated, invalid = f"the {name} file is truncated after line", f"not a valid {name} file after line"
        yield ending, packed[: len(packed) // 2], truncated
        yield ending, packed[:-4], truncated
        yield ending, packed + packed[: len(packed) // 2], truncated
        yield ending, b"plain text\n", f"{invalid} 0"
        yield ending, packed + b"rubbish, 9", invalid
    packed = bytearray(gzip.compress(CONTENT))
    packed[-8] ^= 0xFF  # the first byte of the checksum
    yield ".gz", bytes(packed), "not a valid gzip file after line"
    packed = bytearray(bz2.compress(CONTENT))
    packed[len(packed) // 2] ^= 0xFF
    yield ".bz2", bytes(packed), "not a valid bzip2 file after line"
    packed = bytearray(zstd.compress(CONTENT, options={zstd.CompressionParameter.checksum_flag: 1}))
    packed[-1] ^= 0xFF
    yield ".zst", bytes(packed), "not a valid zstd file after line"


@pytest.mark.parametrize(("ending", "content", "told"), list(damaged()))
def test_damaged_files(tmp_path: Path, ending: str, content: bytes, told: str) -> None:
    path = tmp_path / f"a{ending}"
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
