"""The recurrent decoder: a stack that starts from the encoder's final states, with or without attention."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import keras
import tensorflow as tf

from models.attention import Attention, AttentionKind, attend_rows
from models.bridge import DenseBridge
from models.cells import Product, product
from models.decoder import Advancer, Decoder, SearchSteps
from models.dropout import check_rates, drop_packed, drop_words, fold_in
from models.embedding import TokenEmbedding
from models.frozen_weights import product_weight
from models.initializers import weight_initializer
from models.packing import pack, pack_lengths, unpack
from models.recurrent_search import search_steps
from models.stack import RecurrentStack
from models.states import Advance, Nothing, RecurrentState, SourceMemory, Unrolled
from models.step_loop import run_steps

ContextUse = Literal["initial", "every_step"]
ContextPooling = Literal["final", "max", "mean"]


@keras.saving.register_keras_serializable(package="heliograph")
class RecurrentDecoder(Decoder):
    """A recurrent stack and what it sees of the source; see `Decoder`.

    Legend: e the embedding of the input token, s and h the stack's top hidden state before and after a step, z a vector
    of the whole source, c a context by attention, o the features.

        context "initial", no attention   h = stack(e),         o of h            Sutskever et al. 2014
        context "every_step"              h = stack(e, z),      o of h, z, e      Cho et al. 2014
        attention "dot", "general"        h = stack(e),         o of h, c(h)      Luong et al. 2015
          with input feeding              h = stack(e, o'),     o of h, c(h)      o' being the last step's o
        attention "additive"              h = stack(e, c(s)),   o of h, c(s), e   Bahdanau et al. 2015

    The features are these vectors side by side, or with `output_size` `tanh([h; c; ...] W)` of that size. Attention
    that only looks from h leaves the recurrence alone, so whole sequences run at once; input feeding and additive
    attention have to go step by step.

    Args:
        embedding: the target side's embedding.
        memory_size: size M of an encoder output, and of the top layer's final hidden state.
        attention: `"none"`, `"dot"`, `"general"` or `"additive"`.
        input_feeding: whether a step's features are an input of the next step.
        context: whether the source is known from the initial state alone, or z enters every step.
        context_from: z is the encoder's top hidden state after the last token, or the maximum or mean of its outputs.
        output_size: size of the features; 0 for the vectors side by side.
        tied: see `Decoder`.
        bridge_size: how many numbers the encoder's final states hold, of which a `DenseBridge` makes the start; `None`
            to take them over as they are: cell, hidden size and number of layers must then be the encoder's.
        output_dropout: share of the features that training drops, in the way of the stack's `dropout`.
        word_dropout: share of the inputs whose vectors training drops (see `models.dropout.drop_words`).
        **arguments: those of `RecurrentStack`, but for `input_size` and `bidirectional`.

    Raises:
        ValueError: options that exclude each other.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        memory_size: int,
        attention: Literal["none"] | AttentionKind = "none",
        input_feeding: bool = False,
        context: ContextUse = "initial",
        context_from: ContextPooling = "final",
        output_size: int = 0,
        tied: bool = False,
        bridge_size: int | None = None,
        output_dropout: float = 0.0,
        word_dropout: float = 0.0,
        name: str = "decoder",
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        _check(attention, input_feeding, context, context_from, output_size)
        hidden_size = arguments["hidden_size"]
        looks = attention != "none" or context == "every_step"
        self.early = attention == "additive" or context == "every_step"  # what it sees goes into the stack
        self.output_inputs = hidden_size + looks * memory_size + self.early * embedding.size
        super().__init__(
            embedding,
            feature_size=output_size or self.output_inputs,
            tied=tied,
            init_scale=arguments.get("init_scale"),
            name=name,
            dtype=dtype,
        )
        check_rates(output_dropout=output_dropout, word_dropout=word_dropout)
        self.options: dict[str, Any] = {
            "memory_size": memory_size,
            "attention": attention,
            "input_feeding": input_feeding,
            "context": context,
            "context_from": context_from,
            "output_size": output_size,
            "bridge_size": bridge_size,
            "output_dropout": output_dropout,
            "word_dropout": word_dropout,
        }
        self.input_feeding, self.output_size = input_feeding, output_size
        self.output_dropout, self.word_dropout = output_dropout, word_dropout
        self.pooling = context_from if context == "every_step" else None
        self.attention = None
        if attention != "none":
            self.attention = Attention(
                attention, hidden_size, memory_size, self.init_scale, dtype=self.dtype_policy, name="attention"
            )
        self.stepwise = attention == "additive" or input_feeding
        if self.stepwise:
            arguments = {**arguments, "cudnn": False}
        input_size = embedding.size + self.early * memory_size + input_feeding * self.feature_size
        self.stack = RecurrentStack(input_size, bidirectional=False, name="stack", dtype=self.dtype_policy, **arguments)
        made = self.stack.arguments
        if self.stepwise:
            if made["variational_dropout"] and made["dropout"] and made["num_layers"] > 1:
                raise ValueError(
                    "variational_dropout must be False for several decoder layers that run step by step (additive "
                    "attention, input feeding): a step does not know the mask of the step before; got True"
                )
            for layer in self.stack.layers:
                layer.why_not_cudnn = "its inputs depend on the step before, by attention or input feeding"
        sizes = {name: made[name] for name in ("hidden_size", "num_layers", "cell", "init_scale")}
        self.bridge = (
            None if bridge_size is None else DenseBridge(bridge_size, name="bridge", dtype=self.dtype_policy, **sizes)
        )

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        self.stack.build()
        if self.bridge is not None:
            self.bridge.build()
        if self.attention is not None:
            self.attention.build()
        if self.output_size:
            self.output_kernel = self.add_weight(
                shape=(self.output_inputs, self.output_size),
                initializer=weight_initializer(self.init_scale),
                autocast=False,  # the product casts
                name="output_kernel",
            )
        super().build(input_shape)

    @property
    def recurrent_layers(self) -> list[Any]:
        """See base class."""
        return self.stack.recurrent_layers

    @property
    def has_attention(self) -> bool:
        """See base class."""
        return self.attention is not None

    def prepare(self, memory: SourceMemory) -> Any:
        """What attention needs, or z `[B, M]`, or nothing if the decoder does not look at the source again."""
        if self.attention is not None:
            return self.attention.prepare(memory.outputs, memory.lengths)
        return () if self.pooling is None else source_vector(memory, self.pooling)

    def initial_state(self, memory: SourceMemory) -> RecurrentState:
        """The state before the start token, from the encoder's final states."""
        states = memory.final_states
        shape = [tf.shape(memory.lengths)[0], self.feature_size]
        return RecurrentState(
            states if self.bridge is None else self.bridge.start(states),
            tf.zeros(shape, self.variable_dtype) if self.input_feeding else (),
        )

    def advancer(self) -> Advancer:
        """See base class."""
        step, lookup = self._vector_step(), self.embedding.lookup()

        def advance(token_ids: tf.Tensor, state: RecurrentState, memory: Any) -> Advance:
            return step(lookup(token_ids), state, memory)

        return advance

    def search_stepper(self) -> SearchSteps:
        """See base class."""
        if self.early:
            return super().search_stepper()
        kernel = product_weight(self, self.output_kernel) if self.output_size else None
        return search_steps(
            self.stack,
            self.attention,
            kernel,
            self.embedding.lookup(),
            self.prepare,
            dtype=self.variable_dtype,
            product_dtype=self.compute_dtype,
        )

    def _vector_step(self) -> Callable[..., Advance]:
        """A function for one step from embeddings `[R, E]`; see `models.step_loop.Step`."""
        recurrence, combine = self.stack.stepper(), self._combiner()
        attend = None if self.attention is None else self.attention.attender()

        def look(hidden: tf.Tensor, memory: Any, multiply: Product) -> tuple[list[tf.Tensor], tf.Tensor | Nothing]:
            if attend is None:
                sentences = tf.maximum(tf.shape(memory)[0], 1)
                return [tf.repeat(memory, tf.shape(hidden)[0] // sentences, axis=0)], ()
            context, weights = attend_rows(attend, hidden, memory, multiply)
            return [context], weights

        def step(
            vectors: tf.Tensor,
            state: RecurrentState,
            memory: Any,
            dropout_seed: tf.Tensor | None = None,
            multiply: Product = product,
        ) -> Advance:
            seen: list[tf.Tensor] = []
            attention: tf.Tensor | Nothing = ()
            if self.early:
                seen, attention = look(state.layers[-1].hidden, memory, multiply)
            inputs = [vectors, *seen, *([state.fed] if self.input_feeding else [])]
            hidden, layers = recurrence(self._join(inputs), state.layers, dropout_seed, multiply)
            if self.has_attention and not self.early:
                seen, attention = look(hidden, memory, multiply)
            features = combine(hidden, seen, vectors, multiply)
            return Advance(features, RecurrentState(layers, features if self.input_feeding else ()), attention)

        return step

    def unroll_features(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: SourceMemory, dropout_seed: tf.Tensor | None = None
    ) -> Unrolled:
        """See base class; features are zero in the padding."""
        packing = pack_lengths(lengths, tf.shape(token_ids)[1])
        vectors = self.embedding.lookup()(pack(token_ids, packing))  # --> [N, E]
        seeds = [fold_in(dropout_seed, place) for place in range(4)]
        rate, variational = self.stack.arguments["dropout"], self.stack.arguments["variational_dropout"]
        vectors = drop_words(vectors, self.word_dropout, seeds[0])
        vectors = drop_packed(vectors, rate, seeds[1], packing, variational)
        state, prepared = self.initial_state(memory), self.prepare(memory)
        attention: tf.Tensor | Nothing = ()
        if self.stepwise:
            features, weights = run_steps(self._vector_step(), vectors, packing, state, prepared, seeds[2])
            features = tf.ensure_shape(features, [None, self.feature_size])
            attention = unpack(weights, packing)
        else:
            seen = [] if self.pooling is None else [tf.gather(prepared, packing.positions[:, 0])]  # --> [N, M]
            hidden, _ = self.stack.unroll(self._join([vectors, *seen]), packing, state.layers, seeds[2])
            if self.attention is not None:
                context, attention = self.attention.attender()(unpack(hidden, packing), prepared)
                seen = [pack(context, packing)]
            features = self._combiner()(hidden, seen, vectors)
        features = drop_packed(features, self.output_dropout, seeds[3], packing, variational)
        return Unrolled(unpack(features, packing), attention)

    def _combiner(self) -> Callable[..., tf.Tensor]:
        """A function from h, what was seen, and e, each `[N, ...]`, to the features `[N, F]`."""
        kernel = product_weight(self, self.output_kernel) if self.output_size else None

        def combine(
            hidden: tf.Tensor, seen: list[tf.Tensor], vectors: tf.Tensor, multiply: Product = product
        ) -> tf.Tensor:
            joined = self._join([hidden, *seen, *([vectors] if self.early else [])])
            return joined if kernel is None else tf.tanh(tf.cast(multiply(joined, kernel), self.variable_dtype))

        return combine

    def _join(self, parts: list[tf.Tensor]) -> tf.Tensor:
        parts = [tf.cast(part, self.variable_dtype) for part in parts]
        return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)

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
            **self.options,
            **arguments,
        }


def source_vector(memory: SourceMemory, pooling: ContextPooling) -> tf.Tensor:
    """One vector `[B, M]` for each source sentence: the top layer's final hidden state, or its outputs pooled."""
    if pooling == "final":
        return memory.final_states[-1].hidden
    outputs = memory.outputs
    real = tf.sequence_mask(memory.lengths, tf.shape(outputs)[1])[:, :, tf.newaxis]
    if pooling == "max":
        return tf.reduce_max(tf.where(real, outputs, outputs.dtype.min), axis=1)
    total = tf.reduce_sum(tf.where(real, outputs, tf.zeros_like(outputs)), axis=1)
    return total / tf.cast(memory.lengths, outputs.dtype)[:, tf.newaxis]


def _check(attention: str, input_feeding: bool, context: str, context_from: str, output_size: int) -> None:
    """Refuse values that do not exist, and options that would do nothing or contradict each other."""
    kinds = ("none", *get_args(AttentionKind))
    for name, value, allowed in (
        ("attention", attention, kinds),
        ("context", context, get_args(ContextUse)),
        ("context_from", context_from, get_args(ContextPooling)),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {sorted(allowed)}, got {value!r}")
    if attention != "none" and context != "initial":
        raise ValueError(f"context must be 'initial' with attention, which gives a context of its own, got {context!r}")
    if context == "initial" and context_from != "final":
        raise ValueError(f"context_from must be 'final' unless context is 'every_step', got {context_from!r}")
    if input_feeding and attention not in ("dot", "general"):
        raise ValueError(f"attention must be 'dot' or 'general' with input_feeding, got {attention!r}")
    if output_size < 0:
        raise ValueError(f"output_size must be a number of units, or 0, got {output_size}")
    if input_feeding and not output_size:
        raise ValueError("output_size must be positive with input_feeding, which feeds vectors of that size, got 0")
