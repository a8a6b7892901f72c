"""The command `heliograph sweep`."""

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts import ID_LENGTH, fingerprint, plain, write_whole
from pipeline.commands import Command, configuration, positive, repeated
from pipeline.grid import SORTABLE, check_figure, combinations, parse_grid, trials
from pipeline.quiet import load_tensorflow
from pipeline.sweep import Result, as_json, ranked, run_trials, table
from preprocessing.errors import DataError

SWEEPS = "sweeps"
"""Folder of the event files, below the root: they are no artifacts."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="SECTION.KEY=VALUE,VALUE…",
        help="values that are tried; with several keys every combination; may be repeated",
    )
    parser.add_argument("--random", type=positive, metavar="N", help="try only N of the combinations, drawn at random")
    parser.add_argument("--seed", type=positive, default=1, metavar="S", help="of --random (default: 1)")
    parser.add_argument(
        "--by", choices=SORTABLE, metavar="FIGURE", help="validation figure (default: training.selection)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")


def _sweep(arguments: argparse.Namespace) -> None:
    chosen = combinations(parse_grid(arguments.grid), arguments.random, arguments.seed)
    config, root = configuration(arguments)
    found = trials(arguments.config, arguments.overrides, chosen)
    by = arguments.by or config.training.selection
    check_figure(by, found)
    results = run_trials(arguments.config, arguments.overrides, found, root.absolute(), arguments.beam_args)
    print(table(results, by))
    if arguments.json:
        write_whole(arguments.json, json.dumps(as_json(results, by), indent=2, ensure_ascii=False) + "\n")
    failed = sum(result.trainer is None for result in results)
    if failed < len(results):
        name = fingerprint([list(trial.values.items()) for trial in found])[:ID_LENGTH]
        logs = root / SWEEPS / f"grid-{name}"
        _write_logs(logs, results)
        best = [part for override in ranked(results, by)[0].trial.overrides for part in ("--set", override)]
        print(f"\nNext:\n  {shlex.join(['heliograph', 'run', *repeated(arguments), *best])}")
        print(f"  tensorboard --logdir {shlex.quote(str(logs))}")
    if failed:
        raise DataError(f"{failed} of {len(results)} trials failed; the same command tries them again")


def _write_logs(directory: Path, results: Sequence[Result]) -> None:
    load_tensorflow()
    from pipeline.hparams import Session, write_hparams

    sessions = [
        Session(
            name=result.trainer.id if result.trainer else f"failed-{number}",
            values={key: plain(result.trial.configured(key)) for key in result.trial.values},
            figures={name: result.figure(name) for name in SORTABLE if name in result.trainer.metrics}
            if result.trainer
            else {},
        )
        for number, result in enumerate(results, start=1)
    ]
    write_hparams(directory, sessions)


SWEEP_COMMANDS = {
    "sweep": Command(
        summary="train with every combination of some values, and tell which one validation likes best",
        example="heliograph sweep dates --grid model.hidden_size=64,128 --grid training.learning_rate=2e-3,4e-3",
        execute=_sweep,
        add_arguments=_add_arguments,
        takes_beam_args=True,
    ),
}
"""The command by its name."""
