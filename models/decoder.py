"""The decoder: from the encoder's final states to the logits of the next target token."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from models.cells import product
from models.initializers import bias_initializer, weight_initializer
from models.losses import projected_cross_entropy
from models.stack import RecurrentStack
from models.states import DecoderState, SourceMemory


class DecoderSteps(NamedTuple):
    """One decoder step in two halves; B is any number of rows."""

    advance: Callable[[tf.Tensor, DecoderState, SourceMemory], tuple[tf.Tensor, DecoderState]]
    """The recurrence: token ids `[B]` and a state to features `[B, H]` and the new state."""
    project: Callable[[tf.Tensor], tf.Tensor]
    """Features `[B, H]` to the logits `[B, V]` of the token that follows."""

    def step(self, token_ids: tf.Tensor, state: DecoderState, memory: SourceMemory) -> tuple[tf.Tensor, DecoderState]:
        """Logits `[B, V]` of the token after `token_ids` `[B]`, and the new state."""
        features, state = self.advance(token_ids, state, memory)
        return self.project(features), state


@keras.saving.register_keras_serializable(package="heliograph")
class Decoder(keras.layers.Layer):
    """A recurrent stack that starts from the encoder's final states, and a projection to the vocabulary.

    Two ways to run it, with equal logits: `stepper`, one token for search, roll-out and serving; `unroll`, whole
    sequences for training. Each is a recurrence and then the projection to the vocabulary. The roll-out and the loss
    call the two apart: the one needs no logits where the next input is the gold token, the other none of the padding.

    Args:
        **arguments: those of `RecurrentStack`; cell, hidden size and number of layers must be the encoder's.
    """

    def __init__(self, *, name: str = "decoder", dtype: Any = None, **arguments: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        self.stack = RecurrentStack(name="stack", dtype=self.dtype_policy, **arguments)
        init_scale = self.stack.arguments["init_scale"]
        self.projection = keras.layers.Dense(
            self.stack.arguments["vocabulary_size"],
            kernel_initializer=weight_initializer(init_scale),
            bias_initializer=bias_initializer(init_scale),
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        self.stack.build()
        self.projection.build((None, self.stack.arguments["hidden_size"]))

    def initial_state(self, memory: SourceMemory) -> DecoderState:
        """The state before the start token: each layer takes over the encoder layer's final state."""
        return DecoderState(memory.final_states)

    def stepper(self) -> DecoderSteps:
        """The two halves of one step, for loops: made outside of one, they cast the weights once."""
        recurrence = self.stack.stepper()

        def advance(token_ids: tf.Tensor, state: DecoderState, memory: SourceMemory) -> tuple[tf.Tensor, DecoderState]:
            del memory  # this decoder has no attention and does not look at the source again
            features, layers = recurrence(token_ids, state.layers)
            return features, DecoderState(layers)

        return DecoderSteps(advance, self.projector())

    def cross_entropy(self, features: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        """Summed negative log-likelihood, in nats, of the targets `[N]` after features `[N, H]`, all of them real."""
        kernel, bias = (tf.convert_to_tensor(weight) for weight in (self.projection.kernel, self.projection.bias))
        return projected_cross_entropy(features, kernel, bias, target_ids, self.compute_dtype)

    def projector(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from features `[..., H]` to logits `[..., V]`, float32 under a mixed policy."""
        kernel = tf.cast(self.projection.kernel, self.compute_dtype)
        bias = tf.convert_to_tensor(self.projection.bias)

        def project(features: tf.Tensor) -> tf.Tensor:
            flat = tf.reshape(features, [-1, kernel.shape[0]])
            # Not in bfloat16: the bias' gradient is a sum over all tokens.
            logits = tf.cast(product(flat, kernel), bias.dtype) + bias
            return tf.reshape(logits, tf.concat([tf.shape(features)[:-1], [kernel.shape[1]]], axis=0))

        return project

    def step(self, token_ids: tf.Tensor, state: DecoderState, memory: SourceMemory) -> tuple[tf.Tensor, DecoderState]:
        """Logits `[B, V]` of the token after `token_ids` `[B]`, and the new state."""
        return self.stepper().step(token_ids, state, memory)

    def unroll_features(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: SourceMemory, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The recurrence of whole sequences; `projector` gives the logits.

        Args:
            token_ids: `[B, T]` decoder inputs, the first one the start token, padded on the right.
            lengths: `[B]` int, real inputs of each row.
            memory: the encoder's result for the same batch.
            dropout_seed: `[2]` int32; `None` for no dropout.

        Returns:
            Features `[B, T, H]`; those of the padding mean nothing.
        """
        features, _ = self.stack.unroll(token_ids, lengths, self.initial_state(memory).layers, dropout_seed)
        return features

    def unroll(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: SourceMemory, dropout_seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Logits `[B, T, V]` of whole sequences: at position t those of the token that follows input t.

        Arguments: those of `unroll_features`.
        """
        return self.projector()(self.unroll_features(token_ids, lengths, memory, dropout_seed))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.stack.arguments}
