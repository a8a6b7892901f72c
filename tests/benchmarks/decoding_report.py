"""The decoding benchmark's rows, as JSON and as a table; `tests.benchmarks.decoding` says what the figures are."""

import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np

BASES = {"lstm": "joeynmt", "transformer": "ctranslate2"}  # what the last column compares with


def mean_length(tokens: list[str]) -> float:
    """Tokens of a text, which have a space between two."""
    return statistics.mean(len(one.split(" ")) if one else 0 for one in tokens)


def row(
    names: dict[str, Any],
    answers: list[dict[str, Any]],
    own: dict[str, list[Any]] | None,
    same: dict[str, list[Any]] | None,
) -> dict[str, Any]:
    """A row.

    Args:
        names: what it is a row of; has `batch`.
        answers: what the system's turns gave, see `tests.benchmarks.decoding_worker`.
        own: the Python search of the same model, if it is one of Heliograph's.
        same: else the Python search with the same weights, if there is one.
    """
    translations, batch = answers[0]["translations"], names["batch"]
    speeds = [len(translations) / sum(answer["seconds"]) for answer in answers]
    p50, p95 = np.percentile([1000 * seconds for answer in answers for seconds in answer["seconds"]], [50, 95])
    figures = {
        **{name: value for name, value in names.items() if name != "beams"},
        "sentences_per_second": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
    }
    if own is not None:
        longest = [max(own["steps"][first : first + batch]) for first in range(0, len(translations), batch)]
        return {
            **figures,
            "mean_length": statistics.mean(own["lengths"]),
            "equal": _equal(translations, own["translations"]),
            "steps": statistics.mean(own["steps"]),
            "steps_of_longest": statistics.mean(longest),
            "most_steps": statistics.mean(own["limits"]),
        }
    figures["mean_length"] = mean_length(translations)
    return figures if same is None else {**figures, "equal": _equal(translations, same["tokens"])}


def _equal(translations: list[str], expected: list[str]) -> float:
    return statistics.mean(one == other for one, other in zip(translations, expected, strict=True))


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows, with their ratio to the peer of the same model, beam and batch."""
    keys = ("model", "beam", "batch")
    bases = {tuple(row[key] for key in keys): row for row in rows if row["system"] == BASES[row["model"]]}
    print(f"{'':88} steps: mean  of longest  most   x joeynmt,")
    print(
        f"system       model       precision beam batch sentences/s   p50 ms   p95 ms length   equal{'':31}ctranslate2"
    )
    for row in rows:
        equal = f"{row['equal']:7.1%}" if "equal" in row else ""
        steps = "".join(f"{row[key]:10.1f}" for key in ("steps", "steps_of_longest", "most_steps") if key in row)
        base = bases.get(tuple(row[key] for key in keys))
        ratio = f"{row['sentences_per_second'] / base['sentences_per_second']:10.2f}" if base else ""
        print(
            f"{row['system']:12} {row['model']:11} {row['precision']:9} {row['beam']:4} {row['batch']:5} "
            f"{row['sentences_per_second']:11.1f} {row['p50_ms']:8.1f} {row['p95_ms']:8.1f} {row['mean_length']:6.1f} "
            f"{equal:7} {steps:30} {ratio:10}  {' '.join([*row['settings'], *row['environment']])}"
        )


def write_report(path: Path, rows: list[dict[str, Any]], threads: int, sentences: int, reference_length: float) -> None:
    """Write the rows, and what they have in common, as JSON."""
    report = {"cores": os.cpu_count(), "threads": threads, "sentences": sentences}
    report |= {"reference_length": reference_length, "rows": rows}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
