"""The Trainer: what it leaves behind, what TensorBoard can read, and that a repetition is identical."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.optimizers import FusedAdam
from pipeline import devices, validation
from pipeline.checkpoints import read_arrays
from pipeline.config import Config
from pipeline.evaluate import evaluate
from pipeline.input_data import batches
from pipeline.model_files import build_model, build_translator, load_model
from pipeline.preprocess import generate, transform
from pipeline.train import train
from pipeline.validation import Validation
from preprocessing.errors import DataError
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file
from tests.pipeline.conftest import small_config


def test_files_and_figures(config, transform_dir, trainer_dir):
    files = {"model.keras", "vocabularies.json", "history.json", "logs", "checkpoints"}
    assert {path.name for path in trainer_dir.iterdir()} == files
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
    curves = {"loss", "perplexity", "teacher_forcing_ratio", "learning_rate", "tokens_per_second", "gradient_norm"}
    assert {*curves, "padding_share"} <= set(events["train"].Tags()["tensors"])
    assert events["train"].Graph().node  # the step's graph
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


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_training_in_half_precision_leaves_a_float32_model(corpus, transform_dir, tmp_path, precision):
    config = small_config(corpus, training={"precision": precision, "epochs": 1})
    figures = train(config, transform_dir, tmp_path)
    model = load_model(tmp_path, transform_dir)
    assert model.dtype_policy.name == "float32" and model.decoder.compute_dtype == "float32"
    validation = perplexity(model, transform_dir)
    assert validation != figures["perplexity"] and validation == pytest.approx(figures["perplexity"], rel=0.01)


def test_a_transformer_is_trained_and_saved(corpus, transform_dir, tmp_path, monkeypatch):
    made = []

    def optimizer(*args, **options):
        made.append(FusedAdam(*args, **options))
        return made[-1]

    monkeypatch.setattr("pipeline.train.FusedAdam", optimizer)
    model = {"architecture": "transformer", "hidden_size": 16, "num_layers": 1, "heads": 2, "feed_forward_size": 32}
    training = {"epochs": 1, "beta_2": 0.98, "teacher_forcing": {"roll_out": "parallel"}}
    values = small_config(corpus, training=training).model_dump()
    config = Config.model_validate({**values, "model": model})
    figures = train(config, transform_dir, tmp_path)
    assert [each.beta_2 for each in made] == [0.98]
    kept = load_model(tmp_path, transform_dir)
    assert [type(layer).__name__ for layer in (kept.encoder, kept.decoder)] == [
        "TransformerEncoder",
        "TransformerDecoder",
    ]
    assert perplexity(kept, transform_dir) == pytest.approx(figures["perplexity"], rel=1e-4)


def perplexity(model, transform_dir):
    for metric in model.metrics:
        metric.reset_state()
    for batch in batches(transform_dir, "validation", 16):
        model.test_step(batch)
    return float(model.perplexity.result())


def test_one_trace_serves_all_batches_of_all_epochs(corpus, transform_dir, tmp_path, monkeypatch):
    made, shapes = [], set()

    class Spy(devices.Updates):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

        def __call__(self, batch):
            shapes.add((*batch["source_ids"].shape, *batch["target_ids"].shape))
            return super().__call__(batch)

    monkeypatch.setattr(devices, "Updates", Spy)
    options = {"batch_unit": "tokens", "bucket_by_length": True, "batch_size": 100, "epochs": 3, "micro_batches": 2}
    figures = train(small_config(corpus, training=options), transform_dir, tmp_path)
    assert figures["epochs"] == 3 and len(shapes) > 5
    assert [updates.traces for updates in made] == [1]


def test_the_schedule_and_the_moving_average_reach_the_model(corpus, transform_dir, tmp_path):
    training = {"epochs": 3, "decay": "cosine", "warmup_steps": 3, "ema_momentum": 0.9, "keep_checkpoints": 1}
    figures = train(small_config(corpus, training=training), transform_dir, tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    first, _, last = history["learning_rate"]
    assert 1e-3 > first > last and last < 1e-5
    (checkpoint,) = (tmp_path / "checkpoints").glob("update-*.npz")
    model = load_model(tmp_path, transform_dir)
    raw = read_arrays(checkpoint)[0][: len(model.weights)]
    assert any((one != other).any() for one, other in zip(raw, model.get_weights(), strict=True))
    assert perplexity(model, transform_dir) == pytest.approx(figures["perplexity"], rel=1e-5)


@pytest.mark.parametrize("better", [True, False])
def test_the_average_of_the_last_epochs_is_kept_if_it_is_better(
    corpus, transform_dir, tmp_path, caplog, monkeypatch, better
):
    # Validation of the average is the fourth after three epochs; how good it is, is said here.
    of, calls = Validation.of, []

    def judged(self, weights):
        figures = of(self, weights)
        calls.append(figures)
        return (
            {**figures, "perplexity": figures["perplexity"] * (0.01 if better else 100)} if len(calls) == 4 else figures
        )

    monkeypatch.setattr(Validation, "of", judged)
    training = {"epochs": 3, "average_checkpoints": 2, "keep_checkpoints": 2, "learning_rate": 0.05}
    with caplog.at_level("INFO", "heliograph.train"):
        figures = train(small_config(corpus, training=training), transform_dir, tmp_path)
    model = load_model(tmp_path, transform_dir)
    ends = sorted((tmp_path / "checkpoints").glob("update-*.npz"))
    parts = [read_arrays(path)[0][: len(model.weights)] for path in ends]
    mean = [np.mean(arrays, axis=0) for arrays in zip(*parts, strict=True)]
    best = read_arrays(tmp_path / "checkpoints" / f"best-{figures['epoch']:03.0f}.npz")[0]
    assert len(ends) == 2 and "average of the last 2 epochs: validation perplexity" in caplog.text
    for one, other in zip(mean if figures["averaged"] else best, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert len(calls) == 4 and figures["averaged"] == (2 if better else 0)
    assert perplexity(model, transform_dir) == pytest.approx(calls[3 if better else figures["epoch"] - 1]["perplexity"])


def test_bleu_selects_a_plateau_lowers_the_rate_and_patience_stops(corpus, transform_dir, tmp_path, caplog):
    # Such small steps change no greedy translation, so BLEU never improves after the first epoch; the perplexity may, a
    # little, so that the kept epoch is not known.
    training = {"epochs": 9, "selection": "bleu", "patience": 2, "learning_rate": 1e-9, "decay": "plateau"}
    with caplog.at_level("INFO", "heliograph.train"):
        figures = train(small_config(corpus, training=training), transform_dir, tmp_path)
    history = json.loads((tmp_path / "history.json").read_text())
    assert figures["epochs"] == 3
    assert history["val_bleu"] == [figures["bleu"]] * 3
    assert history["learning_rate"] == pytest.approx([1e-9, 1e-9, 5e-10])
    assert "stopping early: validation bleu is not better since epoch 1" in caplog.text


def test_the_word_error_rate_selects_the_epoch_with_the_lowest(corpus, transform_dir, tmp_path, monkeypatch):
    rates = iter([0.5, 0.25, 0.75])
    score = validation.score

    def judged(names, translations, references, target):
        assert [len(alternatives) for alternatives in references] == [1] * len(translations)
        assert 0 < score(names, translations, references, target)["word_error_rate"].value <= 1
        return {"word_error_rate": SimpleNamespace(value=next(rates))}

    monkeypatch.setattr(validation, "score", judged)
    training = {"epochs": 3, "selection": "word_error_rate"}
    figures = train(small_config(corpus, training=training), transform_dir, tmp_path)
    assert figures["epoch"] == 2 and figures["word_error_rate"] == 0.25
    assert json.loads((tmp_path / "history.json").read_text())["val_word_error_rate"] == [0.5, 0.25, 0.75]


@pytest.mark.parametrize(
    "training",
    [
        {"decay": "plateau", "selection": "bleu", "learning_rate": 1e-9, "epochs": 4},
        {"precision": "float16", "epochs": 2},
    ],
)
def test_a_lowered_rate_and_a_loss_scale_are_resumed(corpus, transform_dir, tmp_path, monkeypatch, training):
    config = small_config(corpus, training={"checkpoint_minutes": 0.0, **training})
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    train(config, transform_dir, tmp_path / "whole")
    update, calls = devices.Updates.__call__, []

    def failing(self, batch):
        calls.append(batch)
        if len(calls) == 18 * training["epochs"] - 5:  # within the last epoch
            raise RuntimeError("the machine is gone")
        return update(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(devices.Updates, "__call__", failing)
        with pytest.raises(RuntimeError, match="the machine is gone"):
            train(config, transform_dir, tmp_path / "resumed")
    train(config, transform_dir, tmp_path / "resumed")
    one, other = (max((tmp_path / name / "checkpoints").glob("update-*")) for name in ("whole", "resumed"))
    for array, again in zip(read_arrays(one)[0], read_arrays(other)[0], strict=True):
        np.testing.assert_array_equal(array, again)
    texts = [(tmp_path / name / "history.json").read_text() for name in ("whole", "resumed")]
    assert texts[0] == texts[1]
    rates = json.loads(texts[0])["learning_rate"]
    assert (rates[-1] < rates[0]) == (training.get("decay") == "plateau")


def test_a_warm_up_longer_than_a_cosine_is_refused(corpus, transform_dir, tmp_path):
    config = small_config(corpus, training={"decay": "cosine", "warmup_steps": 36})
    with pytest.raises(DataError, match=r"warmup_steps: expected less than the 36 updates .*, got 36; below 1"):
        train(config, transform_dir, tmp_path)


def test_divergence_stops_and_names_the_last_good_checkpoint(corpus, transform_dir, tmp_path):
    training = {"learning_rate": 1e38, "checkpoint_minutes": 0.0}
    with pytest.raises(
        DataError, match=r"loss is \S+, gradient norm \S+ in update \d+ \(epoch 1, batch \d+ of \d+, .*good checkpoint"
    ) as failure:
        train(small_config(corpus, training=training), transform_dir, tmp_path)
    (checkpoint,) = (tmp_path / "checkpoints").glob("update-*.npz")
    assert str(checkpoint) in str(failure.value)
    assert all(np.isfinite(array).all() for array in read_arrays(checkpoint)[0])


def test_initial_weights_and_sizes_follow_the_configuration(corpus, transform_dir):
    config = small_config(corpus, model={"init_scale": 0.0, "cell": "gru", "num_layers": 2})
    model = build_model(config, transform_dir)
    network = model.arguments["network"]
    assert network.init_scale is None and network.cell == "gru" and network.encoder_layers == 2
    for side in ("source", "target"):
        size = len(read_vocabulary(vocabulary_file(transform_dir, side)))
        assert model.arguments[f"{side}_vocabulary_size"] == size


def test_one_embedding_for_both_sides_needs_one_vocabulary(corpus, transform_dir, tmp_path):
    config = small_config(corpus, model={"tied": "all", "embedding_size": 12}, vocabulary={"joint": True})
    with pytest.raises(
        DataError, match=r'^model\.tied: expected "none" or "target" unless .* got "all" with different'
    ):
        build_model(config, transform_dir)
    content = Path(vocabulary_file(transform_dir, "source")).read_text()
    for side in SIDES:
        Path(vocabulary_file(tmp_path, side)).write_text(content)
    model = build_model(config, tmp_path)
    assert model.encoder.embedding is model.decoder.embedding


def test_another_vocabulary_is_refused(transform_dir, trainer_dir, tmp_path):
    for side in SIDES:
        content = Path(vocabulary_file(transform_dir, side)).read_text()
        Path(vocabulary_file(tmp_path, side)).write_text(content if side == "source" else content + "neu\t1\n")
    with pytest.raises(DataError, match=r"target\.vocabulary\.tsv: expected the vocabulary with SHA-256 .* got "):
        load_model(trainer_dir, tmp_path)


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


def test_a_model_of_subwords_is_trained_scored_and_tied_to_its_vocabularies(corpus, tmp_path):
    side = {"unit": "bpe", "max_vocabulary": 60, "bpe_dropout": 0.2}
    config = small_config(
        corpus, source=side, target=side, vocabulary={"joint": True}, training={"epochs": 1, "batch_size": 16}
    )
    for name in ("examples", "records", "trained", "again", "evaluated"):
        (tmp_path / name).mkdir()
    generate(config, tmp_path / "examples", [])
    transform(config, tmp_path / "examples", tmp_path / "records", [])
    figures = train(config, tmp_path / "records", tmp_path / "trained")
    assert train(config, tmp_path / "records", tmp_path / "again") == figures
    scores = evaluate(config, tmp_path / "records", tmp_path / "trained", tmp_path / "evaluated")
    assert "bleu" in scores and "token_bleu" not in scores
    model = tmp_path / "records" / "target.sentencepiece.model"
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"target\.sentencepiece\.model: expected the vocabulary with SHA-256 .* got "):
        load_model(tmp_path / "trained", tmp_path / "records")
    model.unlink()
    with pytest.raises(DataError, match=r"target\.sentencepiece\.model: .* got none"):
        load_model(tmp_path / "trained", tmp_path / "records")
