"""What exists, from what, how good: the table of `heliograph status`, and the figures below it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.figures import duration
from pipeline.plan import State
from pipeline.summary import figures, summary
from preprocessing.wording import counted

_HEADER = ("component", "state", "id", "age", "from", "metrics")
_SHOWN_METRICS = 4
_FIGURES_OF = "Evaluator"  # shown below the table, by their full names
_SHOWN_FILES = 3


def table(states: Sequence[State], now: datetime | None = None) -> str:
    """One line per component, columns aligned, with a header.

    An outdated component shows its newest artifact: what exists, although not what the configuration asks for.
    """
    now = now or datetime.now(UTC)
    rows = [_HEADER, *(_row(state, now) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def reasons(states: Sequence[State]) -> list[str]:
    """Why components are not up to date, one line for each that there is something of; what follows is left out."""
    return [
        f"{state.component} {state.state}: {state.reason}"
        for state in states
        if state.state == "refused" or (state.artifact is not None and state.reason and not state.awaits)
    ]


def headline(states: Sequence[State]) -> str | None:
    """How good the model is, in one line; None if there is no evaluation."""
    state = next((state for state in states if state.component == _FIGURES_OF), None)
    if state is None or state.artifact is None:
        return None
    metrics = state.artifact.metrics
    outdated = "" if state.state == "up to date" else f" ({state.state})"
    return f"test split{outdated}, {counted(metrics['sentences'], 'source')}: {figures(metrics)}"


def verdict(states: Sequence[State]) -> str | None:
    """Whether the model is blessed and why, in one line; None if that is not known."""
    state = next((state for state in states if state.component == "ModelValidator"), None)
    if state is None or state.artifact is None:
        return None
    outdated = "" if state.state == "up to date" else f" ({state.state})"
    return "\n".join(summary("ModelValidator", state.artifact.metrics)) + outdated


def numbers(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The numeric metrics, in at most four significant digits; whole numbers in full."""
    texts = {}
    for name, value in metrics.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            texts[name] = str(value) if isinstance(value, int) else f"{value:.4g}"
    return texts


def _row(state: State, now: datetime) -> tuple[str, ...]:
    artifact = state.artifact
    if artifact is None:
        return state.component, state.state, "-", "-", "-", "-"
    metrics = [] if state.component == _FIGURES_OF else list(numbers(artifact.metrics).items())[:_SHOWN_METRICS]
    return (
        state.component,
        state.state,
        artifact.id,
        duration((now - artifact.manifest.ended).total_seconds()),
        _origin(artifact),
        ", ".join(f"{name} {value}" for name, value in metrics) or "-",
    )


def _origin(artifact: Artifact) -> str:
    manifest = artifact.manifest
    if manifest.inputs:
        return ", ".join(f"{name} {item.id}" for name, item in manifest.inputs.items())
    files = sorted({role.partition(" ")[2] for role in manifest.external_files})
    if not files:
        return f"built-in {manifest.parameters.get('builtin', 'data')}"
    more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
    return ", ".join(files[:_SHOWN_FILES]) + more
