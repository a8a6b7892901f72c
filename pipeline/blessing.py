"""Which models are fit to be published: the verdict, and which earlier model it compares with. Light: no TensorFlow.

The baseline is found when the ModelValidator's turn comes, and is one of its inputs from then on: what TFX calls a
resolver. So the verdict is a function of its inputs, cached like everything else; a later run of the same configuration
meets the same baseline, unless another model has been blessed since, and is then judged anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline import artifacts
from pipeline.artifacts import Artifact, Manifest
from pipeline.figures import FIGURES, in_points, shown
from preprocessing.wording import counted
from serving.model_card import read_card
from serving.versions import versions_of

BASELINE = "Evaluator baseline"
"""Key of the input that is the baseline's evaluation."""


class Verdict(NamedTuple):
    """Whether a model may be published, and why, in one line."""

    blessed: bool
    reason: str


class Baseline(NamedTuple):
    """How the candidate compares with the last blessed model."""

    name: str
    """The baseline's evaluation, for the reader."""
    items: str
    """What the two were compared on, if that was not the whole test split."""
    difference: float
    """The candidate's figure less the baseline's."""
    interval: tuple[float, float]
    """Of the difference, see `pipeline.significance`."""
    p: float
    """How likely so large a difference is by chance alone."""


class Incomparable(NamedTuple):
    """A last blessed model whose test split is another one."""

    name: str
    shared: int
    """Test sentences that both have."""


def judge(
    metric: str,
    value: float,
    margin: float,
    minimum: float | None,
    baseline: Baseline | Incomparable | None,
) -> Verdict:
    """Blessed is what is good enough, and not worse than the baseline by more than the margin.

    The margin is of the difference that was measured; its interval and p tell a person how much of that is chance.
    What cannot be compared is blessed for being good enough alone, if it is said what that is.

    Args:
        metric: a name in `FIGURES`.
        value: the candidate's figure, as `evaluation.json` has it.
        margin: in points, see `in_points`.
        minimum: in points, the worst figure that is good enough; `None` for any.
        baseline: the last blessed model; `None` if there is none.
    """
    figure = FIGURES[metric]
    sign = 1.0 if figure.higher_is_better else -1.0
    score = f"{figure.label} {shown(metric, value)}"
    if minimum is not None and sign * (in_points(metric, value) - minimum) < -_ROUNDING:
        return Verdict(False, f"{score} is not as good as evaluation.bless_minimum = {minimum:g}")
    if baseline is None:
        return Verdict(True, f"{score}; there is no other blessed model of this name to compare with")
    if isinstance(baseline, Incomparable):
        shared = counted(baseline.shared, "test sentence")
        where = f"the last blessed model ({baseline.name}), with which it shares {shared}"
        if minimum is None:
            return Verdict(False, f"{score} cannot be compared with {where}; set evaluation.bless_minimum")
        return Verdict(True, f"{score} is at least evaluation.bless_minimum = {minimum:g}; not compared with {where}")
    change, low, high = (in_points(metric, value) for value in (baseline.difference, *baseline.interval))
    against = f"the last blessed model's ({baseline.name}{baseline.items and f', on {baseline.items}'})"
    chance = f"difference {change:+.2f}, 95 % {low:+.2f} to {high:+.2f}, p = {baseline.p:.3f}"
    worse = -sign * change
    if worse <= 0.0:
        return Verdict(True, f"{score} is {'better than' if worse else 'equal to'} {against}; {chance}")
    allowed = worse <= margin + _ROUNDING
    said = "within" if allowed else "by more than"
    return Verdict(allowed, f"{score} is worse than {against}, {said} evaluation.bless_margin = {margin:g}; {chance}")


def doubt(metric: str, value: float, minimum: float | None, baseline: Baseline | Incomparable | None) -> str | None:
    """What to say of a blessed model that can do next to nothing, and was measured against nothing; None of others.

    Args:
        metric: as of `judge`, like the others.
        value: see there.
        minimum: see there.
        baseline: see there.
    """
    points = in_points(metric, value)
    nil = points < 1.0 if FIGURES[metric].higher_is_better else points > 99.0
    if not nil or minimum is not None or baseline is not None:
        return None
    return (
        f"the first model is blessed with {FIGURES[metric].label} {shown(metric, value)}, which is next to nothing: "
        "train longer, or say with evaluation.bless_minimum what is good enough"
    )


_ROUNDING = 1e-9
"""Points that are no difference: 0.8 - 0.795 is a little more than 0.005."""


def find_baseline(root: Path, evaluator: Artifact, name: str, published: Path | None) -> Mapping[str, Artifact]:
    """The evaluation of the model to compare with, under the key `BASELINE`; nothing if there is none.

    It is that of the newest published version; or, where nothing is published, or it is the candidate itself or not of
    this root, that of the newest blessed model.

    Args:
        root: folder of the run.
        evaluator: the candidate's evaluation. One of equal outputs is no baseline: it would be the candidate.
        name: the model's name; models of other names are not compared.
        published: folder of the model's published versions, if it is published at all.
    """
    fingerprints = _of_verdicts(root, name)
    served = None if published is None else _of_newest_version(published)
    known = {artifact.fingerprint: artifact for artifact in reversed(artifacts.find_all(root, "Evaluator"))}
    for fingerprint in (served, *fingerprints):
        found = known.get(fingerprint or "")
        if found is not None and found.fingerprint != evaluator.fingerprint:
            return {BASELINE: found}
    return {}


def is_overtaken(root: Path, verdict: Manifest, published: Path) -> bool:
    """Whether what is published now is another model of this root than the one that a verdict compares with.

    Args:
        root: folder of the run.
        verdict: of the ModelValidator.
        published: folder of the model's published versions.
    """
    compared = {item.fingerprint for item in verdict.inputs.values()}  # the candidate, and its baseline
    known = {artifact.fingerprint for artifact in artifacts.find_all(root, "Evaluator")}
    return _of_newest_version(published) in known - compared


def _of_verdicts(root: Path, name: str) -> list[str]:
    """Fingerprints of the evaluations that were blessed under a model's name, the newest first."""
    return [
        verdict.manifest.inputs["Evaluator"].fingerprint
        for verdict in artifacts.find_all(root, "ModelValidator")
        if verdict.metrics["blessed"] and verdict.manifest.parameters["name"] == name
    ]


def _of_newest_version(published: Path) -> str | None:
    """Fingerprint of the evaluation that the newest published version's model card names."""
    versions = versions_of(published)
    card = read_card(versions[-1]) if versions else None
    evaluation = None if card is None else card.get("evaluation")
    return evaluation if isinstance(evaluation, str) else None
