"""From counts to statistics: shares, percentiles, coverage, and which pairs differ from what is usual in the corpus.

What is usual, the training split decides. A length ratio is far out beyond Tukey's outer fences of the ratios'
logarithms, three interquartile ranges from the quartiles (Tukey 1977, Exploratory Data Analysis), and at least a factor
of 2 from the median. A script differs where most letters of a text are not of the script of most letters of its side.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from preprocessing.examples import TRAIN
from preprocessing.findings import Finding, Findings, described, sum_of
from preprocessing.pair_counts import Accumulator, SideCounts, SplitCounts, nothing_of_split
from preprocessing.pair_traits import RATIO_STEPS, ratio_of
from preprocessing.repeats import OVERLAP, PAIRS, SOURCES
from preprocessing.scripts import count_scripts, main_script
from preprocessing.special_tokens import UNKNOWN_ID
from preprocessing.vocabulary import SIDES

PERCENTILES = (50, 95, 99)

_NOTHING = Finding(0, [])


class Usual(NamedTuple):
    """What the training split is like, for others to differ from."""

    low: int  # length ratios' buckets: below is far out
    median: int
    high: int  # above is far out
    scripts: dict[str, str | None]  # main script by side
    ranks: dict[str, list[int]]  # ids by side, from the most to the least frequent


def describe(counted: Accumulator, repeats: Findings, splits: Sequence[str]) -> dict[str, Any]:
    """The splits, what is usual in them, and their overlaps; `preprocessing.statistics` has an example."""
    usual = usual_of(counted.get(TRAIN, nothing_of_split()))
    return {
        "splits": {
            split: _describe_split(split, counted.get(split, nothing_of_split()), repeats, usual) for split in splits
        },
        "usual": {
            "length_ratio": {name: round(ratio_of(getattr(usual, name)), 3) for name in ("low", "median", "high")},
            "script": usual.scripts,
        },
        "overlaps": {
            f"{first}, {second}": described(
                repeats.get((OVERLAP, first, second), _NOTHING), _once(counted.get(second, nothing_of_split()))
            )
            for first in sorted(splits)
            for second in sorted(splits)
            if first < second
        },
    }


def usual_of(train: SplitCounts) -> Usual:
    """What the training split is like."""
    ratios = {bucket: finding.pairs for bucket, finding in _ratios(train.findings)}
    first, median, third = (percentile(ratios, percent) or 0 for percent in (25, 50, 75))
    reach = 3 * (third - first)
    return Usual(
        low=min(first - reach, median - RATIO_STEPS),
        median=median,
        high=max(third + reach, median + RATIO_STEPS),
        scripts={side: main_script(train.sides[side].characters) for side in SIDES},
        ranks={side: _by_frequency(train.sides[side].tokens) for side in SIDES},
    )


def _by_frequency(tokens: Counter[int]) -> list[int]:
    return sorted((token for token in tokens if token != UNKNOWN_ID), key=lambda token: (-tokens[token], token))


def _ratios(findings: Findings) -> Iterator[tuple[int, Finding]]:
    for kind, finding in findings.items():
        if kind[0] == "ratio":
            yield int(kind[1]), finding


def _pairs(counts: SplitCounts) -> int:
    return counts.sides[SIDES[0]].lengths.total()


def _once(counts: SplitCounts) -> int:
    """Pairs, but for the copies of those that stand more than once because of their corpus's weight."""
    return counts.moments["1"]


def _describe_split(split: str, counts: SplitCounts, repeats: Findings, usual: Usual) -> dict[str, Any]:
    pairs, once, ratios = _pairs(counts), _once(counts), dict(_ratios(counts.findings))
    return {
        "pairs": pairs,
        **{side: _describe_side(counts.sides[side], pairs, usual.ranks[side]) for side in SIDES},
        "length_ratio": {"histogram": {f"{ratio_of(bucket):.3g}": ratios[bucket].pairs for bucket in sorted(ratios)}},
        "length_correlation": correlation(counts.moments),
        "suspicious": dict(_suspicious(counts.findings, once, usual)),
        "duplicates": {
            "pairs": described(repeats.get((PAIRS, split), _NOTHING), once),
            "sources": described(repeats.get((SOURCES, split), _NOTHING), once),
        },
    }


