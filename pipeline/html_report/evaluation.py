"""The section about the evaluation: scores and how sure they are, slices, the verdict, sentences, attention."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config import Config
from pipeline.figures import FIGURES, TRAITS, shown
from pipeline.html_report.bars import Bar, bar_chart
from pipeline.html_report.blocks import (
    Block,
    Charts,
    Details,
    Heading,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
)
from pipeline.html_report.heat_map import heat_map
from pipeline.html_report.run import Run
from pipeline.html_report.sentences import best_and_worst
from pipeline.html_report.svg import Chart
from pipeline.translations import TRANSLATIONS_FILE, read_translations
from preprocessing.wording import counted


def evaluation_section(run: Run) -> Section | None:
    """What the Evaluator says; None before it has said anything."""
    evaluation = run.document("Evaluator", "evaluation.json")
    if evaluation is None:
        return None
    blocks = [*_verdict(run), _scores(evaluation)]
    slices = evaluation.get("slices", {})
    if slices:
        charts = _slice_charts(slices, main_figure(run.config, evaluation["figures"]))
        tables = [_slice_table(trait, rows) for trait, rows in slices.items()]
        blocks += [Heading("Slices of the test split"), Charts(charts), Details("All figures of slices", tables)]
    translations = run.file("Evaluator", TRANSLATIONS_FILE)
    if translations is not None:
        blocks += best_and_worst(read_translations(translations), run.config.target.lowercase)
    attention = run.document("Evaluator", "attention.json")
    if attention:
        blocks.append(Heading("Attention"))
        blocks.append(
            Paragraph("A row for each target token: the stronger the colour, the more it looked at a source token.")
        )
        blocks.append(Pictures([_attention(item) for item in attention]))
    return Section("evaluation", "Evaluation", blocks)


def main_figure(config: Config, figures: Mapping[str, float]) -> str:
    """The score that charts and summaries show first: the first that is configured, if it was computed."""
    scores = [name for name in FIGURES if name in figures and "perplexity" not in name]
    return next((name for name in config.metrics if name in scores), scores[0])


def _verdict(run: Run) -> list[Block]:
    """Whether the ModelValidator blessed the model, why, and how it compares with the last one that it blessed."""
    artifact = run.artifact("ModelValidator")
    if artifact is None or "blessed" not in artifact.metrics:
        return []
    found = artifact.metrics
    word = "Blessed" if found["blessed"] else "Not blessed, so not published"
    blocks: list[Block] = [Paragraph(f"{word}: {found['reason']}.", "good" if found["blessed"] else "bad")]
    if "baseline" in found:
        name = found["metric"]
        row = (
            FIGURES[name].label,
            shown(name, found["candidate_value"]),
            shown(name, found["baseline_value"]),
            shown(name, found["difference"]),
            " to ".join(shown(name, end) for end in found["interval"]),
            f"{found['p']:.3f}",
        )
        items = counted(found["compared_on"], "sentence")
        caption = f"Compared with the evaluation {found['baseline']} by paired bootstrap, on {items}"
        header = ("", "this model", "the last blessed", "difference", "its 95 % interval", "p")
        blocks.append(Table(header=header, rows=[row], columns="wnnnnn", caption=caption))
    return blocks


def _scores(evaluation: Mapping[str, Any]) -> Table:
    figures, intervals = evaluation["figures"], evaluation.get("intervals", {})
    rows = []
    for name in filter(figures.__contains__, FIGURES):
        greedy = figures.get(f"greedy_{name}")
        cells = [FIGURES[name].label, shown(name, figures[name])]
        if intervals:
            cells.append(" to ".join(shown(name, end) for end in intervals[name]) if name in intervals else "")
        cells.append("" if greedy is None else shown(name, greedy))
        cells.append(evaluation["tracks"].get(name, ""))
        cells.append(evaluation["signatures"].get(name, ""))
        rows.append(tuple(cells))
    sentences, references = figures["sentences"], figures["references"]
    return Table(
        header=(
            "",
            f"beam {evaluation['beam_size']}",
            *(("95 % interval",) if intervals else ()),
            "greedy",
            "track",
            "sacrebleu's signature",
        ),
        rows=rows,
        columns="wnnnwc" if intervals else "wnnwc",
        caption=f"Test split: {counted(sentences, 'source')}"
        + (f" with {references:,} references" if references > sentences else ""),
    )


def _slice_charts(slices: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> list[Chart]:
    """One chart for each trait, of the main figure."""
    figure = FIGURES[name]
    factor, unit = (100, f"{figure.label} (%)") if figure.share else (1, figure.label)
    charts = []
    for trait, rows in slices.items():
        bars = [
            Bar(
                f"{row['name']} ({row['sentences']:,})",
                factor * row[name],
                shown(name, row[name]),
                _interval(row, name, factor),
                faint=row["few"],
            )
            for row in rows
        ]
        note = "Faint: too few sentences to tell." if any(bar.faint for bar in bars) else ""
        charts.append(bar_chart(f"{figure.label} by {TRAITS.get(trait, trait)}", bars, unit, note))
    return charts


def _interval(row: Mapping[str, Any], name: str, factor: float) -> tuple[float, float] | None:
    if name not in row["intervals"]:
        return None
    low, high = row["intervals"][name]
    return factor * low, factor * high


def _slice_table(trait: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    names = [name for name in FIGURES if name in rows[0]]
    return Table(
        header=(TRAITS.get(trait, trait), "sentences", *(FIGURES[name].label for name in names)),
        rows=[(row["name"], f"{row['sentences']:,}", *(shown(name, row[name]) for name in names)) for row in rows],
        columns="wn" + "n" * len(names),
    )


def _attention(item: Mapping[str, Any]) -> Picture:
    title = f"Attention of: {item['translation']}"
    return Picture(heat_map(title, item["source_tokens"], item["target_tokens"], item["weights"]), item["translation"])
