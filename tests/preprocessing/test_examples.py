"""Stored pairs: what is written is read, and the key alone decides where a pair lies."""

import os
import random

import apache_beam as beam
import pytest
import tensorflow as tf

from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.examples import (
    Record,
    WriteShards,
    from_example,
    natural_order,
    parse_examples,
    record_files,
    shard_name,
    splits_of,
    to_example,
)
from preprocessing.grouping import shuffle_folder
from preprocessing.records import read_records


def test_an_example_survives_and_is_deterministic():
    serialized = to_example("zwei hunde", "two dögs", [18, 7], [], key="f:1")
    assert from_example(serialized) == Record("f:1", "zwei hunde", "two dögs", [18, 7], [])
    assert from_example(to_example("a", "b")) == Record("", "a", "b", None, None)
    assert from_example(to_example("a", "b", domain="law")) == Record("", "a", "b", None, None, "law")
    assert b"domain" not in serialized
    assert serialized == to_example("zwei hunde", "two dögs", [18, 7], [], key="f:1")


def test_parse_examples_is_batched():
    parsed = parse_examples(tf.constant([to_example("a b", "c", [4, 5], [6]), to_example("", "d", [], [7, 8, 9])]))
    assert parsed["source"].numpy().tolist() == [b"a b", b""]
    assert parsed["target"].numpy().tolist() == [b"c", b"d"]
    assert parsed["source_ids"].to_list() == [[4, 5], []]
    assert parsed["target_ids"].to_list() == [[6], [7, 8, 9]]
    assert parsed["source_ids"].dtype == tf.int64


@pytest.mark.parametrize("serialized", [b"\xff\xff", b"", tf.train.Example().SerializeToString()])
def test_a_foreign_record_is_refused(serialized):
    with pytest.raises(DataError, match="key, source or target"):
        from_example(serialized)


def write(directory, split, keys, num_shards, beam_args=()):
    records = [(split, key, f"record {key}".encode()) for key in keys]
    with shuffle_folder(str(directory)) as folder:
        shards = WriteShards(str(directory), {split: num_shards}, folder)
        run(lambda pipeline: pipeline | beam.Create(records) | shards, beam_args)
    return {name: (directory / name).read_bytes() for name in sorted(os.listdir(directory))}


KEYS = [f"corpus.de:{line}" for line in range(300)]


def test_shards_do_not_show_the_order_of_arrival(tmp_path):
    shuffled = random.Random(1).sample(KEYS, len(KEYS))
    assert write(tmp_path / "a", "train", KEYS, 4) == write(tmp_path / "b", "train", shuffled, 4)
    files = record_files(str(tmp_path / "a"), "train")
    assert [os.path.basename(path) for path in files] == [shard_name("train", index, 4) for index in range(4)]
    shards = [[record.numpy() for record in tf.data.TFRecordDataset(path, compression_type="GZIP")] for path in files]
    written = [record for shard in shards for record in shard]
    assert sorted(written) == sorted(f"record {key}".encode() for key in KEYS)
    assert written != sorted(written)
    assert min(map(len, shards)) > 40


def test_evaluation_keeps_its_order(tmp_path):
    keys = [f"{file}:{line}" for file in ("a:b", "c") for line in range(12)]
    write(tmp_path, "test", random.Random(1).sample(keys, len(keys)), 1)
    assert list(read_records(record_files(str(tmp_path), "test")[0])) == [f"record {key}".encode() for key in keys]
    assert sorted(["x", "f:10", "f:9", ":3"], key=natural_order) == ["x", ":3", "f:9", "f:10"]


def test_every_shard_exists_even_if_empty(tmp_path):
    assert len(write(tmp_path, "train", [], 3)) == 3
    assert len(record_files(str(tmp_path), "train")) == 3
    assert [list(read_records(path)) for path in record_files(str(tmp_path), "train")] == [[], [], []]


def test_records_are_counted(tmp_path):
    records = [("test", "a:1", b"x"), ("train", "a:2", b"y"), ("train", "a:3", b"z")]
    shards = WriteShards(str(tmp_path), {"train": 2, "test": 1}, str(tmp_path / "shuffle"))
    metrics = run(lambda pipeline: pipeline | beam.Create(records) | shards)
    assert metrics == {"records_written_test": 1, "records_written_train": 2}
    assert {split: len(record_files(str(tmp_path), split)) for split in splits_of(str(tmp_path))} == {
        "test": 1,
        "train": 2,
    }


def test_wrong_numbers_of_shards_are_refused():
    for split, number in (("train", 0), ("test", 2)):
        with pytest.raises(ValueError, match="shards must be at least 1"):
            WriteShards("x", {split: number}, "y")


def test_missing_shards_are_noticed(tmp_path):
    with pytest.raises(DataError, match="'train'"):
        record_files(str(tmp_path / "absent"), "train")
    write(tmp_path, "train", KEYS[:3], 2)
    (tmp_path / "notes.txt").write_text("")
    assert splits_of(str(tmp_path)) == ["train"]
    os.remove(tmp_path / shard_name("train", 0, 2))
    with pytest.raises(DataError, match="expected 2 shards"):
        record_files(str(tmp_path), "train")
