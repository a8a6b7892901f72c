"""Batches: every pair once, padded on the right, in an order that only seed and epoch decide."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from pipeline.input_data import Batching, batches, bucket_boundaries, count_batches, epoch_batches, texts
from pipeline.model_files import sampled_encoders
from pipeline.preprocess import generate, transform
from preprocessing.examples import parse_examples, record_files, shard_name, to_example
from preprocessing.records import write_records
from preprocessing.special_tokens import END_ID
from tests.pipeline.conftest import small_config

BOUNDARIES = bucket_boundaries()
BATCHINGS = [
    pytest.param(Batching(size=16), id="sentences"),
    pytest.param(Batching(size=16, by_length=True), id="buckets"),
    pytest.param(Batching(size=120, unit="tokens", by_length=True), id="tokens"),
]


def write_pairs(folder, lengths, shards=2):
    """Pairs of ids with these lengths of source and target, end tokens not counted."""
    generator = np.random.default_rng(0)
    records = [
        to_example("s", "t", *(generator.integers(END_ID + 1, 1000, length).tolist() for length in pair))
        for pair in lengths
    ]
    for shard in range(shards):
        write_records(str(folder / shard_name("train", shard, shards)), records[shard::shards])
    return folder


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """300 pairs of up to 40 tokens, a few beyond the last bucket's beginning."""
    lengths = np.random.default_rng(1).integers(1, 41, (297, 2)).tolist()
    return write_pairs(tmp_path_factory.mktemp("records"), [*lengths, (600, 3), (3, 700), (650, 650)])


def rows_of(batch):
    """A batch's pairs of ids without end and padding."""
    found = []
    for row in range(len(batch["source_lengths"])):
        pair = []
        for side in ("source", "target"):
            ids, length = batch[f"{side}_ids"][row], batch[f"{side}_lengths"][row]
            assert ids[length - 1] == END_ID and not ids[length:].any() and ids[:length].all()
            pair.append(tuple(ids[: length - 1].tolist()))
        found.append(tuple(pair))
    return found


def read(dataset):
    return [rows_of(batch) for batch in dataset.as_numpy_iterator()]


@functools.cache
def epoch_of(directory, batching, seed, epoch):
    return read(epoch_batches(directory, batching, seed, epoch))


def flat(epoch):
    return [pair for batch in epoch for pair in batch]


def stored_pairs(directory, split):
    dataset = tf.data.TFRecordDataset(record_files(str(directory), split), compression_type="GZIP")
    examples = parse_examples(next(iter(dataset.batch(10_000))))
    sides = (examples[f"{side}_ids"].to_list() for side in ("source", "target"))
    return [(tuple(source), tuple(target)) for source, target in zip(*sides, strict=True)]


def longest_sides(batch):
    return np.maximum(batch["source_lengths"], batch["target_lengths"])


