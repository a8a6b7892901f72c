"""Which trainings a sweep makes: the combinations of some values, each as a configuration of its own."""

import functools
import itertools
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from pipeline.artifacts import plain
from pipeline.component import needed
from pipeline.components import build, model_key
from pipeline.config import Config, load
from pipeline.config_section import Metric
from pipeline.errors import UsageError

log = logging.getLogger("heliograph")

ALWAYS = ("perplexity", "free_running_perplexity")
"""Figures that every training has."""

SORTABLE = (*ALWAYS, *get_args(Metric))
"""Figures that a training may have of the validation split."""

_SPLITS, _TOKENS = ("data", "filters"), ("target", "vocabulary")
"""Sections that change the validation split, and those that change the tokens that its perplexities count."""


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
    components = needed(build(config), model_key(config))
    data = config.data.model_dump(mode="json")
    return repr([data, *((item.key, plain(item.parameters)) for item in components)])


def check_figure(name: str, found: Sequence[Trial]) -> None:
    """Make sure that all trainings have the figure that they are sorted by, and warn if it means different things.

    Raises:
        UsageError: one has not.
    """
    for trial in found:
        if name not in ALWAYS and trial.config is not None and trial.config.training.selection != name:
            raise UsageError(
                f"--by {name}: expected one of {', '.join(ALWAYS)}, or the score that training.selection computes on "
                f"the validation split: --set training.selection={name}"
            )
    for key in found[0].values:
        section = key.partition(".")[0]
        if section in _SPLITS or (section in _TOKENS and name in ALWAYS):
            log.warning("%s changes what is scored: figures of trials that differ in it do not compare", key)
