"""What happens around the epochs: progress on standard error, TensorBoard, and keeping the best weights."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

log = logging.getLogger("heliograph.train")


class Progress(keras.callbacks.Callback):
    """One line on standard error: epoch, loss, perplexity, ratio, speed, time left.

    On a terminal the line is redrawn a few times a second; elsewhere a line is written every `quiet_seconds`.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, quiet_seconds: float = 15.0) -> None:
        super().__init__()
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.interval = 0.25 if sys.stderr.isatty() else quiet_seconds

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clocks."""
        self.began = self.shown = time.monotonic()
        self.steps = 0
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start counting this epoch's tokens."""
        self.epoch, self.tokens, self.epoch_began = epoch, 0.0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Redraw the line when it is due."""
        self.steps += 1
        logs = logs or {}
        self.tokens += float(logs["tokens"])
        now = time.monotonic()
        if now - self.shown < self.interval:
            return
        self.shown = now
        left = (now - self.began) / self.steps * (self.epochs * self.steps_per_epoch - self.steps)
        speed = self.tokens / (now - self.epoch_began)
        self._write(
            f"epoch {self.epoch + 1}/{self.epochs}  {100 * (batch + 1) // self.steps_per_epoch:3d} %  "
            f"loss {float(logs['loss']):.3f}  perplexity {float(logs['perplexity']):.2f}  "
            f"teacher forcing {float(logs['teacher_forcing']):.2f}  {speed:,.0f} tokens/s  "
            f"{int(left) // 60}:{int(left) % 60:02d} left"
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leave one lasting line per epoch."""
        logs = logs or {}
        self._write(
            f"epoch {epoch + 1}/{self.epochs}  {time.monotonic() - self.epoch_began:.0f} s  "
            f"perplexity {float(logs['perplexity']):.2f}  validation: perplexity {float(logs['val_perplexity']):.2f}, "
            f"free-running {float(logs['val_free_running_perplexity']):.2f}",
            lasting=True,
        )

    def _write(self, line: str, lasting: bool = False) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if lasting else ""))
            sys.stderr.flush()
        else:
            log.info("%s", line)


class TensorBoard(keras.callbacks.Callback):
    """Losses, perplexities, teacher-forcing ratio, learning rate, tokens per second, and sample translations.

    Keras' own TensorBoard callback knows neither the ratio nor tokens, and writes no text.

    Args:
        directory: where the event files go, in `train/` and `validation/`.
        samples: source texts and their references, translated after each epoch.
        translate: texts to translations.
        every: batches between two points of the training curves.
    """

    def __init__(
        self,
        directory: Path,
        samples: Sequence[tuple[str, str]],
        translate: Callable[[Sequence[str]], Sequence[str]],
        every: int = 20,
    ) -> None:
        super().__init__()
        self.writers = {part: tf.summary.create_file_writer(str(directory / part)) for part in ("train", "validation")}
        self.samples, self.translate, self.every = list(samples), translate, every

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self.tokens, self.since = 0.0, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the training curves."""
        logs = logs or {}
        self.tokens += float(logs["tokens"])
        step = int(self.model.optimizer.iterations)
        if step % self.every:
            return
        now = time.monotonic()
        with self.writers["train"].as_default(step=step):
            tf.summary.scalar("loss", logs["loss"])
            tf.summary.scalar("perplexity", logs["perplexity"])
            tf.summary.scalar("teacher_forcing_ratio", logs["teacher_forcing"])
            tf.summary.scalar("learning_rate", float(self.model.optimizer.learning_rate))
            tf.summary.scalar("tokens_per_second", self.tokens / (now - self.since))
        self.tokens, self.since = 0.0, now

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write validation figures and sample translations."""
        logs = logs or {}
        step = int(self.model.optimizer.iterations)
        with self.writers["validation"].as_default(step=step):
            for name in ("perplexity", "free_running_perplexity"):
                tf.summary.scalar(name, logs[f"val_{name}"])
            tf.summary.scalar("loss", np.log(logs["val_perplexity"]))
            if self.samples:
                tf.summary.text("samples", self._table())
        for writer in self.writers.values():
            writer.flush()
        self.tokens, self.since = 0.0, time.monotonic()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the event files."""
        for writer in self.writers.values():
            writer.close()

    def _table(self) -> str:
        translations = self.translate([source for source, _ in self.samples])
        rows = ["| source | translation | reference |", "|---|---|---|"]
        for (source, reference), translation in zip(self.samples, translations, strict=True):
            cells = (source, translation, reference)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(rows)


class KeepBest(keras.callbacks.Callback):
    """Remembers the weights of the epoch with the lowest validation figure, and puts them back at the end.

    Args:
        metric: `"perplexity"` or `"free_running_perplexity"`.
    """

    def __init__(self, metric: str) -> None:
        super().__init__()
        self.metric = f"val_{metric}"
        self.best = float("inf")
        self.best_epoch = 0
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compare and remember."""
        value = float((logs or {})[self.metric])
        if value < self.best:
            self.best, self.best_epoch, self.weights = value, epoch + 1, self.model.get_weights()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put the best weights back.

        Raises:
            ArithmeticError: no epoch had a finite figure, so there is nothing worth keeping.
        """
        if not self.weights:
            raise ArithmeticError(
                f"{self.metric} was never finite: training diverged; lower training.learning_rate or training.clip_norm"
            )
        self.model.set_weights(self.weights)
