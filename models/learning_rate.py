"""How the learning rate moves with the training iteration."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import keras
import tensorflow as tf

Decay = Literal["constant", "inverse_sqrt", "cosine", "plateau"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RateShape:
    """Warm-up and decay of the learning rate; i is the number of updates made before.

    The warm-up rises linearly to the peak: `peak (i + 1) / w` for i < w. After it, with w the warm-up's steps:

        constant      peak
        inverse_sqrt  peak sqrt(w / (i + 1))                           Vaswani et al. 2017, section 5.3
        cosine        peak (1 + cos(pi (i - w) / (total - w))) / 2     Loshchilov & Hutter 2017, without restarts
        plateau       peak times a scale that whoever trains lowers when validation no longer improves
    """

    peak: float
    """Highest learning rate."""
    decay: Decay = "constant"
    """What follows the warm-up."""
    warmup_steps: int = 0
    """w, in updates; the inverse square root needs at least 1."""
    total_steps: int = 1
    """Updates until the cosine reaches 0."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.peak > 0.0:
            raise ValueError(f"peak must be a positive learning rate, got {self.peak}")
        if self.decay not in DECAYS:
            raise ValueError(f"decay must be one of {sorted(DECAYS)}, got {self.decay!r}")
        least = 1 if self.decay == "inverse_sqrt" else 0
        if self.warmup_steps < least:
            raise ValueError(
                f"warmup_steps must be at least {least} with decay {self.decay!r}, got {self.warmup_steps}"
            )
        if self.decay == "cosine" and self.total_steps <= self.warmup_steps:
            raise ValueError(
                f"total_steps must be more than warmup_steps ({self.warmup_steps}) with decay 'cosine', "
                f"got {self.total_steps}"
            )

    def rate(self, iteration: tf.Tensor) -> tf.Tensor:
        """The learning rate as a float32 scalar, of an integer scalar."""
        i = tf.cast(iteration, tf.float32)
        decayed = DECAYS[self.decay](i, float(self.warmup_steps), float(self.total_steps))
        warming = (i + 1.0) / max(self.warmup_steps, 1)
        return self.peak * tf.where(i < self.warmup_steps, warming, decayed)


def _cosine(i: tf.Tensor, warmup: float, total: float) -> tf.Tensor:
    progress = tf.clip_by_value((i - warmup) / (total - warmup), 0.0, 1.0)
    return (1.0 + tf.cos(math.pi * progress)) / 2.0


DECAYS: dict[str, Callable[[tf.Tensor, float, float], tf.Tensor]] = {
    "constant": lambda i, w, total: tf.ones_like(i),
    "inverse_sqrt": lambda i, w, total: tf.sqrt(w / (i + 1.0)),
    "cosine": _cosine,
    "plateau": lambda i, w, total: tf.ones_like(i),
}


@keras.saving.register_keras_serializable(package="heliograph")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A `RateShape` as Keras' optimizers take it, times `scale`, a variable that a plateau lowers.

    Args:
        **shape: the fields of `RateShape`.
    """

    def __init__(self, **shape: Any) -> None:
        self.shape = RateShape(**shape)
        self.scale = tf.Variable(1.0, trainable=False, name="learning_rate_scale")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """See base class."""
        return self.shape.rate(step) * self.scale

    def get_config(self) -> dict[str, Any]:
        """See base class; the scale is training state, which a checkpoint keeps."""
        return dataclasses.asdict(self.shape)
