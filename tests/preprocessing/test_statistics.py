"""Statistics: exact, and the same whatever the order."""

import json
import pickle
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.errors import DataError
from preprocessing.examples import Record, shard_name, to_example
from preprocessing.records import write_records
from preprocessing.statistics import CountLengths, percentile, statistics
from preprocessing.vocabulary import write_vocabulary

TRAIN = [([4, 5, 1], [4]), ([1, 1], [4, 5]), ([4], []), ([4, 4, 4, 4, 4, 4], [1, 4, 4])]


@pytest.fixture
def transformed(tmp_path):
    for split, pairs in {"train": TRAIN, "test": []}.items():
        records = [to_example("s", "t", *ids, key=f"f:{line}") for line, ids in enumerate(pairs)]
        write_records(str(tmp_path / shard_name(split, 0, 1)), records)
    write_vocabulary(str(tmp_path / "source.vocabulary.tsv"), [("a", 2), ("b", 1)])
    write_vocabulary(str(tmp_path / "target.vocabulary.tsv"), [("a", 2)])
    return tmp_path


def test_figures(transformed):
    returned = statistics(str(transformed), {"kept": {"train": 4}}, str(transformed / "out"))
    assert returned == json.loads((transformed / "out" / "statistics.json").read_text())
    assert returned["vocabulary_sizes"] == {"source": 6, "target": 5}
    assert returned["example_gen"] == {"kept": {"train": 4}}
    train = returned["splits"]["train"]
    assert train["pairs"] == 4
    assert train["source"] == {
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


def test_the_order_of_pairs_and_merging_does_not_show():
    chance = random.Random(1)
    elements = [
        (split, Record(f"f:{line}", "", "", chance.choices(range(6), k=line % 9), chance.choices(range(6), k=line % 5)))
        for split in ("train", "test")
        for line in range(50)
    ]
    count = pickle.loads(pickle.dumps(CountLengths()))

    def counted(parts):
        accumulators = []
        for part in parts:
            accumulator = count.create_accumulator()
            for element in part:
                accumulator = count.add_input(accumulator, element)
            accumulators.append(pickle.loads(pickle.dumps(accumulator)))
        return count.extract_output(count.merge_accumulators(accumulators))

    shuffled = chance.sample(elements, len(elements))
    assert counted([elements]) == counted([shuffled[:10], [], shuffled[10:37], shuffled[37:]])


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_of_the_nearest_rank(values, percent):
    histogram = {value: values.count(value) for value in values}
    assert percentile(histogram, percent) == np.percentile(values, percent, method="inverted_cdf")


def test_records_without_ids_are_refused(transformed):
    write_records(str(transformed / shard_name("train", 0, 1)), [to_example("s", "t", key="f:7")])
    with pytest.raises(DataError, match=r"'f:7'.*source_ids"):
        statistics(str(transformed), {}, str(transformed / "out"))
    assert not (transformed / "out").exists()


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="run Transform first"):
        statistics(str(tmp_path), {}, str(tmp_path / "out"))
