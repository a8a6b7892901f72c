"""A stack of recurrent layers with dropout and normalisation: the body that encoder and decoder share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from models.bidirectional import Bidirectional
from models.cells import CellState, Product, product
from models.dropout import check_rates, drop, drop_packed, fold_in
from models.packing import Packing
from models.recurrence import CELLS, LAYERS, CellName, Recurrent, StepParts
from models.token_wise import LayerNorm, TokenWise

StackStep = Callable[..., tuple[tf.Tensor, tuple[CellState, ...]]]


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentStack(keras.layers.Layer):
    """Vectors through `num_layers` LSTM or GRU layers.

    Args:
        input_size: size I of an input vector.
        hidden_size: hidden size H of every layer, in each direction.
        num_layers: number of layers.
        cell: `"lstm"` or `"gru"`.
        dropout: share of the outputs between layers that training drops; inputs are the caller's to drop.
        variational_dropout: whether all steps of a sentence share one mask (see `models.dropout.drop_packed`).
        layer_norm: whether the inputs of every layer are normalised (Ba et al. 2016), those of the first one, too. That
            paper normalises within the cell, the input's and the state's share of the gates each on its own. The
            state's share is left out here: cuDNN has no such cell, and in the loop it would be many small operations
            a step. The input's is one for all steps. Mean and variance are taken in the type of the weights.
        bidirectional: whether every layer reads in both directions and gives both outputs side by side, 2H numbers.
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
        variational_dropout: bool = False,
        layer_norm: bool = False,
        bidirectional: bool = False,
        init_scale: float | None = None,
        cudnn: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if cell not in LAYERS:
            raise ValueError(f"cell must be one of {sorted(LAYERS)}, got {cell!r}")
        check_rates(dropout=dropout)
        if num_layers < 1:
            raise ValueError(f"num_layers must be a positive number, got {num_layers}")
        self.arguments: dict[str, Any] = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "cell": cell,
            "dropout": dropout,
            "variational_dropout": variational_dropout,
            "layer_norm": layer_norm,
            "bidirectional": bidirectional,
            "init_scale": init_scale,
        }
        make = partial(Bidirectional, cell) if bidirectional else LAYERS[cell]
        options = {"init_scale": init_scale, "cudnn": cudnn, "dtype": self.dtype_policy}
        self.layers = [make(hidden_size, name=f"{cell}_{index}", **options) for index in range(num_layers)]
        self.norms: list[LayerNorm] = []
        for index in range(num_layers if layer_norm else 0):
            width = self.layers[index - 1].units if index else input_size
            self.norms.append(LayerNorm(width, dtype=self.dtype_policy, name=f"norm_{index}"))

    def build(self, input_shape: Any = None) -> None:
        """Create all weights; their shapes follow from the constructor's arguments alone."""
        width = self.arguments["input_size"]
        for layer in self.layers:
            layer.build((None, None, width))
            width = layer.units
        for norm in self.norms:
            norm.build()

    @property
    def recurrent_layers(self) -> list[Recurrent]:
        """All its layers, each direction on its own."""
        found: list[Recurrent] = []
        for layer in self.layers:
            found += [layer.forward, layer.backward] if isinstance(layer, Bidirectional) else [layer]
        return found

    @property
    def output_size(self) -> int:
        """Size of an output of the top layer."""
        return int(self.layers[-1].units)

    @property
    def state_size(self) -> int:
        """How many numbers the states of all layers hold for one sentence."""
        arguments = self.arguments
        fields, directions = len(CELLS[arguments["cell"]].state_type._fields), 1 + arguments["bidirectional"]
        return int(arguments["num_layers"] * directions * fields * arguments["hidden_size"])

    def zero_states(self, batch_size: tf.Tensor) -> tuple[CellState, ...]:
        """A state of zeros for every layer."""
        return tuple(layer.zero_state(batch_size) for layer in self.layers)

    def stepper(self) -> StackStep:
        """A function for one time step; to be made outside a loop.

        It takes vectors `[B, I]`, states, a seed if there is to be dropout, `[2]` int32 and another one each step, and
        the function that computes matrix products. It returns the top layer's output `[B, H]` and the new states. A
        bidirectional stack has none. Nor can a step know the mask of the step before, so it has no variational dropout.
        """
        steps, normalise = [layer.stepper() for layer in self.layers], self._normalisers()

        def step(
            outputs: tf.Tensor,
            states: tuple[CellState, ...],
            dropout_seed: tf.Tensor | None = None,
            multiply: Product = product,
        ) -> tuple[tf.Tensor, tuple[CellState, ...]]:
            new_states = []
            for index, (layer_step, state) in enumerate(zip(steps, states, strict=True)):
                if index:
                    outputs = drop(outputs, self.arguments["dropout"], fold_in(dropout_seed, index))
                outputs, state = layer_step(normalise[index](outputs), state, multiply)
                new_states.append(state)
            return outputs, tuple(new_states)

        return step

    def step_parts(self) -> list[StepParts]:
        """The step of each layer in parts, without dropout; to be made outside a loop. Not if it is bidirectional."""

        def after(norm: TokenWise, layer: StepParts) -> StepParts:
            return layer._replace(project=lambda inputs: layer.project(norm(inputs)))

        return [after(norm, layer.step_parts()) for norm, layer in zip(self._normalisers(), self.layers, strict=True)]

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
            The top layer's outputs, packed `[N, H]` (`[N, 2H]` if bidirectional), and the states after each row's last
            step.
        """
        rate, variational = self.arguments["dropout"], self.arguments["variational_dropout"]
        normalise = self._normalisers()
        outputs, final_states = inputs, []
        for index, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if index:
                outputs = drop_packed(outputs, rate, fold_in(dropout_seed, index), packing, variational)
            outputs = normalise[index](outputs)
            outputs, state = layer.unroll(outputs, packing, state)
            final_states.append(state)
        return outputs, tuple(final_states)

    def _normalisers(self) -> list[TokenWise]:
        """For each layer what its inputs go through, in the type of the states."""
        if not self.norms:
            return [tf.identity] * len(self.layers)
        return [norm.function(self.variable_dtype) for norm in self.norms]

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.arguments}