def correlation(moments: Mapping[str, int]) -> float | None:
    """Pearson's correlation from the sums of 1, x, y, xx, xy, yy; `None` where x or y is constant, or nothing is."""
    number, x, y, xx, xy, yy = (moments.get(name, 0) for name in ("1", "x", "y", "xx", "xy", "yy"))
    spread = (number * xx - x * x) * (number * yy - y * y)  # whole numbers of any size: nothing cancels
    return (number * xy - x * y) / math.sqrt(spread) if spread else None


def _suspicious(findings: Findings, pairs: int, usual: Usual) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "untranslated", described(findings.get(("untranslated",), _NOTHING), pairs)
    far_out = sum_of(finding for bucket, finding in _ratios(findings) if not usual.low <= bucket <= usual.high)
    yield "length_ratio", described(far_out, pairs)
    with_numbers = findings.get(("numbers",), _NOTHING).pairs
    yield "numbers_differ", described(findings.get(("numbers_differ",), _NOTHING), with_numbers)
    for side in SIDES:
        written = {kind[2]: finding for kind, finding in findings.items() if kind[:2] == ("script", side)}
        other = sum_of(finding for script, finding in written.items() if script != usual.scripts[side])
        yield f"{side}_script", described(other, sum(finding.pairs for finding in written.values()))


def _describe_side(counts: SideCounts, pairs: int, ranks: Sequence[int]) -> dict[str, Any]:
    tokens, unknown = counts.tokens.total(), counts.tokens[UNKNOWN_ID]
    letters = count_scripts(counts.characters)
    return {
        "tokens": tokens,
        "unknown_tokens": unknown,
        "unknown_rate": unknown / tokens if tokens else 0.0,
        "length": _describe_lengths(counts.lengths, tokens),
        "characters": {
            "total": counts.characters.total(),
            "distinct": len(counts.characters),
            "mean": counts.characters.total() / pairs if pairs else None,
            "histogram": _as_json(counts.character_lengths),
        },
        "scripts": {
            script: letters[script] / letters.total()
            for script in sorted(letters, key=lambda script: (-letters[script], script))
        },
        "coverage": _coverage(counts.tokens, ranks),
    }


def _coverage(tokens: Counter[int], ranks: Sequence[int]) -> dict[str, float]:
    """Share of running tokens covered by the first 1, 2, 5, 10, 20, 50, ... and all of the ranked ids."""
    if not tokens:
        return {}
    shares: dict[str, float] = {}
    covered, wanted = 0, _one_two_five()
    next_size = next(wanted)
    for size, token in enumerate(ranks, start=1):
        covered += tokens[token]
        if size in (next_size, len(ranks)):
            shares[str(size)] = covered / tokens.total()
        if size == next_size:
            next_size = next(wanted)
    return shares


def _one_two_five() -> Iterator[int]:
    size = 1
    while True:
        yield from (size, 2 * size, 5 * size)
        size *= 10


def _describe_lengths(histogram: Counter[int], tokens: int) -> dict[str, object]:
    """Minimum and so on are `None` when there is no pair."""
    pairs = histogram.total()
    return {
        "min": min(histogram, default=None),
        "mean": tokens / pairs if pairs else None,
        **{f"p{percent}": percentile(histogram, percent) for percent in PERCENTILES},
        "max": max(histogram, default=None),
        "histogram": _as_json(histogram),
    }


def _as_json(histogram: Mapping[int, int]) -> dict[str, int]:
    return {str(value): histogram[value] for value in sorted(histogram)}


def percentile(histogram: Mapping[int, int], percent: int) -> int | None:
    """The smallest value that at least `percent` % of the counted values do not exceed; `None` if none was counted."""
    total = sum(histogram.values())
    reached = 0
    for value in sorted(histogram):
        reached += histogram[value]
        if reached * 100 >= percent * total:
            return value
    return None
