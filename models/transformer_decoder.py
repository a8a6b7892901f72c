"""The Transformer's decoder (Vaswani et al. 2017): whole sequences under a causal mask, or steps with a cache."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from models.decoder import Advancer, Decoder
from models.dropout import fold_in
from models.embedding import TokenEmbedding
from models.multi_head import CrossAttention, KeyValues, Places, causal_mask, padding_mask, places
from models.packing import pack, pack_lengths, unpack
from models.states import Advance, SourceMemory, Unrolled
from models.token_wise import LayerNorm
from models.transformer import Block, check_arguments, embed, sinusoids, stack_config


class TransformerMemory(NamedTuple):
    """What a step wants of the source."""

    layers: tuple[KeyValues, ...]  # the source's keys and values, one a block
    mask: tf.Tensor  # [B, S] see `padding_mask`


class TransformerState(NamedTuple):
    """The target so far. How long it is, and so the position of the next token, is its number of keys."""

    layers: tuple[KeyValues, ...]  # the target's keys and values, one a block


@keras.saving.register_keras_serializable(package="heliograph")
class DecoderBlock(Block):
    """A layer of the decoder: a `Block` with attention to the source between its two sublayers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        size, heads, dropout, init_scale = (
            self.arguments[name] for name in ("hidden_size", "heads", "attention_dropout", "init_scale")
        )
        policy = self.dtype_policy
        self.cross_attention = CrossAttention(size, heads, dropout, init_scale, dtype=policy, name="cross_attention")
        self.cross_attention_norm = LayerNorm(size, dtype=policy, name="cross_attention_norm")

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        super().build(input_shape)
        self.cross_attention.build()
        self.cross_attention_norm.build()

    def unroll(
        self,
        stream: tf.Tensor,
        place: Places,
        mask: tf.Tensor,
        memory: KeyValues,
        memory_mask: tf.Tensor,
        dropout_seed: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Packed `[N, H]` to packed `[N, H]`, and the weights of the attention to the source `[B, T, S]`."""
        seeds = [fold_in(dropout_seed, number) for number in range(5)]
        attended = self.attention.unroll(self.attention_norm.function()(stream), place, mask, seeds[0])
        stream = self.add(stream, attended, seeds[1])
        inputs = self.cross_attention_norm.function()(stream)
        attended, weights = self.cross_attention.unroll(inputs, place, memory, memory_mask, seeds[2])
        stream = self.add(stream, attended, seeds[3])
        fed = self.feed_forward.function()(self.feed_forward_norm.function()(stream))
        return self.add(stream, fed, seeds[4]), weights

    def stepper(self) -> Any:
        """A function for one step of R rows, without dropout; to be made outside a loop.

        It takes the residual stream `[R, H]`, the cache, the prepared memory and its mask `[B, S]`, and returns the
        stream, the longer cache and the weights of the attention to the source `[R, S]`.
        """
        norms = (self.attention_norm, self.cross_attention_norm, self.feed_forward_norm)
        before_self, before_cross, before_feed = (norm.function() for norm in norms)
        attend_self, attend_cross = self.attention.stepper(), self.cross_attention.stepper()
        feed_forward = self.feed_forward.function()

        def step(stream: tf.Tensor, cache: KeyValues, memory: KeyValues, mask: tf.Tensor) -> Any:
            attended, cache = attend_self(before_self(stream), cache)
            stream = self.add(stream, attended)
            attended, weights = attend_cross(before_cross(stream), memory, mask)
            stream = self.add(stream, attended)
            return self.add(stream, feed_forward(before_feed(stream))), cache, weights

        return step


@keras.saving.register_keras_serializable(package="heliograph")
class TransformerDecoder(Decoder):
    """See `Decoder`. The attention that it reports is the last block's, the mean of its heads.

    Args:
        embedding: the target side's embedding.
        num_layers: number of blocks.
        word_dropout: share of the inputs whose embedding training drops.
        tied: see `Decoder`.
        **arguments: those of `Block`; the hidden size must be the encoder's.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        num_layers: int,
        word_dropout: float = 0.0,
        tied: bool = False,
        name: str = "decoder",
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        check_arguments(embedding, num_layers, word_dropout, arguments)
        super().__init__(
            embedding,
            feature_size=arguments["hidden_size"],
            tied=tied,
            init_scale=arguments.get("init_scale"),
            name=name,
            dtype=dtype,
        )
        self.word_dropout = word_dropout
        policy = self.dtype_policy
        self.blocks = [DecoderBlock(**arguments, dtype=policy, name=f"block_{index}") for index in range(num_layers)]
        self.norm = LayerNorm(embedding.size, dtype=policy, name="norm")

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        for block in self.blocks:
            block.build()
        self.norm.build()
        super().build(input_shape)

    @property
    def has_attention(self) -> bool:
        """See base class."""
        return True

    def prepare(self, memory: SourceMemory) -> TransformerMemory:
        """See base class: each block's keys and values of the source."""
        columns = tf.shape(memory.outputs)[1]
        packing = pack_lengths(memory.lengths, columns)
        outputs, place = pack(memory.outputs, packing), places(packing)
        layers = tuple(block.cross_attention.prepare(outputs, place) for block in self.blocks)
        return TransformerMemory(layers, padding_mask(memory.lengths, columns, self.variable_dtype))

    def initial_state(self, memory: SourceMemory) -> TransformerState:
        """See base class."""
        rows = tf.size(memory.lengths)
        return TransformerState(tuple(block.attention.empty_cache(rows) for block in self.blocks))

    def advancer(self) -> Advancer:
        """See base class."""
        lookup, norm = self.embedding.lookup(), self.norm.function(self.variable_dtype)
        steps = [block.stepper() for block in self.blocks]

        def advance(token_ids: tf.Tensor, state: TransformerState, memory: TransformerMemory) -> Advance:
            position = tf.shape(state.layers[0].keys)[2:3]
            stream = lookup(token_ids) + sinusoids(position, self.feature_size, self.variable_dtype)
            caches, attention = [], ()
            for step, cache, layer_memory in zip(steps, state.layers, memory.layers, strict=True):
                stream, cache, attention = step(stream, cache, layer_memory, memory.mask)
                caches.append(cache)
            return Advance(norm(stream), TransformerState(tuple(caches)), attention)

        return advance

    def unroll_features(
        self, token_ids: tf.Tensor, lengths: tf.Tensor, memory: SourceMemory, dropout_seed: tf.Tensor | None = None
    ) -> Unrolled:
        """See base class; features are zero in the padding."""
        columns = tf.shape(token_ids)[1]
        packing = pack_lengths(lengths, columns)
        place, mask = places(packing), causal_mask(columns, self.variable_dtype)
        prepared = self.prepare(memory)
        memory_mask = prepared.mask[:, tf.newaxis, tf.newaxis]
        dropout = self.blocks[0].arguments["dropout"]
        stream = embed(self.embedding, token_ids, packing, self.word_dropout, dropout, fold_in(dropout_seed, 0))
        attention = ()
        for number, (block, layer) in enumerate(zip(self.blocks, prepared.layers, strict=True), start=1):
            stream, attention = block.unroll(stream, place, mask, layer, memory_mask, fold_in(dropout_seed, number))
        return Unrolled(unpack(self.norm.function(self.variable_dtype)(stream), packing), attention)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**stack_config(self), "tied": self.tied}
