"""TFRecords to the batches that the model eats: shuffled, perhaps bucketed by length, padded on the right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import tensorflow as tf

from models.sequences import with_end
from preprocessing.examples import parse_examples, record_files
from preprocessing.segmentation_table import SampledEncoder
from preprocessing.special_tokens import END_ID, PADDING_ID
from preprocessing.vocabulary import SIDES

BUCKET_GROWTH = 1.15
"""Each bucket ends at the last one's end times this: little padding, and few half-full batches at an epoch's end."""

LONGEST_BOUNDARY = 512
"""Longer pairs share one bucket."""

PARSE_BATCH = 1024
"""Records that are parsed by one call."""

SHUFFLE_BUFFER = 65_536
"""Pairs held for shuffling. The records of the training split lie in random order already."""

NO_SAMPLING: Mapping[str, SampledEncoder] = MappingProxyType({})
"""Every text in its stored ids."""

PREFETCH = 8
"""Batches made ahead."""

PARSERS = 2
"""Records are parsed by so many calls at a time."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Which pairs share a batch."""

    size: int
    """Largest batch, in units."""
    unit: Literal["sentences", "tokens"] = "sentences"
    """Pairs; or tokens of the longer side with padding, so that a batch of long pairs holds fewer. Needs buckets."""
    by_length: bool = False
    """Whether a batch holds pairs of similar lengths only."""

    def __post_init__(self) -> None:
        """Check what the types do not say."""
        if self.unit == "tokens" and not self.by_length:
            raise ValueError("by_length must be true with unit 'tokens', got False: the budget is one of each bucket")

    def bucket_sizes(self, boundaries: list[int]) -> list[int]:
        """Pairs in a batch of each bucket, the last one (beyond all boundaries) included; at least one."""
        if self.unit == "sentences":
            return [self.size] * (len(boundaries) + 1)
        return [max(1, self.size // (boundary - 1)) for boundary in boundaries] + [1]  # the last has no longest pair


def batches(directory: Path, split: str, batch_size: int) -> tf.data.Dataset:
    """Batches of one split in the records' order, as `models.batches.Batch`; the last one may hold fewer pairs.

    Args:
        directory: the Transform component's records.
        split: `"train"`, `"validation"` or `"test"`.
        batch_size: sentence pairs per batch.
    """
    return _finished(_batched(_pairs(directory, split), Batching(size=batch_size)))


def epoch_batches(
    directory: Path,
    batching: Batching,
    seed: int,
    epoch: int,
    first: int = 0,
    replicas: int = 1,
    sampled: Mapping[str, SampledEncoder] = NO_SAMPLING,
) -> tf.data.Dataset:
    """The training split's batches of one epoch, in an order that follows from seed, epoch and TensorFlow's own seed.

    Args:
        directory: the Transform component's records.
        batching: which pairs share a batch.
        seed: of the order, and of the segmentations.
        epoch: number from 0.
        first: number of the batch to begin with.
        replicas: devices that share a batch. Each batch becomes so many elements, one after the other, of as equal
            numbers of rows as can be, and of the same padded lengths; an element may have no row.
        sampled: by side, the encoder that segments its texts at random. The choice follows from the seed, the epoch
            and the pair's position among the records. Buckets go by the stored ids, so that every epoch has the same
            number of batches; with a `batch_unit` of tokens a batch may hold a few more.
    """
    mixed = seed * 1_000_003 + epoch
    pairs = _pairs(directory, "train", sampled, mixed)
    shuffled = pairs.shuffle(SHUFFLE_BUFFER, seed=mixed, reshuffle_each_iteration=False)
    dataset = _batched(shuffled, batching).skip(first)
    if replicas > 1:
        dataset = dataset.flat_map(lambda batch: _shares(batch, replicas))
    return _finished(dataset, ahead=PREFETCH * replicas)


def count_batches(directory: Path, batching: Batching) -> int:
    """Batches in an epoch, which depends on the number of pairs (in each bucket), not on their order. Takes a pass."""
    return int(_batched(_pairs(directory, "train"), batching).reduce(0, lambda count, _: count + 1))


def bucket_boundaries(shortest: int = 4, longest: int = LONGEST_BOUNDARY) -> list[int]:
    """Lengths at which a new bucket begins: every length at first, then growing by `BUCKET_GROWTH`."""
    boundaries = [shortest]
    while boundaries[-1] < longest:
        boundaries.append(max(boundaries[-1] + 1, round(boundaries[-1] * BUCKET_GROWTH)))
    return boundaries


def texts(directory: Path, split: str) -> Iterator[tuple[str, str]]:
    """The normalised source and target texts of one split, in the records' order."""
    records = tf.data.TFRecordDataset(record_files(str(directory), split), compression_type="GZIP")
    for serialized in records.batch(PARSE_BATCH):
        examples = parse_examples(serialized)
        for source, target in zip(examples["source"].numpy(), examples["target"].numpy(), strict=True):
            yield source.decode(), target.decode()


def _pairs(
    directory: Path, split: str, sampled: Mapping[str, SampledEncoder] = NO_SAMPLING, seed: int = 0
) -> tf.data.Dataset:
    def parse(number: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        return _parse(serialized, sampled, [tf.stack([seed, 2 * number + side]) for side in range(len(SIDES))])

    records = tf.data.TFRecordDataset(record_files(str(directory), split), compression_type="GZIP")
    pairs = records.batch(PARSE_BATCH).enumerate().map(parse, num_parallel_calls=PARSERS).unbatch()
    # An unbatched ragged row is a tensor, but tf.data learns that only from the next map.
    return pairs.map(lambda pair: {name: tf.convert_to_tensor(value) for name, value in pair.items()})


def _batched(pairs: tf.data.Dataset, batching: Batching) -> tf.data.Dataset:
    padding = {
        "source_ids": PADDING_ID,
        "source_lengths": None,  # scalars, nothing to pad
        "target_ids": PADDING_ID,
        "target_lengths": None,
        "stored_length": None,
    }
    if batching.by_length:
        boundaries = bucket_boundaries()
        batched = pairs.bucket_by_sequence_length(
            lambda pair: pair["stored_length"],
            bucket_boundaries=boundaries,
            bucket_batch_sizes=batching.bucket_sizes(boundaries),
            padding_values=padding,
        )
    else:
        batched = pairs.padded_batch(batching.size, padding_values=padding)
    return batched.map(lambda batch: {name: value for name, value in batch.items() if name != "stored_length"})


def _shares(batch: dict[str, tf.Tensor], replicas: int) -> tf.data.Dataset:
    rows = tf.shape(batch["target_lengths"])[0]

    def share(replica: tf.Tensor) -> dict[str, tf.Tensor]:
        begin, end = replica * rows // replicas, (replica + 1) * rows // replicas
        return {name: values[begin:end] for name, values in batch.items()}

    return tf.data.Dataset.range(replicas, output_type=tf.int32).map(share)


def _finished(dataset: tf.data.Dataset, ahead: int = PREFETCH) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # With it, the end of an iterator waits for the tuner's next turn, whose period doubles up to a minute: after an
    # epoch of 100 s, training stood still for 42 s.
    options.autotune.enabled = False
    options.experimental_warm_start = True  # an iterator fills its shuffle buffer when it is made, not when it is read
    return dataset.prefetch(ahead).with_options(options)


def _parse(
    serialized: tf.Tensor, sampled: Mapping[str, SampledEncoder], seeds: list[tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Serialized examples `[B]` to closed, still ragged ids, their lengths, and the longer side's length as stored."""
    examples = parse_examples(serialized)
    pairs = {}
    stored = []
    for side, seed in zip(SIDES, seeds, strict=True):
        ids = examples[f"{side}_ids"]
        stored.append(tf.cast(ids.row_lengths(), tf.int32) + 1)  # with the end
        if side in sampled:
            ids = sampled[side].encode(examples[side], seed)
        ids = with_end(ids, END_ID)
        pairs[f"{side}_ids"] = ids
        pairs[f"{side}_lengths"] = tf.cast(ids.row_lengths(), tf.int32)
    return {**pairs, "stored_length": tf.maximum(*stored)}
