"""Gradients of one update: added up over micro-batches, and clipped by their norm."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.scopes import in_scope

Part = Callable[[tf.Tensor], tuple[tf.Tensor, list[tf.Tensor]]]


def accumulate(part: Part, parts: int) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Sums over the parts of a batch, one part after the other, so that only one needs memory at a time.

    Args:
        part: from the number of a part, an int32 scalar, to a float scalar and dense gradients.
        parts: number of parts.

    Returns:
        The sum of the scalars, and the sums of the gradients.
    """
    if parts == 1:
        return part(tf.zeros([], tf.int32))

    def body(index: tf.Tensor, value: tf.Tensor, sums: list[tf.Tensor]) -> Any:
        more, gradients = part(index)
        return index + 1, value + more, [one + other for one, other in zip(sums, gradients, strict=True)]

    first, gradients = part(tf.zeros([], tf.int32))
    _, value, gradients = tf.while_loop(
        lambda index, *_: index < parts,
        body,
        (tf.ones([], tf.int32), first, gradients),
        parallel_iterations=1,  # more would need the memory that parts are to save
        maximum_iterations=parts - 1,
    )
    return value, gradients


@in_scope("clip")
def clip(
    gradients: list[tf.Tensor], largest: float | None, scale: tf.Tensor | float = 1.0
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Clipping by the global norm (Pascanu et al. 2013), which keeps NaN and infinity visible.

    Args:
        gradients: dense gradients, all multiplied by `scale`.
        largest: the norm above which they are scaled down to it; `None` for never.
        scale: a loss scale, 1 without one.

    Returns:
        The clipped gradients, still multiplied by `scale`, and the norm before clipping, without `scale`.
    """
    norm = tf.linalg.global_norm(gradients) / tf.cast(scale, gradients[0].dtype)
    if largest is None:
        return gradients, norm
    # A comparison with NaN is false: the gradients stay as they are.
    factor = tf.where(norm > largest, largest / norm, tf.ones_like(norm))
    return [gradient * factor for gradient in gradients], norm
