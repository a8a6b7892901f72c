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
from pipeline.components import trainer_keys
from pipeline.config import Config
from pipeline.evaluate import EVALUATION_FILE, TRANSLATIONS_FILE
from pipeline.train import LOGS

_LABELS = {"bleu": "BLEU", "chrf": "chrF", "token_bleu": "token BLEU"}


def final_report(config: Config, artifacts: Mapping[str, Artifact], arguments: Sequence[str]) -> str:
    """The report of a whole run.

    Args:
        config: the configuration.
        artifacts: component name to its artifact.
        arguments: the command's own arguments (CONFIG and options), which the next commands repeat.
    """
    evaluation = json.loads((artifacts["Evaluator"].path / EVALUATION_FILE).read_text(encoding="utf-8"))
    exported = artifacts["Exporter"].path / config.name
    version = max((child for child in exported.iterdir() if child.name.isdigit()), key=lambda child: int(child.name))
    trained = [artifacts[key].path for key in trainer_keys(config)]
    logs = _short(trained[0] / LOGS if len(trained) == 1 else trained[0].parent)
    sections = [
        _scores(config, evaluation),
        _samples(artifacts["Evaluator"].path / TRANSLATIONS_FILE, config.evaluation.samples),
        f"SavedModel   {_short(version)}\nTensorBoard  {logs}",
        _next_commands(config, artifacts, arguments, logs),
    ]
    return "\n\n".join(section for section in sections if section)


def _scores(config: Config, evaluation: Mapping[str, Any]) -> str:
    figures, signatures = evaluation["figures"], evaluation["signatures"]
    lines = [
        f"{config.name}: {figures['sentences']:,} held-out pairs; beam {evaluation['beam_size']}, in brackets greedy",
        "",
        f"  perplexity               {figures['perplexity']:8.3f}  (fed the reference)",
        f"  free-running perplexity  {figures['free_running_perplexity']:8.3f}  (fed its own words)",
        f"  exact match              {100 * figures['exact_match']:8.2f} %"
        f"  [{100 * figures['greedy_exact_match']:.2f} %]",
    ]
    for name, signature in signatures.items():
        label = f"{_LABELS[name]:<23}"
        lines.append(f"  {label}  {figures[name]:8.2f}    [{figures['greedy_' + name]:.2f}]  {signature}")
    return "\n".join(lines)


def _samples(path: Path, count: int) -> str:
    """Translations from all over the test split, each with its reference where that differs."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    chosen = rows[:: max(1, len(rows) // count)][:count] if count else []
    lines = []
    for source, reference, translation, _ in chosen:
        lines += [f"  source       {source}", f"  translation  {translation}", f"  reference    {reference}", ""]
    return "\n".join(lines).rstrip()


def _next_commands(config: Config, artifacts: Mapping[str, Artifact], arguments: Sequence[str], logs: str) -> str:
    heliograph, tensorboard = _command("heliograph"), _command("tensorboard")
    repeated = shlex.join(arguments)
    rows = (artifacts["Evaluator"].path / TRANSLATIONS_FILE).read_text(encoding="utf-8").splitlines()
    example = shlex.quote(rows[len(rows) // 2].split("\t")[0])
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
