"""Many trainings of one configuration that differ in a few values, and which of them validation likes best.

The test split plays no part: a choice among many by a figure is a little training on it.

Each trial is a process of its own, `heliograph train` with other values: what fails, or is killed, fails alone. All
share one root, so what they have in common is made once, and what is trained is not trained again.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact, plain
from pipeline.component import needed
from pipeline.components import build, model_key
from pipeline.config import Config
from pipeline.figures import FIGURES, order, shown
from pipeline.grid import ALWAYS, Trial
from pipeline.interrupts import deferred
from pipeline.plan import inspect

log = logging.getLogger("heliograph")

_ERROR = "heliograph: error: "


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
    """What the configuration trained; without its corpus nothing, because another one's model would pass for it."""
    states = inspect(needed(build(config), model_key(config)), root)
    return states[-1].artifact if all(state.state == "up to date" for state in states) else None


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
    """The best first, of those that are equal the one of the better perplexity; what failed last."""
    done = [result for result in results if result.trainer is not None]
    done.sort(key=lambda result: order(by, {name: result.figure(name) for name in (by, "perplexity")}))
    return [*done, *(result for result in results if result.trainer is None)]


def table(results: Sequence[Result], by: str) -> str:
    """One line per trial, the best first: its values, its validation figures, and where the model is."""
    keys = list(results[0].trial.values)
    figures = list(dict.fromkeys((by, *ALWAYS)))
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
