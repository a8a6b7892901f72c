"""A stack of recurrent layers with dropout: the body that encoder and decoder share."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from models.cells import CellState, Product, product
from models.dropout import drop, fold_in
from models.packing import Packing
from models.recurrence import LAYERS, CellName

StackStep = Callable[..., tuple[tf.Tensor, tuple[CellState, ...]]]


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentStack(keras.layers.Layer):
    """Vectors through `num_layers` LSTM or GRU layers.

    Args:
        input_size: size I of an input vector.
        hidden_size: hidden size H of every layer.
        num_layers: number of layers.
        cell: `"lstm"` or `"gru"`.
        dropout: share of the outputs between layers that training drops; inputs are the caller's to drop.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' defaults.
        cudnn: see `models.recurrence.Recurrent`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        cell: CellName = "lstm",
        dropout: float = 0.0,
        init_scale: float | None = None,
        cudnn: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if cell not in LAYERS:
            raise ValueError(f"cell must be one of {sorted(LAYERS)}, got {cell!r}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout must be a share of at least 0 and below 1, got {dropout}")
        if num_layers < 1:
            raise ValueError(f"num_layers must be a positive number, got {num_layers}")
        self.arguments: dict[str, Any] = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "cell": cell,
            "dropout": dropout,
            "init_scale": init_scale,
        }
        policy = self.dtype_policy
        self.layers = [
            LAYERS[cell](hidden_size, init_scale=init_scale, cudnn=cudnn, dtype=policy, name=f"{cell}_{index}")
            for index in range(num_layers)
        ]

    def build(self, input_shape: Any = None) -> None:
        """Create all weights; their shapes follow from the constructor's arguments alone."""
        width = self.arguments["input_size"]
        for layer in self.layers:
            layer.build((None, None, width))
            width = layer.units

    def zero_states(self, batch_size: tf.Tensor) -> tuple[CellState, ...]:
        """A state of zeros for every layer."""
        return tuple(layer.zero_state(batch_size) for layer in self.layers)

    def stepper(self) -> StackStep:
        """A function for one time step; to be made outside a loop.

        It takes vectors `[B, I]`, states, a seed if there is to be dropout, `[2]` int32 and another one each step, and
        the function that computes matrix products. It returns the top layer's output `[B, H]` and the new states.
        """
        steps = [layer.stepper() for layer in self.layers]

        def step(
            outputs: tf.Tensor,
            states: tuple[CellState, ...],
            dropout_seed: tf.Tensor | None = None,
            multiply: Product = product,
        ) -> tuple[tf.Tensor, tuple[CellState, ...]]:
            new_states = []
            for index, (layer_step, state) in enumerate(zip(steps, states, strict=True)):
                outputs = self._drop(outputs, index, dropout_seed)
                outputs, state = layer_step(outputs, state, multiply)
                new_states.append(state)
            return outputs, tuple(new_states)

        return step

    def unroll(
        self,
        inputs: tf.Tensor,
        packing: Packing,
        states: tuple[CellState, ...],
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tuple[CellState, ...]]:
        """Whole sequences at once.

        Args:
            inputs: packed `[N, I]`.
            packing: where the N steps belong.
            states: the state before the first step, one a layer.
            dropout_seed: `[2]` int32, from which all masks follow; `None` for no dropout.

        Returns:
            The top layer's outputs, packed `[N, H]`, and the states after each row's last step.
        """
        outputs, final_states = inputs, []
        for index, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            outputs = self._drop(outputs, index, dropout_seed)
            outputs, state = layer.unroll(outputs, packing, state)
            final_states.append(state)
        return outputs, tuple(final_states)

    def _drop(self, inputs: tf.Tensor, index: int, dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Dropout of the inputs of layer `index`, if they are another layer's outputs."""
        return drop(inputs, self.arguments["dropout"], fold_in(dropout_seed, index)) if index else inputs

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.arguments}
