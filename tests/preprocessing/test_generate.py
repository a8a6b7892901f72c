"""What becomes of pairs: which are kept, in which split, and what is counted."""

import gzip
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from preprocessing.corpora import FilePairs, Tsv
from preprocessing.dates import Dates
from preprocessing.errors import DataError
from preprocessing.examples import Record, from_example, record_files, splits_of
from preprocessing.filters import FilterOptions
from preprocessing.generate import COUNTS_FILE, GenerateOptions, generate_examples
from preprocessing.records import read_records
from preprocessing.text import TextConfig

ONLY_TRAIN = GenerateOptions(validation_fraction=0.0, test_fraction=0.0, shards=2, max_error_share=1.0)


def files(folder: Path, name: str, pairs: list[tuple[str, str]], split: Any = None) -> FilePairs:
    paths = [folder / f"{name}.{side}" for side in ("de", "en")]
    for side, path in enumerate(paths):
        path.write_bytes("".join(pair[side] + "\n" for pair in pairs).encode())
    return FilePairs(str(paths[0]), str(paths[1]), split)


def tsv(folder: Path, content: bytes, split: Any = None) -> Tsv:
    (folder / "a.tsv").write_bytes(content)
    return Tsv(str(folder / "a.tsv"), split)


def records(folder: Path, split: str) -> list[Record]:
    return [from_example(record) for path in record_files(str(folder), split) for record in read_records(path)]


def texts(folder: Path, split: str) -> set[tuple[str, str]]:
    return {(record.source, record.target) for record in records(folder, split)}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_corpus_becomes_normalised_records_and_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = files(tmp_path, "a", [("Ein  HUND\u2028bellt.", "A dog\u0085barks. "), ("\u00a0", "x"), ("y", "\u2003")])
    counts = generate_examples([source], ONLY_TRAIN, str(tmp_path / "out"))
    assert counts == json.loads((tmp_path / "out" / COUNTS_FILE).read_text())
    assert counts["read"] == 3
    assert counts["files"] == [source.source]
    assert counts["kept"] == {"train": 1, "validation": 0, "test": 0}
    example = {"file": source.source, "line": 2, "source": "\u00a0", "target": "x"}
    assert counts["dropped"]["empty_source"] == {"count": 1, "examples": [example]}
    assert counts["dropped"]["empty_target"]["count"] == 1
    assert records(tmp_path / "out", "train") == [
        Record("00000-a.de:000000001", "ein hund bellt.", "a dog barks.", None, None)
    ]
    assert sorted(content(tmp_path / "out")) == [
        "counts.json",
        "train-00000-of-00002.tfrecord.gz",
        "train-00001-of-00002.tfrecord.gz",
    ]
    assert sorted(os.listdir(tmp_path)) == ["a.de", "a.en", "out"], "nothing is left aside"
    assert capfd.readouterr().out == ""


def test_every_reason_is_counted(tmp_path: Path) -> None:
    rows = [
        b"gut\tgood",
        b"gut\tgood",
        b"eine spalte",
        b"a\tb\tc",
        b"\xff\tx",
        b"x\0\ty",
        b"\ta",
        b"a\t",
        b"eins zwei drei vier\tone",
        b"eins\tone two three four five",
        b"eins\tone two three",
        b"x" * 201 + b"\ty",
        b"Gut\tGOOD",
    ]
    limits = FilterOptions(max_source_length=3, max_target_length=4, max_length_ratio=2.0, drop_duplicates="exact")
    options = GenerateOptions(
        validation_fraction=0, test_fraction=0, max_error_share=0.6, max_line_bytes=200, filters=limits, shards=1
    )
    held_out = files(tmp_path, "test", [("eins", "one two three"), ("gut so", "x" * 99), ("gut so", "x" * 99)], "test")
    train = tsv(tmp_path, b"\n".join([*rows, b"gut so\tgood"]), "train")
    counts = generate_examples([train, held_out], options, str(tmp_path / "out"))
    assert {reason: entry["count"] for reason, entry in counts["dropped"].items()} == {
        "line_too_long": 1,
        "malformed_row": 2,
        "invalid_utf8": 1,
        "nul_byte": 1,
        "empty_source": 1,
        "empty_target": 1,
        "source_too_long": 1,
        "target_too_long": 1,
        "length_ratio": 1,
        "source_in_other_split": 1,
        "duplicate": 2,
    }
    assert [example["line"] for example in counts["dropped"]["malformed_row"]["examples"]] == [3, 4]
    assert counts["kept"] == {"train": 1, "validation": 0, "test": 3}, "length and doubles count in training only"
    assert [record.key for record in records(tmp_path / "out", "train")] == ["00000-a.tsv:000000001"]


