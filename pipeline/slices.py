"""Which test sentences share a trait, and how good the model is on them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.scores import Score
from pipeline.significance import intervals

UNTAGGED = "untagged"
"""The slice of what has no domain, where other sentences have one."""


class Slice(NamedTuple):
    """The items that share a trait; at least one."""

    name: str
    chosen: np.ndarray
    """`[items]` bool."""


def by_length(lengths: np.ndarray, edges: Sequence[int] | None = None) -> list[Slice]:
    """Slices such as `1-8`, `9-12` and `13+`; without items of such a length, none.

    Args:
        lengths: `[items]` int.
        edges: the longest length of each slice but the last, rising; `None` for the quartiles, which make up to four
            slices of about the same number of items.
    """
    if edges is None:
        quartiles = np.quantile(lengths, (0.25, 0.5, 0.75), method="lower")
        edges = [int(edge) for edge in np.unique(quartiles) if edge < lengths.max()]
    place = np.searchsorted(edges, lengths)  # an edge itself belongs to its left
    first = [min(1, int(lengths.min())), *(edge + 1 for edge in edges)]
    names = [_range(low, high) for low, high in zip(first, edges, strict=False)] + [f"{first[-1]}+"]
    return [Slice(name, place == number) for number, name in enumerate(names) if np.any(place == number)]


def _range(low: int, high: int) -> str:
    return f"{low}-{high}" if low < high else str(low)


def by_unknown(unknown: np.ndarray) -> list[Slice]:
    """Slices `none` and `some`, where there are such, of `[items]` bool: has an item unknown words?"""
    both = (Slice("none", ~unknown), Slice("some", unknown))
    return [one for one in both if np.any(one.chosen)]


def by_domain(domains: Sequence[str]) -> list[Slice]:
    """A slice for each domain, in alphabetical order, that without one last; none if no item has a domain."""
    known = sorted(set(domains) - {""})
    tags = np.array(domains)
    found = [Slice(name, tags == name) for name in known]
    return [*found, Slice(UNTAGGED, tags == "")] if known and "" in domains else found


def score_slices(
    scores: Mapping[str, Score], slices: Mapping[str, Sequence[Slice]], few: int, resamples: int
) -> dict[str, list[dict[str, Any]]]:
    """What `evaluation.json` has of slices.

    Args:
        scores: by name, of all items.
        slices: by the trait that they differ in.
        few: a slice of fewer items is marked, because its scores are mostly chance.
        resamples: of a slice's intervals, see `pipeline.significance`.

    Returns:
        By trait a list of entries such as `{"name": "1-8", "sentences": 250, "few": False, "bleu": 31.2, "intervals":
        {"bleu": [28.0, 34.1]}}`.
    """
    return {
        trait: [
            {
                "name": name,
                "sentences": int(chosen.sum()),
                "few": bool(chosen.sum() < few),
                **{metric: score.part(chosen).value for metric, score in scores.items()},
                "intervals": intervals({metric: score.part(chosen) for metric, score in scores.items()}, resamples),
            }
            for name, chosen in found
        ]
        for trait, found in slices.items()
        if found
    }
