from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpora import FilePairs, FilePairShard, Row, Tsv, TsvShard
from preprocessing.errors import DataError
from preprocessing.line_blocks import LineIndex, Place, count_block, index_lines, line_ranges, place_of, read_range
from tests.remote_files import RemoteFileSystem

# Few different bytes, so that line ends, byte order marks and tabs come often and lie across edges of blocks.
CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"\t", b"a", b"\xef\xbb\xbf", b"\xff", b"xxxxx"])).map(
    b"".join
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blocks")


def index_of(path: Path | str, block_bytes: int) -> LineIndex:
    size = Path(str(path).removeprefix("remote://")).stat().st_size
    starts = range(0, size, block_bytes)
    return index_lines([count_block(str(path), start, min(block_bytes, size - start)) for start in starts])


def outcome(shards: list[FilePairShard] | list[TsvShard], max_line_bytes: int) -> list[Row] | str:
    try:
        return [row for shard in shards for row in shard.rows(max_line_bytes)]
    except DataError as error:
        return str(error)


def parts(shard: FilePairShard | TsvShard, block_bytes: int, max_line_bytes: int) -> list[Row] | str:
    indexes = [index_of(path, block_bytes) for path in shard.files]
    try:
        shard.check([index.lines for index in indexes])
    except DataError as error:
        return str(error)
    return outcome([shard.part(lines) for lines in line_ranges(indexes, block_bytes)], max_line_bytes)


@given(CONTENT, CONTENT, st.integers(1, 12), st.integers(1, 6))
def test_parts_of_a_pair_of_files_are_the_whole(
    folder: Path, source: bytes, target: bytes, block_bytes: int, max_line_bytes: int
) -> None:
    # As many lines on both sides, most of the time.
    target += b"\n" * max(0, source.count(b"\n") - target.count(b"\n"))
    (folder / "a").write_bytes(source)
    (folder / "b").write_bytes(target)
    (shard,) = FilePairs(str(folder / "a"), str(folder / "b")).shards()
    assert parts(shard, block_bytes, max_line_bytes) == outcome([shard], max_line_bytes)


@given(CONTENT, st.integers(1, 12), st.integers(1, 6))
def test_parts_of_a_table_are_the_whole(folder: Path, content: bytes, block_bytes: int, max_line_bytes: int) -> None:
    (folder / "a").write_bytes(content)
    (shard,) = Tsv(str(folder / "a")).shards()
    assert parts(shard, block_bytes, max_line_bytes) == outcome([shard], max_line_bytes)


@given(CONTENT, st.integers(1, 12))
def test_remote_files_are_only_read_forwards(folder: Path, content: bytes, block_bytes: int) -> None:
    (folder / "a").write_bytes(content)
    (shard,) = FilePairs(str(folder / "a"), str(folder / "a")).shards()
    (remote,) = FilePairs(f"remote://{folder}/a", f"remote://{folder}/a").shards()
    expected = outcome([shard], 9)
    found = parts(remote, block_bytes, 9)
    assert found == (expected if content else str(expected).replace("/", "remote:///", 1).replace(" /", " remote:///"))
    assert RemoteFileSystem.scheme() == "remote"


@given(CONTENT, st.integers(1, 12))
def test_places_are_starts_of_lines(folder: Path, content: bytes, block_bytes: int) -> None:
    (folder / "a").write_bytes(content)
    index = index_of(folder / "a", block_bytes)
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    assert index.lines == len(lines)
    for line in range(len(lines)):
        start, newlines = place_of(line, index, block_bytes)
        assert start % block_bytes == 0
        assert content[start:].split(b"\n", newlines)[-1].startswith(lines[line])
        assert 0 <= newlines <= block_bytes


def test_the_docstring(folder: Path) -> None:
    path = folder / "example"
    path.write_bytes(b"0\n1\n2\n333\n4\n55555555555555\n\n\n\n99")
    index = index_of(path, 8)
    assert index == LineIndex((0, 3, 5, 5), 10)
    assert [(lines.first, lines.size) for lines in line_ranges([index], 8)] == [(0, 4), (4, 2), (6, 4)]
    assert [place_of(line, index, 8) for line in (0, 4, 6)] == [Place(0, 0), Place(8, 1), Place(24, 1)]


def test_a_file_that_shrinks_while_it_is_read(folder: Path) -> None:
    path = folder / "shrinking"
    path.write_bytes(b"1\n2\n3\n4\n")
    lines = list(line_ranges([index_of(path, 4)], 4))[-1]
    path.write_bytes(b"1\n2\n3\n")
    told = "shrinking: got shorter while it was read"
    with pytest.raises(DataError, match=told):
        list(read_range(str(path), 9, lines))
    with pytest.raises(DataError, match=told):
        count_block(str(path), 4, 4)
    with pytest.raises(DataError, match=r"none: no such file"):
        count_block(str(folder / "none"), 0, 4)
