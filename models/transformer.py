"""The Transformer's encoder (Vaswani et al. 2017), and what its decoder shares.

Pre-norm (Xiong et al. 2020): each sublayer adds `f(norm(x))` to the residual stream x, which is normalised once more at
the end. It trains without a long warm-up, and where the original's post-norm diverges. All tokens are packed; see
`multi_head`.
"""

from typing import Any

import keras
import tensorflow as tf

from models.dropout import check_rates, drop, drop_words, fold_in
from models.embedding import HoldsEmbedding, TokenEmbedding
from models.multi_head import Places, SelfAttention, padding_mask, places
from models.packing import Packing, pack, pack_lengths, unpack
from models.states import SourceMemory
from models.token_wise import Activation, FeedForward, LayerNorm


def sinusoids(columns: tf.Tensor, size: int, dtype: str) -> tf.Tensor:
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5) `[T, E]` of integer columns `[T]`.

    `sin(t / 10000^(2 i / E))` for each i below E / 2, then their cosines. (The paper alternates the two, which is the
    same but for the order of the components.)
    """
    rates = tf.pow(tf.constant(10_000.0, dtype), -tf.range(0, size, 2, dtype=dtype) / size)
    angles = tf.cast(columns, dtype)[:, tf.newaxis] * rates
    return tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)


class Block(keras.layers.Layer):
    """What the layers of encoder and decoder have in common: self-attention, a feed-forward network, residuals.

    Args:
        hidden_size: size H of the residual stream.
        heads: number of heads.
        feed_forward_size: inner size of the feed-forward network.
        activation: `"relu"` or `"gelu"`.
        dropout: share of each sublayer's output that training drops.
        attention_dropout: share of the attention weights that training drops.
        init_scale: see `models.token_wise.Affine`.
    """

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        feed_forward_size: int,
        activation: Activation = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        init_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments: dict[str, Any] = {
            "hidden_size": hidden_size,
            "heads": heads,
            "feed_forward_size": feed_forward_size,
            "activation": activation,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
            "init_scale": init_scale,
        }
        policy = self.dtype_policy
        self.attention = SelfAttention(
            hidden_size, heads, attention_dropout, init_scale, dtype=policy, name="self_attention"
        )
        self.feed_forward = FeedForward(
            hidden_size, feed_forward_size, activation, init_scale, dtype=policy, name="feed_forward"
        )
        self.attention_norm = LayerNorm(hidden_size, dtype=policy, name="self_attention_norm")
        self.feed_forward_norm = LayerNorm(hidden_size, dtype=policy, name="feed_forward_norm")

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        for part in (self.attention, self.feed_forward, self.attention_norm, self.feed_forward_norm):
            part.build()

    def add(self, stream: tf.Tensor, outputs: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """The residual stream `[N, H]` with a sublayer's outputs, after dropout."""
        return stream + drop(tf.cast(outputs, stream.dtype), self.arguments["dropout"], seed)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), **self.arguments}


@keras.saving.register_keras_serializable(package="heliograph")
class EncoderBlock(Block):
    """A layer of the encoder; see `Block`."""

    def unroll(self, stream: tf.Tensor, place: Places, mask: tf.Tensor, dropout_seed: tf.Tensor | None) -> tf.Tensor:
        """Packed `[N, H]` to packed `[N, H]`."""
        seeds = [fold_in(dropout_seed, number) for number in range(3)]
        attended = self.attention.unroll(self.attention_norm.function()(stream), place, mask, seeds[0])
        stream = self.add(stream, attended, seeds[1])
        return self.add(stream, self.feed_forward.function()(self.feed_forward_norm.function()(stream)), seeds[2])


