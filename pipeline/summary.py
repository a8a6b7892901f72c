"""What an execution found, in a line or two for a person: in the log, and where a command ends with a component."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.figures import FIGURES, shown
from preprocessing.wording import counted

_SPLITS = {"train": "training", "validation": "validation", "test": "testing"}

Metrics = Mapping[str, Any]


def summary(component: str, metrics: Metrics) -> list[str]:
    """What the metrics of a component say."""
    return _SUMMARIES[component](metrics)


def figures(metrics: Metrics, prefix: str = "") -> str:
    """All that says how good a model is."""
    names = [name for name in FIGURES if prefix + name in metrics]
    return ", ".join(f"{FIGURES[name].label} {shown(name, float(metrics[prefix + name]))}" for name in names)


def _of_examples(metrics: Metrics) -> list[str]:
    repeated = f" and {metrics['repeated']:,} repeated" if metrics["repeated"] else ""
    kept = ", ".join(f"{metrics[split]:,} for {name}" for split, name in _SPLITS.items() if split in metrics)
    return [f"{counted(metrics['read'], 'pair')} read{repeated}: {kept}; {metrics['dropped']:,} dropped"]


def _of_transform(metrics: Metrics) -> list[str]:
    sizes = " and ".join(f"{metrics[f'{side}_vocabulary_size']:,}" for side in ("source", "target"))
    encoded = sum(count for name, count in metrics.items() if name.startswith("records_written_"))
    tokens = counted(metrics["tokens_counted"], "token")
    return [f"{tokens} counted; vocabularies of {sizes}; {counted(encoded, 'pair')} encoded"]


def _of_statistics(metrics: Metrics) -> list[str]:
    return [
        f"{side}: {metrics[f'train_{side}_tokens']:.1f} tokens a sentence, "
        f"{100 * metrics[f'test_{side}_unknown']:.2f} % of the test tokens unknown"
        for side in ("source", "target")
    ]


def _of_checks(metrics: Metrics) -> list[str]:
    few = metrics["too_few_cases"]
    return [f"{counted(metrics['checks'], 'check')} of the corpus passed{f', {few} for want of cases' if few else ''}"]


def _of_shortlist(metrics: Metrics) -> list[str]:
    if not metrics:  # nothing to count without a validation split
        return []
    return [
        f"shortlists of {metrics['shortlist_tokens']:.0f} tokens hold {100 * metrics['covered']:.1f} % of the "
        "validation split's target tokens"
    ]


def _of_training(metrics: Metrics) -> list[str]:
    averaged, epoch, epochs = (metrics[name] for name in ("averaged", "epoch", "epochs"))
    kept = f"mean of the last {averaged} epochs" if averaged else f"epoch {epoch}"
    return [f"validation split, {kept} of {epochs}: {figures(metrics)}", _weights(metrics)]


def _of_ensemble(metrics: Metrics) -> list[str]:
    return [f"{counted(metrics['members'], 'model')} joined", _weights(metrics)]


def _weights(metrics: Metrics) -> str:
    return counted(metrics["parameters"], "weight")


def _of_evaluation(metrics: Metrics) -> list[str]:
    return [
        f"test split, {counted(metrics['sentences'], 'source')}: {figures(metrics)}",
        f"greedily: {figures(metrics, 'greedy_')}",
    ]


def _of_verdict(metrics: Metrics) -> list[str]:
    return [f"{'blessed' if metrics['blessed'] else 'not blessed'}: {metrics['reason']}"]


def _of_export(metrics: Metrics) -> list[str]:
    return [f"a SavedModel of {metrics['bytes'] / 1e6:.1f} MB"]


def _of_proof(metrics: Metrics) -> list[str]:
    untried = metrics["rungs"] - metrics["passed"]
    return [f"it serves: {counted(metrics['passed'], 'check')} passed{f', {untried} not tried' if untried else ''}"]


def _of_push(metrics: Metrics) -> list[str]:
    return [f"published as version {metrics['version']}"]


_SUMMARIES: Mapping[str, Callable[[Metrics], list[str]]] = {
    "ExampleGen": _of_examples,
    "Transform": _of_transform,
    "StatisticsGen": _of_statistics,
    "ExampleValidator": _of_checks,
    "ShortlistGen": _of_shortlist,
    "Trainer": _of_training,
    "Ensembler": _of_ensemble,
    "Evaluator": _of_evaluation,
    "ModelValidator": _of_verdict,
    "Exporter": _of_export,
    "InfraValidator": _of_proof,
    "Pusher": _of_push,
}