def test_given_splits_take_precedence(tmp_path: Path) -> None:
    sources = [
        files(tmp_path, "a", [("Drei", "3"), ("zwei", "2"), ("eins", "1"), ("null", "0")], "train"),
        files(tmp_path, "b", [("zwei", "two"), ("DREI", "three")], "validation"),
        files(tmp_path, "c", [("drei", "three!"), ("drei", "three!")], "test"),
    ]
    counts = generate_examples(sources, ONLY_TRAIN, str(tmp_path / "out"))
    assert texts(tmp_path / "out", "train") == {("eins", "1"), ("null", "0")}
    assert texts(tmp_path / "out", "validation") == {("zwei", "two")}
    assert [record.target for record in records(tmp_path / "out", "test")] == ["three!", "three!"]
    assert counts["dropped"]["source_in_other_split"]["count"] == 3


def test_domains_weights_and_near_copies(tmp_path: Path) -> None:
    """Two corpora; what is said of them reaches the records, and what was read and repeated was kept or dropped."""
    one = [(f"satz {'abcdefghij'[n % 10] * (1 + n // 10)}", "sentence") for n in range(200)]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    files(tmp_path / "one", "a", [*one, ("Satz a!", "Sentence..."), ("SATZ a", "sentence")])
    files(tmp_path / "two", "b", [(f"ruf {source}", target) for source, target in one] + [("satz  B 7", "Sentence 8")])
    sources = [
        FilePairs(f"{tmp_path}/one/*.de", f"{tmp_path}/one/*.en", weight=2.5, domain="law"),
        FilePairs(f"{tmp_path}/two/*.de", f"{tmp_path}/two/*.en", weight=0.5),
    ]
    options = GenerateOptions(validation_fraction=0.1, filters=FilterOptions(drop_duplicates="near"), shards=1)
    counts = generate_examples(sources, options, str(tmp_path / "out"))
    dropped = {reason: entry["count"] for reason, entry in counts["dropped"].items()}
    assert counts["read"] + counts["repeated"] == sum(counts["kept"].values()) + sum(dropped.values())
    assert counts["read"] == 403
    assert dropped["duplicate"] == 1
    assert dropped["near_duplicate"] == 2
    train = records(tmp_path / "out", "train")
    assert len({record.key for record in train}) == len(train) == counts["kept"]["train"]
    times = Counter((record.source, record.domain) for record in train)
    assert {times[key] for key in times if key[1] == "law"} == {2, 3}
    assert {times[key] for key in times if key[1] != "law"} == {1}
    assert 0 < counts["repeated"] - sum(1 for key in times if key[1] == "law") < len(times)
    held_out = [record for split in ("validation", "test") for record in records(tmp_path / "out", split)]
    assert {record.domain for record in held_out} == {"law", ""}
    assert len({record.source for record in held_out}) == len(held_out), "evaluation splits are not weighted"


def test_near_copies_are_in_one_split(tmp_path: Path) -> None:
    pairs = [(f"{word} {mark} {n}", "x") for n, word in enumerate(["haus", "hund", "katze"] * 30) for mark in ".!"]
    sources = [files(tmp_path, "a", pairs), files(tmp_path, "test", [("Katze ...", "cat")], "test")]
    filters = FilterOptions(drop_duplicates="near")
    # With this salt "haus" belongs to training and "hund" to validation.
    options = GenerateOptions(validation_fraction=0.5, test_fraction=0, salt="2", filters=filters)
    counts = generate_examples(sources, options, str(tmp_path / "out"))
    found = {split: {source[:4] for source, _ in texts(tmp_path / "out", split)} for split in counts["kept"]}
    assert found == {"train": {"haus"}, "validation": {"hund"}, "test": {"katz"}}
    assert {reason: entry["count"] for reason, entry in counts["dropped"].items()} == {
        "source_in_other_split": 60,
        "near_duplicate": 59,
    }


