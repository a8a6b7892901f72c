"""Many trainings of one configuration that differ in a few values, and which of them validation likes best.

The test split plays no part: a choice among many by a figure is a little training on it.

Each trial is a process of its own, `heliograph train` with other values: what fails, or is killed, fails alone. All
share one root, so what they have in common is made once, and what is trained is not trained again.
"""

import functools
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pipeline import runner
from pipeline.artifacts import Artifact, plain
from pipeline.components import build, model_key
from pipeline.config import Config, load
from pipeline.config_section import Metric
from pipeline.errors import UsageError
from pipeline.figures import FIGURES, shown
from pipeline.interrupts import deferred

log = logging.getLogger("heliograph")

_ALWAYS = ("perplexity", "free_running_perplexity")
"""Figures that every training has."""

SORTABLE = (*_ALWAYS, *get_args(Metric))
"""Figures that a training may have of the validation split."""

_SPLITS, _TOKENS = ("data", "filters"), ("target", "vocabulary")
"""Sections that change the validation split, and those that change the tokens that its perplexities count."""

_ERROR = "heliograph: error: "


class Trial(NamedTuple):
    """One combination of the grid."""

    values: Mapping[str, str]
    """`section.key` to its value as it was typed."""
    config: Config | None
    """With these values; `None` if it refuses them."""
    refusal: str = ""
    """Why."""

    @property
    def overrides(self) -> list[str]:
        """What `--set` takes."""
        return [f"{key}={value}" for key, value in self.values.items()]

    def configured(self, key: str) -> Any:
        """The value of a `section.key`, with the type that the configuration gives it, if it does."""
        return self.values[key] if self.config is None else functools.reduce(getattr, key.split("."), self.config)


@dataclass(frozen=True)
class Result:
    """What became of a trial."""

    trial: Trial
    trainer: Artifact | None
    """What it trained; `None` if it failed."""
    failure: str = ""
    """In one line."""

    def figure(self, name: str) -> float:
        """A validation figure of what it trained."""
        if self.trainer is None:
            raise ValueError(f"trainer must be that of a trial that did not fail: {self.failure}")
        return float(self.trainer.metrics[name])


def parse_grid(options: Sequence[str]) -> dict[str, list[str]]:
    """`section.key=v1,v2` each to `section.key` and its values; commas within brackets or quotes separate nothing.

    Raises:
        UsageError: one is malformed, or a key or value occurs twice.
    """
    grid: dict[str, list[str]] = {}
    for option in options:
        key, separator, text = option.partition("=")
        values = [value.strip() for value in _split(text)]
        if not separator or "." not in key or not all(values):
            raise UsageError(f"--grid {option}: expected section.key=value,value…")
        if key in grid or len(set(values)) < len(values):
            raise UsageError(f"--grid {option}: expected each key and each of its values once")
        grid[key] = values
    return grid


