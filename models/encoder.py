"""The recurrent encoder: source ids to a memory and the final states (Sutskever et al. 2014)."""

from typing import Any, Self

import keras
import tensorflow as tf

from models.dropout import drop, fold_in
from models.embedding import TokenEmbedding
from models.packing import pack, pack_lengths, unpack
from models.stack import RecurrentStack
from models.states import SourceMemory


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentEncoder(keras.layers.Layer):
    """An embedding and a recurrent stack over the source.

    Args:
        embedding: the source side's embedding.
        **arguments: those of `RecurrentStack`, but for `input_size`.

    Call arguments:
        source_ids: `[B, S]` int, padded on the right.
        source_lengths: `[B]` int, at least 1 each: a row holds at least its end token.
        dropout_seed: `[2]` int32; `None` for no dropout.

    Output:
        A `SourceMemory`.
    """

    def __init__(
        self, embedding: TokenEmbedding, *, name: str = "encoder", dtype: Any = None, **arguments: Any
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.embedding = embedding
        self.stack = RecurrentStack(embedding.size, name="stack", dtype=self.dtype_policy, **arguments)

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        if not self.embedding.built:
            self.embedding.build()
        self.stack.build()

    @property
    def recurrent_layers(self) -> list[Any]:
        """All its `Recurrent` layers."""
        return list(self.stack.layers)

    def call(
        self, source_ids: tf.Tensor, source_lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> SourceMemory:
        """See the class."""
        packing = pack_lengths(source_lengths, tf.shape(source_ids)[1])
        vectors = self.embedding.lookup()(pack(source_ids, packing))  # --> [N, E]
        vectors = drop(vectors, self.stack.arguments["dropout"], fold_in(dropout_seed, 0))
        states = self.stack.zero_states(tf.shape(source_ids)[0])
        outputs, final_states = self.stack.unroll(vectors, packing, states, dropout_seed)
        return SourceMemory(unpack(outputs, packing), tf.cast(source_lengths, tf.int32), final_states)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        arguments = {name: value for name, value in self.stack.arguments.items() if name != "input_size"}
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return {"name": self.name, "dtype": self.dtype_policy.name, "embedding": embedding, **arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})
