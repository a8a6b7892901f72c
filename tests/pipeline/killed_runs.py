"""Runs of fast components that are killed at every one of their file operations; a process of its own, as it forks.

A child tells each file operation by an audit hook, and kills itself, as `kill -9` would, before the one that it was
told. After each kill the artifacts that are found are whole; the next run completes to the bytes of a run that nothing
happened to; and `clean` leaves nothing else behind.

    python -m tests.pipeline.killed_runs FOLDER {run | rerun | again} STEP
"""

import json
import os
import random
import shutil
import signal
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from pipeline import artifacts
from pipeline.clean import clean
from pipeline.component import Component
from pipeline.runner import run

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "fcntl.flock", "shutil.rmtree"}
"""What is counted, of what Python tells an audit hook."""
NAMES = ("ExampleGen", "Trainer", "Exporter", "Pusher")
EPOCHS = 3


def example_gen(inputs, output):
    """Writes beside its folder, and moves all of it at the end, as the real one does."""
    aside = output.with_name(f"{output.name}.aside-{uuid.uuid4().hex}")
    aside.mkdir()
    for name in ("train", "test"):
        (aside / name).write_text(name * 100)
    for path in sorted(aside.iterdir()):
        path.rename(output / path.name)
    aside.rmdir()
    return {"pairs": 2}


def trainer(inputs, output):
    """Goes on from its checkpoint; its logs tell the time."""
    checkpoints = output / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    for path in [*output.iterdir(), *checkpoints.glob(".*")]:
        if path.is_file():
            path.unlink()
    done = sorted(path.name for path in checkpoints.glob("epoch-?"))
    weights = (checkpoints / done[-1]).read_text() if done else (inputs["ExampleGen"] / "train").read_text()[:5]
    for epoch in range(len(done), EPOCHS):
        weights += str(epoch)
        artifacts.write_whole(checkpoints / f"epoch-{epoch}", weights)
    (output / "logs").mkdir(exist_ok=True)
    (output / "logs" / "events").write_text(uuid.uuid4().hex)
    artifacts.write_whole(output / "model", weights)
    return {"weights": len(weights)}


def exporter(inputs, output):
    """Writes a folder that appears whole."""
    aside = output / ".aside-x" / "1"
    aside.mkdir(parents=True)
    (aside / "saved_model").write_text((inputs["Trainer"] / "model").read_text() + output.name)
    (output / "name").mkdir()
    aside.rename(output / "name" / "1")
    aside.parent.rmdir()
    return {}


def pusher(inputs, output):
    """Notes where it has published."""
    artifacts.write_whole(output / "pushed.json", json.dumps({"published": str(inputs["Exporter"] / "name" / "1")}))
    return {"version": 1}


COMPONENTS = (
    Component(name="ExampleGen", version=1, execute=example_gen, external_files=lambda: {"source[0] a": "1"}),
    Component(
        name="Trainer", version=1, execute=trainer, inputs=("ExampleGen",), resumes_from="checkpoints", timed="logs"
    ),
    Component(name="Exporter", version=1, execute=exporter, inputs=("Trainer",)),
    Component(name="Pusher", version=1, execute=pusher, inputs=("Exporter",)),
)


def content(root: Path) -> dict[str, object]:
    """What is in a root, but for times."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.name == artifacts.MANIFEST:
            values = json.loads(path.read_text())
            values["outputs"].pop("logs/events", None)
            found[name] = {key: value for key, value in values.items() if key not in ("started", "ended")}
        elif path.is_file() and path.name != "events":
            found[name] = path.read_text().replace(str(root), "ROOT")
    for manifest in (value for value in found.values() if isinstance(value, dict)):
        manifest.pop("outputs_fingerprint") if manifest["component"] == "Pusher" else None
        manifest["outputs"].pop("pushed.json", None)  # has the root's path
    return found


def child(work: Callable[[], object], kill_at: int | None = None) -> int | None:
    """Do it in a process of its own, which kills itself before one of its file operations.

    Returns:
        How many operations there were; None if it was killed.
    """
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        count = 0

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal count
            if event in OPERATIONS:
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.addaudithook(hook)
        try:
            work()
            os.write(writing, str(count).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(process, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if killed != (not told):
        raise AssertionError(f"expected either a kill or a result, got status {status}")
    return int(told) if told else None


def check(root: Path, expected: dict[str, object], cleaned: bool, nothing_runs: bool) -> None:
    """After a kill: what is found is whole, the next run completes it, and nothing else is left."""
    for name in NAMES:
        for artifact in artifacts.find_all(root, name):
            for output in artifact.manifest.outputs:
                key = f"{name}/{artifact.id}/{output}"
                if key in expected:
                    found = (artifact.path / output).read_text().replace(str(root), "ROOT")
                    if found != expected[key]:
                        raise AssertionError(f"{key} is not whole")
    if cleaned:
        clean(root, dry_run=False)
    before = {path: path.stat().st_mtime_ns for path in root.glob("*/*/manifest.json")}
    run(COMPONENTS, root)
    if nothing_runs and any(path.stat().st_mtime_ns != then for path, then in before.items()):
        raise AssertionError("expected the old artifacts to be there, got another execution")
    clean(root, dry_run=False, used={name.split("/")[1] for name in expected})
    found = content(root)
    differing = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    if differing:
        raise AssertionError("\n".join(f"{key}: {expected.get(key)} became {found.get(key)}" for key in differing))


def main(folder: Path, mode: str, step: int) -> None:
    """Kill at every `step`th operation of a first run, of one that makes all again, or several times in a row."""
    reference, root = folder / "reference", folder / "root"
    run(COMPONENTS, reference)
    expected = content(reference)
    again = NAMES if mode == "rerun" else ()

    def work() -> object:
        return run(COMPONENTS, root, rerun=again)

    def prepare() -> None:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        if mode == "rerun":
            run(COMPONENTS, root)

    prepare()
    operations = child(work)
    if operations is None:
        raise AssertionError("expected a run that nobody killed to end")
    kills = 0
    generator = random.Random(os.urandom(8))
    for number, moment in enumerate(range(0, operations, step)):
        prepare()
        if mode == "again":
            while child(work, generator.randrange(operations // 2)) is None and kills % 7 < 6:
                kills += 1
        elif child(work, moment) is not None:
            raise AssertionError(f"expected a kill at operation {moment} of {operations}")
        kills += 1
        check(root, expected, cleaned=number % 2 == 0, nothing_runs=mode == "rerun")
    print(f"{mode}: {operations} operations, {kills} kills")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
