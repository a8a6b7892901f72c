import json
import math
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline import artifacts, origin
from pipeline.locks import exclusive

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def publish(path, ended=NOW, **metrics):
    return artifacts.publish(
        path,
        component=path.parent.name,
        version=1,
        inputs={},
        external_files={"source[0] a.txt": "0" * 64},
        parameters={"epochs": 3},
        metrics=metrics,
        started=NOW,
        ended=ended,
        command="heliograph train my.toml",
        timed="timed",
    )


def make(root, artifact_id="0123456789ab", content="hello", **arguments):
    path = root / "Trainer" / artifact_id
    artifacts.prepare(path)
    (path / "logs").mkdir()
    (path / "logs" / "model.txt").write_text(content)
    return publish(path, **arguments)


def test_manifest_tells_everything(tmp_path):
    made = make(tmp_path, perplexity=np.float32(2.5), steps=np.int64(7), worst=math.inf, signature="a|b")
    found = artifacts.find(tmp_path, "Trainer", "0123456789ab")
    assert found == made
    assert found.metrics == {"perplexity": 2.5, "steps": 7, "worst": "inf", "signature": "a|b"}
    document = json.loads((made.path / "manifest.json").read_text())
    # sha256sum of the five bytes "hello"
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert document["outputs"] == {"logs/model.txt": {"sha256": digest, "bytes": 5}}
    assert {"python", "tensorflow", "keras", "beam"} <= document["versions"].keys()
    assert document["code"] == origin.code_hash() and len(document["code"]) == 64
    assert document["command"] == "heliograph train my.toml" and document["platform"]
    assert document["started"] == "2026-01-02T00:00:00Z"
    assert sorted(item.name for item in made.path.iterdir()) == ["logs", "manifest.json"]


def test_fingerprint_is_of_contents(tmp_path):
    one, same = make(tmp_path, "1" * 12), make(tmp_path, "2" * 12, ended=NOW + timedelta(hours=1))
    other = make(tmp_path, "3" * 12, content="other")
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert artifacts.fingerprint({"a": 1, "b": 2}) == artifacts.fingerprint({"b": 2, "a": 1})
    assert [item.id for item in artifacts.find_all(tmp_path, "Trainer")] == ["2" * 12, "1" * 12, "3" * 12]
    assert artifacts.find_all(tmp_path, "Exporter") == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"component": "Trainer"}', "\x00"])
def test_corrupt_manifest_is_no_artifact(tmp_path, text):
    path = make(tmp_path).path
    (path / "manifest.json").write_text(text)
    assert artifacts.find(tmp_path, "Trainer", path.name) is None and not artifacts.find_all(tmp_path, "Trainer")
    with pytest.raises(artifacts.DamagedArtifactError, match=f"^{path}/manifest.json: not a readable manifest"):
        artifacts.read(path)


def test_lost_truncated_or_foreign_outputs_are_no_artifact(tmp_path):
    def check(path, message):
        assert artifacts.find(tmp_path, "Trainer", path.name) is None
        with pytest.raises(artifacts.DamagedArtifactError, match=message):
            artifacts.read(path)

    path = make(tmp_path).path
    (path / "logs" / "model.txt").write_text("hello, appended")
    assert artifacts.find(tmp_path, "Trainer", path.name) is not None
    (path / "logs" / "model.txt").write_text("hell")
    check(path, "logs/model.txt: lost or truncated")
    (path / "logs" / "model.txt").unlink()
    check(path, "logs/model.txt: lost or truncated")
    copied = make(tmp_path, "a" * 12).path.rename(tmp_path / "Trainer" / ("b" * 12))
    check(copied, "belongs to Trainer aaaaaaaaaaaa")
    shutil.copytree(make(tmp_path, "c" * 12).path, tmp_path / "Exporter" / ("c" * 12))
    assert artifacts.find(tmp_path, "Exporter", "c" * 12) is None


def test_prepare_clears_what_a_crash_left(tmp_path):
    path = tmp_path / "Trainer" / "x"
    path.mkdir(parents=True)
    (path / "half").write_text("half")
    artifacts.prepare(path)
    assert list(path.iterdir()) == []
    elsewhere = tmp_path / "precious"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    path.rmdir()
    path.symlink_to(elsewhere)
    artifacts.prepare(path)
    assert (elsewhere / "file").exists() and list(path.iterdir()) == [] and not path.is_symlink()


def test_prepare_keeps_what_an_execution_resumes(tmp_path):
    path = make(tmp_path).path
    artifacts.prepare(path, keep=True)
    assert artifacts.find(tmp_path, "Trainer", path.name) is None
    assert [item.relative_to(path).as_posix() for item in path.rglob("*")] == ["logs", "logs/model.txt"]
    artifacts.prepare(tmp_path / "Trainer" / "new", keep=True)
    assert list((tmp_path / "Trainer" / "new").iterdir()) == []
    link = tmp_path / "Trainer" / "link"
    link.symlink_to(path)
    artifacts.prepare(link, keep=True)
    assert not link.is_symlink() and list(link.iterdir()) == [] and (path / "logs").exists()


def test_what_json_cannot_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match="expected a number, string, list or mapping"):
        artifacts.plain({"a": [object()]})
    assert artifacts.plain({1: (Path("/a"), np.bool_(True), None)}) == {"1": ["/a", True, None]}


def test_write_whole_keeps_the_old_file_on_failure(tmp_path, monkeypatch):
    path = tmp_path / "file"
    artifacts.write_whole(path, "old")

    def full(self, text, encoding):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        artifacts.write_whole(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_locks_exclude_each_other_and_leave_nothing(tmp_path):
    path, waited, inside, overlaps = tmp_path / "x.lock", [], [], []

    def hold():
        with exclusive(path, waited.append):
            inside.append(1)
            overlaps.append(len(inside))
            threading.Event().wait(0.02)
            inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [1] * 6
    assert waited
    assert not path.exists()


def test_a_stale_lock_file_does_not_block(tmp_path):
    path = tmp_path / "x.lock"
    path.write_text("99999999")
    with exclusive(path, pytest.fail):
        assert path.exists()
