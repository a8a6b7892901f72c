"""The face that all decoders share: from a memory of the source to the logits of the next target token."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from models.cells import product
from models.embedding import HoldsEmbedding, TokenEmbedding
from models.frozen_weights import derive, product_weight
from models.initializers import bias_initializer, weight_initializer
from models.losses import CrossEntropy, projected_cross_entropy
from models.states import Advance, Begin, Logits, Step, StepFunction, Unrolled, take_rows

Advancer = Callable[[tf.Tensor, Any, Any], Advance]
"""Token ids `[R]`, a state and a prepared memory to features `[R, F]` and the new state."""


class DecoderSteps(NamedTuple):
    """One decoder step in two halves; R rows, B sentences in the memory, R a multiple of B.

    Rows of one sentence (the hypotheses of a beam) lie together and share its memory.
    """

    advance: Advancer
    project: Callable[[tf.Tensor], tf.Tensor]
    """Features `[R, F]` to the logits `[R, V]` of the token that follows."""

    def step(self, token_ids: tf.Tensor, state: Any, memory: Any) -> Step:
        """Logits of the token after `token_ids` `[R]`, and the new state."""
        features, state, attention = self.advance(token_ids, state, memory)
        return Step(self.project(features), state, attention)


class SearchSteps(NamedTuple):
    """A decoder as a search runs it: what it computes once a sentence, once a past, and once a token."""

    prepare: Callable[[Any], Any]
    """A memory to what `advance` wants of it, which may be other than what `Decoder.prepare` returns."""
    begin: Begin
    """States and those of their rows that go on to what `advance` takes."""
    advance: Advancer
    """Token ids `[R]`, what `begin` made of a state, and what `prepare` made of the memory; see `DecoderSteps`."""

    def step(self, project: Callable[[tf.Tensor], tf.Tensor]) -> StepFunction:
        """A search's step function, with a projection of features `[R, F]` to logits."""

        def run(token_ids: tf.Tensor, begun: Any, memory: Any) -> Step:
            features, state, attention = self.advance(token_ids, begun, memory)
            return Step(project(features), state, attention)

        return run