def check_arguments(embedding: TokenEmbedding, num_layers: int, word_dropout: float, arguments: dict[str, Any]) -> None:
    """Raise a `ValueError` that names what does not fit: arguments of `TransformerEncoder` or `TransformerDecoder`."""
    size, heads = arguments["hidden_size"], arguments["heads"]
    if size % 2 or size < 2:
        raise ValueError(
            f"hidden_size must be a positive even number, for the positions' sines and cosines, got {size}"
        )
    if heads < 1 or size % heads:
        raise ValueError(f"heads must be a divisor of hidden_size {size}, got {heads}")
    if num_layers < 1:
        raise ValueError(f"num_layers must be a positive number, got {num_layers}")
    if embedding.size != size:
        raise ValueError(f"embedding must be of size {size}, the hidden size, got {embedding.size}")
    rates = {name: arguments[name] for name in ("dropout", "attention_dropout") if name in arguments}
    check_rates(word_dropout=word_dropout, **rates)


def stack_config(stack: Any) -> dict[str, Any]:
    """The arguments that `TransformerEncoder` and `TransformerDecoder` have in common, of such a layer."""
    return {
        "name": stack.name,
        "dtype": stack.dtype_policy.name,
        "embedding": keras.saving.serialize_keras_object(stack.embedding),
        "num_layers": len(stack.blocks),
        "word_dropout": stack.word_dropout,
        **stack.blocks[0].arguments,
    }


def embed(
    embedding: TokenEmbedding,
    token_ids: tf.Tensor,
    packing: Packing,
    word_dropout: float,
    dropout: float,
    dropout_seed: tf.Tensor | None,
) -> tf.Tensor:
    """The residual stream at its source, packed `[N, H]`: token and position; dropout of words, then of the sum."""
    vectors = embedding.lookup()(pack(token_ids, packing))
    vectors = drop_words(vectors, word_dropout, fold_in(dropout_seed, 0))
    positions = sinusoids(tf.range(packing.shape[1]), embedding.size, vectors.dtype.name)
    return drop(vectors + tf.gather(positions, packing.positions[:, 1]), dropout, fold_in(dropout_seed, 1))


@keras.saving.register_keras_serializable(package="heliograph")
class TransformerEncoder(HoldsEmbedding, keras.layers.Layer):
    """An embedding, positions, and blocks of self-attention over the source.

    Args:
        embedding: the source side's embedding.
        num_layers: number of blocks.
        word_dropout: share of the tokens whose embedding training drops.
        **arguments: those of `Block`.

    Call arguments:
        source_ids: `[B, S]` int, padded on the right.
        source_lengths: `[B]` int, at least 1 each: a row holds at least its end token.
        dropout_seed: `[2]` int32; `None` for no dropout.

    Output:
        A `SourceMemory` without final states.
    """

    def __init__(
        self,
        embedding: TokenEmbedding,
        *,
        num_layers: int,
        word_dropout: float = 0.0,
        name: str = "encoder",
        dtype: Any = None,
        **arguments: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        check_arguments(embedding, num_layers, word_dropout, arguments)
        self.embedding, self.word_dropout = embedding, word_dropout
        policy = self.dtype_policy
        self.blocks = [EncoderBlock(**arguments, dtype=policy, name=f"block_{index}") for index in range(num_layers)]
        self.norm = LayerNorm(embedding.size, dtype=policy, name="norm")

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        if not self.embedding.built:
            self.embedding.build()
        for block in self.blocks:
            block.build()
        self.norm.build()

    @property
    def recurrent_layers(self) -> list[Any]:
        """None."""
        return []

    def call(
        self, source_ids: tf.Tensor, source_lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> SourceMemory:
        """See the class."""
        packing = pack_lengths(source_lengths, tf.shape(source_ids)[1])
        place = places(packing)
        mask = padding_mask(source_lengths, tf.shape(source_ids)[1], self.variable_dtype)[:, tf.newaxis, tf.newaxis]
        dropout = self.blocks[0].arguments["dropout"]
        stream = embed(self.embedding, source_ids, packing, self.word_dropout, dropout, fold_in(dropout_seed, 0))
        for number, block in enumerate(self.blocks, start=1):
            stream = block.unroll(stream, place, mask, fold_in(dropout_seed, number))
        outputs = unpack(self.norm.function(self.variable_dtype)(stream), packing)
        return SourceMemory(outputs, tf.cast(source_lengths, tf.int32), ())

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return stack_config(self)
