"""The recurrent decoder: a stack that starts from the encoder's final states (Sutskever et al. 2014)."""

from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf

from models.cells import CellState
from models.decoder import Decoder, DecoderSteps
from models.embedding import TokenEmbedding
from models.packing import pack, pack_lengths, unpack
from models.stack import RecurrentStack
from models.states import Advance, Nothing, SourceMemory, Unrolled


class RecurrentState(NamedTuple):
    """Everything a recurrent decoder needs to go on: no more and no less than its next step."""

    layers: tuple[CellState, ...]  # one a layer


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentDecoder(Decoder):
    """See `Decoder`.

    Args:
        embedding: the target side's embedding.
        tied: see `Decoder`.
        **arguments: those of `RecurrentStack`, but for `input_size`; cell, hidden size and number of layers must be the
            encoder's.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        tied: bool = False,
        name: str = "decoder",
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(
            embedding,
            feature_size=arguments["hidden_size"],
            tied=tied,
            init_scale=arguments.get("init_scale"),
            name=name,
            dtype=dtype,
        )
        self.stack = RecurrentStack(embedding.size, name="stack", dtype=self.dtype_policy, **arguments)

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        self.stack.build()
        super().build(input_shape)

    @property
    def recurrent_layers(self) -> list[Any]:
        """See base class."""
        return list(self.stack.layers)

    def prepare(self, memory: SourceMemory) -> Nothing:
        """Nothing: this decoder has no attention and does not look at the source again."""
        del memory
        return ()

    def initial_state(self, memory: SourceMemory) -> RecurrentState:
        """The state before the start token: each layer takes over the encoder layer's final state."""
        return RecurrentState(memory.final_states)

    def stepper(self) -> DecoderSteps:
        """See base class."""
        recurrence, lookup = self.stack.stepper(), self.embedding.lookup()

        def advance(token_ids: tf.Tensor, state: RecurrentState, memory: Nothing) -> Advance:
            del memory
            features, layers = recurrence(lookup(token_ids), state.layers)
            return Advance(features, RecurrentState(layers))

        return DecoderSteps(advance, self.projector())

    def unroll_features(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: SourceMemory, dropout_seed: tf.Tensor | None = None
    ) -> Unrolled:
        """See base class; features are zero in the padding."""
        packing = pack_lengths(lengths, tf.shape(token_ids)[1])
        vectors = self.embedding.lookup()(pack(token_ids, packing))  # --> [N, E]
        features, _ = self.stack.unroll(vectors, packing, self.initial_state(memory).layers, dropout_seed)
        return Unrolled(unpack(features, packing))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        arguments = {name: value for name, value in self.stack.arguments.items() if name != "input_size"}
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "embedding": embedding,
            "tied": self.tied,
            **arguments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})
