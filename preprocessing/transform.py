"""Transform: text-only records become vocabularies and records with ids, in one Beam pipeline.

    SPLIT-*.tfrecord.gz ─▶ CountTokens ─▶ TopTokens ─▶ Learn ─┬─▶ {source,target}.vocabulary.tsv       (split train)
                                                              └─▶ DrawSegmentations ─▶ *.segmentations.tsv
    SPLIT-*.tfrecord.gz ─▶ EncodeFiles ─▶ SPLIT-*.tfrecord.gz with ids                                 (every split)

Each file of records becomes a file of the same name with the same pairs in the same order, so nothing is shuffled but
counts. Text is normalised already, by ExampleGen.

Encoding begins when all vocabularies are written, and reads them from their files, not from a side input: not every
runner combines those. A pipeline of its own would start all workers again. Segmentations are drawn where the
configuration asks for subword regularisation, and used by training alone.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import tensorflow as tf
from apache_beam.metrics.metric import Metrics
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.combiners import ToList

from preprocessing.beam_run import run
from preprocessing.counting import BATCH, CountTokens, TopTokens
from preprocessing.errors import DataError
from preprocessing.examples import TRAIN, Record, from_example, record_files, splits_of, to_example
from preprocessing.grouping import batches, shuffle_folder
from preprocessing.learning import VocabularyOptions, write_vocabularies
from preprocessing.records import delete_leftovers, read_records, write_records
from preprocessing.segmentation_table import segmentation_file, segmentation_line, write_segmentations
from preprocessing.subword_sampling import LONGEST_SAMPLED_WORD, WordSampler
from preprocessing.text import SUBWORD_UNITS, TextConfig
from preprocessing.vocabulary import (
    SIDES,
    TokenCount,
    read_bytes,
    read_processor,
    read_vocabulary,
    sentencepiece_file,
    vocabulary_file,
)


@dataclass(frozen=True, kw_only=True)
class TransformOptions:
    """What Transform does.

    Raises:
      ValueError: a number is below 1, or a joint vocabulary is asked for with two sets of options.
    """

    source: VocabularyOptions
    """How the source language is turned into tokens, and which get an id."""

    target: VocabularyOptions
    """The same of the target language."""

    joint: bool = False
    """Whether both sides share one vocabulary, made from the texts of both."""

    max_words: int = 500_000
    """Subword units: how many distinct words are kept in memory, the most frequent ones, to learn from and to draw
    segmentations of."""

    segmentations: int = 32
    """How many segmentations of each word are drawn, where a side asks for that."""

    def __post_init__(self) -> None:
        for name in ("max_words", "segmentations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; received {getattr(self, name)}")
        if self.joint and self.source != self.target:
            raise ValueError(
                f"joint must be False where source and target differ; received {self.source} and {self.target}"
            )


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
      ``source_vocabulary_size`` and ``target_vocabulary_size`` (special tokens included), and the pipeline's counters:
      ``pairs_read`` (each once, of all splits), ``tokens_counted``, ``records_written_SPLIT``.

    Raises:
      DataError: there are no records of split train, a record is damaged, or no vocabulary can be made of them.
    """
    files = {split: record_files(examples_dir, split) for split in splits_of(examples_dir)}
    if TRAIN not in files:
        raise DataError(f"{examples_dir}: expected records of split {TRAIN!r}, found none; run ExampleGen first")
    with shuffle_folder(output_dir) as folder:
        counters = run(lambda pipeline: _build(pipeline, files, output_dir, folder, options), beam_args)
    delete_leftovers(output_dir)
    sizes = {f"{side}_vocabulary_size": len(read_vocabulary(vocabulary_file(output_dir, side))) for side in SIDES}
    return {**sizes, **counters}


def _build(
    pipeline: beam.Pipeline, files: dict[str, list[str]], output_dir: str, folder: str, options: TransformOptions
) -> None:
    learned = _build_vocabularies(pipeline, files[TRAIN], output_dir, folder, options)
    _ = (
        learned
        | "Vocabularies" >> beam.Flatten()
        | "Written" >> beam.Map(lambda _: (None, None))
        | "AllWritten" >> beam.GroupByKey()
        | "Files" >> beam.FlatMap(_files_of, files)
        | "SpreadFiles" >> beam.Reshuffle()
        | "EncodeFiles" >> beam.ParDo(EncodeFiles(output_dir, options))
    )


