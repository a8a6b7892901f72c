import bz2
import gzip
import json
import logging
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from backports import zstd
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from preprocessing import reading, tally
from preprocessing.beam_run import run
from preprocessing.corpora import FilePairs, PairSource, Tsv
from preprocessing.csv_files import Csv
from preprocessing.dates import Dates
from preprocessing.emoji_names import EmojiNames
from preprocessing.errors import DataError
from preprocessing.examples import Record, from_example, record_files, splits_of
from preprocessing.filters import FilterOptions
from preprocessing.generate import COUNTS_FILE, GenerateOptions, generate_examples
from preprocessing.json_lines import JsonLines
from preprocessing.po_files import Po
from preprocessing.records import read_records
from preprocessing.text import TextConfig
from preprocessing.tmx import Tmx

ONLY_TRAIN = GenerateOptions(validation_fraction=0.0, test_fraction=0.0, shards=2, max_error_share=1.0)
FOUR_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=4"]
TWO_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(autouse=True)
def importable_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam's worker processes import `preprocessing`, from wherever pytest was started."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


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


def written_formats(folder: Path) -> list[PairSource]:
    """Five pairs in each of the other formats, packed in each way."""
    pairs = [(f"text {n}", f"words {n}") for n in range(5)]
    table = "de;en\n" + "".join(f'"{de}";{en}\n' for de, en in pairs)
    (folder / "a.csv.bz2").write_bytes(bz2.compress(table.encode()))
    rows = "".join(json.dumps({"de": f"j {de}", "en": en}) + "\n" for de, en in pairs)
    (folder / "a.jsonl.zst").write_bytes(zstd.compress(rows.encode()))
    units = "".join(
        f'<tu><tuv xml:lang="de"><seg>t {de}</seg></tuv><tuv xml:lang="en"><seg>{en}</seg></tuv></tu>\n'
        for de, en in pairs
    )
    (folder / "a.tmx").write_text(f"<tmx><body>{units}</body></tmx>")
    messages = "".join(f'msgid "p {de}"\nmsgstr "{en if n else ""}"\n\n' for n, (de, en) in enumerate(pairs))
    (folder / "a.po.gz").write_bytes(gzip.compress(messages.encode()))
    return [
        Csv(f"{folder}/a.csv.bz2", ("de", "en"), delimiter=";", split="train", weight=3.0),
        JsonLines(f"{folder}/a.jsonl.zst", ("de", "en"), "train", domain="web"),
        Tmx(f"{folder}/a.tmx", ("de", "en"), "train", weight=0.5),
        Po(f"{folder}/a.po.gz", split="test"),
    ]


def mixed_sources(folder: Path) -> list[PairSource]:
    train = [(f"satz {n} {n % 7}", f"sentence {n}") if n % 50 else ("", "x") for n in range(400)]
    for shard in range(3):
        files(folder, f"train-{shard}", train[shard::3])
    return [
        FilePairs(f"{folder}/train-*.de", f"{folder}/train-*.en", "train"),
        files(folder, "validation", [(f"satz {n} {n % 7}", "x") for n in range(30)], "validation"),
        *written_formats(folder),
        EmojiNames("en", "de"),
        Dates(count=600, locales=("en", "de")),
    ]


class _Shuffled(beam.PTransform):
    """Stands in for `Reshuffle`: hands everything on in reverse."""

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return (
            elements
            | beam.Map(lambda element: (0, element)).with_output_types(tuple[int, Any])
            | beam.GroupByKey()
            | beam.FlatMap(lambda group: list(group[1])[::-1])
        )


def test_same_bytes_for_any_workers_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sources = mixed_sources(tmp_path)
    options = GenerateOptions(
        shards=3, max_error_share=0.5, block_bytes=999, filters=FilterOptions(drop_duplicates="exact")
    )
    counts = generate_examples(sources, options, str(tmp_path / "one"))
    assert counts["dropped"]["untranslated"]["count"] == 1
    found = records(tmp_path / "one", "train")
    assert sum(record.source.startswith("text") for record in found) == 15
    assert [record.source[:6] for record in found if record.domain == "web"] == ["j text"] * 5
    assert 0 < sum(record.source.startswith("t text") for record in found) < 5
    assert sum(record.source.startswith("p text") for record in records(tmp_path / "one", "test")) == 4
    expected = content(tmp_path / "one")
    assert len(expected) == 6
    generate_examples(sources, options, str(tmp_path / "four"), FOUR_PROCESSES)
    assert content(tmp_path / "four") == expected
    monkeypatch.setattr(reading.beam, "Reshuffle", _Shuffled)
    generate_examples(sources, options, str(tmp_path / "shuffled"))
    assert content(tmp_path / "shuffled") == expected
    assert capfd.readouterr().out == ""


