"""StatisticsGen: what the encoded corpus looks like, as ``statistics.json``.

    {
      "splits": {
        "train": {
          "pairs": 29000,
          "source": {
            "tokens": 360412, "unknown_tokens": 9121, "unknown_rate": 0.0253,
            "length": {"min": 1, "mean": 12.43, "p50": 12, "p95": 20, "p99": 26, "max": 44, "histogram": {"1": 3, ...}},
            "characters": {"total": 2009114, "distinct": 72, "mean": 69.3, "histogram": {"14": 2, "15": 5, ...}},
            "scripts": {"Latin": 0.9999, "Greek": 0.0001},
            "coverage": {"1": 0.08, "2": 0.15, "5": 0.26, ..., "7855": 0.9747}
          },
          "target": {...},
          "length_ratio": {"histogram": {"0.917": 5210, "1": 6033, ...}},
          "length_correlation": 0.83,
          "suspicious": {
            "untranslated": {"count": 3, "of": 29000, "share": 0.0001, "examples": [
              {"file": "data/train.de.gz", "line": 713, "source": "Hot Dogs", "target": "hot dogs"}, ...]},
            "length_ratio": {...}, "numbers_differ": {...}, "source_script": {...}, "target_script": {...}
          },
          "duplicates": {"pairs": {...}, "sources": {...}}
        }, ...
      },
      "usual": {"length_ratio": {"low": 0.42, "median": 0.917, "high": 2.0}, "script": {"source": "Latin", ...}},
      "overlaps": {"test, train": {"count": 0, ...}, ...},
      "vocabulary_sizes": {"source": 7855, "target": 5893},
      "example_gen": {...}
    }

Lengths are tokens without start and end, and percentiles are of the nearest rank: the shortest length that at least so
many percent of the pairs do not exceed. Coverage is the share of running tokens that are one of the N most frequent of
the training split. Scripts are shares of the letters. Ratios are target / source in characters, and the correlation is
Pearson's of both sides' characters. Histograms of characters and ratios have buckets, see `preprocessing.pair_traits`;
a bucket's name is its smallest length, or its middle. A finding has the examples with the smallest keys.

Where the weight of a corpus repeats pairs, numbers of pairs and tokens, lengths, characters and coverage are of all
copies, as training sees them; the rest is of one copy each.

`preprocessing.description` says what is usual, and so what is suspicious. Everything is computed from sums of integers,
so workers and order do not show.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.beam_run import run
from preprocessing.description import describe
from preprocessing.errors import DataError
from preprocessing.examples import TRAIN, record_files, splits_of
from preprocessing.findings import with_paths
from preprocessing.grouping import shuffle_folder
from preprocessing.pair_counts import CountPairs
from preprocessing.records import delete_leftovers, write_whole
from preprocessing.repeats import CountRepeats
from preprocessing.transform import ReadPairRecords
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

STATISTICS_FILE = "statistics.json"


def statistics(
    transform_dir: str, counts: Mapping[str, Any], output_dir: str, beam_args: Sequence[str] = ()
) -> dict[str, Any]:
    """Describes the records of every split and writes ``statistics.json``.

    Args:
      transform_dir: directory that `preprocessing.transform.transform` wrote.
      counts: what ExampleGen counted, see `preprocessing.tally`; is passed on under ``example_gen``, but for the files,
        by which the examples name theirs.
      output_dir: directory for the file; made if missing.
      beam_args: Beam options.

    Returns:
      What was written; the module's docstring has an example.

    Raises:
      DataError: there are no training records, or one is damaged or without ids.
    """
    splits = splits_of(transform_dir)
    if TRAIN not in splits:
        raise DataError(f"{transform_dir}: expected {TRAIN}-*.tfrecord.gz, found none; run Transform first")
    files = {split: record_files(transform_dir, split) for split in splits}
    sizes = {side: len(read_vocabulary(vocabulary_file(transform_dir, side))) for side in SIDES}
    path = os.path.join(output_dir, STATISTICS_FILE)

    def build(pipeline: beam.Pipeline, folder: str) -> None:
        pairs = pipeline | "Read" >> ReadPairRecords(files)
        results = {
            "counts": pairs | "CountPairs" >> beam.CombineGlobally(CountPairs()),
            "repeats": pairs | "CountRepeats" >> CountRepeats(folder, len(files[TRAIN])),
        }
        _ = (
            {name: result | f"Key_{name}" >> beam.Map(_with_one_key) for name, result in results.items()}
            | "Join" >> beam.CoGroupByKey()
            | "Write" >> beam.Map(_write, splits, sizes, dict(counts), path)
        )

    with shuffle_folder(output_dir) as folder:
        run(lambda pipeline: build(pipeline, folder), beam_args)
    delete_leftovers(output_dir)
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        written: dict[str, Any] = json.loads(file.read())
    return written


def _with_one_key(result: object) -> tuple[str, object]:
    return "", result


def _write(
    joined: tuple[str, dict[str, Iterable[Any]]],
    splits: Sequence[str],
    sizes: Mapping[str, int],
    example_gen: Mapping[str, Any],
    path: str,
) -> None:
    (counted,), (repeats,) = joined[1]["counts"], joined[1]["repeats"]
    files = example_gen["files"]
    located = {split: counts._replace(findings=with_paths(counts.findings, files)) for split, counts in counted.items()}
    content = {
        **describe(located, with_paths(repeats, files), splits),
        "vocabulary_sizes": sizes,
        "example_gen": {name: count for name, count in example_gen.items() if name != "files"},
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
