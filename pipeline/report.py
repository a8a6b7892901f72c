"""What a person reads at the end of a run: how good, some translations to judge by eye, where things are, what next."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.components import LOGS, trainer_keys
from pipeline.config import Config
from pipeline.evaluate import EVALUATION_FILE
from pipeline.figures import FIGURES, TRAITS, shown
from pipeline.pusher import published_in
from pipeline.summary import summary
from pipeline.translations import TRANSLATIONS_FILE, read_translations, spread
from preprocessing.wording import counted
from serving.versions import newest_version

_FED = {
    "perplexity": "fed the reference",
    "free_running_perplexity": "fed its own words",
    "perplexity_per_word": "fed the reference",
}
_TRACKS = {
    "LC": "lowercased plain text",
    "CASED": "plain text",
    "TUT": "lowercased tokens, as in the classic tutorial",
}


def final_report(config: Config, artifacts: Mapping[str, Artifact], arguments: Sequence[str], page: Path) -> str:
    """The report of a whole run.

    Args:
        config: the configuration.
        artifacts: component name to its artifact.
        arguments: the command's own arguments (CONFIG and options), which the next commands repeat.
        page: where the same is shown with charts.
    """
    evaluation = json.loads((artifacts["Evaluator"].path / EVALUATION_FILE).read_text(encoding="utf-8"))
    exported = artifacts["Exporter"].path / config.name
    version = newest_version(exported)
    trained = [artifacts[key].path for key in trainer_keys(config)]
    logs = trained[0] / LOGS if len(trained) == 1 else trained[0].parent
    places = {"SavedModel": version}
    newer = ""
    if "Pusher" in artifacts:
        places["Published"] = published = published_in(artifacts["Pusher"].path)
        newest = newest_version(published.parent)
        newer = "" if newest == published else f" (newer, and served: {newest.name})"
    places |= {"Report": page, "TensorBoard": logs}
    sections = [
        _scores(config, evaluation),
        _slices(config, evaluation),
        "\n".join(summary("ModelValidator", artifacts["ModelValidator"].metrics)),
        _samples(artifacts["Evaluator"].path / TRANSLATIONS_FILE, config.evaluation.samples),
        "\n".join(f"{name:<11}  {_short(path)}{newer * (name == 'Published')}" for name, path in places.items()),
        _next_commands(config, artifacts, arguments, _short(logs)),
    ]
    return "\n\n".join(section for section in sections if section)


def _scores(config: Config, evaluation: Mapping[str, Any]) -> str:
    figures, tracks, signatures = evaluation["figures"], evaluation["tracks"], evaluation["signatures"]
    sentences, references = figures["sentences"], figures["references"]
    held_out = counted(sentences, "held-out source") + (
        f", {references:,} references" if references > sentences else ""
    )
    lines = [f"{config.name}: {held_out}; beam {evaluation['beam_size']}, in brackets greedy", ""]
    for name in filter(figures.__contains__, FIGURES):
        value = shown(name, figures[name])
        cells = [f"{FIGURES[name].label:<23}", f"{value:>10}" if value.endswith("%") else f"{value:>8}  "]
        if name in _FED:
            cells.append(f"({_FED[name]})")
        if f"greedy_{name}" in figures:
            greedy = shown(name, figures[f"greedy_{name}"])
            cells.append(f"{f'[{greedy}]':<9}")
        if name in tracks:
            cells.append(f"{tracks[name]:<5}")
        if name in signatures:
            cells.append(signatures[name])
        lines.append(("  " + "  ".join(cells)).rstrip())
    legend = "; ".join(f"{track}: {_TRACKS[track]}" for track in dict.fromkeys(tracks.values()))
    return "\n".join([*lines, "", f"  {legend}"] if legend else lines)


def _slices(config: Config, evaluation: Mapping[str, Any]) -> str:
    """The score that blesses, of each slice with enough sentences to say something."""
    name = config.bless_metric
    low, high = (shown(name, end) for end in evaluation["intervals"][name])
    lines = [f"{FIGURES[name].label}: {low} to {high} (95 % interval)"]
    for trait, found in evaluation["slices"].items():
        cells = [
            f"{one['name']}: {shown(name, one[name])} ({one['sentences']:,})"
            for one in found
            if not one["few"] and len(found) > 1
        ]
        if cells:
            lines.append(f"  by {TRAITS[trait]}  " + "  ".join(cells))
    return "\n".join(lines)


def _samples(path: Path, count: int) -> str:
    """Translations from all over the test split, each with its references."""
    lines = []
    for row in spread(read_translations(path), count):
        lines += [f"  source       {row.source}", f"  translation  {row.best}"]
        lines += [*(f"  reference    {reference}" for reference in row.references), ""]
    return "\n".join(lines).rstrip()


def _next_commands(config: Config, artifacts: Mapping[str, Artifact], arguments: Sequence[str], logs: str) -> str:
    heliograph, tensorboard = _command("heliograph"), _command("tensorboard")
    repeated = shlex.join(arguments)
    rows = read_translations(artifacts["Evaluator"].path / TRANSLATIONS_FILE)
    example = shlex.quote(rows[len(rows) // 2].source)
    return "\n".join(
        [
            "Next:",
            f"  echo {example} | {heliograph} translate {repeated}",
            f"  {tensorboard} --logdir {shlex.quote(logs)}",
            f"  {heliograph} status {repeated}",
        ]
    )


def _command(name: str) -> str:
    """How a person types a command of this environment: by name if that finds it, else by path."""
    ours = Path(sys.executable).with_name(name)
    if not ours.exists():  # a checkout that is not installed
        return f"python -m {'pipeline' if name == 'heliograph' else 'tensorboard.main'}"
    found = shutil.which(name)
    return name if found and Path(found).samefile(ours) else shlex.quote(_short(ours))


def _short(path: Path) -> str:
    """A path relative to the current directory if it lies below it."""
    absolute = os.path.abspath(path)
    relative = os.path.relpath(absolute)
    return absolute if relative.startswith("..") else relative
