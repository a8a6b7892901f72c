"""From the encoder's final states to a decoder's start, where the two differ in size."""

from typing import Any

import keras
import tensorflow as tf

from models.cells import CellState, product
from models.frozen_weights import product_weight
from models.initializers import bias_initializer, weight_initializer
from models.recurrence import CELLS, CellName


@keras.saving.register_keras_serializable(package="heliograph")
class DenseBridge(keras.layers.Layer):
    """`tanh(s W + b)`, where s is all that the encoder's layers and directions end with (after Bahdanau et al. 2015).

    Every start state sees every final state: that of a bidirectional encoder's backward layers, which have just read
    the sentence's beginning, as well as that of its lower layers.

    Args:
        input_size: size S of s, over all layers and fields of their states.
        hidden_size: hidden size H of the decoder's layers.
        num_layers: number of the decoder's layers.
        cell: their cell.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' defaults.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        cell: CellName,
        init_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments: dict[str, Any] = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "cell": cell,
            "init_scale": init_scale,
        }
        self.state_type = CELLS[cell].state_type

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        arguments = self.arguments
        width = arguments["num_layers"] * len(self.state_type._fields) * arguments["hidden_size"]
        self.kernel = self.add_weight(
            shape=(arguments["input_size"], width),
            initializer=weight_initializer(arguments["init_scale"]),
            autocast=False,  # the product casts
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(width,), initializer=bias_initializer(arguments["init_scale"]), autocast=False, name="bias"
        )

    def start(self, final_states: tuple[CellState, ...]) -> tuple[Any, ...]:
        """The state before the first step of each of the decoder's layers, `[B, H]` in each field."""
        joined = tf.concat([field for state in final_states for field in state], axis=-1)  # --> [B, S]
        bias = tf.convert_to_tensor(self.bias)
        values = tf.tanh(tf.cast(product(joined, product_weight(self, self.kernel)), bias.dtype) + bias)
        fields = len(self.state_type._fields)
        parts = tf.split(values, self.arguments["num_layers"] * fields, axis=-1)
        return tuple(self.state_type(*parts[begin : begin + fields]) for begin in range(0, len(parts), fields))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.arguments}
