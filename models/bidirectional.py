"""A recurrent layer that reads its sequences in both directions (Schuster & Paliwal 1997)."""

from typing import Any

import keras
import tensorflow as tf

from models.cells import CellState
from models.packing import Packing, mirror, swap
from models.recurrence import LAYERS, CellName


@keras.saving.register_keras_serializable(package="heliograph")
class Bidirectional(keras.layers.Layer):
    """Two layers, one reading forward and one backward, as one of twice their size: it has the face of `Recurrent`.

    The weights are those of `keras.layers.Bidirectional`. The backward layer begins at each row's last real step, so
    it computes no padding either. It has no `stepper`: a step cannot know what follows.

    Args:
        cell: `"lstm"` or `"gru"`.
        units: hidden size H of each direction.
        init_scale: see `models.recurrence.Recurrent`.
        cudnn: see `models.recurrence.Recurrent`.
    """

    def __init__(
        self, cell: CellName, units: int, init_scale: float | None = None, cudnn: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.arguments: dict[str, Any] = {"cell": cell, "units": units, "init_scale": init_scale}
        self.forward, self.backward = (
            LAYERS[cell](units, init_scale, cudnn, dtype=self.dtype_policy, name=f"{self.name}_{direction}")
            for direction in ("forward", "backward")
        )
        self.units = 2 * units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of size `input_shape[-1]`."""
        self.forward.build(input_shape)
        self.backward.build(input_shape)

    def zero_state(self, batch_size: tf.Tensor) -> Any:
        """A state of zeros, `[B, 2H]` in each field."""
        return _join(self.forward.zero_state(batch_size), self.backward.zero_state(batch_size))

    def unroll(self, inputs: tf.Tensor, packing: Packing, state: CellState) -> tuple[tf.Tensor, Any]:
        """Whole sequences at once.

        Args:
            inputs: `[N, I]`, packed.
            packing: where the N steps belong.
            state: the states before either direction's first step side by side, `[B, 2H]` in each field.

        Returns:
            Outputs of both directions side by side, packed `[N, 2H]`, and the states after either direction's last
            step: the forward one's after each row's last step, the backward one's after its first.
        """
        units = self.forward.units
        ahead, final_ahead = self.forward.unroll(inputs, packing, type(state)(*(field[:, :units] for field in state)))
        places = mirror(packing)
        back, final_back = self.backward.unroll(
            swap(inputs, places), packing, type(state)(*(field[:, units:] for field in state))
        )
        return tf.concat([ahead, swap(back, places)], axis=-1), _join(final_ahead, final_back)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.arguments}


def _join(forward: CellState, backward: CellState) -> Any:
    return type(forward)(*(tf.concat(pair, axis=-1) for pair in zip(forward, backward, strict=True)))
