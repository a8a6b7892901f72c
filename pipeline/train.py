"""The Trainer: trains the model on the training split and keeps the weights that validation likes best."""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.learning_rate import LearningRate
from models.optimizers import FusedAdam, inner
from models.seq2seq import Seq2Seq
from models.teacher_forcing import TeacherForcing
from pipeline import devices
from pipeline.artifacts import write_whole
from pipeline.callbacks import Progress, TensorBoard
from pipeline.checkpoints import Checkpoints, DamagedFileError, TrainingState, as_array, read_arrays
from pipeline.components import CHECKPOINTS, LOGS
from pipeline.config import Config
from pipeline.figures import FIGURES, shown
from pipeline.hparams import write_session
from pipeline.input_data import Batching, batches, count_batches, texts
from pipeline.model_files import build_model, build_translator, sampled_encoders, save_model
from pipeline.projector import write_projector
from pipeline.training_config import TrainingConfig
from pipeline.training_loop import DivergedError, Plan, best_figures, fit
from pipeline.validation import Validation
from preprocessing.errors import DataError
from preprocessing.wording import counted

log = logging.getLogger("heliograph.train")

HISTORY_FILE = "history.json"
SAMPLES = 10
"""Validation sentences that TensorBoard shows translated after each epoch."""


def train(config: Config, transform_dir: Path, output_dir: Path) -> dict[str, float]:
    """Train, or go on from the checkpoint in `output_dir`, and write the model, its history and the TensorBoard logs.

    Args:
        config: the sections `model`, `training`, `source` and `target`.
        transform_dir: records, vocabularies and drawn segmentations.
        output_dir: gets `model.keras`, `vocabularies.json`, `history.json`, `logs/` and `checkpoints/`.

    Returns:
        The kept weights' figures.

    Raises:
        DataError: the training or validation split is empty, or training diverged.
        KeyboardInterrupt: it was interrupted; the message says where it goes on.
    """
    training = config.training
    keras.utils.set_random_seed(training.seed)
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    batching = Batching(size=training.batch_size, unit=training.batch_unit, by_length=training.bucket_by_length)
    steps = count_batches(transform_dir, batching)
    validation_set = batches(transform_dir, "validation", min(training.batch_size, 128))
    for split, empty in (("training", steps == 0), ("validation", not any(True for _ in validation_set.take(1)))):
        if empty:
            raise DataError(f"{transform_dir}: expected sentence pairs in the {split} split, got none; give more data")

    total = training.epochs * steps
    warmup = training.warmup_updates(total)
    if training.decay == "cosine" and warmup >= total:
        raise DataError(
            f"training.warmup_steps: expected less than the {total:,} updates of this training, got {warmup:,}; "
            "below 1 it is a share of them, such as 0.1"
        )
    strategy = devices.choose_strategy()
    with strategy.scope():
        model = build_model(config, transform_dir, training.precision, cudnn=True)
        rate = LearningRate(
            peak=training.learning_rate,
            decay=training.decay,
            warmup_steps=warmup,
            total_steps=total,
        )
        model.compile(
            FusedAdam(rate, ema_momentum=training.ema_momentum or None, beta_2=training.beta_2),
            TeacherForcing(**training.teacher_forcing.model_dump()),
            seed=training.seed,
            clip_norm=training.clip_norm,
            micro_batches=training.micro_batches,
            label_smoothing=training.label_smoothing,
        )
    log.info("%s, %s an epoch", counted(model.count_params(), "weight"), counted(steps, "batch", "batches"))
    for line in devices.report_kernels(model.kernels(), strategy.num_replicas_in_sync):
        log.info("%s", line)

    checkpoints = Checkpoints(output_dir / CHECKPOINTS, training.keep_checkpoints)
    variables = [*model.weights, *model.optimizer.variables, rate.scale]
    state = checkpoints.restore(variables)
    if state is None:
        state = TrainingState()
        _clear(output_dir)
    else:
        _clear(output_dir, but=(LOGS, CHECKPOINTS))
        log.info("going on after epoch %d, batch %d, from %s", state.epoch, state.batch, checkpoints.newest())
    greedy = build_translator(config, model, transform_dir, beam_size=1, n_best=1, max_tokens=0)
    validation = Validation(config, model, validation_set, greedy, list(texts(transform_dir, "validation")), SAMPLES)
    board = TensorBoard(output_dir / LOGS, state.logs, validation.table, validation.pictures)

    sampled = sampled_encoders(config, transform_dir)

    def data(epoch: int, first: int) -> Any:
        return devices.batches(strategy, transform_dir, batching, training.seed, epoch, first, sampled)

    updates = devices.Updates(strategy, model, data(0, 0).element_spec)
    sections = {"model": config.model.model_dump(), "training": training.model_dump()}
    if state.update == 0:
        board.show_graph(updates.graph)
        write_session(output_dir / LOGS, sections, {})
    work = _Work(training, model, rate, variables, data, updates, validation, board, checkpoints)
    plan = Plan(
        epochs=training.epochs,
        batches=steps,
        selection=training.selection,
        patience=training.patience,
        plateau_patience=training.plateau_patience if training.decay == "plateau" else 0,
        checkpoint_seconds=60.0 * training.checkpoint_minutes,
        skips_overflow=training.precision == "float16",
    )
    try:
        fit(state, plan, work, (Progress(training.epochs, steps, state.update), board))
    except DivergedError as error:
        last = checkpoints.newest()
        good = f"last good checkpoint: {last}" if last else "there is no checkpoint yet"
        raise DataError(f"{error}; {good}; lower training.learning_rate or training.clip_norm") from error
    finally:
        board.close()
    figures, weights = _best_weights(training, plan, checkpoints, validation, state)
    write_session(output_dir / LOGS, sections, {name: value for name, value in figures.items() if name in FIGURES})
    plain = build_model(config, transform_dir)  # computes in float32, knows no strategy, needs no GPU
    plain.set_weights(weights)
    save_model(plain, output_dir, transform_dir)
    write_projector(plain, transform_dir, output_dir / LOGS)
    write_whole(output_dir / HISTORY_FILE, json.dumps(state.history, indent=2) + "\n")
    return {**figures, "parameters": model.count_params(), "epochs": state.epoch}


