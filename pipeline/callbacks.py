"""Who watches a training: the line of progress on standard error, and TensorBoard."""

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.checkpoints import TrainingState
from pipeline.figures import FIGURES, shown

log = logging.getLogger("heliograph.train")


class Progress:
    """One line on standard error: epoch, loss, perplexity, ratio, speed, time left.

    On a terminal the line is redrawn a few times a second; elsewhere a line is written every `quiet_seconds`.

    Args:
        epochs: epochs of the whole training.
        batches: batches in an epoch.
        done: updates done before, by an earlier process.
        quiet_seconds: see above.
    """

    def __init__(self, epochs: int, batches: int, done: int = 0, quiet_seconds: float = 15.0) -> None:
        self.epochs, self.batches, self.done = epochs, batches, done
        self.interval = 0.25 if sys.stderr.isatty() else quiet_seconds
        self.began = self.shown = time.monotonic()
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self.epoch_began, self.tokens = time.monotonic(), 0.0
        self.padding: list[float] = []

    def on_update(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """Redraw the line when it is due."""
        self.tokens += logs["tokens"]
        self.padding.append(logs["padding"])
        self.updates_ended = now = time.monotonic()
        if now - self.shown < self.interval:
            return
        self.shown = now
        self._write(
            f"epoch {state.epoch + 1}/{self.epochs}  {100 * state.batch // self.batches:3d} %  "
            f"loss {logs['loss']:.3f}  perplexity {logs['perplexity']:.2f}  "
            f"teacher forcing {logs['teacher_forcing']:.2f}  {self._speed():,.0f} tokens/s  {self._left(state)} left"
        )

    def on_epoch(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """Leave one lasting line per epoch."""
        figures = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        perplexity, free_running = figures.pop("perplexity"), figures.pop("free_running_perplexity")
        scores = "".join(f", {FIGURES[name].label} {shown(name, value)}" for name, value in figures.items())
        self._write(
            f"epoch {state.epoch}/{self.epochs}  {time.monotonic() - self.epoch_began:.0f} s  "
            f"loss {np.log(logs['perplexity']):.3f}  perplexity {logs['perplexity']:.2f}  "
            f"{self._speed():,.0f} tokens/s  padding {100 * np.mean(self.padding):.0f} %  "
            f"validation: perplexity {perplexity:.2f}, "
            f"free-running {free_running:.2f}{scores}  {self._left(state)} left",
            lasting=True,
        )
        self._begin_epoch()

    def _speed(self) -> float:
        """Target tokens a second in this epoch, validation not counted."""
        return self.tokens / max(self.updates_ended - self.epoch_began, 1e-9)

    def _left(self, state: TrainingState) -> str:
        took = time.monotonic() - self.began
        left = int(took / (state.update - self.done) * (self.epochs * self.batches - state.update))
        return f"{left // 60}:{left % 60:02d}"

    def _write(self, line: str, lasting: bool = False) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if lasting else ""))
            sys.stderr.flush()
        else:
            log.info("%s", line)


class TensorBoard:
    """Curves of training and validation, the graph of a step, sample translations and their attention.

    The event files are as they were when a checkpoint was written, then go on: what a crash left after it is cut off.

    Args:
        directory: where the event files go, in `train/` and `validation/`.
        sizes: the files of the checkpoint to go on from, and their sizes, as `sizes()` gave them.
        table: gives sample translations as Markdown, after each epoch.
        pictures: gives pictures of their attention, `[height, width, 3]` uint8 each.
        every: updates between two points of the training curves.
    """

    def __init__(
        self,
        directory: Path,
        sizes: Mapping[str, int],
        table: Callable[[], str],
        pictures: Callable[[], Sequence[np.ndarray]],
        every: int = 20,
    ) -> None:
        self.directory = directory
        for path in self._files():
            size = sizes.get(path.relative_to(directory).as_posix())
            if size is None:
                path.unlink()
            else:
                with path.open("r+b") as file:
                    file.truncate(min(size, path.stat().st_size))  # after a power failure it may be shorter
        self.writers = {part: tf.summary.create_file_writer(str(directory / part)) for part in ("train", "validation")}
        self.table, self.pictures, self.every = table, pictures, every
        self.tokens, self.since = 0.0, time.monotonic()

    def show_graph(self, graph: tf.Graph) -> None:
        """Write the graph of a training step."""
        with self.writers["train"].as_default(step=0):
            tf.summary.graph(graph)

    def on_update(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """Write the training curves."""
        self.tokens += logs["tokens"]
        if state.update % self.every:
            return
        now = time.monotonic()
        with self.writers["train"].as_default(step=state.update):
            for name in ("loss", "perplexity", "learning_rate", "gradient_norm"):
                tf.summary.scalar(name, logs[name])
            tf.summary.scalar("teacher_forcing_ratio", logs["teacher_forcing"])
            tf.summary.scalar("padding_share", logs["padding"])
            tf.summary.scalar("tokens_per_second", self.tokens / (now - self.since))
        self.tokens, self.since = 0.0, now

    def on_epoch(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """Write validation figures and sample translations."""
        with self.writers["validation"].as_default(step=state.update):
            for name, value in logs.items():
                if name.startswith("val_"):
                    tf.summary.scalar(name.removeprefix("val_"), value)
            tf.summary.scalar("loss", np.log(logs["val_perplexity"]))
            tf.summary.text("samples", self.table())
            for number, picture in enumerate(self.pictures(), start=1):
                tf.summary.image(f"attention/sample_{number}", picture[np.newaxis])
        self.tokens, self.since = 0.0, time.monotonic()

    def sizes(self) -> dict[str, int]:
        """The event files and their sizes in bytes, all that was written being in them."""
        for writer in self.writers.values():
            writer.flush()
        return {path.relative_to(self.directory).as_posix(): path.stat().st_size for path in self._files()}

    def close(self) -> None:
        """Close the event files."""
        for writer in self.writers.values():
            writer.close()

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("*/events.*"))
