"""Whole corpora: aligned, in order, the same bytes with any number of workers, and goes on where it was broken off."""

import gzip
import json
import shutil

import pytest
import tensorflow as tf

from preprocessing.errors import DataError
from serving.bulk import BLOCK, BulkOptions, translate_corpus
from tests.serving.server.conftest import upper_version  # noqa: F401

LINES = [f"line {number} of text{' more' * (number % 7)}" for number in range(2 * BLOCK + 7)]
ODD = ["", " ", "a\u2028b", "x\u0085y", "\U0001f600", "last"]


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("".join(f"{line}\n" for line in LINES))
    (folder / "b.txt.gz").write_bytes(gzip.compress("\r\n".join(ODD).encode()))
    (folder / "c.txt").write_text("long " * 30 + "\n")
    (folder / "e.txt").write_bytes(b"")
    (folder / "d.txt").write_bytes(b"broken \xff\xfe\x00 bytes\n")
    return folder


def options(corpus, version, output="out", **more):
    pattern = str(corpus / more.pop("pattern", "*.txt*"))
    return BulkOptions(pattern=pattern, output_dir=str(corpus.parent / output), model_dir=str(version), **more)


def upper(line):
    return tf.strings.upper(line).numpy()


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def test_lines_stay_aligned_and_in_order(corpus, upper_version):  # noqa: F811
    report = translate_corpus(options(corpus, upper_version, batch_size=100))
    assert {name: report[name] for name in ("shards", "skipped", "lines", "truncated")} == {
        "shards": 5,
        "skipped": 0,
        "lines": len(LINES) + len(ODD) + 2,
        "truncated": 1,
    }
    assert report["lines_per_second"] > 0
    found = content(corpus.parent / "out")
    assert set(found) == {"a.txt", "b.txt.gz", "c.txt", "d.txt", "e.txt", "translated_by.json"}
    assert found["a.txt"].split(b"\n")[:-1] == [upper(line) for line in LINES]
    assert gzip.decompress(found["b.txt.gz"]).split(b"\n")[:-1] == [upper(line) for line in ODD]
    assert found["e.txt"] == b"" and found["d.txt"] == b"BROKEN \xff\xfe\x00 BYTES\n"


def test_any_number_of_workers_writes_the_same_bytes(corpus, upper_version):  # noqa: F811
    translate_corpus(options(corpus, upper_version, "one"))
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    translate_corpus(options(corpus, upper_version, "two", batch_size=7), workers)
    assert content(corpus.parent / "one") == content(corpus.parent / "two")


def test_what_is_there_is_not_translated_again(corpus, upper_version):  # noqa: F811
    first = options(corpus, upper_version)
    translate_corpus(options(corpus, upper_version, pattern="[ad].txt"))
    output = corpus.parent / "out"
    (output / "a.txt").write_text("kept")
    report = translate_corpus(first)
    assert (report["shards"], report["skipped"]) == (3, 2)
    assert (output / "a.txt").read_text() == "kept"
    assert translate_corpus(first)["shards"] == 0


def test_a_job_that_is_broken_off_keeps_the_groups_before(corpus, upper_version):  # noqa: F811
    (corpus / "b.txt.gz").write_bytes(gzip.compress(b"x\n" * 100)[:-20])
    broken = options(corpus, upper_version, shards_together=1)
    with pytest.raises(DataError, match=r"b\.txt\.gz: the gzip file is truncated"):
        translate_corpus(broken)
    assert set(content(corpus.parent / "out")) == {"a.txt", "translated_by.json"}
    (corpus / "b.txt.gz").write_bytes(gzip.compress(b"x\n"))
    report = translate_corpus(broken)
    assert (report["shards"], report["skipped"]) == (4, 1)


def test_translations_of_another_model_are_not_mixed_in(corpus, upper_version, tmp_path):  # noqa: F811
    translate_corpus(options(corpus, upper_version, pattern="d.txt"))
    other = shutil.copytree(upper_version, tmp_path / "2")
    (other / "saved_model.pb").write_bytes((other / "saved_model.pb").read_bytes() + b"\x0a\x00")
    with pytest.raises(DataError, match="holds translations of another model; choose another folder"):
        translate_corpus(options(corpus, other))
    assert json.loads((corpus.parent / "out" / "translated_by.json").read_text())["sha256"]


def test_mistakes_are_one_clear_line(corpus, upper_version, tmp_path):  # noqa: F811
    with pytest.raises(DataError, match=r"absent\*: no such file"):
        translate_corpus(options(corpus, upper_version, pattern="absent*"))
    with pytest.raises(DataError, match="holds the texts; choose another folder"):
        translate_corpus(options(corpus, upper_version, "in"))
    with pytest.raises(DataError, match="Beam reads"):
        translate_corpus(options(corpus, upper_version, "out[1]"))
    with pytest.raises(DataError, match=r"found no saved_model\.pb"):
        translate_corpus(options(corpus, tmp_path / "nowhere"))
    for folder in ("one", "two"):
        (corpus / folder).mkdir()
        (corpus / folder / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt: expected files of different names"):
        translate_corpus(options(corpus, upper_version, pattern="*/a.txt"))
    with pytest.raises(DataError, match=r"a\.txt: line 1: expected at most 5 bytes, got more"):
        translate_corpus(options(corpus, upper_version, "third", pattern="a.txt", max_line_bytes=5))
    assert not (corpus.parent / "third" / "a.txt").exists()
