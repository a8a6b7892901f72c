"""What the decoding benchmark knows of Heliograph's models beside their speed: tokens, weights, and a search's steps.

The search is that of the SavedModel, run by the Python code it was exported from, because the SavedModel's answer is
text alone. It runs in a process of its own, so that the benchmark's has no TensorFlow in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.special_tokens import SPECIAL_TOKENS
from tests.benchmarks.decoding_models import FILES, PRESET, Exported, read_lines

BATCH = 64


@contextmanager
def own_process() -> Iterator[Any]:
    """A function that calls a function of this file with a tuple of arguments, in a process with TensorFlow."""
    with get_context("spawn").Pool(1) as pool:
        yield pool.apply


def write_tokens(exported: Exported, data: Path, folder: Path, sentences: int) -> dict[str, Any]:
    """Write what JoeyNMT learns from, and return what the peers that read tokens need.

    Files: each split and language of Multi30k in the tokens of Heliograph's preprocessing, and `vocabulary.LANGUAGE`
    without special tokens.

    Returns:
        `sources` and `references`, the first so many test sentences as tokens with a space between two, and
        `vocabularies` of `source` and `target`.
    """
    config = _config(exported)
    from pipeline.model_files import text_processor

    folder.mkdir(parents=True, exist_ok=True)
    vocabularies, tests = {}, {}
    for side, language in (("source", "de"), ("target", "en")):
        processor = text_processor(config, exported.transform_dir, side)
        vocabularies[side] = list(processor.tokens)
        for split in FILES:
            lines = _tokens(processor, read_lines(data, split, language))
            (folder / f"{split}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
            tests[side] = lines  # the last split is the test's
        ordinary = processor.tokens[len(SPECIAL_TOKENS) :]
        (folder / f"vocabulary.{language}").write_text("\n".join(ordinary) + "\n", encoding="utf-8")
    return {
        "sources": tests["source"][:sentences],
        "references": tests["target"][:sentences],
        "vocabularies": vocabularies,
    }


def _tokens(processor: Any, texts: list[str]) -> list[str]:
    import tensorflow as tf

    return [b" ".join(row).decode() for row in processor.tokens_of(tf.constant(texts)).to_list()]


def _config(exported: Exported) -> Any:
    from pipeline.quiet import load_tensorflow

    load_tensorflow()
    from pipeline.config import load

    return load(PRESET, exported.settings)


def write_weights(exported: Exported, path: Path) -> None:
    """Write all weights by path as an `.npz` file."""
    _config(exported)
    from pipeline.model_files import load_model

    model = load_model(exported.trainer_dir, exported.transform_dir)
    weights = (*model.encoder.weights, *model.decoder.weights)
    np.savez(path, **{weight.path: weight.numpy() for weight in weights})


def search(exported: Exported, sentences: list[str]) -> dict[str, list[Any]]:
    """The Python translator's best hypothesis of each sentence.

    Returns:
        Of each sentence its `translations`, their `tokens` with a space between two, `lengths` in tokens, the `steps`
        of its search, and the most steps that it might have taken (`limits`).
    """
    config = _config(exported)
    import tensorflow as tf

    from pipeline.model_files import build_translator, load_model

    model = load_model(exported.trainer_dir, exported.transform_dir, config.serving.precision)
    translator = build_translator(config, model, exported.transform_dir, exported.shortlist_dir, n_best=1)
    find, options = translator.search, translator.options

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def run(text: Any) -> Any:
        ids, _ = find.read(find.source, text, options)
        encoded = find.encode(ids)
        return find.hypotheses(encoded, options), encoded.lengths

    found: dict[str, list[Any]] = {name: [] for name in ("translations", "tokens", "lengths", "steps", "limits")}
    for first in range(0, len(sentences), BATCH):
        text = tf.constant(sentences[first : first + BATCH])
        result, source_lengths = run(text)
        found["translations"] += [one.decode() for one in find.texts(text, result, options)[:, 0].numpy()]
        for ids, length in zip(result.ids[:, 0].numpy(), result.lengths[:, 0].numpy(), strict=True):
            found["tokens"].append(" ".join(find.target.tokens[number] for number in ids[:length]))
            found["lengths"].append(int(length))
        found["steps"] += result.steps.numpy().tolist()
        longest = options.max_length_factor * (source_lengths.numpy() - 1) // 1 + options.max_length_constant
        found["limits"] += [int(tokens) + 1 for tokens in longest]  # the end token is a step, too
    return found
