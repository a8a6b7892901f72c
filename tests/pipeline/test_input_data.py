"""Batches: every pair once, padded on the right, in an order that only the seed decides."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.input_data import batches, bucket_boundaries, counted, texts
from preprocessing.examples import parse_examples, record_files
from preprocessing.special_tokens import END_ID


def pairs_of(dataset) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    found = []
    for batch in dataset.as_numpy_iterator():
        for row in range(len(batch["source_lengths"])):
            pair = []
            for side in ("source", "target"):
                ids, length = batch[f"{side}_ids"][row], batch[f"{side}_lengths"][row]
                assert ids[length - 1] == END_ID and not ids[length:].any() and ids[:length].all()
                pair.append(tuple(ids[: length - 1].tolist()))
            found.append(tuple(pair))
    return found


def stored_pairs(transform_dir, split):
    records = tf.data.TFRecordDataset(record_files(str(transform_dir), split), compression_type="GZIP")
    examples = parse_examples(next(iter(records.batch(10_000))))
    sides = (examples[f"{side}_ids"].to_list() for side in ("source", "target"))
    return [(tuple(source), tuple(target)) for source, target in zip(*sides, strict=True)]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("size", [1, 16, 1000])
@pytest.mark.parametrize("by_length", [False, True])
def test_every_pair_comes_once(transform_dir, seed, size, by_length):
    dataset = batches(transform_dir, "train", size, shuffle_seed=seed, by_length=by_length)
    assert sorted(pairs_of(dataset)) == sorted(stored_pairs(transform_dir, "train"))


@pytest.mark.parametrize("by_length", [False, True])
def test_the_order_follows_the_seed_and_differs_between_epochs(transform_dir, by_length):
    def epochs(seed):
        dataset = batches(transform_dir, "train", 16, shuffle_seed=seed, by_length=by_length)
        return [pairs_of(dataset) for _ in range(2)]

    first, second = epochs(1), epochs(1)
    assert first == second
    assert first[0] != first[1] and first[0] != epochs(2)[0]


def test_without_seed_and_buckets_the_records_order_stays(transform_dir):
    assert pairs_of(batches(transform_dir, "train", 16)) == stored_pairs(transform_dir, "train")


def test_buckets_hold_similar_lengths(transform_dir):
    boundaries = [0, *bucket_boundaries()]
    for batch in batches(transform_dir, "train", 16, by_length=True).as_numpy_iterator():
        lengths = np.maximum(batch["source_lengths"], batch["target_lengths"])
        assert len(set(np.digitize(lengths, boundaries))) == 1
        assert batch["source_ids"].dtype == batch["source_lengths"].dtype == np.int32


@pytest.mark.parametrize("by_length", [False, True])
def test_the_number_of_batches_is_that_of_every_epoch(transform_dir, by_length):
    dataset = counted(batches(transform_dir, "train", 16, shuffle_seed=3, by_length=by_length))
    for _ in range(3):
        assert sum(1 for _ in dataset) == int(dataset.cardinality())


def test_boundaries_rise():
    assert (np.diff(bucket_boundaries()) > 0).all()


def test_texts_are_the_normalised_pairs(transform_dir, corpus):
    written = dict(
        zip(*((corpus / name).read_text().splitlines() for name in ("words.txt", "figures.txt")), strict=True)
    )
    found = [pair for split in ("train", "validation", "test") for pair in texts(transform_dir, split)]
    assert dict(found) == written and len(found) == len(written)
