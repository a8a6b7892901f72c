"""The encoder: source ids to a memory and the final states (Sutskever et al. 2014)."""

from typing import Any

import keras
import tensorflow as tf

from models.stack import RecurrentStack
from models.states import SourceMemory


@keras.saving.register_keras_serializable(package="heliograph")
class Encoder(keras.layers.Layer):
    """A recurrent stack over the source.

    Args:
        **arguments: those of `RecurrentStack`.

    Call arguments:
        source_ids: `[B, S]` int, padded on the right.
        source_lengths: `[B]` int, at least 1 each: a row holds at least its end token.
        dropout_seed: `[2]` int32; `None` for no dropout.

    Output:
        A `SourceMemory`.
    """

    def __init__(self, *, name: str = "encoder", dtype: Any = None, **arguments: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.stack = RecurrentStack(name="stack", dtype=self.dtype_policy, **arguments)

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        self.stack.build()

    def call(
        self, source_ids: tf.Tensor, source_lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> SourceMemory:
        """See the class."""
        states = self.stack.zero_states(tf.shape(source_ids)[0])
        outputs, final_states = self.stack.unroll(source_ids, source_lengths, states, dropout_seed)
        return SourceMemory(outputs, tf.cast(source_lengths, tf.int32), final_states)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.stack.arguments}