def _split(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for mark in text:
        if mark == "," and depth == 0 and not quote:
            parts.append("")
            continue
        parts[-1] += mark
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        else:
            depth += (mark in "[{") - (mark in "]}")
    return parts


def combinations(grid: Mapping[str, Sequence[str]], count: int | None = None, seed: int = 1) -> list[dict[str, str]]:
    """All combinations of the grid's values, the last key's varying fastest; or some, drawn at random, in that order.

    Args:
        grid: the values of each key.
        count: how many are drawn (Bergstra & Bengio 2012); `None` for all.
        seed: of the drawing.
    """
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if count is None or count >= len(every):
        return every
    return [every[index] for index in sorted(random.Random(seed).sample(range(len(every)), count))]


def trials(reference: str, overrides: Sequence[str], chosen: Sequence[Mapping[str, str]]) -> list[Trial]:
    """The configurations of some combinations.

    Raises:
        UsageError: the configuration refuses all of them, or two would train the same model.
    """
    found = []
    for values in chosen:
        trial = Trial(values, None)
        try:
            found.append(trial._replace(config=load(reference, [*overrides, *trial.overrides])))
        except UsageError as error:
            found.append(trial._replace(refusal=str(error)))
    if all(trial.config is None for trial in found):
        raise UsageError(found[0].refusal)
    known: dict[str, Trial] = {}
    for trial in found:
        if trial.config is None:
            continue
        if trial.config.ensemble.seeds:
            raise UsageError("ensemble.seeds: expected none in a sweep, which compares single models")
        same = known.setdefault(_what_is_trained(trial.config), trial)
        if same is not trial:
            key = next(key for key in trial.values if trial.values[key] != same.values[key])
            raise UsageError(
                f"--grid {key}: {' '.join(same.overrides)} and {' '.join(trial.overrides)} train the same model; "
                "expected keys that training, or what comes before it, depends on"
            )
    return found


def _what_is_trained(config: Config) -> str:
    components = runner.needed(build(config), model_key(config))
    data = config.data.model_dump(mode="json")
    return repr([data, *((item.key, plain(item.parameters)) for item in components)])


def check_figure(name: str, found: Sequence[Trial]) -> None:
    """Make sure that all trainings have the figure that they are sorted by, and warn if it means different things.

    Raises:
        UsageError: one has not.
    """
    for trial in found:
        if name not in _ALWAYS and trial.config is not None and trial.config.training.selection != name:
            raise UsageError(
                f"--by {name}: expected one of {', '.join(_ALWAYS)}, or the score that training.selection computes on "
                f"the validation split: --set training.selection={name}"
            )
    for key in found[0].values:
        section = key.partition(".")[0]
        if section in _SPLITS or (section in _TOKENS and name in _ALWAYS):
            log.warning("%s changes what is scored: figures of trials that differ in it do not compare", key)


def run_trials(
    reference: str, overrides: Sequence[str], found: Sequence[Trial], root: Path, beam_args: Sequence[str]
) -> list[Result]:
    """Train what is not trained yet, one after the other; what fails is noted.

    Raises:
        KeyboardInterrupt: it was interrupted; the message says that the same command goes on.
    """
    results = []
    for number, trial in enumerate(found, start=1):
        log.info("trial %d of %d: %s", number, len(found), " ".join(trial.overrides))
        if trial.config is None:
            results.append(Result(trial, None, trial.refusal))
        elif (trainer := _trained(trial.config, root)) is not None:
            results.append(Result(trial, trainer))
        else:
            options = [f"--set={item}" for item in (*overrides, *trial.overrides)]
            after = ["--", *beam_args] if beam_args else []
            failure = _train([reference, *options, f"--root={root}", *after])
            trainer = _trained(trial.config, root)
            results.append(Result(trial, trainer, "" if trainer is not None else failure or "it left no model"))
        if results[-1].failure:
            log.info("trial %d failed: %s", number, results[-1].failure)
    return results


def _trained(config: Config, root: Path) -> Artifact | None:
    states = {state.component: state for state in runner.inspect(build(config), root)}
    state = states[model_key(config)]
    return state.artifact if state.state == "up to date" else None


def _train(arguments: Sequence[str]) -> str:
    """Run `heliograph train`, its progress on our standard error; returns why it failed, or nothing."""
    package = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "train", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which passes it on once
    )
    complaint = ""
    with process, deferred(lambda: process.send_signal(signal.SIGINT)) as interrupt:
        try:
            for line in process.stderr or ():
                if line.startswith(_ERROR):
                    complaint = line.removeprefix(_ERROR).strip()
                else:
                    sys.stderr.write(line)
                    sys.stderr.flush()
            process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
    if interrupt.came:
        raise KeyboardInterrupt("the same command goes on with this trial")
    return complaint or (f"exit code {process.returncode}" if process.returncode else "")


def ranked(results: Sequence[Result], by: str) -> list[Result]:
    """The best first; what failed last."""
    done = [result for result in results if result.trainer is not None]
    done.sort(key=lambda result: result.figure(by), reverse=FIGURES[by].higher_is_better)
    return [*done, *(result for result in results if result.trainer is None)]


def table(results: Sequence[Result], by: str) -> str:
    """One line per trial, the best first: its values, its validation figures, and where the model is."""
    keys = list(results[0].trial.values)
    figures = list(dict.fromkeys((by, *_ALWAYS)))
    rows = [("rank", *keys, *(FIGURES[name].label for name in figures), "epoch", "Trainer")]
    for rank, result in enumerate(ranked(results, by), start=1):
        values = [result.trial.values[key] for key in keys]
        if result.trainer is None:
            rows.append(("-", *values, f"failed: {result.failure}"))
        else:
            shown_figures = (shown(name, result.figure(name)) for name in figures)
            rows.append((str(rank), *values, *shown_figures, str(result.trainer.metrics["epoch"]), result.trainer.id))
    # What failed has one long cell, which no column makes room for.
    widths = [max(len(row[column]) for row in rows if len(row) == len(rows[0])) for column in range(len(rows[0]))]
    for column, key in enumerate(keys, start=1):
        widths[column] = max(len(key), *(len(result.trial.values[key]) for result in results))
    cells = ([cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [row[-1]] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def as_json(results: Sequence[Result], by: str) -> dict[str, Any]:
    """The table's content, with every figure of the trainings."""
    return {
        "by": by,
        "trials": [
            {
                "values": {key: plain(result.trial.configured(key)) for key in result.trial.values},
                "failure": result.failure or None,
                "trainer": result.trainer.id if result.trainer else None,
                "metrics": dict(result.trainer.metrics) if result.trainer else {},
            }
            for result in ranked(results, by)
        ],
    }
