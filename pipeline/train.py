"""The Trainer: fits the model to the training split and keeps the epoch that validation likes best."""

import itertools
import json
import logging
from pathlib import Path

import keras
import tensorflow as tf

from models.optimizers import FusedAdam
from models.teacher_forcing import TeacherForcing
from pipeline.artifacts import write_whole
from pipeline.callbacks import KeepBest, Progress, TensorBoard
from pipeline.config import Config, TrainingConfig
from pipeline.input_data import batches, counted, texts
from pipeline.model_files import build_model, build_translator, save_model
from pipeline.translate import translate_texts
from preprocessing.errors import DataError

log = logging.getLogger("heliograph.train")

LOGS = "logs"
HISTORY_FILE = "history.json"
HISTORY = ("perplexity", "teacher_forcing", "val_perplexity", "val_free_running_perplexity")
"""What the history keeps of each epoch; the other logs of a step are those of the epoch's last batch."""
SAMPLES = 10
"""Validation sentences that TensorBoard shows translated after each epoch."""


def train(config: Config, transform_dir: Path, output_dir: Path) -> dict[str, float]:
    """Train, and write the model, its history and the TensorBoard logs.

    Args:
        config: the sections `model`, `training`, `source` and `target`.
        transform_dir: records and vocabularies.
        output_dir: gets `model.keras`, `vocabularies.json`, `history.json` and `logs/`.

    Returns:
        The kept epoch's figures.

    Raises:
        DataError: the training or validation split is empty, or training diverged.
    """
    training = config.training
    keras.utils.set_random_seed(training.seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    train_set = counted(
        batches(transform_dir, "train", training.batch_size, training.seed, by_length=training.bucket_by_length)
    )
    validation_set = counted(batches(transform_dir, "validation", training.batch_size))
    for split, dataset in (("training", train_set), ("validation", validation_set)):
        if dataset.cardinality() == 0:
            raise DataError(f"{transform_dir}: expected sentence pairs in the {split} split, got none; give more data")

    steps = int(train_set.cardinality())
    model = build_model(config, transform_dir, training.precision)
    log.info("%s parameters, %s batches an epoch", f"{model.count_params():,}", f"{steps:,}")
    model.compile(
        _optimizer(training, training.epochs * steps),
        TeacherForcing(**training.teacher_forcing.model_dump()),
        coin_seed=training.seed,
    )
    best = KeepBest(training.selection)
    greedy = build_translator(config, model, transform_dir, beam_size=1, n_best=1)
    board = TensorBoard(
        output_dir / LOGS,
        list(itertools.islice(texts(transform_dir, "validation"), SAMPLES)),
        lambda sources: translate_texts(greedy.translate, sources, batch_size=SAMPLES),
    )
    try:
        history = model.fit(
            train_set,
            validation_data=validation_set,
            epochs=training.epochs,
            verbose=0,
            shuffle=False,  # the data set shuffles itself
            callbacks=[Progress(training.epochs, steps), board, best],
        )
    except ArithmeticError as error:
        raise DataError(str(error)) from error
    if training.precision != "float32":
        weights, model = model.get_weights(), build_model(config, transform_dir)
        model.set_weights(weights)
    save_model(model, output_dir, transform_dir)
    series = {name: [float(value) for value in history.history[name]] for name in HISTORY}
    write_whole(output_dir / HISTORY_FILE, json.dumps(series, indent=2) + "\n")
    kept = best.best_epoch - 1
    return {
        "epoch": best.best_epoch,
        "parameters": model.count_params(),
        "perplexity": series["val_perplexity"][kept],
        "free_running_perplexity": series["val_free_running_perplexity"][kept],
    }


def _optimizer(training: TrainingConfig, total_steps: int) -> keras.optimizers.Optimizer:
    rate = training.learning_rate
    if training.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, total_steps)
    return FusedAdam(rate, global_clipnorm=training.clip_norm)
