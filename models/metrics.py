"""Perplexity over a whole set, whatever its batches."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="heliograph")
class Perplexity(keras.metrics.Metric):
    """exp(total negative log-likelihood / total tokens): invariant to batch size, order and padding.

    `exp` of Keras' epoch loss is another number: that loss is a mean of batch means. Sums are kept in float64, so that
    a large set loses no digits.
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any) -> None:
        super().__init__(name=name, dtype="float64", **kwargs)
        self.nll = self.add_weight(shape=(), initializer="zeros", name="nll", dtype="float64")
        self.tokens = self.add_weight(shape=(), initializer="zeros", name="tokens", dtype="float64")

    def update_state(self, nll: tf.Tensor, tokens: tf.Tensor) -> None:
        """Add a batch: its summed negative log-likelihood in nats, and its number of tokens."""
        self.nll.assign_add(tf.cast(nll, tf.float64))
        self.tokens.assign_add(tf.cast(tokens, tf.float64))

    def result(self) -> tf.Tensor:
        """The perplexity of everything seen; 1 for nothing."""
        return tf.exp(tf.math.divide_no_nan(tf.convert_to_tensor(self.nll), tf.convert_to_tensor(self.tokens)))
