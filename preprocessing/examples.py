"""What one stored pair looks like, and which file it lies in: the writer beside the reader.

A pair is a `tf.train.Example`. ExampleGen stores its text, Transform adds the ids::

    features {
      feature { key: "domain"      value { bytes_list { value: "captions" } } }
      feature { key: "key"         value { bytes_list { value: "train.de:17" } } }
      feature { key: "source"      value { bytes_list { value: "zwei hunde ." } } }
      feature { key: "source_ids"  value { int64_list { value: 18 value: 7 value: 4 } } }
      feature { key: "target"      value { bytes_list { value: "two dogs ." } } }
      feature { key: "target_ids"  value { int64_list { value: 21 value: 9 value: 4 } } }
    }

``source`` and ``target`` are UTF-8 after normalisation; the ids have neither start nor end. ``key`` names where the
pair came from, is unique, and gives the pair its place: shards are the same whatever order and machine wrote them.
``domain`` tells what the pair's corpus is about, and is there only if something is known of that.

The pairs of a split lie in ``train-00000-of-00008.tfrecord.gz`` and so on.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PCollection

from preprocessing.errors import DataError
from preprocessing.file_patterns import list_folder
from preprocessing.grouping import SortIntoBuckets
from preprocessing.records import write_records
from preprocessing.sorted_runs import Entry, Segment, merge
from preprocessing.wording import counted

TRAIN = "train"

_SHARD = re.compile(r"(?P<split>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.tfrecord\.gz")


class Record(NamedTuple):
    """One pair as it is stored; `None` for ids means that the record holds text only, "" that the domain is unknown."""

    key: str
    source: str
    target: str
    source_ids: Sequence[int] | None = None
    target_ids: Sequence[int] | None = None
    domain: str = ""


def to_example(
    source: str,
    target: str,
    source_ids: Sequence[int] | None = None,
    target_ids: Sequence[int] | None = None,
    *,
    key: str = "",
    domain: str = "",
) -> bytes:
    """Serialises one pair, the same pair always to the same bytes.

    Args:
      source: normalised text.
      target: normalised text.
      source_ids: without start and end; `None` leaves the feature out.
      target_ids: without start and end; `None` leaves the feature out.
      key: where the pair came from, as ``file:line``.
      domain: what its corpus is about; "" leaves the feature out.
    """
    example = tf.train.Example()
    feature = example.features.feature
    for name, text in (("key", key), ("source", source), ("target", target), ("domain", domain)):
        if text or name != "domain":
            feature[name].bytes_list.value.append(text.encode())
    for name, ids in (("source_ids", source_ids), ("target_ids", target_ids)):
        if ids is not None:
            feature[name].int64_list.value.extend(ids)
    return bytes(example.SerializeToString(deterministic=True))


def from_example(serialized: bytes) -> Record:
    """Reads one pair in Python; `parse_examples` is the batched way for training.

    Raises:
      DataError: the bytes are no such record.
    """
    try:
        feature = tf.train.Example.FromString(serialized).features.feature
        key, source, target = (feature[name].bytes_list.value[0].decode() for name in ("key", "source", "target"))
        domain = feature["domain"].bytes_list.value[0].decode() if "domain" in feature else ""
    except Exception as error:  # protobuf's DecodeError derives from nothing narrower.
        raise DataError(
            f"a record lacks key, source or target as UTF-8 ({error}); generate the examples again"
        ) from error
    ids = [list(feature[name].int64_list.value) if name in feature else None for name in ("source_ids", "target_ids")]
    return Record(key, source, target, ids[0], ids[1], domain)


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor | tf.RaggedTensor]:
    """Reads a batch of records with ids inside a graph, for tf.data.

    Args:
      serialized: records, string (B).

    Returns:
      ``source`` and ``target``, string (B); ``source_ids`` and ``target_ids``, ragged int64 (B, None).
    """
    text = tf.io.FixedLenFeature([], tf.string)
    ids = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    features = {"source": text, "target": text, "source_ids": ids, "target_ids": ids}
    parsed: dict[str, tf.Tensor | tf.RaggedTensor] = tf.io.parse_example(serialized, features)
    return parsed


def shard_name(split: str, index: int, count: int) -> str:
    """Names a shard: ``shard_name("train", 0, 8) == "train-00000-of-00008.tfrecord.gz"``."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord.gz"