def _build_vocabularies(
    pipeline: beam.Pipeline, files: Sequence[str], output_dir: str, folder: str, options: TransformOptions
) -> list[PCollection[list[TokenCount]]]:
    """Of each vocabulary, what it was learned from, once its files are written."""
    pairs = (
        pipeline
        | "TrainingFiles" >> beam.Create(files, reshuffle=False)
        | "Spread" >> beam.Reshuffle()
        | "ReadFile" >> beam.FlatMap(_read_batches)
    )
    learned = []
    for sides in [SIDES] if options.joint else [(side,) for side in SIDES]:
        label, made = "+".join(sides), getattr(options, sides[0])
        # Rare words teach no subwords, but segmentations are drawn of them, too.
        kept = (options.max_words, 1) if made.text.unit in SUBWORD_UNITS else (made.max_size, made.min_count)
        top = (
            pairs
            | f"Text/{label}" >> beam.Map(_texts_of, sides)
            | f"CountTokens/{label}" >> CountTokens(made.text, folder, len(files))
            | f"TopTokens/{label}" >> TopTokens(*kept)
            | f"Learn/{label}" >> beam.Map(_learn, output_dir, sides, made)
        )
        learned.append(top)
        if made.samples:
            _ = (
                top
                | f"Words/{label}" >> beam.FlatMap(_words_of).with_output_types(str)
                | f"Spread/{label}" >> beam.Reshuffle()
                | f"DrawSegmentations/{label}"
                >> beam.ParDo(DrawSegmentations(sentencepiece_file(output_dir, sides[0]), made, options.segmentations))
                | f"Collect/{label}" >> ToList()
                | f"WriteSegmentations/{label}" >> beam.Map(_write_segmentations, output_dir, sides)
            )
    return learned


def _files_of(_: object, files: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    return [(split, path) for split, paths in files.items() for path in paths]


def _read_batches(path: str) -> Iterator[list[Record]]:
    for batch in batches(read_records(path), BATCH):
        yield list(map(from_example, batch))


def _texts_of(batch: Sequence[Record], sides: Sequence[str]) -> list[str]:
    return [getattr(record, side) for side in sides for record in batch]


def _learn(
    counts: list[TokenCount], output_dir: str, sides: Sequence[str], options: VocabularyOptions
) -> list[TokenCount]:
    write_vocabularies(counts, output_dir, sides, options)
    return counts


def _words_of(counts: list[TokenCount]) -> list[str]:
    return [word for word, _ in counts]


def _write_segmentations(lines: list[str], output_dir: str, sides: Sequence[str]) -> None:
    for side in sides:
        write_segmentations(segmentation_file(output_dir, side), lines)


class DrawSegmentations(beam.DoFn):
    """Words -> lines of a file of segmentations.

    Args:
      model: path of the SentencePiece model.
      options: with what probabilities.
      number: of draws for each word.
    """

    def __init__(self, model: str, options: VocabularyOptions, number: int) -> None:
        self._model = model
        self._options = options
        self._number = number
        self._sampler: WordSampler | None = None

    def process(self, word: str) -> Iterator[str]:
        """Loads the model with the first word: only that proves that it has been written.

        A word that is longer than `LONGEST_SAMPLED_WORD` has no line, so training segments it as usual.
        """
        if len(word) > LONGEST_SAMPLED_WORD:
            return
        if self._sampler is None:
            self._sampler = WordSampler(
                read_bytes(self._model), self._options.bpe_dropout, self._options.sampling_alpha
            )
        yield segmentation_line(word, self._sampler.draw(word, self._number))


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


class EncodeFiles(beam.DoFn):
    """(split, path of a file of records) -> path of the file with ids.

    Counters: ``pairs_read``, ``records_written_SPLIT``.

    Args:
      output_dir: where the two vocabulary files lie, and the new files appear.
      options: how text becomes tokens.
    """

    def __init__(self, output_dir: str, options: TransformOptions) -> None:
        self._output_dir = output_dir
        self._options = options
        self._read = Metrics.counter(__name__, "pairs_read")
        self._encoders: list[tf.types.experimental.PolymorphicFunction] = []

    def _encoder(self, side: str, config: TextConfig) -> tf.types.experimental.PolymorphicFunction:
        processor = read_processor(self._output_dir, side, config)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def encode(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            ids = processor.encode_normalized(texts)
            return ids.values, ids.row_splits

        # The graph looks tables up but does not keep them alive.
        encode.processor = processor
        return encode

    def process(self, element: tuple[str, str]) -> Iterator[str]:
        """Loads the vocabularies with the first file, which proves that they are written. One batch is in memory."""
        split, path = element
        if not self._encoders:
            self._encoders = [self._encoder(side, getattr(self._options, side).text) for side in SIDES]
        written = os.path.join(self._output_dir, os.path.basename(path))
        count = write_records(written, self._encoded(read_records(path)))
        Metrics.counter(__name__, f"records_written_{split}").inc(count)
        yield written

    def _encoded(self, serialized: Iterable[bytes]) -> Iterator[bytes]:
        """Two calls into TensorFlow for a whole batch."""
        for batch in batches(map(from_example, serialized), BATCH):
            self._read.inc(len(batch))
            sources = _ids(self._encoders[0], [record.source for record in batch])
            targets = _ids(self._encoders[1], [record.target for record in batch])
            for record, source_ids, target_ids in zip(batch, sources, targets, strict=True):
                yield to_example(
                    record.source, record.target, source_ids, target_ids, key=record.key, domain=record.domain
                )


def _ids(encode: tf.types.experimental.PolymorphicFunction, texts: list[str]) -> Iterator[list[int]]:
    values, row_splits = (part.numpy().tolist() for part in encode(tf.constant(texts, tf.string)))
    return (values[start:end] for start, end in itertools.pairwise(row_splits))
