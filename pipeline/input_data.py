"""TFRecords to the batches that the model eats: shuffled, perhaps bucketed by length, padded on the right."""

from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from models.sequences import with_end
from preprocessing.examples import parse_examples, record_files
from preprocessing.special_tokens import END_ID, PADDING_ID

BUCKET_GROWTH = 1.15
"""Each bucket ends at the last one's end times this: little padding, and few half-full batches at an epoch's end."""

PARSE_BATCH = 1024
"""Records that are parsed by one call."""

SHUFFLE_BUFFER = 65_536
"""Pairs held for shuffling. The records of the training split lie in random order already."""


def batches(
    directory: Path, split: str, batch_size: int, shuffle_seed: int | None = None, by_length: bool = False
) -> tf.data.Dataset:
    """Batches of one split, as `models.seq2seq.Batch`.

    Args:
        directory: the Transform component's records.
        split: `"train"`, `"validation"` or `"test"`.
        batch_size: sentence pairs per batch; the last batch (of each bucket) may hold fewer.
        shuffle_seed: seed of the order, which is another one in each epoch; `None` keeps the records' order (within
            each bucket).
        by_length: whether a batch holds pairs of similar lengths only.
    """
    records = tf.data.TFRecordDataset(record_files(str(directory), split), compression_type="GZIP")
    pairs = records.batch(PARSE_BATCH).map(_parse, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    # An unbatched ragged row is a tensor, but tf.data learns that only from the next map.
    pairs = pairs.map(lambda pair: {name: tf.convert_to_tensor(value) for name, value in pair.items()})
    if shuffle_seed is not None:
        pairs = pairs.shuffle(SHUFFLE_BUFFER, seed=shuffle_seed, reshuffle_each_iteration=True)
    padding = {
        "source_ids": PADDING_ID,
        "source_lengths": None,  # scalars, nothing to pad
        "target_ids": PADDING_ID,
        "target_lengths": None,
    }
    if by_length:
        boundaries = bucket_boundaries()
        padded = pairs.bucket_by_sequence_length(
            lambda pair: tf.maximum(pair["source_lengths"], pair["target_lengths"]),
            bucket_boundaries=boundaries,
            bucket_batch_sizes=[batch_size] * (len(boundaries) + 1),
            padding_values=padding,
        )
    else:
        padded = pairs.padded_batch(batch_size, padding_values=padding)
    options = tf.data.Options()
    options.deterministic = True
    return padded.prefetch(4).with_options(options)


def _parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Serialized examples `[B]` to closed, still ragged ids and their lengths."""
    examples = parse_examples(serialized)
    pairs = {}
    for side in ("source", "target"):
        ids = with_end(examples[f"{side}_ids"], END_ID)
        pairs[f"{side}_ids"] = ids
        pairs[f"{side}_lengths"] = tf.cast(ids.row_lengths(), tf.int32)
    return pairs


def counted(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, with their number known to `cardinality()`.

    It takes one pass, but holds for every epoch: how many batches there are follows from the number of pairs (of each
    bucket), not from their order. Without it Keras takes the end of the first epoch for a mistake.
    """
    count = int(dataset.reduce(0, lambda count, _: count + 1))
    return dataset.apply(tf.data.experimental.assert_cardinality(count))


def bucket_boundaries(shortest: int = 4, longest: int = 512) -> list[int]:
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
