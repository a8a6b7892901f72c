"""The test split as the Evaluator sees it: items with their references, and the traits that slices go by."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipeline.config import Config
from pipeline.input_data import PARSE_BATCH, texts
from pipeline.metrics import Item, group_by_source, words
from preprocessing.errors import DataError
from preprocessing.examples import parse_examples, record_files
from preprocessing.special_tokens import UNKNOWN_ID
from preprocessing.text import tokenize


class EvaluationSet(NamedTuple):
    """The sources of a split, each with all its references."""

    items: list[Item]
    pairs: np.ndarray
    """`[pairs]` int: which item each pair of the records belongs to."""
    targets: list[str]
    """The reference of each pair."""
    lengths: np.ndarray
    """`[items]` int: words of the source, or characters where they are the source's unit."""
    unknown: np.ndarray
    """`[items]` bool: whether the source has words, or characters, that the model does not know. Where words are pieced
    together from subwords, those are the words that do not occur in the training split."""
    domains: list[str]
    """Of each item, that of its first pair; empty if it has none."""

    def of_items(self, values: np.ndarray) -> np.ndarray:
        """Values of pairs `[pairs]`, summed over the pairs of each item: `[items]`."""
        return np.bincount(self.pairs, weights=values, minlength=len(self.items))


class _Pair(NamedTuple):
    source: str
    target: str
    unknown: bool
    domain: str


def read_evaluation_set(config: Config, transform_dir: Path) -> EvaluationSet:
    """Read the test split.

    Args:
        config: the section `source`.
        transform_dir: records.

    Raises:
        DataError: it is empty.
    """
    pairs = list(_pairs(transform_dir, "test"))
    if not pairs:
        raise DataError(f"{transform_dir}: expected sentence pairs in the test split, got none; give more data")
    items = group_by_source((pair.source, pair.target) for pair in pairs)
    sources = [item.source for item in items]
    number = {source: index for index, source in enumerate(sources)}
    first = {pair.source: pair for pair in reversed(pairs)}
    unit = config.source.unit
    if unit in ("word", "character"):
        unknown = np.array([first[source].unknown for source in sources])
    else:
        unknown = _unseen(sources, transform_dir)
    lengths = tokenize(tf.constant(sources), "character" if unit == "character" else "word").row_lengths().numpy()
    return EvaluationSet(
        items,
        np.array([number[pair.source] for pair in pairs]),
        [pair.target for pair in pairs],
        lengths,
        unknown,
        [first[source].domain for source in sources],
    )


def _pairs(directory: Path, split: str) -> Iterator[_Pair]:
    records = tf.data.TFRecordDataset(record_files(str(directory), split), compression_type="GZIP")
    for serialized in records.batch(PARSE_BATCH):
        examples = parse_examples(serialized)
        unknown = tf.reduce_any(examples["source_ids"] == UNKNOWN_ID, axis=1)
        columns = (examples["source"], examples["target"], unknown, _domains(serialized))
        for source, target, is_unknown, domain in zip(*(column.numpy() for column in columns), strict=True):
            yield _Pair(source.decode(), target.decode(), bool(is_unknown), domain.decode())


def _domains(serialized: tf.Tensor) -> tf.Tensor:
    """The domain of each record `[B]`, empty where it has none."""
    feature = tf.io.FixedLenFeature([], tf.string, default_value="")
    return tf.io.parse_example(serialized, {"domain": feature})["domain"]


def _unseen(sources: list[str], transform_dir: Path) -> np.ndarray:
    """Whether each source has a word that no source of the training split has: one pass over that split.

    In memory are the words of the given sources alone.
    """
    tokenized = words(sources)
    unseen = {word for row in tokenized for word in row}
    batch: list[str] = []
    for source, _ in texts(transform_dir, "train"):
        if not unseen:
            break
        batch.append(source)
        if len(batch) == PARSE_BATCH:
            unseen.difference_update(*words(batch))
            batch.clear()
    if unseen and batch:
        unseen.difference_update(*words(batch))
    return np.array([not unseen.isdisjoint(row) for row in tokenized])
