"""The ModelValidator: whether the model is good enough to be published, next to the last one that was."""

import json
from pathlib import Path
from typing import Any

from pipeline.artifacts import write_whole
from pipeline.blessing import Baseline, judge
from pipeline.config import Config
from pipeline.evaluate import TRANSLATIONS_FILE
from pipeline.metrics import score
from pipeline.scores import Score
from pipeline.significance import compare

BLESSING_FILE = "blessing.json"


def bless_model(config: Config, evaluator_dir: Path, baseline_dir: Path | None, output_dir: Path) -> dict[str, Any]:
    """Judge a model by its translations of the test split, and write whether it is blessed as `blessing.json`.

    Both models' translations are scored now, so that they are scored alike, whatever was asked for when they were made.

    Args:
        config: the sections `evaluation` and `target`.
        evaluator_dir: the candidate's evaluation.
        baseline_dir: that of the model to compare with, of the same test split; `None` if there is none.
        output_dir: where to. The file holds the verdict and no figures: a model that is blessed once more, next to
            another baseline, is the same to the Pusher, which then publishes nothing again that was rolled back.

    Returns:
        `blessed` and the `reason`; the `metric` and its `value`; and of a comparison the `baseline` (an artifact of
        the Evaluator), its value, the `difference`, its `interval` and `p`.
    """
    evaluation, metric = config.evaluation, config.bless_metric
    candidate = _score(config, metric, evaluator_dir)
    found: dict[str, Any] = {"metric": metric, "value": candidate.value}
    baseline = None
    if baseline_dir is not None:
        other = _score(config, metric, baseline_dir)
        comparison = compare(candidate, other, evaluation.resamples)
        baseline = Baseline(f"Evaluator {baseline_dir.name}", *comparison)
        found |= {"baseline": baseline_dir.name, "baseline_value": other.value, **comparison._asdict()}
    verdict = judge(metric, candidate.value, evaluation.bless_margin, evaluation.bless_minimum, baseline)
    write_whole(output_dir / BLESSING_FILE, json.dumps({"blessed": verdict.blessed}) + "\n")
    return {**verdict._asdict(), **found}


def _score(config: Config, metric: str, evaluator_dir: Path) -> Score:
    text = (evaluator_dir / TRANSLATIONS_FILE).read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    return score([metric], [row[1] for row in rows], [row[3:] for row in rows], config.target)[metric]
