"""The recurrent decoder: a stack that starts from the encoder's final states (Sutskever et al. 2014)."""

from typing import Any, NamedTuple, Self

import keras
import tensorflow as tf

from models.bridge import DenseBridge
from models.cells import CellState
from models.decoder import Decoder, DecoderSteps
from models.dropout import check_rates, drop_packed, drop_words, fold_in
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
        bridge_size: how many numbers the encoder's final states hold, of which a `DenseBridge` makes the start; `None`
            to take them over as they are: cell, hidden size and number of layers must then be the encoder's.
        output_dropout: share of the features that training drops, in the way of the stack's `dropout`.
        word_dropout: share of the inputs whose vectors training drops (see `models.dropout.drop_words`).
        **arguments: those of `RecurrentStack`, but for `input_size` and `bidirectional`.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        tied: bool = False,
        bridge_size: int | None = None,
        output_dropout: float = 0.0,
        word_dropout: float = 0.0,
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
        check_rates(output_dropout=output_dropout, word_dropout=word_dropout)
        self.bridge_size, self.output_dropout, self.word_dropout = bridge_size, output_dropout, word_dropout
        self.stack = RecurrentStack(
            embedding.size, bidirectional=False, name="stack", dtype=self.dtype_policy, **arguments
        )
        sizes = {name: self.stack.arguments[name] for name in ("hidden_size", "num_layers", "cell", "init_scale")}
        self.bridge = (
            None if bridge_size is None else DenseBridge(bridge_size, name="bridge", dtype=self.dtype_policy, **sizes)
        )

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        self.stack.build()
        if self.bridge is not None:
            self.bridge.build()
        super().build(input_shape)

    @property
    def recurrent_layers(self) -> list[Any]:
        """See base class."""
        return self.stack.recurrent_layers

    def prepare(self, memory: SourceMemory) -> Nothing:
        """Nothing: this decoder has no attention and does not look at the source again."""
        del memory
        return ()

    def initial_state(self, memory: SourceMemory) -> RecurrentState:
        """The state before the start token, from the encoder's final states."""
        states = memory.final_states
        return RecurrentState(states if self.bridge is None else self.bridge.start(states))

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
        word_seed, stack_seed, output_seed = (fold_in(dropout_seed, place) for place in range(3))
        vectors = self.embedding.lookup()(pack(token_ids, packing))  # --> [N, E]
        vectors = drop_words(vectors, self.word_dropout, word_seed)
        features, _ = self.stack.unroll(vectors, packing, self.initial_state(memory).layers, stack_seed)
        variational = self.stack.arguments["variational_dropout"]
        features = drop_packed(features, self.output_dropout, output_seed, packing, variational)
        return Unrolled(unpack(features, packing))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        derived = ("input_size", "bidirectional")
        arguments = {name: value for name, value in self.stack.arguments.items() if name not in derived}
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "embedding": embedding,
            "tied": self.tied,
            "bridge_size": self.bridge_size,
            "output_dropout": self.output_dropout,
            "word_dropout": self.word_dropout,
            **arguments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})
