"""A task that a network must learn: strings of digits, or their reversals."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.networks import Network
from models.optimizers import FusedAdam
from models.seq2seq import Seq2Seq
from models.sequences import pad, with_end
from models.teacher_forcing import TeacherForcing
from tests.models.decoding import search

VOCABULARY = 14


def digits(count: int, seed: int, backwards: bool, longest: int) -> tf.data.Dataset:
    """Digit strings of length 1 to `longest` and their copies or reversals."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(4, VOCABULARY, generator.integers(1, longest + 1)) for _ in range(count)]
    batch = {}
    for side, values in (("source", rows), ("target", [row[::-1] if backwards else row for row in rows])):
        batch[f"{side}_ids"], batch[f"{side}_lengths"] = pad(with_end(tf.ragged.constant(values, tf.int64), 3), 0)
    return tf.data.Dataset.from_tensor_slices(batch)


def exactly_learned(
    network: Network,
    backwards: bool,
    steps: int,
    *,
    longest: int = 8,
    peak: float = 1e-2,
    count: int = 10_000,
    optimizer: Any = FusedAdam,
    roll_out: str = "exact",
) -> float:
    """Share of held-out strings that greedy search gets right after training."""
    keras.utils.set_random_seed(1)
    model = Seq2Seq(source_vocabulary_size=VOCABULARY, target_vocabulary_size=VOCABULARY, start_id=2, network=network)
    rate = keras.optimizers.schedules.CosineDecay(peak, steps)
    model.compile(optimizer(rate), TeacherForcing(start=0.5, roll_out=roll_out), seed=1, clip_norm=1.0)
    train = digits(count, 0, backwards, longest).shuffle(count, seed=0).repeat().batch(64)
    model.fit(train, steps_per_epoch=steps, verbose=0, shuffle=False)
    held_out = next(iter(digits(1000, 1, backwards, longest).batch(1000)))
    memory = model.encoder(held_out["source_ids"], held_out["source_lengths"])
    result = tf.function(search)(model, memory, held_out["source_lengths"] + 2)
    found = tf.RaggedTensor.from_tensor(result.ids[:, 0], lengths=result.lengths[:, 0]).to_list()
    gold = tf.RaggedTensor.from_tensor(held_out["target_ids"], lengths=held_out["target_lengths"] - 1).to_list()
    return float(np.mean([one == other for one, other in zip(found, gold, strict=True)]))
