"""A training that is killed goes on with the same command, and ends bit for bit as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import models.seq2seq  # noqa: F401  registers the classes of the saved model
from tests.pipeline.conftest import write_corpus

ROOT = Path(__file__).parents[2]

TOML = """
data = {source = "words.txt", target = "figures.txt", shards = 2}
model = {embedding_size = 8, hidden_size = 12, num_layers = 1, dropout = 0.3}
training = {epochs = 3, batch_size = 16, checkpoint_minutes = 0.0, ema_momentum = 0.5, decay = "cosine"}
"""


def command(folder: Path, root: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "train", str(folder / "my.toml"), "--root", str(folder / root)]


def finish(folder: Path, root: str) -> Path:
    """Train to the end; the Trainer's folder."""
    done = subprocess.run(command(folder, root), cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1])


def interrupt(folder: Path, root: str, number: int, updates: int, delay: float) -> tuple[int, str]:
    """Train until so many updates have a checkpoint, and some seconds more, then send a signal."""
    with (folder / f"{root}.log").open("w+") as log:
        process = subprocess.Popen(command(folder, root), cwd=ROOT, stdout=log, stderr=log)
        limit = time.monotonic() + 120
        while newest(folder / root) < updates:
            assert process.poll() is None and time.monotonic() < limit, log.read()
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(number)
        process.wait(60)
        log.seek(0)
        return process.returncode, log.read()


def newest(root: Path) -> int:
    return max((int(path.name[7:15]) for path in root.glob("Trainer/*/checkpoints/update-*.npz")), default=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("survival")
    write_corpus(folder)
    (folder / "my.toml").write_text(TOML)
    return folder


def curves(trainer_dir: Path) -> dict[str, list[tuple[int, object]]]:
    """All points of TensorBoard, but those that tell the time."""
    found = {}
    for part in ("train", "validation"):
        events = EventAccumulator(str(trainer_dir / "logs" / part), size_guidance={"tensors": 0})
        events.Reload()
        for tag in events.Tags()["tensors"]:
            points = [(event.step, tf.make_ndarray(event.tensor_proto).tolist()) for event in events.Tensors(tag)]
            found[f"{part}/{tag}"] = [(step, 0) for step, _ in points] if tag == "tokens_per_second" else points
    return found


def test_killed_and_interrupted_it_ends_as_if_it_had_not_been(folder):
    whole = finish(folder, "whole")
    (folder / "killed").mkdir()
    for name in ("ExampleGen", "Transform"):
        shutil.copytree(folder / "whole" / name, folder / "killed" / name)
    generator = random.Random(os.urandom(8))  # other moments in every run of the tests
    assert newest(folder / "whole") == 54
    for moment in sorted(generator.sample(range(1, 30), 3)):
        code, output = interrupt(folder, "killed", signal.SIGKILL, moment, generator.random() * 0.05)
        assert code == -signal.SIGKILL, (moment, output)
        assert not list((folder / "killed" / "Trainer").glob("*/manifest.json"))
    code, output = interrupt(folder, "killed", signal.SIGINT, newest(folder / "killed") + 2, 0.0)
    assert code == 130, output
    assert "the same command goes on from there" in output.splitlines()[-1]
    killed = finish(folder, "killed")

    assert killed.name == whole.name
    files = [
        {path.relative_to(root) for path in root.rglob("*") if "events" not in path.name} for root in (killed, whole)
    ]
    assert files[0] == files[1]  # nothing is left of what the killed processes were writing
    assert (killed / "history.json").read_bytes() == (whole / "history.json").read_bytes()
    one, other = (keras.saving.load_model(path / "model.keras").get_weights() for path in (whole, killed))
    for array, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(array, again)
    last, again = (max((path / "checkpoints").glob("update-*.npz")) for path in (whole, killed))
    assert last.name == again.name
    with np.load(last) as file, np.load(again) as copy:  # the optimizer's moments, averages and iteration, too
        names = set(file.files) - {"header"}
        assert names == set(copy.files) - {"header"} and all((file[name] == copy[name]).all() for name in names)
    assert curves(killed) == curves(whole)
