"""The table and the plots of TensorBoard's HParams tab: of all trainings under a folder, or of one sweep.

A figure has the same tag in a sweep and in a training's own logs, so that one table has both, as below `runs/NAME`.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from tensorboard.plugins.hparams import api as hp

from pipeline.changes import flat
from pipeline.figures import FIGURES


class Session(NamedTuple):
    """One training."""

    name: str
    """Its folder."""
    values: Mapping[str, Any]
    """`section.key` to its value."""
    figures: Mapping[str, float]
    """Its validation figures by name."""


def write_hparams(directory: Path, sessions: Sequence[Session]) -> None:
    """Write event files from which `tensorboard --logdir DIRECTORY` makes the table; what lay there is replaced.

    Args:
        directory: gets the experiment, and a folder for each session.
        sessions: trainings with the same keys; of those that failed the figures are missing.
    """
    shutil.rmtree(directory, ignore_errors=True)
    columns = {key: [_plain(session.values[key]) for session in sessions] for key in sessions[0].values}
    figures = dict.fromkeys(name for session in sessions for name in session.figures)
    with _writer(directory).as_default():
        hp.hparams_config(
            hparams=[hp.HParam(key, _domain(values)) for key, values in columns.items()],
            metrics=[hp.Metric(name, display_name=FIGURES[name].label) for name in figures],
        )
    for session in sessions:
        with _writer(directory / session.name).as_default(step=0):
            hp.hparams({key: _plain(value) for key, value in session.values.items()}, trial_id=session.name)
            for name, value in session.figures.items():
                tf.summary.scalar(name, value)


def write_session(directory: Path, sections: Mapping[str, Any], figures: Mapping[str, float]) -> None:
    """Say with which values a training is done and, once it is, with what result; the curves are in folders below.

    Args:
        directory: gets an event file, in the place of what was said before.
        sections: nested values.
        figures: those of the weights that are kept, by name; none before.
    """
    for path in directory.glob("events.*"):
        path.unlink()
    with _writer(directory).as_default(step=0):
        hp.hparams({key: _plain(value) for key, value in flat(sections)})
        for name, value in figures.items():
            tf.summary.scalar(name, value)


def _writer(directory: Path) -> Any:
    return tf.summary.create_file_writer(str(directory))


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _domain(values: Sequence[bool | int | float | str]) -> hp.Discrete:
    """What the tab offers as a filter; values of different types are compared as text."""
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return hp.Discrete(sorted({float(value) for value in values}), dtype=float)
    return hp.Discrete(sorted(set(values))) if len(kinds) == 1 else hp.Discrete(sorted(set(map(str, values))))
