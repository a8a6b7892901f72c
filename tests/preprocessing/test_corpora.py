import gzip
from pathlib import Path

import pytest

from preprocessing.corpora import FilePairs, Row, Tsv
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


def test_shards_pair_by_name(tmp_path: Path) -> None:
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


def test_shards_pair_by_what_the_wildcards_stand_for(tmp_path: Path) -> None:
    names = ("law/1", "law/10", "news/1", "news-1")
    for name in names:
        for path in (tmp_path / f"{name}.de", tmp_path / f"{name}0_en.txt", tmp_path / f"{name}.en.gz"):
            path.parent.mkdir(exist_ok=True)
            write(path, name)
    for source, target, expected in (
        ("**.de", "**.en.gz", {"law/1", "law/10", "news/1", "news-1"}),
        (
            "**.de",
            "**0_en.txt",
            {"law/1", "law/10", "news/1", "news-1"},
        ),  # in sorted order, 1. is before 10. but 10_ not
        ("*/*.de", "**/*.en.gz", {"law/1", "law/10", "news/1"}),
        ("[ln]*/?.de", "*/[1].en.gz", {"law/1", "news/1"}),
        ("l**.de", "law/*.en.gz", set()),
    ):
        pairs = FilePairs(f"{tmp_path}/{source}", f"{tmp_path}/{target}")
        if expected:
            assert {row.source.decode() for row in rows(pairs)} == expected
            assert all(row.source == row.target for row in rows(pairs)), (source, target)
        else:
            with pytest.raises(DataError, match=r"law/1\.de: has no partner"):
                pairs.shards()
    assert len(FilePairs(f"{tmp_path}/news/*.de", f"{tmp_path}/law/1.en*").shards()) == 1, "one file and one"


def test_a_shard_without_a_partner(tmp_path: Path) -> None:
    for name in ("p1.de", "p2.de", "p4.de", "p1.en", "p3.en", "p4.en"):
        write(tmp_path / name, "x")
    for source, target, alone, expected in (
        ("*.de", "*.en", "p2.de", "p2.en"),
        ("*.en", "*.de", "p3.en", "p3.de"),
        ("*.de", "p[14].en", "p1.de", "pp1.en"),
        ("p[14].de", "*.en", "p1.de", "1.en"),
    ):
        with pytest.raises(DataError) as caught:
            FilePairs(f"{tmp_path}/{source}", f"{tmp_path}/{target}").shards()
        told = str(caught.value)
        assert told.startswith(f"{tmp_path}/{alone}: has no partner: expected {tmp_path}/{expected}"), told
        assert "\n" not in told
    for source, target, counts in (("*.de", "p1.en", (3, 1)), ("p1.de", "*.en", (1, 3))):
        with pytest.raises(DataError, match=f"matches {counts[0]} files? but .* matches {counts[1]}"):
            FilePairs(f"{tmp_path}/{source}", f"{tmp_path}/{target}").shards()
