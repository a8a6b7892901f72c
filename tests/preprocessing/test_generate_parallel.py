"""The same bytes, or the same mistake, whatever the workers and the parts that files are read in."""

import bz2
import gzip
import json
import os
import random
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
from preprocessing.filters import FilterOptions
from preprocessing.generate import GenerateOptions, generate_examples
from preprocessing.json_lines import JsonLines
from preprocessing.po_files import Po
from preprocessing.tmx import Tmx
from tests.preprocessing.test_generate import ONLY_TRAIN, content, files, records, tsv

FOUR_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=4"]
TWO_PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


@pytest.fixture(autouse=True)
def importable_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam's worker processes import `preprocessing`, from wherever pytest was started."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


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
    for name, lines in (("a.de", source), ("a.en", target), ("b.de", b"x"), ("b.en", b"y"), ("a.tsv", source)):
        (folder / name).write_bytes(lines)
    sources: list[PairSource] = [FilePairs(f"{folder}/*.de", f"{folder}/*.en"), Tsv(f"{folder}/a.tsv", "test")]
    found = []
    for size in (1 << 20, block_bytes):
        (folder / str(size)).mkdir()
        found.append(read_with(sources, size, [], folder / str(size)))
    # What was read of a pair of files before their ends differ is of no use to anybody.
    if any("kind='failed'" in line and "needs the same number of lines" in line for line in found[0][1]):
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
