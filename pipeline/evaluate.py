"""The Evaluator: perplexities, BLEU, chrF and exact matches on the test split, and what the translations look like."""

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from models.seq2seq import Seq2Seq
from pipeline.artifacts import write_whole
from pipeline.config import Config
from pipeline.input_data import batches, texts
from pipeline.model_files import build_translator, load_model
from pipeline.translate import translate_texts
from preprocessing.errors import DataError
from preprocessing.text import JOINER, TextProcessor

log = logging.getLogger("heliograph.evaluate")

PROGRESS_EVERY = 1024
"""Sentences between two lines of progress."""

EVALUATION_FILE = "evaluation.json"
TRANSLATIONS_FILE = "translations.tsv"


def evaluate(config: Config, transform_dir: Path, trainer_dir: Path, output_dir: Path) -> dict[str, float]:
    """Score the test split, greedily and with the configured beam.

    Writes `evaluation.json` (figures, sacrebleu signatures) and `translations.tsv` (source, reference, beam
    translation and greedy translation of every test sentence, after normalisation).

    Returns:
        The figures alone.

    Raises:
        DataError: the test split is empty.
    """
    pairs = list(texts(transform_dir, "test"))
    if not pairs:
        raise DataError(f"{transform_dir}: expected sentence pairs in the test split, got none; give more data")
    sources, references = [source for source, _ in pairs], [reference for _, reference in pairs]
    model = load_model(trainer_dir, transform_dir)
    figures: dict[str, float] = {"sentences": len(pairs), **perplexities(config, model, transform_dir)}
    signatures: dict[str, str] = {}
    columns = [sources, references]
    for label, beam_size in (("", config.search.beam_size), ("greedy_", 1)):
        translator = build_translator(config, model, transform_dir, beam_size=beam_size, n_best=1)
        began = time.monotonic()
        translations = []
        for start in range(0, len(sources), PROGRESS_EVERY):
            part = sources[start : start + PROGRESS_EVERY]
            translations += translate_texts(translator.translate, part, config.evaluation.batch_size)
            left = (time.monotonic() - began) / len(translations) * (len(sources) - len(translations))
            log.info("beam %d: %d of %d sentences, %.0f s left", beam_size, len(translations), len(sources), left)
        seconds = time.monotonic() - began
        scores, signatures = score(translations, references, config, translator.target)
        figures |= {label + name: value for name, value in scores.items()}
        figures[label + "seconds"] = seconds
        columns.append(translations)
    write_whole(output_dir / TRANSLATIONS_FILE, "".join("\t".join(row) + "\n" for row in zip(*columns, strict=True)))
    report = {"figures": figures, "signatures": signatures, "beam_size": config.search.beam_size}
    write_whole(output_dir / EVALUATION_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    return figures


def perplexities(config: Config, model: Seq2Seq, transform_dir: Path) -> dict[str, float]:
    """`perplexity` (teacher forced) and `free_running_perplexity` of the test split."""
    for metric in model.metrics:
        metric.reset_state()
    step = tf.function(model.test_step, reduce_retracing=True)
    for batch in batches(transform_dir, "test", config.evaluation.batch_size):
        step(batch)
    return {metric.name: float(metric.result()) for metric in model.metrics}


def score(
    translations: Sequence[str], references: Sequence[str], config: Config, target: TextProcessor
) -> tuple[dict[str, float], dict[str, str]]:
    """Corpus scores of detokenised text, and their sacrebleu signatures.

    `bleu` and `chrf` see plain text, as the field reports them; `token_bleu` (unit word) is the classic tutorial's
    measure, on the tokens of our own tokeniser. The unit character is scored by character.
    """
    lowercase = config.target.lowercase
    characters = config.target.unit == "character"
    measures: dict[str, tuple[Any, Sequence[str], Sequence[str]]] = {
        "bleu": (BLEU(lowercase=lowercase, tokenize="char" if characters else "13a"), translations, references),
        "chrf": (CHRF(lowercase=lowercase), translations, references),
    }
    if config.target.unit == "word":
        token_bleu = BLEU(lowercase=lowercase, tokenize="none", force=True)
        measures["token_bleu"] = (token_bleu, _tokenized(translations, target), _tokenized(references, target))
    figures = {}
    signatures = {}
    for name, (measure, hypotheses, gold) in measures.items():
        figures[name] = measure.corpus_score(list(hypotheses), [list(gold)]).score
        signatures[name] = str(measure.get_signature())
    matches = sum(hypothesis == gold for hypothesis, gold in zip(translations, references, strict=True))
    return {**figures, "exact_match": matches / len(references)}, signatures


def _tokenized(plain: Sequence[str], target: TextProcessor) -> list[str]:
    tokens = target.tokens_of(tf.constant(list(plain), tf.string)).to_list()
    return [" ".join(token.decode().replace(JOINER, "") for token in row) for row in tokens]
