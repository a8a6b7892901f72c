"""Transform: text-only records become vocabularies and records with ids, in two Beam pipelines.

    SPLIT-*.tfrecord.gz ─▶ CountTokens ─▶ TopTokens ─▶ {source,target}.vocabulary.tsv   (split train)
    SPLIT-*.tfrecord.gz ─▶ EncodePairs ─▶ WriteShards ─▶ SPLIT-*.tfrecord.gz with ids  (every split)

The vocabularies reach the workers of the second pipeline as files, not as a side input: not every runner combines
those.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection

from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.examples import TRAIN, Record, WriteShards, from_example, record_files, splits_of, to_example
from preprocessing.records import read_records
from preprocessing.text import TextConfig, TextProcessor
from preprocessing.vocabulary import (
    BATCH,
    SIDES,
    CountTokens,
    TopTokens,
    read_vocabulary,
    vocabulary_file,
    write_vocabulary,
)


@dataclass(frozen=True, kw_only=True)
class TransformOptions:
    """What Transform does.

    Raises:
      ValueError: a number is below 1.
    """

    source: TextConfig
    """How the source language is turned into tokens."""

    target: TextConfig
    """How the target language is turned into tokens."""

    source_min_count: int = 1
    """How often a source token has to be seen in training to get an id of its own."""

    target_min_count: int = 1
    """How often a target token has to be seen in training to get an id of its own."""

    source_max_size: int | None = None
    """How many source tokens get an id at most, the special ones not counted; `None` is all."""

    target_max_size: int | None = None
    """How many target tokens get an id at most, the special ones not counted; `None` is all."""

    shards: int = 1
    """Over how many files the training pairs are spread; the other splits are one file each."""

    def __post_init__(self) -> None:
        for name in ("source_min_count", "target_min_count", "source_max_size", "target_max_size", "shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; received {value}")


def transform(
    examples_dir: str, output_dir: str, options: TransformOptions, beam_args: Sequence[str] = ()
) -> dict[str, int]:
    """Builds the vocabularies from split train, then writes every split with ids.

    Args:
      examples_dir: directory with text-only records.
      output_dir: directory for vocabularies and records; made if missing.
      options: how.
      beam_args: Beam options.

    Returns:
      ``source_vocabulary_size`` and ``target_vocabulary_size`` (special tokens included), and the pipelines' counters:
      ``pairs_read`` (by either pipeline), ``tokens_counted``, ``records_written_SPLIT``.

    Raises:
      DataError: there are no records of split train, a record is damaged, or no token is left for a vocabulary.
    """
    files = {split: record_files(examples_dir, split) for split in splits_of(examples_dir)}
    if TRAIN not in files:
        raise DataError(f"{examples_dir}: expected records of split {TRAIN!r}, found none; run ExampleGen first")
    counted = run(lambda pipeline: _build_vocabularies(pipeline, files[TRAIN], output_dir, options), beam_args)
    sizes = {side: len(read_vocabulary(vocabulary_file(output_dir, side))) for side in SIDES}
    encoded = run(lambda pipeline: _encode_splits(pipeline, files, output_dir, options), beam_args)
    return {
        "source_vocabulary_size": sizes["source"],
        "target_vocabulary_size": sizes["target"],
        **{name: counted.get(name, 0) + encoded.get(name, 0) for name in sorted({*counted, *encoded})},
    }


def _build_vocabularies(
    pipeline: beam.Pipeline, files: Sequence[str], output_dir: str, options: TransformOptions
) -> None:
    pairs = pipeline | "ReadTrain" >> ReadPairRecords({TRAIN: files})
    sides = (
        ("source", options.source, options.source_max_size, options.source_min_count),
        ("target", options.target, options.target_max_size, options.target_min_count),
    )
    for side, config, max_size, min_count in sides:
        _ = (
            pairs
            | f"Text/{side}" >> beam.Map(_text_of, side).with_output_types(str)
            | f"CountTokens/{side}" >> CountTokens(config)
            | f"TopTokens/{side}" >> TopTokens(max_size, min_count)
            | f"WriteVocabulary/{side}" >> beam.Map(_write_vocabulary, vocabulary_file(output_dir, side))
        )


def _encode_splits(
    pipeline: beam.Pipeline, files: dict[str, list[str]], output_dir: str, options: TransformOptions
) -> None:
    encoded = (
        pipeline
        | "Read" >> ReadPairRecords(files)
        | "Batch" >> beam.BatchElements(**BATCH)
        | "EncodePairs" >> beam.ParDo(EncodePairs(output_dir, options)).with_outputs(*files)
    )
    for split in files:
        _ = encoded[split] | f"Write/{split}" >> WriteShards(output_dir, split, options.shards if split == TRAIN else 1)


def _text_of(pair: tuple[str, Record], side: str) -> str:
    record = pair[1]
    return record.source if side == "source" else record.target


def _write_vocabulary(counts: list[tuple[str, int]], path: str) -> str:
    write_vocabulary(path, counts)
    return path


class ReadPairRecords(beam.PTransform[PBegin, PCollection[tuple[str, Record]]]):
    """Reads stored pairs as (split, record), the files spread over the workers. Counter: ``pairs_read``.

    Args:
      files: paths by split.
    """

    def __init__(self, files: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._files = [(split, path) for split, paths in files.items() for path in paths]

    def expand(self, start: PBegin) -> PCollection[tuple[str, Record]]:
        """One element per file, then one per pair."""
        pairs: PCollection[tuple[str, Record]] = (
            start
            | "Files" >> beam.Create(self._files)
            | "Spread" >> beam.Reshuffle()
            | "ReadFile" >> beam.ParDo(_ReadFile())
        )
        return pairs


class _ReadFile(beam.DoFn):
    def __init__(self) -> None:
        self._read = Metrics.counter(__name__, "pairs_read")

    def process(self, element: tuple[str, str]) -> Iterator[tuple[str, Record]]:
        split, path = element
        for serialized in read_records(path):
            self._read.inc()
            yield split, from_example(serialized)


class EncodePairs(beam.DoFn):
    """Batches of (split, record) -> (key, serialized record with ids), tagged with the split.

    Args:
      vocabulary_dir: where the two vocabulary files lie.
      options: how text becomes tokens.
    """

    def __init__(self, vocabulary_dir: str, options: TransformOptions) -> None:
        self._vocabulary_dir = vocabulary_dir
        self._options = options

    def setup(self) -> None:
        """Loads the vocabularies and traces the two graphs, once per worker."""
        self._encode_source = self._encoder("source", self._options.source)
        self._encode_target = self._encoder("target", self._options.target)

    def _encoder(self, side: str, config: TextConfig) -> tf.types.experimental.PolymorphicFunction:
        processor = TextProcessor(read_vocabulary(vocabulary_file(self._vocabulary_dir, side)), config)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def encode(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            normalized = processor.normalize(texts)
            ids = processor.encode_normalized(normalized)
            return normalized, ids.values, ids.row_splits

        # The graph looks the table up but does not keep it alive.
        encode.processor = processor
        return encode

    def process(self, batch: Sequence[tuple[str, Record]]) -> Iterator[Any]:  # TaggedOutput; Beam warns of it bare
        """Two calls into TensorFlow for the whole batch."""
        sources = self._encoded(self._encode_source, [record.source for _, record in batch])
        targets = self._encoded(self._encode_target, [record.target for _, record in batch])
        for (split, record), source, target in zip(batch, sources, targets, strict=True):
            example = to_example(source[0], target[0], source[1], target[1], key=record.key)
            yield beam.pvalue.TaggedOutput(split, (record.key, example))

    @staticmethod
    def _encoded(
        encode: tf.types.experimental.PolymorphicFunction, texts: list[str]
    ) -> Iterator[tuple[str, list[int]]]:
        normalized, values, row_splits = (part.numpy().tolist() for part in encode(tf.constant(texts, tf.string)))
        for index, text in enumerate(normalized):
            yield text.decode(), values[row_splits[index] : row_splits[index + 1]]
