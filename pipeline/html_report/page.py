"""`heliograph report`: the page a person looks at, one HTML file that needs no network, no script and no other file.

It is made of artifacts and refusals alone, so the same ones give the same bytes; its footer says which they were. It is
no artifact itself.
"""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.artifacts import write_whole
from pipeline.components import model_key
from pipeline.config import Config
from pipeline.figures import FIGURES, shown
from pipeline.html_report.blocks import Block, Paragraph, Tile, Tiles
from pipeline.html_report.corpus import corpus_section
from pipeline.html_report.evaluation import evaluation_section, main_figure
from pipeline.html_report.lineage import lineage_section, model_section
from pipeline.html_report.run import Run
from pipeline.html_report.svg import colour, visible
from pipeline.html_report.training import training_section
from pipeline.plan import State
from preprocessing.wording import counted

REPORT_FILE = "report.html"


def write_page(config: Config, states: Sequence[State], root: Path) -> Path:
    """Write `ROOT/report.html`, whole or not at all, and return its path.

    Args:
        config: the experiment.
        states: how its components stand; what has no artifact is left out.
        root: folder of the run.
    """
    path = root / REPORT_FILE
    write_whole(path, page(Run(config, states)))
    return path


def page(run: Run) -> str:
    """The page as HTML."""
    sections = (
        corpus_section(run),
        training_section(run),
        evaluation_section(run),
        model_section(run),
        lineage_section(run),
    )
    shown_artifacts = [state.artifact for state in run.states if state.artifact is not None]
    return _environment().get_template("page.html").render(
        name=run.config.name,
        summary=_summary(run),
        sections=[section for section in sections if section is not None],
        artifacts=shown_artifacts,
        ended=max((artifact.manifest.ended for artifact in shown_artifacts), default=None),
    )  # fmt: skip


def _environment() -> Environment:
    """Templates beside this file. A corpus may hold anything, HTML too: all text is escaped, but what charts made."""
    environment = Environment(
        loader=PackageLoader("pipeline.html_report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["colour"] = colour
    return environment


def _summary(run: Run) -> list[Block]:
    """The numbers that a person asks for first, and whether they are those of the configuration as it is now."""
    tiles = _tiles(run)
    blocks: list[Block] = [Tiles(tiles)] if tiles else []
    refused = [state for state in run.states if state.state == "refused"]
    blocks += [Paragraph(f"{state.component} refused: {state.reason}", "bad") for state in refused]
    stale = [state.component for state in run.states if state.artifact is not None and state.state == "outdated"]
    if stale:
        blocks.append(
            Paragraph(
                f"Outdated: {', '.join(stale)}. The newest there is is shown, which is not what the configuration asks "
                "for; heliograph run makes it anew.",
                "bad",
            )
        )
    return blocks


def _tiles(run: Run) -> list[Tile]:
    tiles = []
    counts, evaluation = run.document("ExampleGen", "counts.json"), run.document("Evaluator", "evaluation.json")
    if evaluation is not None:
        figures = evaluation["figures"]
        remark = f"test split, {counted(figures['sentences'], 'source')}"
        for name in dict.fromkeys((main_figure(run.config, figures), "chrf", "perplexity")):
            if name in figures:
                tiles.append(Tile(shown(name, figures[name]), FIGURES[name].label, remark))
    model = run.artifact(model_key(run.config))
    if model is not None and "parameters" in model.metrics:
        tiles.append(Tile(f"{model.metrics['parameters'] / 1e6:.1f} M", "weights", run.config.model.architecture))
    if counts is not None:
        tiles.append(Tile(f"{counts['kept']['train']:,}", "training pairs", f"of {counts['read']:,} read"))
    return tiles
