"""Dropout whose masks are a function of a seed: no state to save, the same masks after a resumption."""

import tensorflow as tf

from models.scopes import in_scope


@in_scope("dropout")
def drop(values: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Inverted dropout (Srivastava et al. 2014): zero with chance `rate`, else divided by `1 - rate`.

    Args:
        values: any shape.
        rate: chance of a zero, at least 0 and below 1.
        seed: `[2]` int32; the same seed and shape give the same mask. `None`: `values` as they are.
    """
    if seed is None or rate == 0.0:
        return values
    return tf.nn.experimental.stateless_dropout(values, rate, seed)


@in_scope("word_dropout")
def drop_words(vectors: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Word dropout (Sennrich & Zhang 2019): whole embedding vectors `[..., E]` are dropped, as `drop` drops values.

    Each position is decided alone, whatever its token; start and end tokens are no exception.
    """
    if seed is None or rate == 0.0:
        return vectors
    decisions = tf.concat([tf.shape(vectors)[:-1], [1]], axis=0)
    return tf.nn.experimental.stateless_dropout(vectors, rate, seed, noise_shape=decisions)


def check_rates(**rates: float) -> None:
    """Raise a `ValueError` that names the first rate that is not one, and its value."""
    for name, rate in rates.items():
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"{name} must be a share of at least 0 and below 1, got {rate}")


def fold_in(seed: tf.Tensor | None, *numbers: int | tf.Tensor) -> tf.Tensor | None:
    """Another seed for every sequence of numbers, as unrelated to each other as two random ones."""
    for number in numbers:
        seed = None if seed is None else tf.random.experimental.stateless_fold_in(seed, number)
    return seed
