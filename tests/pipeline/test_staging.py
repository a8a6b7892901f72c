"""Workers that do not see the run's folders; `remote://` is as an object store, and what is local is refused there."""

import logging
import os
from pathlib import Path

import pytest

from pipeline import artifacts, preprocess
from pipeline.config import load
from pipeline.staging import NOTE, staged
from preprocessing.errors import DataError
from tests.remote_files import RemoteFileSystem

assert RemoteFileSystem.scheme() == "remote"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_all(root: Path, beam_args: list[str]) -> dict[str, bytes]:
    """The four steps on Beam, of a corpus that is remote."""
    corpus = root.parent / "corpus"
    corpus.mkdir(exist_ok=True)
    for side, text in (("de", "ein Hund läuft {0}\n"), ("en", "a dog runs {0}\n")):
        (corpus / f"all.{side}").write_text("".join(text.format(number) for number in range(100)), encoding="utf-8")
    (root.parent / "my.toml").write_text('data = { source = "all.de", target = "all.en" }', encoding="utf-8")
    config = load(str(root.parent / "my.toml"), [f"data.directory=remote://{corpus}"])
    examples, records, described, listed = (root / name for name in ("examples", "records", "described", "listed"))
    for folder in (examples, records, described, listed):
        folder.mkdir(parents=True)
    preprocess.generate(config, examples, beam_args)
    preprocess.transform(config, examples, records, beam_args)
    preprocess.statistics(examples, records, described, beam_args)
    preprocess.shortlist(4, 2, records, listed, beam_args)
    return contents(root)


def test_staged_or_not_the_bytes_are_the_same(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    place = tmp_path / "bucket"
    made = make_all(tmp_path / "staged", [f"--temp_location=remote://{place}"])
    assert {"examples/counts.json", "records/source.vocabulary.tsv", "described/statistics.json"} <= made.keys()
    assert "listed/shortlist.json" in made
    assert made == make_all(tmp_path / "direct", [])
    assert contents(place) == {} and os.listdir() == []


def test_what_fails_leaves_nothing(tmp_path):
    place, output, read = tmp_path / "bucket", tmp_path / "output", tmp_path / "input"
    for folder in (output, read):
        folder.mkdir()
    (read / "a[1]").write_bytes(b"\0a")

    def fail() -> None:
        with staged([f"--temp_location=remote://{place}"], output, read) as (written, copied):
            assert written.startswith(f"remote://{place}/heliograph-")
            assert Path(f"{copied}/a[1]".removeprefix("remote://")).read_bytes() == b"\0a"
            Path(written.removeprefix("remote://")).mkdir(parents=True)
            Path(f"{written}/b".removeprefix("remote://")).write_bytes(b"b")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert contents(output) == contents(place) == {}


@pytest.mark.parametrize("again", [artifacts.prepare, artifacts.remove])
def test_what_a_killed_step_staged_goes_with_its_folder(tmp_path, again):
    output, killed = tmp_path / "Transform" / "0123456789ab", tmp_path / "bucket" / "heliograph-1"
    for folder in (output, killed / "0"):
        folder.mkdir(parents=True)
    (output / NOTE).write_text(f"remote://{killed}", encoding="utf-8")
    (killed / "0" / "train").write_bytes(b"1")
    again(output)
    assert not killed.exists() and killed.parent.exists()
    assert not output.exists() or contents(output) == {}


def test_what_cannot_be_deleted_is_named(tmp_path, caplog):
    output = tmp_path / "0123456789ab"
    output.mkdir()
    (output / NOTE).write_text("nowhere://bucket/heliograph-1", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "heliograph"):
        artifacts.remove(output)
    assert not output.exists()
    (record,) = caplog.records
    assert "nowhere://bucket/heliograph-1: staged files cannot be deleted" in record.getMessage()


def test_unknown_file_systems(tmp_path):
    with (
        pytest.raises(DataError, match=r"^Beam option --temp_location=nowhere://a: cannot be written \(.*\)$"),
        staged(["--temp_location=nowhere://a"], tmp_path),
    ):
        pass
    assert contents(tmp_path) == {}


def test_a_temp_location_that_beam_would_take_for_a_pattern(tmp_path):
    with (
        pytest.raises(DataError, match=r"--temp_location=a\[1\]: Beam reads"),
        staged(["--temp_location=a[1]"], tmp_path),
    ):
        pass
    assert contents(tmp_path) == {}


def test_workers_that_leave_nothing(tmp_path):
    (tmp_path / "output").mkdir()
    with (
        pytest.raises(DataError, match=r"the workers have left nothing in .*; is it the same for all\?$"),
        staged([f"--temp_location={tmp_path}/mounted"], tmp_path / "output"),
    ):
        pass
    assert contents(tmp_path) == {}


def test_a_folder_of_this_machine_is_found_from_everywhere(tmp_path, monkeypatch, caplog):
    output = tmp_path / "0123456789ab"
    output.mkdir()
    monkeypatch.chdir(tmp_path)
    with staged(["--temp_location=here"], output) as (written,):
        assert written == f"{(output / NOTE).read_text()}/output" and written.startswith(f"{tmp_path}/here/heliograph-")
        Path(written).mkdir()
        Path(written, "a").write_bytes(b"a")
    assert contents(tmp_path) == {"0123456789ab/a": b"a"}
    (output / NOTE).write_text(f"{tmp_path}/here/gone", encoding="utf-8")
    artifacts.remove(output)
    assert caplog.records == []  # it was deleted before


def test_dataflow_reads_nothing_of_this_machine(tmp_path):
    data = load("multi30k-de-en-tutorial", [f"data.directory={tmp_path}"]).data
    dataflow = ["--runner=DataflowRunner"]
    with pytest.raises(DataError, match=rf"^data\.\w+: {tmp_path}/\S+ is on this machine, .* --set data\.directory=gs"):
        preprocess.check_reachable(data, dataflow)
    preprocess.check_reachable(data, [])
    preprocess.check_reachable(load("multi30k-de-en-tutorial", ["data.directory=gs://a/b"]).data, dataflow)
    preprocess.check_reachable(load("dates").data, dataflow)
