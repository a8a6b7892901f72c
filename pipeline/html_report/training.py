"""The section about the training: how perplexity, scores, learning rate and teacher forcing went, and what was kept."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.artifacts import Artifact
from pipeline.components import trainer_keys
from pipeline.figures import FIGURES, shown
from pipeline.html_report.axes import Axis
from pipeline.html_report.blocks import Block, Charts, Paragraph, Section, Table
from pipeline.html_report.charts import Series, line_chart
from pipeline.html_report.run import Run
from pipeline.html_report.svg import Chart

_EPOCH = Axis("epoch", whole=True)
_PERPLEXITIES = ("perplexity", "free_running_perplexity")


class _Training(NamedTuple):
    name: str
    artifact: Artifact
    history: Mapping[str, Sequence[float]]

    @property
    def kept(self) -> float | None:
        """The epoch whose weights were kept; None if the average of several was."""
        metrics = self.artifact.metrics
        return None if metrics.get("averaged") else float(metrics["epoch"])

    @property
    def selection(self) -> str:
        return str(self.artifact.manifest.parameters["training"]["selection"])


def training_section(run: Run) -> Section | None:
    """What the Trainers say, one line of a chart for each seed; None before there is anything."""
    trainings = [
        _Training(key.removeprefix("Trainer ") if key != "Trainer" else "training", artifact, history)
        for key in trainer_keys(run.config)
        if (artifact := run.artifact(key)) is not None and (history := run.document(key, "history.json")) is not None
    ]
    if not trainings:
        return None
    blocks: list[Block] = [_summary(trainings), Charts(_charts(trainings))]
    if not _scores(trainings):
        label, name = FIGURES[run.config.bless_metric].label, run.config.bless_metric
        blocks.append(
            Paragraph(
                f"No {label} over the epochs: the whole validation split is translated only if a score picks the epoch "
                f'(training.selection = "{name}").',
                "note",
            )
        )
    return Section("training", "Training", blocks)


def _summary(trainings: Sequence[_Training]) -> Table:
    names = [name for name in FIGURES if any(name in training.artifact.metrics for training in trainings)]
    rows = []
    for training in trainings:
        metrics = training.artifact.metrics
        averaged = metrics.get("averaged")
        kept = f"mean of the last {averaged}" if averaged else f"epoch {metrics['epoch']}"
        rows.append(
            (
                training.name,
                f"{metrics['parameters']:,}",
                str(metrics["epochs"]),
                kept,
                FIGURES[training.selection].label,
                *(shown(name, metrics[name]) if name in metrics else "" for name in names),
            )
        )
    return Table(
        header=("", "weights", "epochs", "kept", "chosen by", *(FIGURES[name].label for name in names)),
        rows=rows,
        columns="wnnww" + "n" * len(names),
        caption="Figures of the kept weights on the validation split",
    )


def _charts(trainings: Sequence[_Training]) -> list[Chart]:
    alone = len(trainings) == 1
    both = [
        *_lines(trainings, "perplexity", "training" if alone else "{}, training", dashed=True),
        *_lines(trainings, "val_perplexity", "validation" if alone else "{}, validation", second=alone),
    ]
    validation = "validation" if alone else "{}"
    charts = [
        line_chart("Perplexity, fed the reference", both, _EPOCH, Axis("perplexity", log=True), ring="kept", nats=True),
        line_chart(
            "Perplexity, fed its own words",
            _lines(trainings, "val_free_running_perplexity", validation, second=alone),
            _EPOCH,
            Axis("perplexity", log=True),
            ring="kept",
            nats=True,
        ),
    ]
    for name in _scores(trainings):
        figure = FIGURES[name.removeprefix("val_")]
        unit = f"{figure.label} (share)" if figure.share else figure.label
        lines = _lines(trainings, name, validation, second=alone)
        charts.append(line_chart(f"{figure.label}, validation", lines, _EPOCH, Axis(unit), ring="kept"))
    charts += [
        line_chart(
            "Teacher forcing",
            _lines(trainings, "teacher_forcing", "{}"),
            _EPOCH,
            Axis("ratio ε at the epoch's end", low=0.0, high=1.0),
        ),
        line_chart(
            "Learning rate",
            _lines(trainings, "learning_rate", "{}"),
            _EPOCH,
            Axis("learning rate at the epoch's end", low=0.0),
        ),
    ]
    return charts


def _scores(trainings: Sequence[_Training]) -> list[str]:
    """Names of the scores of translations that a history has of each epoch."""
    names = dict.fromkeys(name for training in trainings for name in training.history)
    return [name for name in names if name.startswith("val_") and name.removeprefix("val_") not in _PERPLEXITIES]


def _lines(
    trainings: Sequence[_Training], figure: str, name: str, *, dashed: bool = False, second: bool = False
) -> list[Series]:
    """A line for each training whose history has the figure; `second`: in the second colour, it being the only one."""
    validation = figure.startswith("val_")
    return [
        Series(
            name.format(training.name),
            [(float(epoch), value) for epoch, value in enumerate(training.history[figure], start=1)],
            1 if second else number,
            dashed,
            training.kept if validation else None,
        )
        for number, training in enumerate(trainings)
        if figure in training.history
    ]
