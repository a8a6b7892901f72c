"""The section about the corpus: what was read, kept and dropped, how long and how well known the sentences are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.html_report.axes import Axis
from pipeline.html_report.bars import Bar, bar_chart
from pipeline.html_report.blocks import Block, Charts, Details, Heading, Paragraph, Section, Table
from pipeline.html_report.charts import Series, histogram, line_chart
from pipeline.html_report.run import Run
from pipeline.html_report.svg import Chart
from preprocessing.wording import counted

_SIDES = ("source", "target")
_SPLITS = ("train", "validation", "test")
_VERDICTS = {"ok": "passed", "anomaly": "failed", "off": "switched off", "few": "with too few cases to tell"}


def corpus_section(run: Run) -> Section | None:
    """What ExampleGen, StatisticsGen and ExampleValidator say; None before there is anything."""
    counts = run.document("ExampleGen", "counts.json")
    if counts is None:
        return None
    blocks = _counts(counts)
    statistics = run.document("StatisticsGen", "statistics.json")
    if statistics is not None:
        splits = {name: statistics["splits"][name] for name in _SPLITS if name in statistics["splits"]}
        blocks += [_splits(splits, statistics["vocabulary_sizes"]), Charts(_charts(run, splits))]
        blocks += [*_scripts(splits), *_suspicious(splits)]
    checks = run.judgement("ExampleValidator", "anomalies.json")
    if checks is not None:
        blocks += _checks(checks)
    return Section("corpus", "Corpus", blocks)


def _counts(counts: Mapping[str, Any]) -> list[Block]:
    read, kept, dropped = counts["read"], counts["kept"], counts["dropped"]
    gone = sum(entry["count"] for entry in dropped.values())
    repeated = counts.get("repeated", 0)  # because of the weight of a corpus
    told = f" and {repeated:,} repeated" if repeated else ""
    share = f" ({_percent(gone / (read + repeated))})" if gone else ""
    said = f"{counted(read, 'pair')} read{told}; {sum(kept.values()):,} kept, {gone:,} dropped{share}."
    blocks: list[Block] = [Paragraph(said)]
    ranked = sorted(dropped.items(), key=lambda item: (-item[1]["count"], item[0]))
    if len(ranked) > 1:
        bars = [Bar(_words(reason), entry["count"], f"{entry['count']:,}") for reason, entry in ranked]
        blocks.append(Charts([bar_chart("Why pairs were dropped", bars, "pairs")]))
    for reason, entry in ranked:
        summary = f"{_words(reason)}: {entry['count']:,} dropped ({_percent(entry['count'] / (read + repeated))})"
        blocks.append(Details(summary, [_examples(entry["examples"])]))
    return blocks


def _examples(examples: Sequence[Mapping[str, Any]]) -> Table:
    """Pairs with the places they come from."""
    return Table(
        header=("file", "line", "source", "target"),
        rows=[(item["file"], str(item["line"]), item["source"], item["target"]) for item in examples],
        columns="cntt",
        caption="The first of them",
    )


def _splits(splits: Mapping[str, Any], sizes: Mapping[str, int]) -> Table:
    rows = [
        (
            name,
            f"{split['pairs']:,}",
            *(f"{split[side]['tokens']:,}" for side in _SIDES),
            *(f"{split[side]['length']['mean'] or 0:.1f}" for side in _SIDES),
            *(_percent(split[side]["unknown_rate"]) for side in _SIDES),
        )
        for name, split in splits.items()
    ]
    return Table(
        header=("split", "pairs", *(f"{side} {what}" for what in ("tokens", "length", "unknown") for side in _SIDES)),
        rows=rows,
        columns="wnnnnnnn",
        caption=f"Vocabularies: {sizes['source']:,} source and {sizes['target']:,} target tokens. "
        "Length is the mean, in tokens; unknown is the share of tokens that the vocabulary lacks.",
    )


def _charts(run: Run, splits: Mapping[str, Any]) -> list[Chart]:
    charts = []
    for side in _SIDES:
        unit = {"word": "words", "character": "characters"}.get(getattr(run.config, side).unit, "subwords")
        charts.append(histogram(f"Length, {side}", _histograms(splits, side, "length"), f"tokens ({unit}) a sentence"))
    ratios = {float(ratio): n for ratio, n in splits["train"].get("length_ratio", {}).get("histogram", {}).items()}
    if ratios:
        shares = [(ratio, 100 * count / sum(ratios.values())) for ratio, count in sorted(ratios.items()) if ratio > 0]
        x, y = Axis("characters of the target / of the source", log=True), Axis("% of pairs", low=0.0)
        charts.append(line_chart("Length ratio of the training split", [Series("train", shares)], x, y))
    covered = [
        Series(side, [(int(size), 100 * share) for size, share in splits["train"][side]["coverage"].items()], number)
        for number, side in enumerate(_SIDES)
        if "coverage" in splits["train"][side]
    ]
    if covered:
        charts.append(
            line_chart(
                "Coverage of the training split",
                covered,
                Axis("most frequent tokens of the vocabulary", log=True),
                Axis("% of running tokens", low=0.0, high=100.0),
            )
        )
    return charts


def _histograms(splits: Mapping[str, Any], side: str, what: str) -> dict[str, dict[int, int]]:
    return {
        name: {int(value): count for value, count in split[side][what]["histogram"].items()}
        for name, split in splits.items()
    }


def _scripts(splits: Mapping[str, Any]) -> list[Block]:
    found = {
        (side, script): {name: split[side].get("scripts", {}).get(script, 0.0) for name, split in splits.items()}
        for side in _SIDES
        for split in splits.values()
        for script in split[side].get("scripts", {})
    }
    if not found:
        return []
    ordered = sorted(found.items(), key=lambda item: (_SIDES.index(item[0][0]), -max(item[1].values())))
    table = Table(
        header=("side", "script", *splits),
        rows=[(side, script, *map(_percent, shares.values())) for (side, script), shares in ordered],
        columns="ww" + "n" * len(splits),
        caption="Share of the letters",
    )
    return [Details("Scripts", [table])]


def _suspicious(splits: Mapping[str, Any]) -> list[Block]:
    """Pairs of the training split that look wrong but were kept."""
    found = {**splits["train"].get("suspicious", {}), **_duplicates(splits)}
    ranked = sorted(
        ((kind, entry) for kind, entry in found.items() if entry["count"]), key=lambda item: -item[1]["count"]
    )
    if not ranked:
        return []
    shown = [
        Details(
            f"{_words(kind)}: {entry['count']:,} of {entry['of']:,} pairs ({_percent(entry['share'])})",
            [_examples(entry["examples"])],
        )
        for kind, entry in ranked
    ]
    return [Heading("Kept, but worth a look (training split)"), *shown]


def _duplicates(splits: Mapping[str, Any]) -> dict[str, Any]:
    return {f"repeated {kind}": entry for kind, entry in splits["train"].get("duplicates", {}).items()}


def _checks(anomalies: Mapping[str, Any]) -> list[Block]:
    """Every check of the ExampleValidator, and of those that found something the pairs."""
    checks = anomalies["checks"]
    failed = [check for check in checks if check["verdict"] == "anomaly"]
    verdicts = Counter(check["verdict"] for check in checks)
    told = [f"{count:,} {_VERDICTS.get(verdict, verdict)}" for verdict, count in verdicts.most_common()]
    said = f"{counted(len(checks), 'check')}: {', '.join(told)}."
    tone = "bad" if anomalies["anomalies"] else "good"
    blocks: list[Block] = [Heading("Is it fit for training?"), Paragraph(said, tone)]
    return [*blocks, *([_check_table(failed)] if failed else []), Details("All checks", [_check_table(checks)])]


def _check_table(checks: Sequence[Mapping[str, Any]]) -> Table:
    return Table(
        header=("check", "split", "found", "limit", "verdict", "set by"),
        rows=[
            (
                _words(check["check"]),
                check["split"],
                f"{check['value']:,.4g}",
                f"{check['limit']:,.4g}",
                _VERDICTS.get(check["verdict"], check["verdict"]),
                f"validation.{check['key']}" if "key" in check else "",
            )
            for check in checks
        ],
        columns="wwnnwc",
    )


def _percent(share: float) -> str:
    """A share, with the digits that tell it from zero."""
    return f"{100 * share:.2f} %" if share >= 0.0001 or share == 0 else f"{100 * share:.1g} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