class _Work:
    """The loop's work on a real model; see `training_loop.Work`."""

    def __init__(
        self,
        training: TrainingConfig,
        model: Seq2Seq,
        rate: LearningRate,
        variables: Sequence[Any],
        data: Any,
        updates: devices.Updates,
        validation: Validation,
        board: TensorBoard,
        checkpoints: Checkpoints,
    ) -> None:
        self.training, self.model, self.rate, self.variables = training, model, rate, variables
        self.data, self.update, self.validation = data, updates, validation
        self.board, self.checkpoints = board, checkpoints

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        return iter(self.data(epoch, first))

    def validate(self) -> Mapping[str, float]:
        averages = inner(self.model.optimizer).averages
        self.weights = [as_array(variable) for variable in averages or self.model.weights]
        return self.validation.of(self.weights)

    def lower_rate(self) -> None:
        self.rate.scale.assign(self.rate.scale * self.training.plateau_factor)
        log.info("validation is not better: learning rate %.3g", float(self.model.optimizer.learning_rate))

    def save(self, state: TrainingState) -> Path:
        state.logs = self.board.sizes()
        path = self.checkpoints.save(self.variables, state)
        self.checkpoints.forget_best(but=state.best_epoch)
        return path

    def save_best(self, epoch: int) -> None:
        self.checkpoints.save_best(self.weights, epoch)


def _best_weights(
    training: TrainingConfig, plan: Plan, checkpoints: Checkpoints, validation: Validation, state: TrainingState
) -> tuple[dict[str, float], list[np.ndarray]]:
    """The best epoch's figures and weights, or those of the average of the last checkpoints if it is better."""
    kept = best_figures(state)
    if kept is None:
        raise DataError(
            f"validation {training.selection} was never finite: training diverged; "
            "lower training.learning_rate or training.clip_norm"
        )
    try:
        weights, _ = read_arrays(checkpoints.best_file(state.best_epoch))
    except (FileNotFoundError, DamagedFileError) as error:
        raise DataError(
            f"{checkpoints.best_file(state.best_epoch)}: expected the best epoch's weights, got none; "
            f"delete {checkpoints.directory} and train again"
        ) from error
    averaged = 0
    if training.average_checkpoints > 1:
        ends = checkpoints.ends_of_epochs()[-training.average_checkpoints :]
        parts = [read_arrays(path)[0][: len(weights)] for path in ends]
        mean = [
            np.mean(arrays, axis=0, dtype=np.float64).astype(arrays[0].dtype) for arrays in zip(*parts, strict=True)
        ]
        figures = validation.of(mean)
        better = plan.better(figures, kept)
        log.info(
            "average of the last %d epochs: validation %s %s, that of epoch %d %s; keeping the %s",
            len(ends),
            FIGURES[training.selection].label,
            shown(training.selection, figures[training.selection]),
            state.best_epoch,
            shown(training.selection, kept[training.selection]),
            "average" if better else "epoch",
        )
        if better:
            weights, kept, averaged = mean, dict(figures), len(ends)
    return {"epoch": state.best_epoch, "averaged": averaged, **kept}, weights


def _clear(directory: Path, but: tuple[str, ...] = ()) -> None:
    """Remove what an earlier execution left, except some folders."""
    for path in directory.iterdir():
        if path.name not in but:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