def test_split_by_hash_keeps_a_source_together(tmp_path: Path) -> None:
    pairs = [(f"{'Satz' if copy else 'satz'} {n}", f"t{n}-{copy}") for n in range(300) for copy in range(3)]
    options = GenerateOptions(validation_fraction=0.2, test_fraction=0.1, shards=2)
    counts = generate_examples([files(tmp_path, "a", pairs)], options, str(tmp_path / "out"))
    assert sum(counts["kept"].values()) == counts["read"] == 900
    assert splits_of(str(tmp_path / "out")) == ["test", "train", "validation"]
    by_split = [{source for source, _ in texts(tmp_path / "out", split)} for split in ("train", "validation", "test")]
    assert sum(len(sources) for sources in by_split) == len(set.union(*by_split)) == 300
    generate_examples([files(tmp_path, "a", pairs[:600])], options, str(tmp_path / "half"))
    assert texts(tmp_path / "half", "test") <= texts(tmp_path / "out", "test"), "growing moves no sentence"


def test_damaged_bytes_on_both_sides(tmp_path: Path) -> None:
    sides = [b"gut", b"\xff", b"\0", b"", b" \t\r ", "\u2028\u200b".encode(), "\ufeff".encode(), b"\xf0\x9f\x98"]
    pairs = [(source, target) for source in sides for target in sides]
    for side in (0, 1):
        (tmp_path / f"{side}.gz").write_bytes(gzip.compress(b"".join(pair[side] + b"\n" for pair in pairs)))
    corpus = FilePairs(str(tmp_path / "0.gz"), str(tmp_path / "1.gz"))
    counts = generate_examples([corpus], ONLY_TRAIN, str(tmp_path / "out"))
    dropped = sum(entry["count"] for entry in counts["dropped"].values())
    assert counts["read"] == len(pairs) == counts["kept"]["train"] + dropped
    assert len(records(tmp_path / "out", "train")) == counts["kept"]["train"]
    assert all(len(entry["examples"]) == min(5, entry["count"]) for entry in counts["dropped"].values())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\xff\tb\ngut\tgood\n", r"1 of 2 pairs are unusable \(50.0%, .*invalid_utf8 1, first .*a.tsv line 1 "),
        (b"", "a.tsv is empty"),
        ("\ufeffgut,good\n".encode("utf-16"), "2 of 2 pairs are unusable"),
    ],
)
def test_broken_corpora(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        generate_examples([tsv(tmp_path, content)], GenerateOptions(), str(tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["a.tsv"]


def test_nothing_left(tmp_path: Path) -> None:
    source = tsv(tmp_path, b"ein langer satz\tx\n")
    options = GenerateOptions(filters=FilterOptions(max_source_length=2), validation_fraction=0, test_fraction=0)
    with pytest.raises(DataError, match=r"no pair is left for train: 1 pair read, .*source_too_long 1, first .*line 1"):
        generate_examples([source], options, str(tmp_path / "out"))
    with pytest.raises(DataError, match="no corpus is given"):
        generate_examples([], options, str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"none\.tsv: no such file"):
        generate_examples([Tsv(str(tmp_path / "none.tsv"))], options, str(tmp_path / "out"))
    assert os.listdir(tmp_path) == ["a.tsv"]
    with pytest.raises(DataError, match="out: cannot be written"):
        generate_examples([source], options, f"{source.path}/out")


def test_progress_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = GenerateOptions(source_text=TextConfig(unit="character"), target_text=TextConfig(unit="character"))
    with caplog.at_level(logging.INFO, "heliograph.preprocessing"):
        counts = generate_examples([Dates(count=300)], options, str(tmp_path / "out"))
    assert counts["dropped"] == {}
    assert "reading 1 corpus" in caplog.messages and "dates: 300 pairs read" in caplog.text
    assert "300 pairs read in" in caplog.text


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"validation_fraction": -0.1}, "validation_fraction must be between 0 and 1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "must be below 1"),
        ({"shards": 0}, "shards must be at least 1"),
    ],
)
def test_bad_options(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GenerateOptions(**values)
