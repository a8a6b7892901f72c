import json

import numpy as np
import pytest
import tensorflow as tf

from pipeline.attention_samples import SAMPLES, write_attention
from pipeline.evaluate import evaluate
from pipeline.model_files import build_model, build_translator, load_model, save_model, text_processor
from tests.pipeline.conftest import small_config


def test_the_evaluator_leaves_the_attention_of_a_few_sentences(corpus, transform_dir, tmp_path):
    config = small_config(corpus, model={"attention": "general"})
    trained, evaluated = tmp_path / "trained", tmp_path / "evaluated"
    for folder in (trained, evaluated):
        folder.mkdir()
    save_model(build_model(config, transform_dir), trained, transform_dir)
    evaluate(config, transform_dir, trained, evaluated)
    rows = [line.split("\t") for line in (evaluated / "translations.tsv").read_text().splitlines()]
    known = {row[0]: row[1] for row in rows}
    found = json.loads((evaluated / "attention.json").read_text())
    assert len(found) == SAMPLES
    source, target = (text_processor(config, transform_dir, side) for side in ("source", "target"))
    words = {
        tuple(token.decode() for token in source.tokens_of(tf.constant([text]))[0].numpy()): text for text in known
    }
    for item in found:
        weights = np.array(item["weights"])
        assert weights.shape == (len(item["target_tokens"]), len(item["source_tokens"]))
        assert weights.sum(axis=1) == pytest.approx(1.0, abs=1e-3)
        # The tokens are those of a sentence of the test split and of its beam translation, and the end.
        *tokens, end = item["source_tokens"]
        assert item["translation"] == known[words[tuple(tokens)]] and end == item["target_tokens"][-1] == "</s>"
        assert set(item["target_tokens"]) <= set(target.tokens)


def test_a_network_without_attention_leaves_none(config, transform_dir, trainer_dir, tmp_path):
    translator = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir)
    write_attention(translator, ["eins zwei."], tmp_path)
    assert not list(tmp_path.iterdir())
