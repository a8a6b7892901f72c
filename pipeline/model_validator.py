"""The ModelValidator: whether the model is good enough to be published, next to the last one that was."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.artifacts import write_whole
from pipeline.blessing import Baseline, Incomparable, doubt, judge
from pipeline.config import Config
from pipeline.metrics import score
from pipeline.scores import Score
from pipeline.significance import compare
from pipeline.translations import TRANSLATIONS_FILE, Translation, read_translations

BLESSING_FILE = "blessing.json"

_log = logging.getLogger("heliograph.evaluate")


def bless_model(config: Config, evaluator_dir: Path, baseline_dir: Path | None, output_dir: Path) -> dict[str, Any]:
    """Judge a model by its translations of the test split, and write whether it is blessed as `blessing.json`.

    Both models' translations are scored now, so that they are scored alike, whatever was asked for when they were made.
    They are compared on the test sentences that both have: a corpus that has grown has some more, and a few fewer. If
    those are fewer than `evaluation.min_slice`, and not all, there is no comparison.

    Args:
        config: the sections `evaluation` and `target`.
        evaluator_dir: the candidate's evaluation.
        baseline_dir: that of the model to compare with; `None` if there is none.
        output_dir: where to. The file holds the verdict and no figures: a model that is blessed once more, next to
            another baseline, is the same to the Pusher, which then publishes nothing again that was rolled back.

    Returns:
        `blessed` and the `reason`; the `metric` and its `value`; and of a comparison the `baseline` (an artifact of
        the Evaluator), how many sentences it was `compared_on`, both values on them, their `difference`, its `interval`
        and `p`.
    """
    evaluation, metric = config.evaluation, config.bless_metric
    rows = _items(evaluator_dir)
    found: dict[str, Any] = {"metric": metric, "value": _score(config, rows.values()).value}
    baseline: Baseline | Incomparable | None = None
    if baseline_dir is not None:
        others = _items(baseline_dir)
        name, shared = f"Evaluator {baseline_dir.name}", [item for item in rows if item in others]
        if len(shared) < min(evaluation.min_slice, len(rows)):
            baseline = Incomparable(name, len(shared))
        else:
            candidate, other = (_score(config, [texts[item] for item in shared]) for texts in (rows, others))
            comparison = compare(candidate, other, evaluation.resamples)
            both = f"the {len(shared)} of {len(rows)} test sentences that both have" if len(shared) < len(rows) else ""
            baseline = Baseline(name, both, *comparison)
            values = {"candidate_value": candidate.value, "baseline_value": other.value, "compared_on": len(shared)}
            found |= {"baseline": baseline_dir.name, **values, **comparison._asdict()}
    verdict = judge(metric, found["value"], evaluation.bless_margin, evaluation.bless_minimum, baseline)
    warning = doubt(metric, found["value"], evaluation.bless_minimum, baseline)
    if warning is not None:
        _log.warning("%s", warning)
    write_whole(output_dir / BLESSING_FILE, json.dumps({"blessed": verdict.blessed}) + "\n")
    return {**verdict._asdict(), **found}


def _items(evaluator_dir: Path) -> dict[tuple[str, tuple[str, ...]], Translation]:
    """Source and references to the translation, in the order of the test split."""
    rows = read_translations(evaluator_dir / TRANSLATIONS_FILE)
    return {(row.source, row.references): row for row in rows}


def _score(config: Config, rows: Iterable[Translation]) -> Score:
    listed, metric = list(rows), config.bless_metric
    return score([metric], [row.best for row in listed], [row.references for row in listed], config.target)[metric]
