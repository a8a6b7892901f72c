"""ExampleValidator: whether the corpus is fit for training, by its statistics and limits that a person sets.

    {
      "anomalies": 1,
      "checks": [
        {"check": "untranslated", "split": "train", "value": 0.124, "limit": 0.1, "verdict": "anomaly",
         "key": "max_untranslated_share", "count": 3596, "of": 29000, "examples": [
           {"file": "data/train.de.gz", "line": 17, "source": "Hot Dogs", "target": "hot dogs"}, ...]},
        ...
      ]
    }

The verdict is "ok" or "anomaly", "off" where the limit switches the check off, or "few": beyond the limit, but with
fewer than `FEW` cases (or `FEW_LENGTHS` pairs), which may be chance. Checks without a key (balance, lost pairs,
overlaps) are of our own code: they cannot be set, and only a defect breaks them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from preprocessing.drift import distances
from preprocessing.wording import counted

FEW = 10
"""Cases of which a share tells too little; with a limit of 0 every case counts."""

FEW_LENGTHS = 400
"""Pairs of which a correlation tells too little: its standard error is a twentieth."""

Verdict = Literal["ok", "anomaly", "off", "few"]

_SIDES = ("source", "target")
_SHOWN_CHECKS = 3
_SHOWN_EXAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a corpus may have. A maximum of 1 switches its check off, a minimum of 0 does."""

    min_train_pairs: int
    min_validation_pairs: int
    min_test_pairs: int
    max_source_unknown_rate: float
    max_target_unknown_rate: float
    max_untranslated_share: float
    max_length_ratio_share: float
    max_numbers_differ_share: float
    max_script_mismatch_share: float
    max_duplicate_share: float
    min_length_correlation: float
    max_drift: float


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report; see the module's docstring."""

    check: str
    split: str
    value: float
    limit: float
    verdict: Verdict
    key: str | None = None
    count: int | None = None
    of: int | None = None
    examples: Sequence[Mapping[str, Any]] = ()


