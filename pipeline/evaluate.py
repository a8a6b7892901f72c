"""The Evaluator: perplexities and scores of the test split and of its slices, and what the translations look like."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from models.seq2seq import Seq2Seq
from pipeline.artifacts import write_whole
from pipeline.attention_samples import write_attention
from pipeline.config import Config
from pipeline.evaluation_set import EvaluationSet, read_evaluation_set
from pipeline.input_data import batches
from pipeline.metrics import count_words, score
from pipeline.model_files import build_translator, load_model
from pipeline.scores import Score, perplexity
from pipeline.significance import intervals
from pipeline.slices import by_domain, by_length, by_unknown, score_slices
from pipeline.translate import translate_texts
from pipeline.translations import Translation, write_translations

log = logging.getLogger("heliograph.evaluate")

PROGRESS_EVERY = 1024
"""Sentences between two lines of progress."""

EVALUATION_FILE = "evaluation.json"


def evaluate(
    config: Config, transform_dir: Path, trainer_dir: Path, output_dir: Path, shortlist_dir: Path | None = None
) -> dict[str, Any]:
    """Score the test split, greedily and with the configured beam, in the precision that the model is served in.

    Writes `evaluation.json` (figures, but not how long it took; of those that are not greedy the intervals, and the
    same of slices, see `pipeline.significance` and `pipeline.slices`; for each score its track and sacrebleu signature
    where it has them, see `pipeline.metrics`), `translations.tsv` (source, beam translation, greedy translation, and
    all references, of every test source, after normalisation), and `attention.json` of a few of them if the network has
    attention.

    Returns:
        The figures, and the seconds that both searches took: `sentences` is the number of different sources,
        `references` that of their references.

    Raises:
        DataError: the test split is empty.
    """
    test = read_evaluation_set(config, transform_dir)
    sources, references = [item.source for item in test.items], [item.references for item in test.items]
    model = load_model(trainer_dir, transform_dir, config.serving.precision)
    measured = perplexities(config, model, transform_dir, test)
    figures: dict[str, float] = {
        "sentences": len(sources),
        "references": sum(len(alternatives) for alternatives in references),
        **{name: found.value for name, found in measured.items()},
    }
    seconds, translated, scores = {}, [], {}
    for label, beam_size in (("greedy_", 1), ("", config.search.beam_size)):
        translator = build_translator(
            config, model, transform_dir, shortlist_dir, frozen=True, beam_size=beam_size, n_best=1, max_tokens=0
        )
        began = time.monotonic()
        translations: list[str] = []
        for start in range(0, len(sources), PROGRESS_EVERY):
            part = sources[start : start + PROGRESS_EVERY]
            translations += translate_texts(translator.translate, part, config.evaluation.batch_size)
            left = (time.monotonic() - began) / len(translations) * (len(sources) - len(translations))
            log.info("beam %d: %d of %d sentences, %.0f s left", beam_size, len(translations), len(sources), left)
        seconds[label + "seconds"] = time.monotonic() - began
        scores = score(config.metrics, translations, references, config.target)
        figures |= {label + name: found.value for name, found in scores.items()}
        translated.append(translations)
    greedy, best = translated
    rows = map(Translation, sources, best, greedy, map(tuple, references))
    write_translations(output_dir, rows)
    searched = build_translator(config, model, transform_dir, shortlist_dir, frozen=True, n_best=1, max_tokens=0)
    write_attention(searched, sources, output_dir)
    measured |= scores  # those of the configured beam, which came last
    report: dict[str, Any] = {
        "figures": {name: value for name, value in figures.items() if not name.endswith("seconds")},
        "intervals": intervals(measured, config.evaluation.resamples),
        "slices": _slices(config, test, measured),
        "tracks": {name: found.track for name, found in scores.items() if found.track},
        "signatures": {name: found.signature for name, found in scores.items() if found.signature},
        "beam_size": config.search.beam_size,
        "precision": config.serving.precision,
        "shortlist": config.search.shortlist,
    }
    write_whole(output_dir / EVALUATION_FILE, json.dumps(report, indent=2, allow_nan=False) + "\n")
    # Times are no part of the file: the same evaluation has the same bytes.
    return {**figures, **seconds}


def perplexities(config: Config, model: Seq2Seq, transform_dir: Path, test: EvaluationSet) -> dict[str, Score]:
    """`perplexity` (teacher forced) and `free_running_perplexity` of the test split.

    Where tokens are no words, also `perplexity_per_word`, teacher forced.
    """
    step = tf.function(model.pair_nll, reduce_retracing=True)
    found = [
        (*step(batch), batch["target_lengths"])
        for batch in batches(transform_dir, "test", config.evaluation.batch_size)
    ]
    columns: Sequence[np.ndarray] = [np.concatenate(column).astype(np.float64) for column in zip(*found, strict=True)]
    forced, own, tokens = (test.of_items(column) for column in columns)
    scores = {"perplexity": perplexity(forced, tokens), "free_running_perplexity": perplexity(own, tokens)}
    if config.target.unit != "word":
        scores["perplexity_per_word"] = perplexity(forced, test.of_items(count_words(test.targets)))
    return scores


def _slices(config: Config, test: EvaluationSet, scores: Mapping[str, Score]) -> dict[str, list[dict[str, Any]]]:
    traits = {
        "length": by_length(test.lengths, config.evaluation.length_edges),
        "unknown_words": by_unknown(test.unknown),
        "domain": by_domain(test.domains),
    }
    return score_slices(scores, traits, config.evaluation.min_slice, config.evaluation.resamples)
