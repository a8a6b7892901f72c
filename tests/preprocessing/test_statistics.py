"""Statistics: exact, and the same whatever the order."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.description import correlation, describe, percentile
from preprocessing.errors import DataError
from preprocessing.examples import Record, shard_name, to_example
from preprocessing.findings import Example, Finding, described, first_examples, sum_of, with_paths
from preprocessing.pair_counts import CountPairs
from preprocessing.records import write_records
from preprocessing.statistics import statistics
from preprocessing.vocabulary import write_vocabulary

TRAIN = [([4, 5, 1], [4]), ([1, 1], [4, 5]), ([4], []), ([4, 4, 4, 4, 4, 4], [1, 4, 4])]


@pytest.fixture
def transformed(tmp_path):
    for split, pairs in {"train": TRAIN, "test": []}.items():
        records = [to_example("s", "t", *ids, key=f"00001-f:{line}") for line, ids in enumerate(pairs)]
        write_records(str(tmp_path / shard_name(split, 0, 1)), records)
    write_vocabulary(str(tmp_path / "source.vocabulary.tsv"), [("a", 2), ("b", 1)])
    write_vocabulary(str(tmp_path / "target.vocabulary.tsv"), [("a", 2)])
    return tmp_path


def test_figures(transformed):
    returned = statistics(str(transformed), {"kept": {"train": 4}, "files": ["a", "b/f"]}, str(transformed / "out"))
    assert returned == json.loads((transformed / "out" / "statistics.json").read_text())
    assert returned["vocabulary_sizes"] == {"source": 6, "target": 5}
    assert returned["example_gen"] == {"kept": {"train": 4}}
    train = returned["splits"]["train"]
    assert train["pairs"] == 4
    assert {name: train["source"][name] for name in ("tokens", "unknown_tokens", "unknown_rate", "length")} == {
        "tokens": 12,
        "unknown_tokens": 3,
        "unknown_rate": 0.25,
        "length": {
            "min": 1,
            "mean": 3.0,
            "p50": 2,
            "p95": 6,
            "p99": 6,
            "max": 6,
            "histogram": {"1": 1, "2": 1, "3": 1, "6": 1},
        },
    }
    assert train["target"]["length"]["min"] == 0
    assert train["target"]["unknown_tokens"] == 1
    empty = returned["splits"]["test"]
    assert empty["pairs"] == 0
    assert empty["source"]["length"]["mean"] is None
    assert empty["source"]["unknown_rate"] == 0
    assert train["duplicates"]["pairs"]["count"] == train["duplicates"]["sources"]["count"] == 3  # all are "s", "t"
    assert train["duplicates"]["pairs"]["examples"] == [{"file": "b/f", "line": 0, "source": "s", "target": "t"}]


def counted(elements, parts):
    """What `CountPairs` gives if its elements arrive in this order, in these parts."""
    count = pickle.loads(pickle.dumps(CountPairs()))
    accumulators = [count.create_accumulator() for _ in range(max(parts, default=0) + 1)]
    for element, part in zip(elements, parts, strict=True):
        accumulators[part] = count.add_input(accumulators[part], element)
    return count.extract_output(count.merge_accumulators(pickle.loads(pickle.dumps(part)) for part in accumulators))


TEXTS = st.sampled_from(["ein hund", "a dog", "am 5. mai", "may 6", "кот", "x" * 40, "12", "Hund", "a Dog", "dog 5"])
ROWS = st.lists(st.tuples(st.sampled_from(["train", "test"]), TEXTS, TEXTS, st.lists(st.integers(1, 6))), max_size=25)


@settings(deadline=None)
@given(ROWS, st.data())
def test_the_order_of_pairs_and_merging_does_not_show(rows, data):
    elements = [
        (split, Record(f"f:{line:03d}", source, target, ids, ids[:1]))
        for line, (split, source, target, ids) in enumerate(rows)
    ]
    shuffled = data.draw(st.permutations(elements))
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    expected, found = counted(elements, [0] * len(elements)), counted(shuffled, parts)
    assert found == expected
    described = [json.dumps(describe(counts, {}, ["test", "train"])) for counts in (found, expected)]
    assert described[0] == described[1]


def corpus(*pairs, split="train", ids=(4,)):
    return [
        (split, Record(f"00000-{split}.de:{line:09d}", source, target, list(ids), list(ids)))
        for line, (source, target) in enumerate(pairs, start=1)
    ]


def test_copies_by_weight_count_in_what_training_sees_alone():
    once = corpus(("ein hund", "ein hund"), ("zwei", "two dogs 2"), ("3", "three"), ids=(4, 1))
    copies = [(split, record._replace(key=f"{record.key}#{n}")) for split, record in once for n in (2, 3)]
    plain, weighted = (
        describe(counted(found, [0] * len(found)), {}, ["train"])["splits"]["train"] for found in (once, once + copies)
    )
    assert weighted["pairs"] == 9 and weighted["source"]["tokens"] == 3 * plain["source"]["tokens"]
    for key in ("suspicious", "duplicates", "length_ratio", "length_correlation"):
        assert weighted[key] == plain[key]
    assert plain["suspicious"]["untranslated"]["count"] == 1


def test_what_differs_from_the_rest_is_suspicious():
    usual = [(f"ein hund läuft {word} weit", f"a dog runs {word} far") for word in ("1", "2", "3 a", "bb", "ccc")] * 3
    odd = [
        ("hot dogs", "Hot Dogs"),
        ("ein hund", "a dog that runs and runs and runs and runs"),
        ("ein hund 7 läuft", "a dog 8 runs so"),
        ("ein hund läuft", "собака бежит я"),
        ("собака бежит я", "a dog runs so"),
    ]
    elements = corpus(*usual, *odd)
    described = describe(counted(elements, [0] * len(elements)), {}, ["train"])
    train = described["splits"]["train"]
    lines = {name: [example["line"] for example in item["examples"]] for name, item in train["suspicious"].items()}
    assert lines == {
        "untranslated": [16],
        "length_ratio": [17],
        "numbers_differ": [18],
        "source_script": [20],
        "target_script": [19],
    }
    assert train["suspicious"]["untranslated"] == {
        "count": 1,
        "of": 20,
        "share": 0.05,
        "examples": [{"file": "train.de", "line": 16, "source": "hot dogs", "target": "Hot Dogs"}],
    }
    assert train["suspicious"]["numbers_differ"]["of"] == 10  # pairs with numbers on both sides
    assert described["usual"]["script"] == {"source": "Latin", "target": "Latin"}
    assert described["usual"]["length_ratio"]["high"] >= 2 * described["usual"]["length_ratio"]["median"] * 0.99


def test_the_training_split_says_what_is_usual():
    elements = corpus(*[("hund", "dog")] * 8) + corpus(("кот", "кот" * 9), split="test")
    described = describe(counted(elements, [0] * len(elements)), {}, ["test", "train"])
    found = described["splits"]["test"]["suspicious"]
    assert [found[name]["count"] for name in ("source_script", "target_script", "length_ratio")] == [1, 1, 1]
    assert described["overlaps"] == {"test, train": {"count": 0, "of": 8, "share": 0.0, "examples": []}}


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 40), max_size=12), min_size=1, max_size=30))
def test_coverage_is_that_of_the_most_frequent_training_tokens(lines):
    elements = [element for ids in lines for element in corpus(("a", "b"), ids=ids)]
    train = describe(counted(elements, [0] * len(lines)), {}, ["train"])["splits"]["train"]["source"]
    frequencies = Counter(token for ids in lines for token in ids)
    total = frequencies.total()
    known = sorted((count for token, count in frequencies.items() if token != 1), reverse=True)
    for size, share in train["coverage"].items():
        assert share == sum(known[: int(size)]) / total
    if known:
        assert str(len(known)) in train["coverage"]
        assert train["coverage"][str(len(known))] == pytest.approx(1 - train["unknown_rate"])


def test_characters_and_scripts():
    elements = corpus(("abc я", "xy"), ("a" * 100, "x"))
    side = describe(counted(elements, [0, 1]), {}, ["train"])["splits"]["train"]["source"]
    assert side["characters"] == {"total": 105, "distinct": 5, "mean": 52.5, "histogram": {"5": 1, "96": 1}}
    assert side["scripts"] == {"Latin": 103 / 104, "Cyrillic": 1 / 104}


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_of_the_nearest_rank(values, percent):
    histogram = {value: values.count(value) for value in values}
    assert percentile(histogram, percent) == np.percentile(values, percent, method="inverted_cdf")


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=2))
def test_correlation_of_lengths(lengths):
    elements = corpus(*[("a" * x, "b" * y) for x, y in lengths])
    found = correlation(counted(elements, [number % 3 for number in range(len(elements))])["train"].moments)
    x, y = np.array(lengths).T
    if x.std() == 0 or y.std() == 0:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30)), unique=True), st.data())
def test_paths_do_not_change_which_examples_are_shown(places, data):
    files = ["z/a.de", "law/a.de", "a/b-1:2.de"]
    keys = [f"{number:05d}-{files[number].rsplit('/', 1)[-1]}:{line:09d}" for number, line in places]
    parts = [data.draw(st.permutations([Example(key, key, "") for key in keys])) for _ in "ab"]
    findings = {(part,): Finding(len(keys), first_examples(found)) for part, found in zip("ab", parts, strict=True)}
    located = with_paths(findings, files)
    plain, shown = (described(sum_of(kinds.values()), 1)["examples"] for kinds in (findings, located))
    assert [item["source"] for item in plain] == [item["source"] for item in shown]
    for item in shown:
        number, _, rest = item["source"].partition("-")
        assert item["file"] == files[int(number)] and item["line"] == int(rest.rpartition(":")[2])


def test_paths_of_other_files_are_refused():
    for key in ("00002-a.de:1", "00000-b.de:1", "a.de:1"):
        with pytest.raises(ValueError, match=f"files must name those of the records' keys, got none for {key}"):
            with_paths({("x",): Finding(1, [Example(key, "", "")])}, ["law/a.de", "b.de"])
    copy = with_paths({("x",): Finding(1, [Example("00000-a.de:7#2", "", "")])}, ["law/a.de"])
    assert described(copy["x",], 1)["examples"][0] == {"file": "law/a.de", "line": 7, "source": "", "target": ""}


def test_records_without_ids_are_refused(transformed):
    write_records(str(transformed / shard_name("train", 0, 1)), [to_example("s", "t", key="f:7")])
    with pytest.raises(DataError, match=r"'f:7'.*source_ids"):
        statistics(str(transformed), {"files": ["f"]}, str(transformed / "out"))
    assert not list((transformed / "out").iterdir())


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="run Transform first"):
        statistics(str(tmp_path), {}, str(tmp_path / "out"))
