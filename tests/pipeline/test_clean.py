import os
import shutil
import threading
import time
from contextlib import ExitStack

import pytest

from pipeline import artifacts
from pipeline.clean import clean
from pipeline.cli import main
from pipeline.locks import exclusive
from tests.pipeline.test_lineage import chain, make

ID = "0123456789ab"


def what(verdicts):
    """Removed and kept, by name."""
    return [
        {verdict.path.name: verdict.why for verdict in verdicts if verdict.removed == removed}
        for removed in (True, False)
    ]


def unfinished(root, component="Transform", artifact_id=ID, scratch=None):
    path = root / component / artifact_id
    path.mkdir(parents=True)
    (path / "half.txt").write_text("half")
    if scratch:
        (path / scratch).mkdir()
        (path / scratch / "update-1.npz").write_text("1")
    return path


def everything(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_what_killed_executions_left_is_removed(tmp_path):
    exporter, _ = chain(tmp_path)
    whole = everything(tmp_path)
    unfinished(tmp_path)
    unfinished(tmp_path / "Transform", "rerun")
    unfinished(tmp_path, "ExampleGen", f"{ID}.aside-{'f' * 32}")
    make(tmp_path / "Trainer", "rerun", 10).path.rename(tmp_path / "Trainer" / "rerun" / f"{ID}.old")
    unfinished(tmp_path / "Transform", "rerun", f"{ID}.aside-{'e' * 32}")
    (tmp_path / "Transform" / f"{ID}.lock").write_text("1")
    (tmp_path / "Exporter" / f"{exporter.id}.lock").touch()
    (tmp_path / ".config.toml.77").touch()
    os.utime(tmp_path / ".config.toml.77", (0, 0))
    (tmp_path / ".config.toml.78").touch()  # being written, for all we know
    before = everything(tmp_path)
    planned = clean(tmp_path, dry_run=True)
    assert everything(tmp_path) == before
    done = clean(tmp_path, dry_run=False)
    assert done == planned and all(verdict.removed for verdict in done)
    locks = [f"{ID}.lock", f"{exporter.id}.lock"]
    folders = [ID, ID, f"{ID}.old", *(f"{ID}.aside-{digit * 32}" for digit in "ef")]
    assert sorted(verdict.path.name for verdict in done) == sorted([*folders, *locks, ".config.toml.77"])
    assert sum(verdict.bytes for verdict in done if not verdict.path.name.endswith(".old")) == 4 * len("half") + 1
    left = set(everything(tmp_path)) - set(whole)
    assert left <= {".config.toml.78", "Transform", "Transform/rerun", "Trainer/rerun"}
    assert clean(tmp_path, dry_run=False) == []


def test_nothing_of_others_is_touched(tmp_path):
    for name in (
        "notes",
        ID,
        f"Transform/{ID[:-1]}",
        f"Transform/{ID}.aside-mine",
        f"transform/{ID}x",
        "Transform/x.lock",
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
    before = everything(tmp_path)
    assert clean(tmp_path, dry_run=False, used=()) == [] and everything(tmp_path) == before


def test_a_training_that_can_go_on_stays_unless_another_one_is_configured(tmp_path):
    path = unfinished(tmp_path, "Trainer", scratch="checkpoints")
    again = unfinished(tmp_path, "Trainer/rerun", "a" * 12, scratch="checkpoints")
    kept = {
        ID: "a run can go on from its checkpoints",
        again.name: "a run with --rerun can go on from its checkpoints",
    }
    assert what(clean(tmp_path, dry_run=False)) == [{}, kept]
    assert what(clean(tmp_path, dry_run=False, used=list(kept))) == [{}, kept]
    why = "checkpoints of an interrupted training that the configuration does not go on with"
    assert what(clean(tmp_path, dry_run=False, used=["other"])) == [dict.fromkeys(kept, why), {}]
    assert not path.exists() and not again.exists()


def test_a_refusal_stays_unless_another_one_is_configured(tmp_path):
    path = unfinished(tmp_path, "ExampleValidator")
    (path / artifacts.REFUSAL).write_text("too many pairs look untranslated\n")
    assert clean(tmp_path, dry_run=False) == clean(tmp_path, dry_run=False, used=[ID]) == []
    assert what(clean(tmp_path, dry_run=False, used=["other"]))[0] == {ID: "the configuration does not use it"}
    assert not path.exists()


def test_an_interrupted_repetition_is_of_no_use_beside_its_artifact(tmp_path):
    made = make(tmp_path, "Trainer", 10)
    again = unfinished(tmp_path, "Trainer/rerun", made.id, scratch="checkpoints")
    assert what(clean(tmp_path, dry_run=False))[0] == {} and again.exists()
    (removed, _) = what(clean(tmp_path, dry_run=False, used=[made.id]))
    assert removed.keys() == {made.id} and not again.exists() and made.path.exists()


def test_what_was_made_again_and_not_put_in_place_is_kept(tmp_path):
    made = make(tmp_path, "Trainer", 1)
    again = tmp_path / "Trainer" / "rerun" / made.id
    shutil.copytree(made.path, again)
    shutil.rmtree(made.path)
    assert what(clean(tmp_path, dry_run=False)) == [{}, {made.id: "the next run puts it in its place"}]
    shutil.copytree(again, made.path)
    assert what(clean(tmp_path, dry_run=False))[0].keys() == {made.id}
    assert not again.exists() and artifacts.find(tmp_path, "Trainer", made.id) == made


def test_the_outdated_goes_but_not_what_the_pushed_model_was_made_of(tmp_path):
    root = tmp_path / "root"
    exporter, version = chain(root)
    other = make(root, "Trainer", 99)
    published = tmp_path / "srv" / "7"
    shutil.copytree(version, published)
    path = root / "Pusher" / f"{5:012x}"
    artifacts.prepare(path)
    (path / "pushed.json").write_text(f'{{"published": "{published}"}}')
    given = {"version": 1, "external_files": {}, "parameters": {}, "metrics": {"version": 7}}
    artifacts.publish(
        path,
        component="Pusher",
        inputs={"Exporter": exporter},
        started=exporter.manifest.started,
        ended=exporter.manifest.ended,
        **given,
    )
    assert clean(root, dry_run=False) == []
    removed, kept = what(clean(root, dry_run=False, used=[exporter.id]))
    assert removed == {other.id: "the configuration does not use it"}
    assert kept.keys() == {f"{number:012x}" for number in (1, 3, 5, 10)}
    assert set(kept.values()) == {f"{published} was made of it"}
    shutil.rmtree(published)
    removed, kept = what(clean(root, dry_run=False, used=[exporter.id]))
    assert len(removed) == 4 and kept == {} and artifacts.find(root, "Exporter", exporter.id)


def test_evaluations_that_models_are_compared_with_stay(tmp_path):
    old, new, other = (make(tmp_path, "Evaluator", number, content=str(number)) for number in (1, 2, 3))
    path = tmp_path / "ModelValidator" / f"{4:012x}"
    artifacts.prepare(path)
    started, ended = new.manifest.started, new.manifest.ended
    given = {"version": 1, "external_files": {}, "started": started, "ended": ended}
    given |= {"parameters": {"name": "m"}, "metrics": {"blessed": True}}
    inputs = {"Evaluator": new, "Evaluator baseline": old}
    verdict = artifacts.publish(path, component="ModelValidator", inputs=inputs, **given)
    removed, kept = what(clean(tmp_path, dry_run=False, used=[new.id, verdict.id]))
    assert removed.keys() == {other.id} and kept == {old.id: "the model in use was compared with it"}
    removed, kept = what(clean(tmp_path, dry_run=False, used=[]))
    assert removed.keys() == {old.id}
    assert kept == dict.fromkeys([new.id, verdict.id], "the next model will be compared with it")


def test_what_a_process_has_locked_stays(tmp_path):
    made = make(tmp_path, "Trainer", 1)
    path = unfinished(tmp_path)
    aside = unfinished(tmp_path, artifact_id=f"{ID}.aside-{'0' * 32}")
    before = everything(tmp_path)
    with ExitStack() as held:
        held.enter_context(exclusive(path.with_name(f"{ID}.lock"), pytest.fail))
        held.enter_context(artifacts.reading(made))
        removed, kept = what(clean(tmp_path, dry_run=False, used=()))
        assert removed == {} and kept == {
            made.id: "a running process reads it",
            ID: "a running process has it",
            aside.name: "a running process has it",
            f"{ID}.lock": "a running process has it",
        }
        assert set(everything(tmp_path)) == {*before, f"Transform/{ID}.lock"}
    assert len(what(clean(tmp_path, dry_run=False, used=()))[0]) == 3


def test_what_is_on_its_way_to_a_server_stays(tmp_path):
    servable = tmp_path / "srv" / "my"
    for name in (".aside-left", ".aside-new", "3"):
        (servable / name).mkdir(parents=True)
    (servable / ".aside-left" / "held").touch()
    os.utime(servable / ".aside-left", (0, 0))
    (tmp_path / "root").mkdir()
    with exclusive(servable / ".aside-left" / "held", pytest.fail):
        os.utime(servable / ".aside-left", (0, 0))
        (verdict,) = clean(tmp_path / "root", dry_run=False, servable=servable)
        assert not verdict.removed
    (servable / ".aside-left" / "held").touch()
    (servable / ".lock").touch()
    os.utime(servable / ".aside-left", (0, 0))
    clean(tmp_path / "root", dry_run=False, servable=servable)
    assert sorted(path.name for path in servable.iterdir()) == [".aside-new", "3"]


def test_readers_share_and_removal_waits_for_them(tmp_path):
    made = make(tmp_path, "Trainer", 1)
    order = []

    def replace():
        from pipeline.locks import unread

        with unread(made.path / "manifest.json", lambda: order.append("waiting")):
            order.append("replacing")

    with artifacts.reading(made), artifacts.reading(made):
        thread = threading.Thread(target=replace)
        thread.start()
        while not order:
            time.sleep(0.01)
        order.append("read")
    thread.join()
    assert order == ["waiting", "read", "replacing"]
    artifacts.remove(made.path)
    with pytest.raises(FileNotFoundError), artifacts.reading(made):
        pass


def test_the_command_says_what_and_how_much(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs" / "dates"
    unfinished(root)
    make(root, "Trainer", 1)
    assert main(["clean", "dates", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"would remove  Transform/{ID}  4 bytes: left by an execution that did not finish",
        "would remove 1 file or folder, 4 bytes",
    ]
    assert main(["clean", "--root", "runs/dates"]) == 0
    assert capsys.readouterr().out.startswith(f"removed  Transform/{ID}  4 bytes")
    assert main(["clean", "dates", "--outdated"]) == 0
    assert "Trainer/000000000001" in capsys.readouterr().out and not list(root.glob("Trainer/*"))
    for arguments, message in (
        (["--root", "."], "expected the folder of a run"),
        ([], "expected a CONFIG or --root DIR"),
        (["--outdated", "--root", "runs/dates"], "expected a CONFIG"),
    ):
        assert main(["clean", *arguments]) == 2
        assert message in capsys.readouterr().err
