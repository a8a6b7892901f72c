"""Whole corpora, translated on Beam: shards of text in, aligned shards of translations out.

    shards ──read──▶ blocks of lines ──RunInference──▶ blocks of translations ──by shard──▶ shards

Each shard appears whole, under the name of its source, and one that is already there is not translated again: a job
that was broken off goes on with the same command, at the group of shards that it was at. Within a block, lines of
similar lengths are translated together.
"""

import collections
import dataclasses
import gzip
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
import tensorflow as tf
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics.metric import Metrics
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from preprocessing.beam_run import run
from preprocessing.errors import DataError
from preprocessing.lines import read_lines

MODEL_FILE = "translated_by.json"
"""In the output folder: which model its translations are of."""

BLOCK = 512
"""Lines that are passed around together; of them, batches are made."""

LINES, SHARDS, TRUNCATED = "lines", "shards", "truncated"

Block = tuple[int, list[bytes]]
"""The block's place in its shard, and its lines."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BulkOptions:
    """What is translated, by what, to where. All paths may be of any file system that Beam and TensorFlow know."""

    pattern: str
    """Text files, one text a line, plain or `.gz`."""
    output_dir: str
    """Folder of the translations; it is created if need be."""
    model_dir: str
    """A version of a SavedModel; every worker reads it."""
    batch_size: int = 64
    """Lines that are translated together."""
    max_line_bytes: int = 65_536
    """Longest line."""
    shards_together: int = 64
    """Shards of one pipeline. Beam writes the first shard when the last one of its pipeline has been translated, so a
    job that is broken off loses as many as these; they should be several times as many as there are workers."""


def translate_corpus(options: BulkOptions, beam_args: Sequence[str] = ()) -> dict[str, float]:
    """Translate all shards that are not there yet.

    Args:
        options: see `BulkOptions`.
        beam_args: options of Beam.

    Returns:
        `shards` and `lines` that were translated now, of which `truncated` had more tokens than the model reads,
        `skipped` shards, `seconds` and `lines_per_second`.

    Raises:
        DataError: no file, two of one name, a line that is too long, or an output folder that holds translations of
            another model, or the texts.
    """
    options = dataclasses.replace(options, pattern=_absolute(options.pattern), output_dir=_absolute(options.output_dir))
    for path in (options.output_dir, options.model_dir):
        if any(mark in path for mark in "*?["):
            raise DataError(f"{path}: Beam reads *, ? and [ in a path as wildcards; choose another folder")
    shards = _shards(options)
    _claim(options)
    there = {_name(path) for path in _matching(FileSystems.join(options.output_dir, "*"))}
    todo = [path for path in shards if _name(path) not in there]
    start, counters = time.monotonic(), collections.Counter[str]()
    for first in range(0, len(todo), options.shards_together):
        group = todo[first : first + options.shards_together]
        counters.update(run(partial(_translated, paths=group, options=options), beam_args))
    seconds, lines = time.monotonic() - start, counters[LINES]
    return {
        "shards": counters[SHARDS],
        "skipped": len(shards) - len(todo),
        "lines": lines,
        "truncated": counters[TRUNCATED],
        "seconds": seconds,
        "lines_per_second": lines / seconds if lines else 0.0,
    }


def _translated(pipeline: beam.Pipeline, paths: Sequence[str], options: BulkOptions) -> None:
    handler: Any = KeyedModelHandler(TranslatorHandler(options.model_dir, options.batch_size))
    _ = (
        pipeline
        | "Shards" >> beam.Create(paths)
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(_Read(options.max_line_bytes))
        | "SpreadBlocks" >> beam.Reshuffle()
        | "Translate" >> RunInference(handler)
        | "ByShard" >> beam.GroupByKey()
        | "Write" >> beam.ParDo(_Write(options.output_dir))
    )


class _Read(beam.DoFn):
    """Path of a shard to its blocks, each with the path; a shard without lines is one empty block."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes

    def process(self, path: str) -> Iterator[tuple[str, Block]]:
        place, lines = 0, []
        for number, line in enumerate(read_lines(path, self._max_line_bytes), start=1):
            if line.too_long:
                raise DataError(
                    f"{path}: line {number}: expected at most {self._max_line_bytes:,} bytes, got more; "
                    "split it into sentences"
                )
            lines.append(line.text)
            if len(lines) == BLOCK:
                yield path, (place, lines)
                place, lines = place + 1, []
        if lines or not place:
            yield path, (place, lines)