class Decoder(HoldsEmbedding, keras.layers.Layer):
    """Token ids and a memory of the source to logits; the network in between is the subclass's.

    Three ways to run it, with equal logits: `stepper`, one token for the roll-out; `search_stepper`, the same for a
    beam's hypotheses, which have much in common; `unroll`, whole sequences for training. Each is the network and then
    the projection to the vocabulary. The roll-out and the loss call the two apart: the one needs no logits where the
    next input is the gold token, the other none of the padding.

    A memory is what the encoder of the same network returns, a `SourceMemory` unless it says otherwise. A *prepared*
    memory is what a step wants of it: whatever `prepare` computes once a sentence. State and prepared memory are nests
    of tensors with the batch first.

    Args:
        embedding: the target side's embedding.
        feature_size: size F of the features.
        tied: whether the projection's kernel is the embedding's (Press & Wolf 2017), whose size must then be F and
            which must be stored transposed.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' defaults.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        feature_size: int,
        tied: bool = False,
        init_scale: float | None = None,
        name: str = "decoder",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if tied and not (embedding.transposed and embedding.size == feature_size):
            raise ValueError(
                f"embedding must be stored transposed, of size {feature_size}, to be tied to the projection, got "
                f"transposed={embedding.transposed}, size {embedding.size}"
            )
        self.embedding = embedding
        self.feature_size, self.tied, self.init_scale = feature_size, tied, init_scale

    def build(self, input_shape: Any = None) -> None:
        """Create the weights of embedding and projection; a subclass adds its own."""
        if not self.embedding.built:
            self.embedding.build()
        if not self.tied:
            self.projection_kernel = self.add_weight(
                shape=(self.feature_size, self.embedding.vocabulary_size),
                initializer=weight_initializer(self.init_scale),
                autocast=False,  # the product casts
                name="projection_kernel",
            )
        self.projection_bias = self.add_weight(
            shape=(self.embedding.vocabulary_size,),
            initializer=bias_initializer(self.init_scale),
            autocast=False,
            name="projection_bias",
        )

    @property
    def recurrent_layers(self) -> list[Any]:
        """All its `Recurrent` layers."""
        return []

    @property
    def has_attention(self) -> bool:
        """Whether steps and whole sequences come with attention weights over the source tokens."""
        return False

    def prepare(self, memory: Any) -> Any:
        """What `advance` wants of the source, computed once a sentence."""
        raise NotImplementedError

    def initial_state(self, memory: Any) -> Any:
        """The state before the start token."""
        raise NotImplementedError

    def advancer(self) -> Advancer:
        """The first half of a step, see `DecoderSteps`, for loops: made outside of one, it casts the weights once."""
        raise NotImplementedError

    def stepper(self) -> DecoderSteps:
        """The two halves of one step, to be made outside a loop."""
        return DecoderSteps(self.advancer(), self.projector())

    def search_stepper(self) -> SearchSteps:
        """The same steps for a search, where many rows share a sentence, and some a past; their features are equal."""
        return SearchSteps(self.prepare, take_rows, self.advancer())

    def unroll_features(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: Any, dropout_seed: tf.Tensor | None = None
    ) -> Unrolled:
        """The network over whole sequences; `projector` gives the logits.

        Args:
            token_ids: `[B, T]` decoder inputs, the first one the start token, padded on the right.
            lengths: `[B]` int, real inputs of each row.
            memory: the encoder's result for the same batch.
            dropout_seed: `[2]` int32; `None` for no dropout.
        """
        raise NotImplementedError

    def cross_entropy(self, features: tf.Tensor, target_ids: tf.Tensor, label_smoothing: float = 0.0) -> CrossEntropy:
        """Summed loss of the targets `[N]` after features `[N, F]`, all of them real."""
        kernel, bias = (tf.convert_to_tensor(weight) for weight in (self._kernel(), self.projection_bias))
        return projected_cross_entropy(features, kernel, bias, target_ids, self.compute_dtype, label_smoothing)

    def chooser(self, union: tf.Tensor, multiple: int = 1) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """A projection to some of the vocabulary alone; see `models.shortlist`.

        Args:
            union: `[U]`, the target ids that any sentence may choose.
            multiple: as of the `projector` whose columns are chosen from.

        Returns:
            A function from features `[R, F]` and the sentences' choices `[B, C]`, as places in `union` (U for padding),
            to logits `[R, C]`, -inf in the padding; R is a multiple of B, and rows of one sentence lie together.
        """
        kernel, bias = self._projection(multiple)
        # One column more, for the padding.
        kernel = tf.pad(tf.gather(kernel, union, axis=1), [[0, 0], [0, 1]])
        biases = tf.pad(tf.gather(bias, union), [[0, 1]], constant_values=float("-inf"))

        def project(features: tf.Tensor, choices: tf.Tensor) -> tf.Tensor:
            # Without its bias: TensorFlow would compute the two at once, and in a server that is told that kernels are
            # weights (TF_ONEDNN_ASSUME_FROZEN_WEIGHTS) go on with the kernel of the first request.
            every = product(features, kernel)  # --> [R, U + 1]
            rows, sentences = tf.shape(every)[0], tf.shape(choices)[0]
            apart = tf.reshape(every, [sentences, rows // tf.maximum(sentences, 1), tf.shape(every)[1]])
            own, bias = tf.gather(apart, choices, axis=2, batch_dims=1), tf.gather(biases, choices)
            logits = tf.cast(own, bias.dtype) + bias[:, tf.newaxis]
            return tf.reshape(logits, [rows, tf.shape(choices)[1]])

        return project

    def projector(self, multiple: int = 1) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from features `[..., F]` to logits `[..., V]`, float32 under a mixed policy.

        V is rounded up to a multiple of the argument; the columns that are no token are -inf.
        """
        kernel, bias = self._projection(multiple)

        def project(features: tf.Tensor) -> tf.Tensor:
            flat = features if features.shape.rank == 2 else tf.reshape(features, [-1, kernel.shape[0]])
            # Not in bfloat16: the bias' gradient is a sum over all tokens.
            logits = tf.cast(product(flat, kernel), bias.dtype) + bias
            if features.shape.rank == 2:
                return logits
            return tf.reshape(logits, tf.concat([tf.shape(features)[:-1], [kernel.shape[1]]], axis=0))

        return project

    def _projection(self, multiple: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Kernel and bias with so many columns more that no step has to pad its logits."""
        rest = -self.embedding.vocabulary_size % multiple

        def pad_kernel(kernel: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.pad(kernel, [[0, 0], [0, rest]]), self.compute_dtype)

        def pad_bias(bias: tf.Tensor) -> tf.Tensor:
            return tf.pad(bias, [[0, rest]], constant_values=float("-inf"))

        if not rest:
            return product_weight(self, self._kernel()), tf.convert_to_tensor(self.projection_bias)
        name = f"{rest} columns more"
        return derive(self, self._kernel(), name, pad_kernel), derive(self, self.projection_bias, name, pad_bias)

    def _kernel(self) -> Any:
        return self.embedding.embeddings if self.tied else self.projection_kernel

    def step(self, token_ids: tf.Tensor, state: Any, memory: Any) -> Step:
        """Logits `[B, V]` of the token after `token_ids` `[B]`, and the new state."""
        return self.stepper().step(token_ids, state, self.prepare(memory))

    def unroll(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: Any, dropout_seed: tf.Tensor | None = None
    ) -> Logits:
        """Logits of whole sequences; arguments: those of `unroll_features`."""
        features, attention = self.unroll_features(token_ids, lengths, memory, dropout_seed)
        return Logits(self.projector()(features), attention)
