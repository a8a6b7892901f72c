"""The recurrent encoder: source ids to a memory and the final states (Sutskever et al. 2014; Bahdanau et al. 2015)."""

from typing import Any

import keras
import tensorflow as tf

from models.dropout import check_rates, drop_packed, drop_words, fold_in
from models.embedding import HoldsEmbedding, TokenEmbedding
from models.packing import mirror, pack, pack_lengths, swap, unpack
from models.stack import RecurrentStack
from models.states import SourceMemory


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentEncoder(HoldsEmbedding, keras.layers.Layer):
    """An embedding and a recurrent stack over the source.

    Args:
        embedding: the source side's embedding.
        reverse_source: whether it reads the words from the last to the first, and then the end token, so that the
            sentence's beginning is near the translation's (Sutskever et al. 2014). The memory is in the source's order.
        word_dropout: share of the source's tokens whose vectors training drops (see `models.dropout.drop_words`).
        **arguments: those of `RecurrentStack`, but for `input_size`.

    Call arguments:
        source_ids: `[B, S]` int, padded on the right.
        source_lengths: `[B]` int, at least 1 each: a row holds at least its end token.
        dropout_seed: `[2]` int32; `None` for no dropout.

    Output:
        A `SourceMemory`.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        reverse_source: bool = False,
        word_dropout: float = 0.0,
        name: str = "encoder",
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        check_rates(word_dropout=word_dropout)
        self.embedding = embedding
        self.reverse_source, self.word_dropout = reverse_source, word_dropout
        self.stack = RecurrentStack(embedding.size, name="stack", dtype=self.dtype_policy, **arguments)

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        if not self.embedding.built:
            self.embedding.build()
        self.stack.build()

    @property
    def recurrent_layers(self) -> list[Any]:
        """All its `Recurrent` layers."""
        return self.stack.recurrent_layers

    def call(
        self, source_ids: tf.Tensor, source_lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> SourceMemory:
        """See the class."""
        packing = pack_lengths(source_lengths, tf.shape(source_ids)[1])
        word_seed, vector_seed, stack_seed = (fold_in(dropout_seed, place) for place in range(3))
        ids = pack(source_ids, packing)
        if self.reverse_source:
            places = mirror(packing, kept=1)
            ids = tf.gather(ids, places)
        vectors = drop_words(self.embedding.lookup()(ids), self.word_dropout, word_seed)  # --> [N, E]
        rate, variational = self.stack.arguments["dropout"], self.stack.arguments["variational_dropout"]
        vectors = drop_packed(vectors, rate, vector_seed, packing, variational)
        states = self.stack.zero_states(tf.shape(source_ids)[0])
        outputs, final_states = self.stack.unroll(vectors, packing, states, stack_seed)
        if self.reverse_source:
            outputs = swap(outputs, places)
        return SourceMemory(unpack(outputs, packing), tf.cast(source_lengths, tf.int32), final_states)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        arguments = {name: value for name, value in self.stack.arguments.items() if name != "input_size"}
        embedding = keras.saving.serialize_keras_object(self.embedding)
        return {
            "name": self.name,
            "dtype": self.dtype_policy.name,
            "embedding": embedding,
            "reverse_source": self.reverse_source,
            "word_dropout": self.word_dropout,
            **arguments,
        }