class TranslatorHandler(ModelHandler[Block, Block, Any]):
    """Translates blocks by the signature `complete` of a SavedModel, which says what it has not read to its end.

    Args:
        model_dir: the version's folder.
        batch_size: texts of a call.
    """

    def __init__(self, model_dir: str, batch_size: int) -> None:
        super().__init__(max_batch_size=1)  # of blocks; batches of lines are made of each
        self._model_dir, self._batch_size = model_dir, batch_size

    def load_model(self) -> Any:
        """The loaded SavedModel, one for all threads of a worker."""
        import tensorflow_text  # noqa: F401  (registers its operations)

        return tf.saved_model.load(self._model_dir)

    def run_inference(
        self, batch: Sequence[Block], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Block]:
        """The translations of blocks, in the places of their lines."""
        translate, truncated = model.signatures["complete"], Metrics.counter("translate_corpus", TRUNCATED)
        for place, lines in batch:
            order = sorted(range(len(lines)), key=lambda row: len(lines[row]))
            found = [b""] * len(lines)
            for start in range(0, len(lines), self._batch_size):
                rows = order[start : start + self._batch_size]
                answer = translate(text=tf.constant([lines[row] for row in rows]), prefix=tf.fill([len(rows)], ""))
                truncated.inc(int(answer["truncated"].numpy().sum()))
                for row, translation in zip(rows, answer["translation"].numpy(), strict=True):
                    found[row] = translation
            yield place, found


class _Write(beam.DoFn):
    """A shard's path and blocks to its file."""

    def __init__(self, output_dir: str) -> None:
        self._output_dir = output_dir
        self._lines = Metrics.counter("translate_corpus", LINES)
        self._shards = Metrics.counter("translate_corpus", SHARDS)

    def process(self, element: tuple[str, Iterable[Block]]) -> None:
        path, blocks = element
        name, count = _name(path), 0
        # A runner may try a shard twice at once.
        aside = FileSystems.join(self._output_dir, f".{name}.{uuid.uuid4().hex}.partial")
        with FileSystems.create(aside, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
            # The time in the header would make each run's file another one.
            sink = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if name.endswith(".gz") else raw
            for _, lines in sorted(blocks):
                count += len(lines)
                sink.write(b"".join(line + b"\n" for line in lines))
            if sink is not raw:
                sink.close()
        FileSystems.rename([aside], [FileSystems.join(self._output_dir, name)])
        self._lines.inc(count)
        self._shards.inc()


def _shards(options: BulkOptions) -> list[str]:
    paths = _matching(options.pattern)
    if not paths:
        raise DataError(f"{options.pattern}: no such file; check the path")
    names: dict[str, str] = {MODEL_FILE: "that of the model"}
    for path in paths:
        if FileSystems.split(path)[0].rstrip("/") == options.output_dir.rstrip("/"):
            raise DataError(f"{options.output_dir}: holds the texts; choose another folder for their translations")
        if _name(path) in names:
            raise DataError(f"{path}: expected files of different names, {names[_name(path)]} has the same")
        names[_name(path)] = path
    return paths


def _claim(options: BulkOptions) -> None:
    """Note the model in the output folder, or see that it is the one that is noted there."""
    (found,) = FileSystems.match([FileSystems.join(options.model_dir, "saved_model.pb")])
    if not found.metadata_list:
        raise DataError(f"{options.model_dir}: expected the folder of a SavedModel's version, found no saved_model.pb")
    if not FileSystems.exists(options.output_dir):
        FileSystems.mkdirs(options.output_dir)
    path = FileSystems.join(options.output_dir, MODEL_FILE)
    files = [FileSystems.join(options.model_dir, name) for name in ("saved_model.pb", "variables/variables.index")]
    model = {"sha256": [_checksum(file) for file in files]}
    if FileSystems.exists(path):
        with FileSystems.open(path) as stream:
            noted = json.loads(stream.read())
        if noted != model:
            raise DataError(f"{options.output_dir}: holds translations of another model; choose another folder")
        return
    aside = FileSystems.join(options.output_dir, f".{MODEL_FILE}.{uuid.uuid4().hex}")
    with FileSystems.create(aside) as stream:
        stream.write(json.dumps(model).encode())
    FileSystems.rename([aside], [path])


def _checksum(path: str) -> str:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _absolute(path: str) -> str:
    """A path that means the same in every worker."""
    return path if "://" in path else os.path.abspath(path)


def _matching(pattern: str) -> list[str]:
    (found,) = FileSystems.match([pattern])
    return sorted(metadata.path for metadata in found.metadata_list)


def _name(path: str) -> str:
    name: str = FileSystems.split(path)[1]
    return name