def record_files(directory: str, split: str) -> list[str]:
    """Lists the shards of a split in their order.

    Raises:
      DataError: there is no shard, or not exactly the announced ones.
    """
    names = list_folder(directory)
    found = [name for name in names if (match := _SHARD.fullmatch(name)) and match["split"] == split]
    if not found:
        raise DataError(f"{directory}: expected records of split {split!r} ({split}-*.tfrecord.gz), found none")
    count = int(found[0].removesuffix(".tfrecord.gz")[-5:])
    if found != [shard_name(split, index, count) for index in range(count)]:
        expected = f"{counted(count, 'shard')} of split {split!r}"
        raise DataError(f"{directory}: expected {expected}, found {', '.join(found)}; write them again")
    return [os.path.join(directory, name) for name in found]


def splits_of(directory: str) -> list[str]:
    """Lists the splits that have records in a directory, in alphabetical order."""
    return sorted({match["split"] for name in list_folder(directory) if (match := _SHARD.fullmatch(name))})


def natural_order(key: str) -> bytes:
    """Sorts ``file:9`` before ``file:10``, and files by name."""
    file, _, line = key.rpartition(":")
    number = str(int(line)) if line.isascii() and line.isdigit() else ""
    # A longer number is a greater one. U+0000 comes before whatever else a longer name has there.
    return f"{file}\0{len(number):04d}{number}\0{key}".encode()


def shuffled_order(key: str) -> bytes:
    """Sorts and places keys at random, but the same way always."""
    return hashlib.sha256(key.encode()).digest()


class WriteShards(beam.PTransform[PCollection[tuple[str, str, bytes]], PCollection[str]]):
    """Writes the records of all splits as shards and returns their paths.

    Which shard holds a record, and where, follows from its key alone: neither the order of arrival nor the number of
    workers shows. The split "train" is shuffled by a hash of the key; any other keeps the natural order of its keys
    (``file:9`` before ``file:10``) in a single shard.

    Elements are (split, key, serialized record), the keys unique. Every shard is written, even one without a record.
    However large a shard, what is in memory stays the same.

    Args:
      output_dir: directory of any file system Beam knows.
      shards: how many files each split has; 1 unless the split is "train".
      folder: where records are sorted; see `preprocessing.grouping`.

    Raises:
      ValueError: a number of shards does not suit.
    """

    def __init__(self, output_dir: str, shards: Mapping[str, int], folder: str) -> None:
        super().__init__()
        for split, number in shards.items():
            if number < 1 or (split != TRAIN and number != 1):
                raise ValueError(
                    f"shards must be at least 1, and 1 for a split that keeps its order; received {number} for split "
                    f"{split!r}: shard only {TRAIN!r}"
                )
        self._output_dir = output_dir
        self._shards = dict(shards)
        self._folder = folder

    def expand(self, records: PCollection[tuple[str, str, bytes]]) -> PCollection[str]:
        """Sorts the records into one bucket for each shard."""
        names = [
            (split, shard_name(split, index, count)) for split, count in self._shards.items() for index in range(count)
        ]
        firsts = {split: names.index((split, shard_name(split, 0, count))) for split, count in self._shards.items()}
        paths: PCollection[str] = (
            records
            | "Place" >> beam.Map(_place, firsts, self._shards).with_output_types(Entry)
            | "Sort" >> SortIntoBuckets(self._folder, len(names))
            | "Write" >> beam.ParDo(_WriteShard(self._output_dir, names))
        )
        return paths


def _place(record: tuple[str, str, bytes], firsts: Mapping[str, int], shards: Mapping[str, int]) -> Entry:
    split, key, serialized = record
    if split != TRAIN:
        return firsts[split], natural_order(key), serialized
    order = shuffled_order(key)
    return firsts[split] + int.from_bytes(order[:8]) % shards[split], order, serialized


class _WriteShard(beam.DoFn):
    """Merges and writes one shard. Counter: ``records_written_SPLIT``."""

    def __init__(self, output_dir: str, names: Sequence[tuple[str, str]]) -> None:
        self._output_dir = output_dir
        self._names = names
        self._written = {split: Metrics.counter(__name__, f"records_written_{split}") for split, _ in names}

    def process(self, element: tuple[int, list[Segment]]) -> Iterator[str]:
        bucket, segments = element
        split, name = self._names[bucket]
        path = os.path.join(self._output_dir, name)
        # Even of a repeated key, the order of arrival does not show: what is merged is sorted by the record, too.
        self._written[split].inc(write_records(path, (serialized for _, serialized in merge(segments))))
        yield path
