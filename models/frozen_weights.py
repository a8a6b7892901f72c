"""What follows from a model's weights alone: computed where it is needed, or once, in a model that is frozen.

A model keeps its weights in float32 and multiplies, under a mixed policy, in bfloat16; a projection is padded, a tied
embedding transposed. Training does this in each step, for its weights change. A server would do it in each request. A
frozen model holds the results as variables, and its graph reads them instead of the weights. It is to be used as it is:
some changes of its weights would be followed, others not. A tied embedding is held twice, for look-up and projection.
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
    """The weights of these layers and of those within them will not change any more."""
    frozen = getattr(layers[0], "frozen_weights", None) or FrozenWeights()
    for layer in layers:
        for part in layer._flatten_layers():
            part.frozen_weights = frozen


def derive(layer: keras.layers.Layer, weight: Any, name: str, make: Make) -> tf.Tensor:
    """`make(weight)`; of a frozen layer a variable that holds it.

    Args:
        layer: that uses the weight.
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
