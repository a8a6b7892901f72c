"""Checks of a corpus: each limit by itself, and one line for a person."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.anomalies import FEW, Limits, as_json, check_corpus, defects, message
from preprocessing.errors import DataError

LIMITS = {
    "min_train_pairs": 1,
    "min_validation_pairs": 1,
    "min_test_pairs": 1,
    "max_source_unknown_rate": 0.2,
    "max_target_unknown_rate": 0.2,
    "max_untranslated_share": 0.1,
    "max_length_ratio_share": 0.1,
    "max_numbers_differ_share": 0.1,
    "max_script_mismatch_share": 0.1,
    "min_length_correlation": 0.2,
    "max_duplicate_share": 0.1,
    "max_drift": 0.2,
}
EXAMPLE = {"file": "a.de", "line": 7, "source": "Hund", "target": "hund"}


def limits(**changed):
    return Limits(**{**LIMITS, **changed})


def found(count=0, of=100):
    return {"count": count, "of": of, "share": count / of, "examples": [EXAMPLE] if count else []}


def side():
    return {
        "tokens": 1000,
        "unknown_tokens": 0,
        "unknown_rate": 0.0,
        "characters": {"histogram": {"10": 50, "20": 50}},
        "scripts": {"Latin": 1.0},
    }


def statistics(splits=("test", "train", "validation"), pairs=100):
    kinds = ("untranslated", "length_ratio", "numbers_differ", "source_script", "target_script")
    return {
        "splits": {
            split: {
                "pairs": pairs,
                "source": side(),
                "target": side(),
                "suspicious": {kind: found() for kind in kinds},
                "duplicates": {"pairs": found(), "sources": found()},
                "length_correlation": 0.9,
            }
            for split in splits
        },
        "overlaps": {"test, train": found()},
        "example_gen": {
            "read": len(splits) * pairs + 3,
            "kept": dict.fromkeys(splits, pairs),
            "dropped": {"duplicate": {"count": 3}},
        },
    }


def put(content, path, value):
    changed = copy.deepcopy(content)
    *parents, last = path
    inner = changed
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return changed


def broken(checks):
    return [(check.check, check.split, check.verdict) for check in checks if check.verdict != "ok"]


def test_a_clean_corpus_passes():
    checks = check_corpus(statistics(), limits(), statistics())
    assert broken(checks) == [] and message(checks, "validation") is None and defects(checks) == []
    assert as_json(checks)["anomalies"] == 0
    names = {check.check for check in checks}
    assert {"balance", "lost_pairs", "overlap", "pairs", "source_length_drift", "target_unknown_drift"} <= names


SUSPICIOUS = [
    (("train", "suspicious", "untranslated"), "untranslated", "max_untranslated_share"),
    (("test", "suspicious", "length_ratio"), "length_ratio", "max_length_ratio_share"),
    (("train", "suspicious", "numbers_differ"), "numbers_differ", "max_numbers_differ_share"),
    (("train", "suspicious", "source_script"), "source_script", "max_script_mismatch_share"),
    (("validation", "suspicious", "target_script"), "target_script", "max_script_mismatch_share"),
    (("train", "duplicates", "pairs"), "duplicates", "max_duplicate_share"),
]


@pytest.mark.parametrize(("path", "check", "key"), SUSPICIOUS)
def test_shares(path, check, key):
    content = put(statistics(), ("splits", *path), found(11))
    checks = check_corpus(content, limits())
    assert broken(checks) == [(check, path[0], "anomaly")]
    told = message(checks, "validation")
    assert f"validation.{key} allows 10.0%" in told and "11.0%" in told and "(11 of 100;" in told
    assert "a.de line 7 ('Hund' -> 'hund')" in told and "\n" not in told
    assert broken(check_corpus(content, limits(**{key: 0.11}))) == []
    off = {item.check: item.verdict for item in check_corpus(content, limits(**{key: 1.0})) if item.key == key}
    assert set(off.values()) == {"off"}


@given(st.integers(0, 50), st.integers(50, 60), st.floats(0, 1))
def test_a_share_is_an_anomaly_beyond_its_limit_if_it_is_no_chance(count, of, limit):
    content = put(statistics(), ("splits", "train", "suspicious", "untranslated"), found(count, of))
    (check,) = (
        item
        for item in check_corpus(content, limits(max_untranslated_share=limit))
        if (item.check, item.split) == ("untranslated", "train")
    )
    beyond = limit < 1 and count > limit * of
    assert (check.verdict in ("anomaly", "few")) == beyond or abs(count - limit * of) < 1e-9
    assert (check.verdict == "anomaly") <= (count >= FEW or limit == 0)


def test_unknown_tokens_are_judged_where_the_vocabulary_was_not_made():
    content = put(statistics(), ("splits", "train", "source", "unknown_tokens"), 900)
    assert broken(check_corpus(content, limits())) == []
    content = put(content, ("splits", "test", "source", "unknown_tokens"), 201)
    checks = check_corpus(content, limits())
    assert broken(checks) == [("source_unknown", "test", "anomaly")]
    assert "validation.max_source_unknown_rate" in message(checks, "validation")


def test_too_few_pairs():
    checks = check_corpus(statistics(), limits(min_test_pairs=101, max_untranslated_share=0.0))
    assert broken(checks) == [("pairs", "test", "anomaly")]
    assert "test has 100 pairs (validation.min_test_pairs asks for 101)" in message(checks, "validation")
    assert broken(check_corpus(statistics(pairs=0), limits(min_test_pairs=0)))[0] == ("pairs", "test", "off")


def test_shifted_lines():
    content = put(statistics(pairs=500), ("splits", "train", "length_correlation"), 0.03)
    checks = check_corpus(content, limits())
    assert broken(checks) == [("length_correlation", "train", "anomaly")]
    assert "correlate by 0.03 only (validation.min_length_correlation asks for 0.2)" in message(checks, "validation")
    assert broken(check_corpus(content, limits(min_length_correlation=0.0)))[0][2] == "off"
    few = put(statistics(pairs=399), ("splits", "train", "length_correlation"), 0.03)
    assert broken(check_corpus(few, limits())) == [("length_correlation", "train", "few")]
    constant = put(content, ("splits", "train", "length_correlation"), None)
    assert broken(check_corpus(constant, limits())) == []


def test_drift():
    then = put(statistics(), ("splits", "train", "target", "characters", "histogram"), {"40": 9})
    then = put(then, ("splits", "train", "source", "scripts"), {"Latin": 0.7, "Greek": 0.3})
    then = put(then, ("splits", "test", "source", "unknown_rate"), 0.5)
    checks = check_corpus(statistics(), limits(), then)
    assert {name for name, _, _ in broken(checks)} == {
        "target_length_drift",
        "source_script_drift",
        "source_unknown_drift",
    }
    assert "target length of train drifted by 1.000" in message(checks, "validation")
    assert {item[2] for item in broken(check_corpus(statistics(), limits(max_drift=1.0), then))} == {"off"}
    with pytest.raises(DataError, match="preprocess that corpus again"):
        check_corpus(statistics(), limits(), {})


def test_our_own_defects_are_no_fault_of_the_data():
    content = put(statistics(), ("example_gen", "read"), 4711)
    content = put(content, ("overlaps", "test, train"), found(1))
    content = put(content, ("example_gen", "kept", "test"), 99)
    checks = check_corpus(content, limits())
    assert {check.check for check in defects(checks)} == {"balance", "lost_pairs", "overlap"}
    assert message(checks, "validation") is None


def test_repeated_pairs_balance():
    content = statistics()
    content["example_gen"] |= {"read": 203, "repeated": 100}
    assert broken(check_corpus(content, limits())) == []


def test_the_worst_come_first_and_the_rest_are_counted():
    content = statistics()
    for path, _, _ in SUSPICIOUS:
        content = put(content, ("splits", *path), found(12))
    content = put(content, ("splits", "validation", "suspicious", "target_script"), found(90))
    checks = check_corpus(content, limits(min_train_pairs=500))
    told = message(checks, "validation")
    assert told.startswith("the corpus fails 7 of ") and "; and 4 more; correct or filter the data" in told
    assert told.index("train has 100 pairs") < told.index("90.0% of the targets")
    report = json.loads(json.dumps(as_json(checks)))
    assert report["anomalies"] == 7
    (worst,) = (item for item in report["checks"] if item.get("count") == 90)
    assert worst == {
        "check": "target_script",
        "split": "validation",
        "value": 0.9,
        "limit": 0.1,
        "verdict": "anomaly",
        "key": "max_script_mismatch_share",
        "count": 90,
        "of": 100,
        "examples": [EXAMPLE],
    }
