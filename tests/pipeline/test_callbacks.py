"""The watchers: TensorBoard's files go on where a checkpoint left them, and each epoch leaves a line."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.callbacks import Progress, TensorBoard
from pipeline.checkpoints import TrainingState

PICTURE = np.zeros([3, 4, 3], np.uint8)
CURVES = {
    "loss",
    "perplexity",
    "learning_rate",
    "gradient_norm",
    "teacher_forcing_ratio",
    "padding_share",
    "tokens_per_second",
}


def logs(loss=0.5, **fields):
    values = {
        "loss": loss,
        "perplexity": 2.0,
        "tokens": 100.0,
        "learning_rate": 0.125,
        "gradient_norm": 3.0,
        "teacher_forcing": 0.75,
        "padding": 0.25,
    }
    return {**values, **fields}


def figures(**fields):
    return {"perplexity": 2.0, "val_perplexity": 8.0, "val_free_running_perplexity": 16.0, **fields}


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr("pipeline.callbacks.time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def points(directory, part, name):
    """Steps and values of a curve, as TensorBoard shows them.

    It reads files by name; those of one process and second end in a count, and 10 comes before 9. Real runs' differ.
    """
    events = EventAccumulator(str(directory / part), size_guidance={"tensors": 0})
    events.Reload()
    return sorted((event.step, tf.make_ndarray(event.tensor_proto).item()) for event in events.Tensors(name))


def curves(directory, part):
    events = EventAccumulator(str(directory / part))
    events.Reload()
    return set(events.Tags()["tensors"])


def board(directory, sizes=(), every=1):
    return TensorBoard(directory, dict(sizes), lambda: "| a |", lambda: [PICTURE], every)


def train(watcher, updates, loss):
    for update in updates:
        watcher.on_update(TrainingState(update=update), logs(loss))


def test_curves(tmp_path, clock):
    watcher = board(tmp_path, every=2)
    for update in range(1, 6):
        clock.now += 4.0
        watcher.on_update(TrainingState(update=update), logs())
    clock.now += 100.0  # validation does not count
    watcher.on_epoch(TrainingState(epoch=1, update=5), figures(val_bleu=12.5))
    clock.now += 2.0
    watcher.on_update(TrainingState(epoch=1, batch=1, update=6), logs())
    watcher.close()
    assert curves(tmp_path, "train") == CURVES
    assert points(tmp_path, "train", "tokens_per_second") == [(2, 25.0), (4, 25.0), (6, 50.0)]
    values = {name: points(tmp_path, "train", name)[0] for name in CURVES - {"tokens_per_second"}}
    assert values == {
        "loss": (2, 0.5),
        "perplexity": (2, 2.0),
        "learning_rate": (2, 0.125),
        "gradient_norm": (2, 3.0),
        "teacher_forcing_ratio": (2, 0.75),
        "padding_share": (2, 0.25),
    }
    validation = {"perplexity": 8.0, "free_running_perplexity": 16.0, "bleu": 12.5, "samples": b"| a |"}
    assert curves(tmp_path, "validation") == {*validation, "loss", "attention/sample_1"}
    for name, value in validation.items():
        assert points(tmp_path, "validation", name) == [(5, value)]
    assert points(tmp_path, "validation", "loss") == [(5, pytest.approx(2.0794415))]


def test_what_came_after_the_checkpoint_is_cut_off(tmp_path):
    first = board(tmp_path)
    train(first, range(1, 4), 1.0)
    first.on_epoch(TrainingState(epoch=1, update=3), figures(val_perplexity=4.0))
    sizes = first.sizes()
    train(first, range(4, 7), 2.0)
    first.on_epoch(TrainingState(epoch=2, update=6), figures(val_perplexity=3.0))
    first.close()

    crashed = board(tmp_path, sizes)  # wrote no checkpoint before it ended, too
    train(crashed, range(4, 9), 3.0)
    crashed.close()

    last = board(tmp_path, sizes)
    train(last, range(4, 6), 4.0)
    more = last.sizes()
    train(last, range(6, 8), 5.0)
    last.close()
    assert points(tmp_path, "train", "loss") == [
        *((update, 1.0) for update in (1, 2, 3)),
        *((update, 4.0) for update in (4, 5)),
        *((update, 5.0) for update in (6, 7)),
    ]
    assert points(tmp_path, "validation", "perplexity") == [(3, 4.0)]

    board(tmp_path, more).close()  # goes on from two files of each part
    assert points(tmp_path, "train", "loss")[3:] == [(4, 4.0), (5, 4.0)]


def test_sizes_are_those_of_files_that_hold_all_that_was_written(tmp_path):
    watcher = board(tmp_path)
    train(watcher, range(1, 30), 1.0)
    sizes = watcher.sizes()
    assert {name.partition("/")[0] for name in sizes} == {"train", "validation"} and len(sizes) == 2
    assert sizes == {name: (tmp_path / name).stat().st_size for name in sizes}
    assert len(points(tmp_path, "train", "loss")) == 29
    watcher.close()
    assert watcher.sizes() == sizes


def test_files_of_no_checkpoint_are_removed(tmp_path):
    first = board(tmp_path)
    train(first, range(1, 4), 1.0)
    first.close()
    (tmp_path / "note.txt").write_text("of another hand")
    second = board(tmp_path)
    train(second, range(1, 3), 2.0)
    second.close()
    assert points(tmp_path, "train", "loss") == [(1, 2.0), (2, 2.0)]
    assert len(list(tmp_path.glob("train/*"))) == 1 and (tmp_path / "note.txt").exists()


def test_the_graph_is_shown(tmp_path):
    watcher = board(tmp_path)
    watcher.show_graph(tf.function(lambda x: x + 1.0).get_concrete_function(tf.constant(1.0)).graph)
    watcher.close()
    events = EventAccumulator(str(tmp_path / "train"))
    events.Reload()
    assert events.Tags()["graph"] and "AddV2" in {node.op for node in events.Graph().node}


def run_epoch(progress, clock, epoch, batches, first=0, **more):
    """Batches of two seconds each, then a validation of four."""
    for batch in range(first, batches):
        clock.now += 2.0
        state = TrainingState(epoch=epoch, batch=batch + 1, update=epoch * batches + batch + 1)
        progress.on_update(state, logs(padding=0.1 * (batch + 1)))
    clock.now += 4.0
    progress.on_epoch(TrainingState(epoch=epoch + 1, update=(epoch + 1) * batches), figures(**more))


def test_each_epoch_leaves_one_line(caplog, clock):
    caplog.set_level("INFO", "heliograph.train")
    progress = Progress(epochs=3, batches=3, quiet_seconds=1000.0)
    for epoch in range(3):
        run_epoch(progress, clock, epoch, 3)
    line = (
        "epoch {}/3  10 s  loss 0.693  perplexity 2.00  50 tokens/s  padding 20 %  "
        "validation: perplexity 8.00, free-running 16.00  {} left"
    )
    assert caplog.messages == [line.format(1, "0:20"), line.format(2, "0:10"), line.format(3, "0:00")]


def test_a_resumed_epoch_counts_its_own_updates_only(caplog, clock):
    caplog.set_level("INFO", "heliograph.train")
    progress = Progress(epochs=20, batches=4, done=6, quiet_seconds=1000.0)
    run_epoch(progress, clock, 1, 4, first=2, val_bleu=20.125, val_word_error_rate=0.5)
    (line,) = caplog.messages
    assert line.startswith("epoch 2/20  8 s  ") and "50 tokens/s  padding 35 %" in line
    assert line.endswith(
        "free-running 16.00, BLEU 20.12, word error rate 50.00 %  4:48 left"
    )  # 72 updates of (2 * 2 + 4) / 2 seconds


def test_a_line_now_and_then_where_nobody_looks(caplog, clock):
    caplog.set_level("INFO", "heliograph.train")
    run_epoch(Progress(epochs=1, batches=10, quiet_seconds=5.0), clock, 0, 10)
    assert [re.match(r"epoch 1/1 +(\d+) %", line)[1] for line in caplog.messages[:-1]] == ["30", "60", "90"]
    assert "loss 0.500  perplexity 2.00  teacher forcing 0.75  50 tokens/s  0:14 left" in caplog.messages[0]


def test_a_terminal_shows_one_line_that_is_redrawn(monkeypatch, caplog, clock):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    caplog.set_level("INFO", "heliograph.train")
    run_epoch(Progress(epochs=1, batches=3), clock, 0, 3)
    *redrawn, lasting = terminal.getvalue().split("\r\x1b[K")[1:]
    assert len(redrawn) == 3 and not any("\n" in line for line in redrawn) and not caplog.messages
    assert lasting.startswith("epoch 1/1  10 s") and lasting.endswith("left\n")
