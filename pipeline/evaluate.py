"""The Evaluator: perplexities and scores of the test split, and what the translations look like."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from models.seq2seq import Seq2Seq
from pipeline.artifacts import write_whole
from pipeline.attention_samples import write_attention
from pipeline.config import Config
from pipeline.input_data import batches, texts
from pipeline.metrics import Score, group_by_source, perplexity_per_word, score
from pipeline.model_files import build_translator, load_model
from pipeline.translate import translate_texts
from preprocessing.errors import DataError

log = logging.getLogger("heliograph.evaluate")

PROGRESS_EVERY = 1024
"""Sentences between two lines of progress."""

EVALUATION_FILE = "evaluation.json"
TRANSLATIONS_FILE = "translations.tsv"


def evaluate(
    config: Config, transform_dir: Path, trainer_dir: Path, output_dir: Path, shortlist_dir: Path | None = None
) -> dict[str, float]:
    """Score the test split, greedily and with the configured beam, in the precision that the model is served in.

    Writes `evaluation.json` (figures, and for each score its track and sacrebleu signature where it has them, see
    `pipeline.metrics`), `translations.tsv` (source, beam translation, greedy translation, and all references, of every
    test source, after normalisation), and `attention.json` of a few of them if the network has attention.

    Returns:
        The figures alone: `sentences` is the number of different sources, `references` that of their references.

    Raises:
        DataError: the test split is empty.
    """
    pairs = list(texts(transform_dir, "test"))
    if not pairs:
        raise DataError(f"{transform_dir}: expected sentence pairs in the test split, got none; give more data")
    items = group_by_source(pairs)
    sources, references = [item.source for item in items], [item.references for item in items]
    model = load_model(trainer_dir, transform_dir, config.serving.precision)
    figures: dict[str, float] = {
        "sentences": len(items),
        "references": sum(len(alternatives) for alternatives in references),
        **perplexities(config, model, transform_dir, [reference for _, reference in pairs]),
    }
    scores: dict[str, Score] = {}
    translated = []
    for label, beam_size in (("", config.search.beam_size), ("greedy_", 1)):
        translator = build_translator(
            config, model, transform_dir, shortlist_dir, beam_size=beam_size, n_best=1, max_tokens=0
        )
        began = time.monotonic()
        translations: list[str] = []
        for start in range(0, len(sources), PROGRESS_EVERY):
            part = sources[start : start + PROGRESS_EVERY]
            translations += translate_texts(translator.translate, part, config.evaluation.batch_size)
            left = (time.monotonic() - began) / len(translations) * (len(sources) - len(translations))
            log.info("beam %d: %d of %d sentences, %.0f s left", beam_size, len(translations), len(sources), left)
        seconds = time.monotonic() - began
        scores = score(config.metrics, translations, references, config.target)
        figures |= {label + name: found.value for name, found in scores.items()}
        figures[label + "seconds"] = seconds
        translated.append(translations)
    rows = (
        "\t".join((*row, *alternatives)) for *row, alternatives in zip(sources, *translated, references, strict=True)
    )
    write_whole(output_dir / TRANSLATIONS_FILE, "".join(f"{row}\n" for row in rows))
    searched = build_translator(config, model, transform_dir, shortlist_dir, n_best=1, max_tokens=0)
    write_attention(searched, sources, output_dir)
    report: dict[str, Any] = {
        "figures": figures,
        "tracks": {name: found.track for name, found in scores.items() if found.track},
        "signatures": {name: found.signature for name, found in scores.items() if found.signature},
        "beam_size": config.search.beam_size,
        "precision": config.serving.precision,
        "shortlist": config.search.shortlist,
    }
    write_whole(output_dir / EVALUATION_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return figures


def perplexities(config: Config, model: Seq2Seq, transform_dir: Path, references: Sequence[str]) -> dict[str, float]:
    """`perplexity` (teacher forced) and `free_running_perplexity` of the test split, whose targets are `references`.

    Where tokens are no words, also `perplexity_per_word`, teacher forced.
    """
    for metric in model.metrics:
        metric.reset_state()
    step = tf.function(model.test_step, reduce_retracing=True)
    for batch in batches(transform_dir, "test", config.evaluation.batch_size):
        step(batch)
    figures = {metric.name: float(metric.result()) for metric in model.metrics}
    if config.target.unit != "word":
        figures["perplexity_per_word"] = perplexity_per_word(float(model.perplexity.nll.numpy()), references)
    return figures