def read_with(sources: list[PairSource], block_bytes: int, beam_args: list[str], folder: Path) -> list[Any]:
    """All that `ReadPairs` hands out, but for how many rows each part had."""

    def build(pipeline: beam.Pipeline) -> None:
        found = pipeline | reading.ReadPairs(reading.list_shards(sources), 50, block_bytes)
        for name, elements in (("pairs", found[reading.PAIRS]), ("entries", found[tally.ENTRIES])):
            written = beam.io.WriteToText(f"{folder}/{name}", num_shards=1)
            _ = elements | f"Repr/{name}" >> beam.Map(repr) | f"Write/{name}" >> written

    run(build, beam_args)
    (pairs,), (entries,) = folder.glob("pairs-*"), folder.glob("entries-*")
    rest = [line for line in entries.read_text().splitlines() if "kind='read'" not in line]
    return [sorted(pairs.read_text().splitlines()), sorted(rest)]


SIDE = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a b", b"\xef\xbb\xbf", b"\xff", b"x" * 51]), max_size=20).map(
    b"".join
)


# A pipeline takes a second: few examples, and test_line_blocks has many of the same kind.
@settings(deadline=None, max_examples=4, phases=[Phase.generate])
@given(SIDE, SIDE, st.integers(1, 30))
def test_blocks_are_read_as_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, source: bytes, target: bytes, block_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    for name, content in (("a.de", source), ("a.en", target), ("b.de", b"x"), ("b.en", b"y"), ("a.tsv", source)):
        (folder / name).write_bytes(content)
    sources: list[PairSource] = [FilePairs(f"{folder}/*.de", f"{folder}/*.en"), Tsv(f"{folder}/a.tsv", "test")]
    found = []
    for size in (1 << 20, block_bytes):
        (folder / str(size)).mkdir()
        found.append(read_with(sources, size, [], folder / str(size)))
    # What was read of a pair of files before their ends differ is of no use to anybody.
    if any("kind='failed'" in line and "lines but" in line for line in found[0][1]):
        found = [[line for line in entries if "kind='failed'" in line] for _, entries in found]
    assert found[0] == found[1]


def test_blocks_give_the_same_bytes(tmp_path: Path) -> None:
    chance = random.Random(1)
    pairs = [(f"satz {chance.random()} " + "x " * chance.randrange(9), "y " * chance.randrange(99)) for _ in range(500)]
    sources = [
        files(tmp_path, "a", pairs),
        tsv(tmp_path, "".join(f"{n}\t{n}\r\n" for n in range(300)).encode(), "test"),
    ]
    for block_bytes in (1 << 20, 777):
        options = GenerateOptions(shards=3, max_error_share=0.5, block_bytes=block_bytes)
        generate_examples(sources, options, str(tmp_path / f"out-{block_bytes}"))
    assert content(tmp_path / "out-777") == content(tmp_path / f"out-{1 << 20}")


def test_blocks_of_files_that_do_not_fit(tmp_path: Path) -> None:
    source = files(tmp_path, "a", [("eins", "one")] * 30)
    (tmp_path / "a.en").write_bytes(b"one\n" * 29)
    options = GenerateOptions(block_bytes=10)
    with pytest.raises(DataError, match=r"a\.de has 30 lines but .*a\.en has 29;"):
        generate_examples([source], options, str(tmp_path / "out"))
    (tmp_path / "a.en").unlink()
    (tmp_path / "a.en").mkdir()
    with pytest.raises(DataError, match=r"a\.en: expected a file, found a directory"):
        generate_examples([source], options, str(tmp_path / "out"))


@pytest.mark.parametrize("beam_args", [[], TWO_PROCESSES], ids=["one worker", "two processes"])
def test_errors_in_workers_are_one_line_and_leave_nothing(tmp_path: Path, beam_args: list[str]) -> None:
    good = files(tmp_path, "good", [("gut", "good")])
    source = files(tmp_path, "bad", [("eins", "one"), ("zwei", "two")], "train").source
    with pytest.raises(DataError) as caught:
        generate_examples([good, FilePairs(source, good.target)], ONLY_TRAIN, str(tmp_path / "out"), beam_args)
    assert str(caught.value).startswith(f"{source} has 2 lines but {good.target} has 1;")
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["bad.de", "bad.en", "good.de", "good.en"]


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
    with pytest.raises(
        DataError, match=r"no pair is left for train: 1 pairs read, .*source_too_long 1, first .*line 1"
    ):
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
    assert "dates: 300 pairs read" in caplog.text
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
