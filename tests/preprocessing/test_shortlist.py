"""Counts and candidates against a brute-force count, whatever the batches and their order."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing import shortlist as module
from preprocessing.errors import DataError
from preprocessing.examples import Record, shard_name, to_example
from preprocessing.records import write_records
from preprocessing.shortlist import CountTogether, ShortlistOptions, SumCounts, read_shortlist, shortlist
from preprocessing.vocabulary import write_vocabulary

SOURCES, TARGETS = 8, 9
ids = st.lists(st.integers(1, 7), max_size=6)


def by_hand(pairs, candidates, frequent):
    n_source, n_target, together = np.zeros(SOURCES), np.zeros(TARGETS), np.zeros([SOURCES, TARGETS])
    for source, target in pairs:
        n_source[list(set(source))] += 1
        n_target[list(set(target))] += 1
        for token in set(source):
            together[token, list(set(target))] += 1
    seen = [token for token in range(4, TARGETS) if n_target[token]]
    always = [0, 1, 2, 3, *sorted(seen, key=lambda token: (-n_target[token], token))[:frequent]]
    rows = []
    for source in range(SOURCES):
        found = [token for token in range(TARGETS) if together[source, token] and token not in always]
        dice = {token: 2 * together[source, token] / (n_source[source] + n_target[token]) for token in found}
        rows.append(sorted(found, key=lambda token: (-dice[token], token))[:candidates])
    return always, rows


@pytest.fixture
def transformed(tmp_path):
    generator = random.Random(1)
    draw = lambda most: [min(most, 1 + int(generator.expovariate(0.4))) for _ in range(generator.randrange(1, 6))]  # noqa: E731
    pairs = {split: [(draw(7), draw(8)) for _ in range(size)] for split, size in (("train", 150), ("validation", 20))}
    for split, some in pairs.items():
        records = [to_example("s", "t", *pair, key=f"f:{line}") for line, pair in enumerate(some)]
        write_records(str(tmp_path / shard_name(split, 0, 1)), records)
    for side, size in (("source", SOURCES), ("target", TARGETS)):
        write_vocabulary(str(tmp_path / f"{side}.vocabulary.tsv"), [(str(token), 1) for token in range(4, size)])
    return tmp_path, pairs


@pytest.mark.parametrize(("candidates", "frequent"), [(1, 0), (2, 1), (9, 2)])
def test_the_file_and_its_figures(transformed, candidates, frequent):
    folder, pairs = transformed
    found = shortlist(str(folder), str(folder), ShortlistOptions(candidates=candidates, frequent=frequent))
    always, rows = by_hand(pairs["train"], candidates, frequent)
    assert json.loads((folder / "shortlist.json").read_text()) == {"always": always, "candidates": rows}
    table, common = read_shortlist(str(folder))
    assert common.tolist() == always and table.shape == (SOURCES, max(map(len, rows)))
    for row, expected in zip(table.tolist(), rows, strict=True):
        assert row == expected + [always[0]] * (len(row) - len(expected))
    lists = [{*always, *(token for word in source for token in rows[word])} for source, _ in pairs["validation"]]
    hits = [token in chosen for chosen, (_, target) in zip(lists, pairs["validation"], strict=True) for token in target]
    assert found == {"covered": np.mean(hits), "shortlist_tokens": np.mean([len(chosen) for chosen in lists])}


@settings(max_examples=30, deadline=None)
@given(
    pairs=st.lists(st.tuples(ids, ids), min_size=1, max_size=12), limit=st.sampled_from([1, 20, 10_000]), data=st.data()
)
def test_sums_do_not_depend_on_batches_and_order(pairs, limit, data):
    records = [("train", Record(str(place), "", "", *pair)) for place, pair in enumerate(pairs)]
    before, module.COUNTED_TOGETHER = module.COUNTED_TOGETHER, limit
    try:
        cut = data.draw(st.integers(0, len(records)))
        counter = CountTogether(SOURCES, TARGETS)
        counted = [entry for batch in (records[:cut], records[cut:]) for entry in counter.process(batch)]
    finally:
        module.COUNTED_TOGETHER = before
    counted = data.draw(st.permutations(counted))
    sums = SumCounts()
    for key in {key for key, _ in counted}:
        parts = [counts for other, counts in counted if other == key]
        cut = data.draw(st.integers(0, len(parts)))
        accumulators = []
        for some in (parts[:cut], parts[cut:]):
            accumulator = sums.create_accumulator()
            for counts in some:
                accumulator = sums.add_input(accumulator, counts)
            accumulators.append(accumulator)
        tokens, counts = sums.extract_output(sums.merge_accumulators(accumulators))
        for token, count in zip(tokens.tolist(), counts.tolist(), strict=True):
            holds = [(key == -1 or key in source) and (token == TARGETS or token in target) for source, target in pairs]
            assert count == sum(holds) > 0
        assert tokens.tolist() == sorted(set(tokens.tolist())) and tokens[-1] == TARGETS


def test_an_empty_training_split(tmp_path):
    write_records(str(tmp_path / shard_name("train", 0, 1)), [])
    for side in ("source", "target"):
        write_vocabulary(str(tmp_path / f"{side}.vocabulary.tsv"), [("a", 1)])
    with pytest.raises(DataError, match="expected pairs in split 'train', found none"):
        shortlist(str(tmp_path), str(tmp_path), ShortlistOptions(candidates=1, frequent=1))


def test_counts_do_not_keep_their_batch_alive():
    (entry, *_) = CountTogether(SOURCES, TARGETS).process([("train", Record("", "", "", [4], [5]))])
    assert all(values.base is None for values in entry[1])


def test_refused_lengths():
    with pytest.raises(ValueError, match="candidates must be at least 1 and frequent at least 0; received 0 and 5"):
        ShortlistOptions(candidates=0, frequent=5)
