"""What follows from a model's weights alone: computed where it is needed, or once, in a model that is frozen.

A model keeps its weights in float32 and multiplies, under a mixed policy, in bfloat16; a projection is padded, a tied
embedding transposed. Training does this in each step, for its weights change. A server would do it in each request,
where for a single sentence it is a fifth of the work. A frozen model holds the results as variables, and its graph
reads them instead of the weights. It is made for export: later changes of its weights need not be followed.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Make = Callable[[tf.Tensor], tf.Tensor]


class FrozenWeights:
    """Variables by the weight that they follow from, and by what was done to it."""

    def __init__(self) -> None:
        self._variables: dict[tuple[int, str], tuple[Any, tf.Variable]] = {}

    def read(self, weight: Any, name: str, make: Make) -> tf.Tensor:
        """`make(weight)`, as it was when it was first asked for."""
        key = id(weight), name
        if key not in self._variables:
            with tf.init_scope():  # not within the graph that is being traced
                value = tf.Variable(make(tf.convert_to_tensor(weight)), trainable=False, name=weight.name)
            self._variables[key] = weight, value  # the weight, lest its id become another's
        return tf.convert_to_tensor(self._variables[key][1])


def freeze(*layers: keras.layers.Layer) -> None:
    """From now on these layers and those within them use their weights as they are now."""
    frozen = FrozenWeights()
    for layer in layers:
        for part in layer._flatten_layers():
            part.frozen_weights = frozen


def derive(layer: keras.layers.Layer, weight: Any, name: str, make: Make) -> tf.Tensor:
    """`make(weight)`; of a frozen layer a variable that holds it.

    Args:
        layer: that the weight belongs to.
        weight: a variable.
        name: what `make` does; another name for another function.
        make: a function of the weight and of nothing that changes.
    """
    frozen = getattr(layer, "frozen_weights", None)
    return make(tf.convert_to_tensor(weight)) if frozen is None else frozen.read(weight, name, make)


def product_weight(layer: keras.layers.Layer, weight: Any) -> tf.Tensor:
    """A weight in the type of its layer's matrix products."""
    dtype = layer.compute_dtype
    if weight.dtype == dtype:
        return tf.convert_to_tensor(weight)
    return derive(layer, weight, dtype, lambda value: tf.cast(value, dtype))