@pytest.mark.parametrize("size", [1, 1000])
def test_a_split_comes_in_the_records_order(transform_dir, size):
    epoch = read(batches(transform_dir, "train", size))
    assert flat(epoch) == stored_pairs(transform_dir, "train")
    assert {len(batch) for batch in epoch[:-1]} <= {size}


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_pair_comes_once_in_an_order_of_seed_and_epoch(records, batching):
    epochs = [epoch_of(records, batching, *which) for which in ((1, 0), (1, 1), (2, 0))]
    for epoch in epochs:
        assert sorted(flat(epoch)) == sorted(stored_pairs(records, "train"))
    orders = [flat(epoch) for epoch in epochs]
    assert orders[0] != orders[1] and orders[0] != orders[2] and orders[1] != orders[2]
    again = epoch_batches(records, batching, 1, 0)
    assert read(again) == read(again) == epochs[0]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_an_epoch_begins_at_any_batch(records, batching):
    epoch = epoch_of(records, batching, 1, 1)
    for first in (1, len(epoch) // 2, len(epoch)):
        assert read(epoch_batches(records, batching, 1, 1, first)) == epoch[first:]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_the_number_of_batches_is_that_of_every_epoch(records, batching):
    sizes = {len(epoch_of(records, batching, 1, epoch)) for epoch in (0, 1)}
    assert sizes == {count_batches(records, batching)}
    if batching.unit == "sentences":
        lengths = [max(map(len, pair)) + 1 for pair in stored_pairs(records, "train")]
        buckets = np.digitize(lengths, BOUNDARIES) if batching.by_length else np.zeros(len(lengths), int)
        assert sizes == {sum(math.ceil(count / 16) for count in np.bincount(buckets))}


@pytest.fixture(scope="module")
def subwords(corpus, tmp_path_factory):
    """Records of the small corpus in subwords, with their segmentations and the encoders that draw them."""
    folder = tmp_path_factory.mktemp("subwords")
    config = small_config(
        corpus,
        source={"unit": "bpe", "max_vocabulary": 45, "bpe_dropout": 0.2},
        target={"unit": "unigram", "max_vocabulary": 60, "sampling_alpha": 0.2},
        vocabulary={"segmentations": 8},
    )
    for name in ("examples", "records"):
        (folder / name).mkdir()
    generate(config, folder / "examples", [])
    transform(config, folder / "examples", folder / "records", [])
    return folder / "records", sampled_encoders(config, folder / "records")


def spelled(pairs, sampled):
    """Pairs of ids as pairs of texts."""
    sides = zip(*pairs, strict=True)
    decoded = [
        sampled[side].processor.decode(tf.ragged.constant([list(ids) for ids in rows], dtype=tf.int64)).numpy().tolist()
        for side, rows in zip(("source", "target"), sides, strict=True)
    ]
    return sorted(zip(*decoded, strict=True))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_segmentations_are_drawn_by_seed_and_epoch(subwords, batching):
    directory, sampled = subwords

    def epoch(seed, number, first=0):
        return read(epoch_batches(directory, batching, seed, number, first, sampled=sampled))

    stored = stored_pairs(directory, "train")
    epochs = [epoch(*which) for which in ((1, 0), (1, 1), (2, 0))]
    for found in epochs:
        assert len(found) == count_batches(directory, batching)
        assert spelled(flat(found), sampled) == spelled(stored, sampled)
        assert len({*flat(found)} - {*stored}) > len(stored) / 4
    assert sorted(flat(epochs[0])) != sorted(flat(epochs[1])) and sorted(flat(epochs[0])) != sorted(flat(epochs[2]))
    assert epoch(1, 0) == epochs[0]
    half = len(epochs[1]) // 2
    assert epoch(1, 1, half) == epochs[1][half:]
    assert flat(read(batches(directory, "train", 16))) == stored


def test_one_side_can_be_segmented_alone(subwords):
    directory, sampled = subwords
    epoch = epoch_batches(directory, Batching(size=16), 1, 0, sampled={"source": sampled["source"]})
    pairs, stored = flat(read(epoch)), stored_pairs(directory, "train")
    assert sorted(target for _, target in pairs) == sorted(target for _, target in stored)
    assert sorted(source for source, _ in pairs) != sorted(source for source, _ in stored)


def test_no_pairs_no_batches(tmp_path):
    assert count_batches(write_pairs(tmp_path, []), Batching(size=4)) == 0


@pytest.mark.parametrize("batching", BATCHINGS[1:])
def test_buckets_hold_similar_lengths_and_are_filled(records, batching):
    sizes = {}
    for batch in epoch_batches(records, batching, 1, 0).as_numpy_iterator():
        (bucket,) = set(np.digitize(longest_sides(batch), BOUNDARIES))
        sizes.setdefault(bucket, []).append(len(batch["source_lengths"]))
        assert {values.dtype for values in batch.values()} == {np.dtype(np.int32)}
    assert len(sizes) > 10
    for found in sizes.values():  # all of a bucket's batches but the last are equally full
        assert sorted(found)[1:] == [max(found)] * (len(found) - 1)


@pytest.mark.parametrize("size", [30, 3000])
def test_no_batch_exceeds_its_tokens(records, size):
    rows = []
    batching = Batching(size=size, unit="tokens", by_length=True)
    for batch in epoch_batches(records, batching, 1, 0).as_numpy_iterator():
        rows.append(len(batch["source_lengths"]))
        width = max(batch["source_ids"].shape[1], batch["target_ids"].shape[1])
        assert width == longest_sides(batch).max()
        assert rows[-1] == 1 or rows[-1] * width <= size
    assert max(rows) > 1


def test_not_even_the_longest_pairs_exceed_the_tokens(tmp_path):
    write_pairs(tmp_path, [(3000, 5)] * 9)
    batching = Batching(size=6000, unit="tokens", by_length=True)
    for batch in epoch_batches(tmp_path, batching, 1, 0).as_numpy_iterator():
        assert batch["source_ids"].size <= 6000 or len(batch["source_ids"]) == 1


@pytest.mark.parametrize("batching", [*BATCHINGS, pytest.param(Batching(size=2), id="fewer rows than replicas")])
def test_replicas_share_each_batch(records, batching):
    whole = list(epoch_batches(records, batching, 1, 0).as_numpy_iterator())[2:]
    shares = list(epoch_batches(records, batching, 1, 0, first=2, replicas=3).as_numpy_iterator())
    assert len(shares) == 3 * len(whole)
    for number, batch in enumerate(whole):
        three = shares[3 * number : 3 * number + 3]
        for name, values in batch.items():
            assert {share[name].shape[1:] for share in three} == {values.shape[1:]}
            np.testing.assert_array_equal(np.concatenate([share[name] for share in three]), values)
        rows = [len(share["source_lengths"]) for share in three]
        assert max(rows) - min(rows) <= 1


def test_a_budget_of_tokens_needs_buckets():
    with pytest.raises(ValueError, match="by_length must be true with unit 'tokens', got False"):
        Batching(size=100, unit="tokens")


def test_boundaries_rise():
    assert (np.diff(BOUNDARIES) > 0).all()


def test_texts_are_the_normalised_pairs(transform_dir, corpus):
    written = dict(
        zip(*((corpus / name).read_text().splitlines() for name in ("words.txt", "figures.txt")), strict=True)
    )
    found = [pair for split in ("train", "validation", "test") for pair in texts(transform_dir, split)]
    assert dict(found) == written and len(found) == len(written)


def test_an_iterator_ends_without_waiting_for_a_tuner(tmp_path):
    write_pairs(tmp_path, [(3, 4)] * 9)
    for dataset in (batches(tmp_path, "train", 4), epoch_batches(tmp_path, Batching(size=4), seed=1, epoch=0)):
        assert dataset.options().autotune.enabled is False  # else its end takes up to a minute after a long epoch