def check_corpus(
    statistics: Mapping[str, Any], limits: Limits, earlier: Mapping[str, Any] | None = None
) -> list[Check]:
    """Compares statistics with their limits.

    Args:
      statistics: the content of ``statistics.json``.
      limits: what is allowed.
      earlier: the statistics of an earlier run, to measure the drift from; None for no such checks.

    Raises:
      DataError: `earlier` are no such statistics.
    """
    checks = [_balance(statistics["example_gen"])]
    for split, found in statistics["splits"].items():
        checks += [*_lost(statistics["example_gen"], split, found), *_split_checks(split, found, limits)]
    checks += [
        Check(
            check="overlap",
            split=splits,
            value=found["count"],
            limit=0,
            verdict="anomaly" if found["count"] else "ok",
            count=found["count"],
            of=found["of"],
            examples=found["examples"],
        )
        for splits, found in statistics["overlaps"].items()
    ]
    for what, split, distance in distances(statistics, earlier) if earlier is not None else ():
        verdict = _verdict(distance, limits.max_drift)
        checks.append(
            Check(check=what, split=split, value=distance, limit=limits.max_drift, verdict=verdict, key="max_drift")
        )
    return checks


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The content of ``anomalies.json``; what a check does not have is left out."""
    listed = [{name: value for name, value in asdict(check).items() if value is not None} for check in checks]
    return {"anomalies": sum(check.verdict == "anomaly" for check in checks), "checks": listed}


def defects(checks: Sequence[Check]) -> list[Check]:
    """Broken checks of our own code."""
    return [check for check in checks if check.verdict == "anomaly" and check.key is None]


def message(checks: Sequence[Check], section: str) -> str | None:
    """What is wrong and what to do, in one line, the worst first; None if nothing is.

    Args:
      checks: all of them.
      section: of the configuration, that has the limits.
    """
    broken = sorted((check for check in checks if check.verdict == "anomaly" and check.key), key=_severity)
    if not broken:
        return None
    more = f"; and {len(broken) - _SHOWN_CHECKS} more" if len(broken) > _SHOWN_CHECKS else ""
    told = "; ".join(_told(check, section) for check in broken[:_SHOWN_CHECKS])
    return (
        f"the corpus fails {len(broken)} of {len(checks)} checks: {told}{more}; correct or filter the data, or, if it "
        "is meant to be so, change the limits named"
    )


def _balance(counts: Mapping[str, Any]) -> Check:
    accounted = sum(counts["kept"].values()) + sum(entry["count"] for entry in counts["dropped"].values())
    lost = abs(counts["read"] + counts.get("repeated", 0) - accounted)
    return Check(check="balance", split="all", value=lost, limit=0, verdict="anomaly" if lost else "ok")


def _lost(counts: Mapping[str, Any], split: str, found: Mapping[str, Any]) -> Iterator[Check]:
    lost = abs(counts["kept"].get(split, 0) - found["pairs"])
    yield Check(check="lost_pairs", split=split, value=lost, limit=0, verdict="anomaly" if lost else "ok")


def _split_checks(split: str, found: Mapping[str, Any], limits: Limits) -> Iterator[Check]:
    key = f"min_{split}_pairs"
    wanted, pairs = getattr(limits, key), found["pairs"]
    verdict: Verdict = "off" if not wanted else "ok" if pairs >= wanted else "anomaly"
    yield Check(check="pairs", split=split, value=pairs, limit=wanted, verdict=verdict, key=key)
    for side in _SIDES if split != "train" else ():
        unknown = {"count": found[side]["unknown_tokens"], "of": found[side]["tokens"], "examples": ()}
        yield _share_check(f"{side}_unknown", split, unknown, f"max_{side}_unknown_rate", limits)
    suspicious = found["suspicious"]
    for check in ("untranslated", "length_ratio", "numbers_differ"):
        yield _share_check(check, split, suspicious[check], f"max_{check}_share", limits)
    for side in _SIDES:
        yield _share_check(f"{side}_script", split, suspicious[f"{side}_script"], "max_script_mismatch_share", limits)
    if split == "train" and found["length_correlation"] is not None:
        yield _correlation_check(split, found, limits.min_length_correlation)
    yield _share_check("duplicates", split, found["duplicates"]["pairs"], "max_duplicate_share", limits)


def _correlation_check(split: str, found: Mapping[str, Any], limit: float) -> Check:
    value, pairs = found["length_correlation"], found["pairs"]
    verdict: Verdict = "off" if not limit else "ok" if value >= limit else "anomaly"
    if verdict == "anomaly" and pairs < FEW_LENGTHS:
        verdict = "few"
    return Check(
        check="length_correlation", split=split, value=value, limit=limit, verdict=verdict, key="min_length_correlation"
    )


def _share_check(check: str, split: str, found: Mapping[str, Any], key: str, limits: Limits) -> Check:
    limit, count, of = getattr(limits, key), found["count"], found["of"]
    share = count / of if of else 0.0
    verdict = _verdict(share, limit)
    if verdict == "anomaly" and limit > 0 and count < FEW:
        verdict = "few"
    return Check(
        check=check,
        split=split,
        value=share,
        limit=limit,
        verdict=verdict,
        key=key,
        count=count,
        of=of,
        examples=found["examples"],
    )


def _verdict(value: float, limit: float) -> Verdict:
    if limit >= 1.0:
        return "off"
    return "anomaly" if value > limit else "ok"


def _severity(check: Check) -> tuple[float, str, str]:
    """Sorts what is furthest beyond its limit first, minima before all maxima."""
    ratio = math.inf if (check.key or "").startswith("min_") else check.value / max(check.limit, 1e-9)
    return -ratio, check.check, check.split


_TOLD = {
    "untranslated": "of the pairs look untranslated",
    "length_ratio": "of the pairs have a length ratio far from the others'",
    "numbers_differ": "of the pairs with numbers on both sides have different ones",
    "source_script": "of the sources are not in the script of the others",
    "target_script": "of the targets are not in the script of the others",
    "duplicates": "of the pairs repeat another one",
    "source_unknown": "of the source tokens are unknown",
    "target_unknown": "of the target tokens are unknown",
}


def _told(check: Check, section: str) -> str:
    key = f"{section}.{check.key}"
    if check.check == "pairs":
        return f"{check.split} has {counted(int(check.value), 'pair')} ({key} asks for {check.limit:,})"
    if check.check == "length_correlation":
        return (
            f"the lengths of source and target in {check.split} correlate by {check.value:.2f} only ({key} asks for "
            f"{check.limit}), as if lines were shifted"
        )
    if check.check.endswith("_drift"):
        what = check.check.removesuffix("_drift").replace("_", " ")
        return f"{what} of {check.split} drifted by {check.value:.3f} from the earlier run ({key} allows {check.limit})"
    examples = ", ".join(
        f"{item['file']} line {item['line']} ({item['source']!r} -> {item['target']!r})"
        for item in check.examples[:_SHOWN_EXAMPLES]
    )
    return (
        f"{check.value:.1%} {_TOLD[check.check]} in {check.split} ({check.count:,} of {check.of:,}; {key} allows "
        f"{check.limit:.1%})" + (f", such as {examples}" if examples else "")
    )
