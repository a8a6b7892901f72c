"""The loop over epochs and batches: what is done when, whatever the model. `train` gives it the work.

Keras' `fit` can begin an epoch only at its first batch, so a training that resumes in the middle of one needs a loop of
its own; the update is still the model's `train_step`.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.checkpoints import TrainingState
from pipeline.figures import order
from pipeline.interrupts import deferred
from preprocessing.errors import DataError

log = logging.getLogger("heliograph.train")

RECORDED = ("teacher_forcing", "learning_rate")
"""Logs of an epoch's last update that the history keeps beside the perplexities."""


class DivergedError(DataError):
    """The loss or the gradient is not finite."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When what is due."""

    epochs: int
    """Passes over the training split, at most."""
    batches: int
    """Batches in an epoch."""
    selection: str
    """Validation figure that tells whether an epoch is better, a name of `FIGURES`; where it is equal, the perplexity
    does."""
    patience: int = 0
    """Epochs without a better figure after which training stops; 0 = never."""
    plateau_patience: int = 0
    """Epochs without a better figure after which the learning rate is lowered; 0 = never."""
    checkpoint_seconds: float = math.inf
    """Time between two checkpoints within an epoch."""
    skips_overflow: bool = False
    """Whether an update whose gradient is not finite is skipped, as loss scaling does; else it ends the training."""

    def finished(self, state: TrainingState) -> bool:
        """Whether no epoch is left, or training stops early."""
        return state.epoch >= self.epochs or 0 < self.patience <= state.since_best

    def better(self, figures: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
        """Whether validation figures are finite and better than the best ones before."""
        if not math.isfinite(figures[self.selection]):
            return False
        return best is None or order(self.selection, figures) < order(self.selection, best)

    def improved(self, figures: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
        """Whether they are better in the selection itself, for which patience waits: the perplexity may creep on."""
        return self.better(figures, best) and (best is None or figures[self.selection] != best[self.selection])


class Work(Protocol):
    """What the loop has done for it."""

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """The batches of an epoch from number `first` on."""

    def update(self, batch: Any) -> Mapping[str, float]:
        """One update; its logs: `loss` in nats a token, `tokens`, `gradient_norm` and those of `RECORDED`, at least."""

    def validate(self) -> Mapping[str, float]:
        """The validation figures of the weights as they are: the selection and `perplexity`, at least."""

    def lower_rate(self) -> None:
        """Lower the learning rate, because of a plateau."""

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint."""

    def save_best(self, epoch: int) -> None:
        """Keep the weights of an epoch, counted from 1."""


class Observer(Protocol):
    """Who watches."""

    def on_update(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """After each update; `logs` has `perplexity`, that of the epoch so far."""

    def on_epoch(self, state: TrainingState, logs: Mapping[str, float]) -> None:
        """After each epoch, counted in `state.epoch`; `logs` has what the history keeps of it."""


def fit(state: TrainingState, plan: Plan, work: Work, observers: tuple[Observer, ...] = ()) -> None:
    """Train from where `state` stands to the end of the plan; `state` is changed in place.

    Raises:
        DivergedError: the loss or the gradient is not finite.
        KeyboardInterrupt: after the first interrupt, at the next update's end, with the checkpoint's place.
    """

    def announce() -> None:
        log.info("stopping after this update, with a checkpoint; interrupt again to stop at once, without one")

    with deferred(announce) as interrupt:
        if plan.finished(state):
            return
        batches = work.batches(state.epoch, state.batch)
        while True:
            saved = time.monotonic()
            while state.batch < plan.batches:
                _update(state, work, next(batches), plan, observers)
                if state.batch < plan.batches and (
                    interrupt.came or time.monotonic() - saved >= plan.checkpoint_seconds
                ):
                    path = work.save(state)
                    saved = time.monotonic()
                    _answer(interrupt.came, state, path, plan)
            if state.epoch + 1 < plan.epochs:
                batches = work.batches(state.epoch + 1, 0)  # it fills its buffers during validation
            _end_epoch(state, work, plan, observers)
            path = work.save(state)
            _answer(interrupt.came, state, path, plan)
            if plan.finished(state):
                return


def _update(state: TrainingState, work: Work, batch: Any, plan: Plan, observers: tuple[Observer, ...]) -> None:
    logs = dict(work.update(batch))
    state.batch += 1
    state.update += 1
    finite = math.isfinite(logs["loss"]) and (plan.skips_overflow or math.isfinite(logs["gradient_norm"]))
    if not finite:
        raise DivergedError(
            f"loss is {logs['loss']}, gradient norm {logs['gradient_norm']} in update {state.update} "
            f"(epoch {state.epoch + 1}, batch {state.batch} of {plan.batches}, {logs['tokens']:.0f} target tokens)"
        )
    state.nll += logs["loss"] * logs["tokens"]
    state.tokens += logs["tokens"]
    logs["perplexity"] = _perplexity(state)
    state.last = {name: logs[name] for name in RECORDED}
    for observer in observers:
        observer.on_update(state, logs)


def _perplexity(state: TrainingState) -> float:
    """The training perplexity of the epoch so far."""
    try:
        return math.exp(state.nll / max(state.tokens, 1.0))
    except OverflowError:  # a loss above 709 nats: on its way to divergence
        return math.inf


def _end_epoch(state: TrainingState, work: Work, plan: Plan, observers: tuple[Observer, ...]) -> None:
    figures = work.validate()
    best = best_figures(state)
    logs = {"perplexity": _perplexity(state), **state.last, **{f"val_{name}": v for name, v in figures.items()}}
    for name, value in logs.items():
        state.history.setdefault(name, []).append(value)
    state.epoch += 1
    state.batch, state.nll, state.tokens = 0, 0.0, 0.0
    if plan.better(figures, best):
        state.best_epoch = state.epoch
        work.save_best(state.epoch)
    if plan.improved(figures, best):
        state.since_best = state.since_plateau = 0
    else:
        state.since_best += 1
        state.since_plateau += 1
        if 0 < plan.plateau_patience <= state.since_plateau:
            state.since_plateau = 0
            work.lower_rate()
    for observer in observers:
        observer.on_epoch(state, logs)
    if state.epoch < plan.epochs and plan.finished(state):
        log.info(
            "stopping early: validation %s is not better since epoch %d", plan.selection, state.epoch - state.since_best
        )


def best_figures(state: TrainingState) -> dict[str, float] | None:
    """The validation figures of the best epoch; None if there is none yet."""
    if state.best_epoch == 0:
        return None
    found = {name.removeprefix("val_"): values for name, values in state.history.items() if name.startswith("val_")}
    return {name: values[state.best_epoch - 1] for name, values in found.items()}


def _answer(came: bool, state: TrainingState, path: Path, plan: Plan) -> None:
    if came:
        raise KeyboardInterrupt(
            f"saved after epoch {state.epoch}, batch {state.batch} of {plan.batches} ({path}); "
            "the same command goes on from there"
        )
