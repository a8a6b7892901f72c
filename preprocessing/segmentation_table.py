"""Drawn segmentations of the training words: written by Transform, looked up by training, inside the tf.data graph.

A line of the file holds a word and each of its segmentations, with how often it was drawn and its ids::

    hunde<TAB>27 812 33<TAB>4 41 9 77 33<TAB>1 812 12 8

All words have the same number of draws; taking one of them at random, each as likely as any other, takes every
segmentation about as often as its probability asks for. Lines stand in the order of the words' UTF-8 bytes.
"""

import os
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from preprocessing.errors import DataError
from preprocessing.records import write_whole
from preprocessing.text import TextProcessor, tokenize
from preprocessing.vocabulary import read_bytes


def segmentation_file(directory: str | os.PathLike[str], side: str) -> str:
    """The path of a side's drawn segmentations among the outputs of Transform."""
    return os.path.join(directory, f"{side}.segmentations.tsv")


def segmentation_line(word: str, drawn: Iterable[tuple[int, Sequence[int]]]) -> str:
    """One line of the file, without its end, from what `subword_sampling.WordSampler.draw` returned."""
    return "\t".join([word, *(" ".join(map(str, (count, *ids))) for count, ids in drawn)])


def write_segmentations(path: str, lines: Iterable[str]) -> None:
    """Writes the file, with the lines in their order.

    Raises:
      DataError: it cannot be written.
    """
    content = "".join(f"{line}\n" for line in sorted(lines, key=str.encode))
    write_whole(path, lambda file: file.write(content.encode()))


class SampledEncoder:
    """Normalised text to ids, each word in one of the segmentations that were drawn for it.

    Words that the file does not hold are segmented as always.

    Args:
      path: the file.
      processor: the side's text processing.

    Raises:
      DataError: the file is missing or malformed.
    """

    def __init__(self, path: str, processor: TextProcessor) -> None:
        self.processor = processor
        words, ids, lengths, counts = _read(path)
        with tf.device("CPU"):  # where tf.data works
            rows = tf.range(len(words), dtype=tf.int64)
            self._rows = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(tf.constant(words, tf.string), rows), default_value=-1
            )
            self._segmentations = tf.RaggedTensor.from_row_lengths(tf.constant(ids, tf.int32), lengths)
            # --> (words * draws): the segmentation that a draw took.
            self._drawn = tf.constant(np.repeat(np.arange(len(counts), dtype=np.int32), counts))
        self.draws = int(counts.sum()) // max(1, len(words))

    def encode(self, normalized: tf.Tensor, seed: tf.Tensor) -> tf.RaggedTensor:
        """Text to ids; the same seed and texts give the same.

        Args:
          normalized: what `normalize` returned, string (B).
          seed: of the choice for each word, int64 (2).

        Returns:
          int64 ids (B, None), without start and end.
        """
        words = tokenize(normalized, self.processor.config.unit)
        rows = self._rows.lookup(words.values)
        choice = tf.random.stateless_uniform(tf.shape(rows), seed, maxval=self.draws, dtype=tf.int64)
        held, missing = tf.where(rows >= 0)[:, 0], tf.where(rows < 0)[:, 0]
        places = tf.gather(rows * self.draws + choice, held)
        drawn = tf.cast(tf.gather(self._segmentations, tf.gather(self._drawn, places)), tf.int64)
        usual = self.processor.encode_words(tf.gather(words.values, missing))
        order = tf.math.invert_permutation(tf.concat([held, missing], axis=0))
        return words.with_values(tf.gather(tf.concat([drawn, usual], axis=0), order)).merge_dims(1, 2)


def _read(path: str) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Words; the ids of all segmentations; per segmentation the number of ids, and how often it was drawn."""
    words: list[str] = []
    ids: list[int] = []
    lengths: list[int] = []
    counts: list[int] = []
    draws: set[int] = set()
    content = read_bytes(path)
    try:
        for line in content.decode().removesuffix("\n").split("\n"):
            word, *segmentations = line.split("\t")
            words.append(word)
            first = len(counts)
            for segmentation in segmentations:
                count, *piece_ids = map(int, segmentation.split(" "))
                counts.append(count)
                lengths.append(len(piece_ids))
                ids.extend(piece_ids)
            draws.add(sum(counts[first:]))
    except ValueError as error:
        raise DataError(f"{path}, line {len(words)}: expected a word and segmentations; run Transform again") from error
    if len(draws) != 1 or 0 in draws:
        raise DataError(f"{path}: expected the same number of draws for all words, found {draws}; run Transform again")
    return words, np.array(ids, np.int32), np.array(lengths, np.int64), np.array(counts, np.int64)
