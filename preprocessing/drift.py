"""How far the training split has moved from that of an earlier run, from the statistics of both.

Lengths: the Jensen-Shannon distance of the histograms of characters (Lin 1991; base 2, so from 0 to 1),

    JS(p, q) = sqrt((KL(p || m) + KL(q || m)) / 2),    m = (p + q) / 2,    KL(p || m) = sum of p log2(p / m).

Scripts: the L-infinity distance, the largest difference between the shares of one script. Unknown tokens: the absolute
difference of their rates. All are 0 for equal statistics and at most 1.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from preprocessing.errors import DataError

_SIDES = ("source", "target")


def jensen_shannon(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """The distance of two histograms over the same buckets, which need not be normalised; 1 if one of them is empty."""
    totals = sum(first.values()), sum(second.values())
    if not all(totals):
        return 0.0 if totals == (0, 0) else 1.0
    divergence = 0.0
    for bucket in sorted({*first, *second}):
        shares = first.get(bucket, 0) / totals[0], second.get(bucket, 0) / totals[1]
        middle = sum(shares) / 2
        divergence += sum(share * math.log2(share / middle) for share in shares if share) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))  # rounding must not leave the range


def l_infinity(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """The largest difference of two shares of one name; what one side lacks has the share 0."""
    return max((abs(first.get(name, 0.0) - second.get(name, 0.0)) for name in {*first, *second}), default=0.0)


def distances(statistics: Mapping[str, Any], earlier: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yields (what, split, distance): lengths and scripts of the training split, unknown rates of the others.

    Raises:
      DataError: `earlier` are no statistics of this version.
    """
    try:
        for side in _SIDES:
            now, then = (content["splits"]["train"][side] for content in (statistics, earlier))
            histograms = now["characters"]["histogram"], then["characters"]["histogram"]
            yield f"{side}_length_drift", "train", jensen_shannon(*histograms)
            yield f"{side}_script_drift", "train", l_infinity(now["scripts"], then["scripts"])
            for split in sorted(set(statistics["splits"]) & set(earlier["splits"]) - {"train"}):
                rates = [content["splits"][split][side]["unknown_rate"] for content in (statistics, earlier)]
                yield f"{side}_unknown_drift", split, abs(rates[0] - rates[1])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"expected statistics with the key {error}, found none; preprocess that corpus again") from None
