"""The Trainer: what it leaves behind, what TensorBoard can read, and that a repetition is identical."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.callbacks import KeepBest
from pipeline.input_data import batches
from pipeline.model_files import build_model, build_translator, load_model
from pipeline.preprocess import generate, transform
from pipeline.train import train
from preprocessing.errors import DataError
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file
from tests.pipeline.conftest import small_config


def test_files_and_figures(config, transform_dir, trainer_dir):
    assert {path.name for path in trainer_dir.iterdir()} == {"model.keras", "vocabularies.json", "history.json", "logs"}
    history = json.loads((trainer_dir / "history.json").read_text())
    assert len(history["perplexity"]) == config.training.epochs
    assert history["val_perplexity"][-1] < history["val_perplexity"][0]
    assert history["teacher_forcing"] == [0.5, 0.5]


def test_the_kept_model_is_the_best_epochs(config, transform_dir, trainer_dir):
    model = load_model(trainer_dir, transform_dir)
    for batch in batches(transform_dir, "validation", 16):
        model.test_step(batch)
    history = json.loads((trainer_dir / "history.json").read_text())
    assert float(model.perplexity.result()) == pytest.approx(min(history["val_perplexity"]), rel=1e-4)


def test_tensorboard_shows_curves_and_samples(trainer_dir):
    events = {}
    for part in ("train", "validation"):
        events[part] = EventAccumulator(str(trainer_dir / "logs" / part), size_guidance={"tensors": 0})
        events[part].Reload()
    curves = {"loss", "perplexity", "teacher_forcing_ratio", "learning_rate", "tokens_per_second"}
    assert curves <= set(events["train"].Tags()["tensors"])
    assert {"loss", "perplexity", "free_running_perplexity", "samples"} <= set(events["validation"].Tags()["tensors"])
    ratios = [float(tf.make_ndarray(event.tensor_proto)) for event in events["train"].Tensors("teacher_forcing_ratio")]
    assert ratios == [0.5] * len(ratios)
    samples = events["validation"].Tensors("samples")
    table = tf.make_ndarray(samples[-1].tensor_proto).item().decode()
    assert len(samples) == 2 and table.startswith("| source | translation | reference |") and table.count("\n") == 11


def test_a_repetition_gives_the_same_weights(config, transform_dir, trainer_dir, tmp_path):
    train(config, transform_dir, tmp_path)
    for one, other in zip(
        *(load_model(folder, transform_dir).get_weights() for folder in (trainer_dir, tmp_path)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_training_in_bfloat16_leaves_a_float32_model(corpus, transform_dir, tmp_path):
    config = small_config(corpus, training={"precision": "bfloat16"})
    figures = train(config, transform_dir, tmp_path)
    model = load_model(tmp_path, transform_dir)
    assert model.dtype_policy.name == "float32" and model.decoder.compute_dtype == "float32"
    for batch in batches(transform_dir, "validation", 16):
        model.test_step(batch)
    validation = float(model.perplexity.result())
    assert validation != figures["perplexity"] and validation == pytest.approx(figures["perplexity"], rel=0.01)


def test_buckets_reach_the_batches(corpus, transform_dir, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "pipeline.train.batches", lambda *args, **options: asked.append(options) or batches(*args, **options)
    )
    train(small_config(corpus, training={"bucket_by_length": True, "epochs": 1}), transform_dir, tmp_path)
    assert {"by_length": True} in asked


def test_initial_weights_and_sizes_follow_the_configuration(corpus, transform_dir):
    config = small_config(corpus, model={"init_scale": 0.0, "cell": "gru", "num_layers": 2})
    model = build_model(config, transform_dir)
    assert model.arguments["init_scale"] is None and model.arguments["cell"] == "gru"
    for side in ("source", "target"):
        size = len(read_vocabulary(vocabulary_file(transform_dir, side)))
        assert model.arguments[f"{side}_vocabulary_size"] == size


def test_another_vocabulary_is_refused(transform_dir, trainer_dir, tmp_path):
    for side in SIDES:
        content = Path(vocabulary_file(transform_dir, side)).read_text()
        Path(vocabulary_file(tmp_path, side)).write_text(content if side == "source" else content + "neu\t1\n")
    with pytest.raises(DataError, match=r"target\.vocabulary\.tsv: expected the vocabulary with SHA-256 .* got "):
        load_model(trainer_dir, tmp_path)


def test_divergence_keeps_nothing():
    keep = KeepBest("perplexity")
    keep.on_epoch_end(0, {"val_perplexity": float("nan")})
    with pytest.raises(ArithmeticError, match=r"val_perplexity was never finite.*lower training.learning_rate"):
        keep.on_train_end()


def test_a_vocabulary_of_one_word_is_enough(tmp_path):
    (tmp_path / "words.txt").write_text("".join("a " * count + "\n" for count in range(1, 80)))
    (tmp_path / "figures.txt").write_text("b\n" * 79)
    config = small_config(tmp_path, training={"epochs": 1})
    for name in ("examples", "records", "trained"):
        (tmp_path / name).mkdir()
    generate(config, tmp_path / "examples", [])
    transform(config, tmp_path / "examples", tmp_path / "records", [])
    figures = train(config, tmp_path / "records", tmp_path / "trained")
    assert np.isfinite(figures["perplexity"])
    model = load_model(tmp_path / "trained", tmp_path / "records")
    translator = build_translator(config, model, tmp_path / "records")
    translations = translator.n_best(tf.constant(["a a"]))["translations"].numpy()[0]
    assert {word for translation in translations for word in translation.split()} <= {b"b"}
