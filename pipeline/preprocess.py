"""From configuration to preprocessing: which sources, which options, and which of its counts are worth showing."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.config import Config
from pipeline.data_config import CorpusConfig, DataConfig
from pipeline.data_files import cache_folder, locate, named_patterns
from pipeline.quiet import filtered_stderr
from pipeline.staging import staged
from pipeline.summary import summary
from pipeline.text_config import TextSection
from preprocessing.beam_run import pipeline_options
from preprocessing.corpora import FilePairs, PairSource, Split, Tsv
from preprocessing.csv_files import Csv
from preprocessing.dates import Dates
from preprocessing.download import RemoteFile, fetch_files
from preprocessing.emoji_names import EmojiNames
from preprocessing.errors import DataError
from preprocessing.file_patterns import is_remote
from preprocessing.filters import FilterOptions
from preprocessing.generate import COUNTS_FILE, GenerateOptions, generate_examples
from preprocessing.json_lines import JsonLines
from preprocessing.learning import VocabularyOptions
from preprocessing.po_files import Po
from preprocessing.shortlist import ShortlistOptions
from preprocessing.shortlist import shortlist as run_shortlist
from preprocessing.statistics import statistics as run_statistics
from preprocessing.text import TextConfig
from preprocessing.tmx import Tmx
from preprocessing.transform import TransformOptions
from preprocessing.transform import transform as run_transform
from preprocessing.vocabulary import SIDES

_FORMATS: dict[str, Callable[..., PairSource]] = {"tsv": Tsv, "csv": Csv, "jsonl": JsonLines, "tmx": Tmx, "po": Po}

_log = logging.getLogger("heliograph.preprocess")


def generate(config: Config, output: Path, beam_args: Sequence[str]) -> dict[str, Any]:
    """Fetches what has to be downloaded and makes the examples.

    Returns:
        Numbers of pairs: `read` and `repeated`, one per split, and `dropped`.

    Raises:
        DataError: The data cannot be had or used.
    """
    data, filters = config.data, config.filters
    check_reachable(data, beam_args)
    if data.download and data.directory is None:
        fetch_files([RemoteFile(item.name, item.url, item.sha256) for item in data.download], str(cache_folder(data)))
    sources = pair_sources(data)
    options = GenerateOptions(
        source_text=TextConfig(**config.source.text_options()),
        target_text=TextConfig(**config.target.text_options()),
        filters=FilterOptions(
            max_source_length=filters.max_source_tokens,
            max_target_length=filters.max_target_tokens,
            max_length_ratio=filters.max_length_ratio or None,
            drop_duplicates=filters.drop_duplicates,
        ),
        validation_fraction=0.0 if "validation" in data.given_splits else data.validation_fraction,
        test_fraction=0.0 if "test" in data.given_splits else data.test_fraction,
        shards=data.shards,
        max_error_share=filters.max_error_share,
    )
    with staged(beam_args, output) as (written,):
        counts = generate_examples(sources, options, written, beam_args)
    dropped = sum(entry["count"] for entry in counts["dropped"].values())
    return {"read": counts["read"], "repeated": counts["repeated"], **counts["kept"], "dropped": dropped}


def check_reachable(data: DataConfig, beam_args: Sequence[str]) -> None:
    """Dataflow's workers see nothing of this machine; those of other runners may.

    Raises:
        DataError: they would look for a file of this machine.
    """
    if "dataflow" not in pipeline_options(beam_args).view_as(StandardOptions).runner.lower():
        return
    for key, pattern in named_patterns(data):
        if not is_remote(path := locate(data, pattern)):
            raise DataError(
                f"data.{key}: {path} is on this machine, where Dataflow's workers cannot read it; copy it to a bucket "
                "and say where: --set data.directory=gs://BUCKET/FOLDER"
            )


def pair_sources(data: DataConfig) -> list[PairSource]:
    """The corpora, then the short forms of given splits; with both splits given, all the rest is for training."""
    splits: tuple[Split, ...] = ("validation", "test")
    rest: Split | None = "train" if len(data.given_splits) == len(splits) else None
    named = [_builtin(data, rest), _files(data, "", rest)]
    given = [_files(data, f"{split}_", split) for split in splits]
    more = [_corpus(data, corpus, corpus.split or rest) for corpus in data.corpora]
    return [source for source in (*named, *more, *given) if source is not None]


def _builtin(data: DataConfig, split: Split | None) -> PairSource | None:
    if data.builtin == "dates":
        dates = data.dates
        return Dates(count=dates.count, seed=dates.seed, years=(dates.first_year, dates.last_year), split=split)
    if data.builtin == "emoji":
        return EmojiNames(data.emoji.source_language, data.emoji.target_language, split)
    return None


def _corpus(data: DataConfig, corpus: CorpusConfig, split: Split | None) -> PairSource:
    path = locate(data, getattr(corpus, corpus.origin))
    said: dict[str, Any] = {**corpus.options, "split": split, "weight": corpus.weight, "domain": corpus.domain}
    if corpus.target is not None:
        return FilePairs(path, locate(data, corpus.target), **said)
    return _FORMATS[corpus.origin](path, **said)


def _files(data: DataConfig, prefix: str, split: Split | None) -> PairSource | None:
    source, target, tsv = (getattr(data, prefix + key) for key in ("source", "target", "tsv"))
    if tsv is not None:
        return Tsv(locate(data, tsv), split)
    if source is not None and target is not None:
        return FilePairs(locate(data, source), locate(data, target), split)
    return None


def transform(config: Config, examples: Path, output: Path, beam_args: Sequence[str]) -> dict[str, Any]:
    """Makes the vocabularies and the records with ids; returns sizes and counts."""
    options = TransformOptions(
        source=_vocabulary_options(config.source),
        target=_vocabulary_options(config.target),
        **config.vocabulary.model_dump(),
    )
    with filtered_stderr(), staged(beam_args, output, examples) as (written, read):
        counts: dict[str, Any] = dict(run_transform(read, written, options, beam_args))
    _tell("Transform", counts)
    return counts


def shortlist(candidates: int, frequent: int, records: Path, output: Path, beam_args: Sequence[str]) -> dict[str, Any]:
    """Counts the shortlist; returns how well it holds the validation split."""
    options = ShortlistOptions(candidates=candidates, frequent=frequent)
    with staged(beam_args, output, records) as (written, read):
        found: dict[str, Any] = dict(run_shortlist(read, written, options, beam_args))
    _tell("ShortlistGen", found)
    return found


def _vocabulary_options(section: TextSection) -> VocabularyOptions:
    return VocabularyOptions(
        text=TextConfig(**section.text_options()),
        min_count=section.min_count,
        max_size=section.max_vocabulary,
        character_coverage=section.character_coverage,
        bpe_dropout=section.bpe_dropout,
        sampling_alpha=section.sampling_alpha,
    )


def statistics(examples: Path, records: Path, output: Path, beam_args: Sequence[str]) -> dict[str, Any]:
    """Describes the corpus; returns mean lengths in tokens and shares of unknown tokens, of training and test."""
    counts = json.loads((examples / COUNTS_FILE).read_text(encoding="utf-8"))
    with staged(beam_args, output, records) as (written, read):
        described: dict[str, Any] = run_statistics(read, counts, written, beam_args)
    metrics: dict[str, Any] = {}
    for side in SIDES:
        metrics[f"train_{side}_tokens"] = described["splits"]["train"][side]["length"]["mean"]
        metrics[f"test_{side}_unknown"] = described["splits"]["test"][side]["unknown_rate"]
    _tell("StatisticsGen", metrics)
    return metrics


def _tell(component: str, metrics: Mapping[str, Any]) -> None:
    for line in summary(component, metrics):
        _log.info("%s", line)
