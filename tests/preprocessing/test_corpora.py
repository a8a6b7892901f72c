import gzip
from pathlib import Path

import pytest

from preprocessing.corpora import FilePairs, Row, Tsv, matching_files
from preprocessing.errors import DataError
from preprocessing.filters import Reason


def write(path: Path, *texts: str) -> str:
    content = "".join(f"{text}\n" for text in texts).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def rows(source: FilePairs | Tsv, max_line_bytes: int = 1000) -> list[Row]:
    return [row for shard in source.shards() for row in shard.rows(max_line_bytes)]


def test_files_are_read_in_lockstep(tmp_path: Path) -> None:
    source = write(tmp_path / "a.de", "eins", "", "drei\u2028vier")
    target = write(tmp_path / "a.en.gz", "one", "two", "three")
    assert rows(FilePairs(source, target)) == [
        Row(1, b"eins", b"one"),
        Row(2, b"", b"two"),
        Row(3, "drei\u2028vier".encode(), b"three"),
    ]


def test_a_long_line_keeps_the_alignment(tmp_path: Path) -> None:
    source = write(tmp_path / "a.de", "eins", "x" * 11, "drei")
    target = write(tmp_path / "a.en", "one", "two", "y" * 11)
    found = rows(FilePairs(source, target), max_line_bytes=10)
    assert [row.reason for row in found] == [None, Reason.LINE_TOO_LONG, Reason.LINE_TOO_LONG]


def test_shards_pair_in_sorted_order(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        write(tmp_path / f"s-{number}.de", f"de{number}")
        write(tmp_path / f"s-{number}.en", f"en{number}")
    found = rows(FilePairs(f"{tmp_path}/s-*.de", f"{tmp_path}/s-?.en"))
    assert [(row.source, row.target) for row in found] == [(b"de0", b"en0"), (b"de1", b"en1"), (b"de2", b"en2")]


def test_unequal_lengths_name_both_files_and_counts(tmp_path: Path) -> None:
    source = write(tmp_path / "a.de", "eins", "zwei")
    target = write(tmp_path / "a.en", "one", "two", "three")
    for pairs, told in (
        (FilePairs(source, target), f"{source} has 2 lines but {target} has 3;"),
        (FilePairs(target, source), f"{target} has 3 lines but {source} has 2;"),
    ):
        with pytest.raises(DataError) as caught:
            rows(pairs)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


def test_empty_files(tmp_path: Path) -> None:
    empty, other = write(tmp_path / "a-0.de"), write(tmp_path / "a-0.en")
    with pytest.raises(DataError, match=r"a-0.de and .*a-0.en are empty"):
        rows(FilePairs(empty, other))
    with pytest.raises(DataError, match=r"a-0\.de is empty"):
        rows(Tsv(empty))
    write(tmp_path / "a-1.de", "eins")
    write(tmp_path / "a-1.en", "one")
    assert len(rows(FilePairs(f"{tmp_path}/a-*.de", f"{tmp_path}/a-*.en"))) == 1, "one empty shard of two is no error"


def test_tsv_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "eins\tone", "zwei", "drei\tthree\t3", "\t", '"vier\t"four', "x" * 101)
    found = rows(Tsv(path), max_line_bytes=100)
    malformed, too_long = Reason.MALFORMED_ROW, Reason.LINE_TOO_LONG
    assert [row.reason for row in found] == [None, malformed, malformed, None, None, too_long]
    assert [(row.source, row.target) for row in found[:1] + found[3:5]] == [
        (b"eins", b"one"),
        (b"", b""),
        (b'"vier', b'"four'),
    ]


def test_unequal_numbers_of_shards(tmp_path: Path) -> None:
    for name in ("0.de", "1.de", "0.en"):
        write(tmp_path / name, "x")
    with pytest.raises(DataError, match=r"\*.de matches 2 files but .*\*.en matches 1"):
        FilePairs(f"{tmp_path}/*.de", f"{tmp_path}/*.en").shards()


def test_matching_files(tmp_path: Path) -> None:
    odd = write(tmp_path / "a[1].txt", "x")
    assert matching_files(odd) == [odd], "a name that looks like a pattern"
    for pattern, told in (
        (f"{tmp_path}/none.txt", "none.txt: no such file"),
        (f"{tmp_path}/*.de", r"\*.de: no file matches this pattern"),
        (f"{tmp_path}/", "found a directory"),
        ("nowhere://bucket/file", "nowhere://bucket/file: cannot be listed"),
    ):
        with pytest.raises(DataError, match=told):
            matching_files(pattern)
