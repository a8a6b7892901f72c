"""Multi-head attention (Vaswani et al. 2017, section 3.2), for whole sequences and for one step with a cache.

What is done to each token alone is done to packed tokens (see `packing`), real ones only; only the attention itself
needs them padded, and there the heads of a batch are one product. `split_heads` and `join_heads` lead from one to the
other in one pass.

Legend: B sentences, T columns, N tokens, h heads of size D, H = h D, Q queries, S keys.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.dropout import drop
from models.packing import Packing
from models.scopes import in_scope
from models.token_wise import Affine, TokenWise

MASKED = -1e9
"""Added to the scores of keys that must not be seen: in every float type their weights are 0 after the softmax."""


class KeyValues(NamedTuple):
    """What queries look up; S grows in the cache of a decoder."""

    keys: tf.Tensor  # [B, h, S, D]
    values: tf.Tensor  # [B, h, S, D]


class Places(NamedTuple):
    """Where packed tokens lie in a padded batch, and the other way round."""

    tokens: tf.Tensor  # [B, 1, T] int32, the packed token of each cell; N in the padding
    cells: tf.Tensor  # [N, 2] int32, row and column of each packed token


def places(packing: Packing) -> Places:
    """The places of a packing."""
    count = tf.shape(packing.positions)[0]
    # Counted from the end, so that the zeros of the padding become N.
    tokens = count - tf.scatter_nd(packing.positions, tf.range(count, 0, -1), packing.shape)
    return Places(tokens[:, tf.newaxis], packing.positions)


@in_scope("split_heads")
def split_heads(values: tf.Tensor, place: Places, parts: int, heads: int) -> tuple[tf.Tensor, ...]:
    """Packed vectors `[N, parts H]` to `parts` tensors `[B, h, T, D]`; the padding's values are finite, no more."""

    @tf.custom_gradient
    def run(values: tf.Tensor) -> Any:
        rows = tf.reshape(values, [-1, values.shape[1] // (parts * heads)])  # --> [N parts h, D]
        tokens = tf.minimum(place.tokens, tf.shape(values)[0] - 1)
        head = tf.range(heads)[:, tf.newaxis]

        @in_scope("split_heads_gradient")
        def gradient(*upstream: tf.Tensor) -> tf.Tensor:
            return tf.concat([_join(grad, place) for grad in upstream], axis=1)

        return tuple(tf.gather(rows, (tokens * parts + part) * heads + head) for part in range(parts)), gradient

    result: tuple[tf.Tensor, ...] = run(values)
    return result


@in_scope("join_heads")
def join_heads(values: tf.Tensor, place: Places) -> tf.Tensor:
    """The inverse of `split_heads` for one part: `[B, h, T, D]` to packed vectors `[N, H]`."""

    @tf.custom_gradient
    def run(values: tf.Tensor) -> Any:
        heads, size = values.shape[1], values.shape[3]

        @in_scope("join_heads_gradient")
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Zeros in the padding: what its queries saw must send no gradient to real keys.
            rows = tf.reshape(tf.pad(upstream, [[0, 1], [0, 0]]), [-1, size])  # --> [(N + 1) h, D]
            return tf.gather(rows, place.tokens * heads + tf.range(heads)[:, tf.newaxis])

        return _join(values, place), gradient

    result: tf.Tensor = run(values)
    return result


def _join(values: tf.Tensor, place: Places) -> tf.Tensor:
    heads, size = values.shape[1], values.shape[3]
    row, column = place.cells[:, :1], place.cells[:, 1:]
    index = (row * heads + tf.range(heads)) * tf.shape(values)[2] + column  # --> [N, h]
    return tf.reshape(tf.gather(tf.reshape(values, [-1, size]), index), [-1, heads * size])


@in_scope("attend")
def attend(
    queries: tf.Tensor, memory: KeyValues, mask: tf.Tensor, rate: float = 0.0, seed: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Dot-product attention: `softmax(q k + mask) v`.

    Args:
        queries: `[B, h, Q, D]`, scaled by 1/√D.
        memory: keys and values, `[B, h, S, D]` each.
        mask: broadcast to `[B, h, Q, S]`; 0, or `MASKED`. The softmax is taken in its type.
        rate: share of the weights that is dropped.
        seed: see `models.dropout.drop`. Unlike every other mask, this one changes with the number of padded columns.

    Returns:
        Contexts `[B, h, Q, D]` and the weights before dropout `[B, h, Q, S]`.
    """
    scores = tf.matmul(queries, memory.keys, transpose_b=True)
    weights = tf.nn.softmax(tf.cast(scores, mask.dtype) + mask)
    return tf.matmul(tf.cast(drop(weights, rate, seed), queries.dtype), memory.values), weights


def padding_mask(lengths: tf.Tensor, columns: tf.Tensor, dtype: str) -> tf.Tensor:
    """`[B, S]`: `MASKED` in the padding."""
    return tf.cast(MASKED, dtype) * tf.cast(~tf.sequence_mask(lengths, columns), dtype)


def causal_mask(columns: tf.Tensor, dtype: str) -> tf.Tensor:
    """`[T, T]`: `MASKED` where the key is later than the query. On its right a real query sees no padding either."""
    lengths = tf.range(1, columns + 1)
    return padding_mask(lengths, columns, dtype)


class Attention(keras.layers.Layer):
    """What self-attention and cross-attention have in common.

    Args:
        size: size H of inputs and outputs.
        heads: number of heads h, a divisor of H.
        dropout: share of the attention weights that training drops.
        init_scale: see `Affine`.
    """

    def __init__(
        self, size: int, heads: int, dropout: float = 0.0, init_scale: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.heads, self.dropout, self.init_scale = size, heads, dropout, init_scale
        self.output_map = self._affine(1, "output")

    def _query_scale(self, others: int = 0) -> np.ndarray:
        """1/√D for each of H outputs, and 1 for each of `others`.

        Dot products are divided by √D; here the weights that make the queries are, which are fewer.
        """
        scales = [np.full(self.size, (self.size // self.heads) ** -0.5), np.ones(others)]
        return np.concatenate(scales).astype(self.variable_dtype)

    def _affine(self, parts: int, name: str) -> Affine:
        return Affine(self.size, parts * self.size, self.init_scale, dtype=self.dtype_policy, name=name)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        options = {"size": self.size, "heads": self.heads, "dropout": self.dropout, "init_scale": self.init_scale}
        return {**super().get_config(), **options}


@keras.saving.register_keras_serializable(package="heliograph")
class SelfAttention(Attention):
    """Attention of a sequence to itself; see `Attention`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.input_map = self._affine(3, "queries_keys_values")

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.input_map.build()
        self.output_map.build()

    def _input_function(self) -> TokenWise:
        """A function from `[N, H]` to scaled queries, keys and values `[N, 3H]`."""
        return self.input_map.function(self._query_scale(2 * self.size))

    def unroll(self, inputs: tf.Tensor, place: Places, mask: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """Whole sequences: packed `[N, H]` to packed `[N, H]`; mask and seed are those of `attend`."""
        queries, *memory = split_heads(self._input_function()(inputs), place, 3, self.heads)
        contexts, _ = attend(queries, KeyValues(*memory), mask, self.dropout, seed)
        return self.output_map.function()(join_heads(contexts, place))

    def empty_cache(self, rows: tf.Tensor) -> KeyValues:
        """Keys and values of no step."""
        shape, size = [None, self.heads, None, self.size // self.heads], self.size // self.heads
        nothing = tf.zeros(tf.stack([rows, self.heads, 0, size]), self.compute_dtype)
        # A loop takes the shapes of its first values for those of all; the cache has rows and steps of any number.
        return KeyValues(*(tf.raw_ops.PlaceholderWithDefault(input=nothing, shape=shape) for _ in KeyValues._fields))

    def stepper(self) -> Any:
        """A function from one step's inputs `[R, H]` and the cache to outputs `[R, H]` and the longer cache."""
        input_map, output_map = self._input_function(), self.output_map.function()

        def step(inputs: tf.Tensor, cache: KeyValues) -> tuple[tf.Tensor, KeyValues]:
            projected = tf.reshape(input_map(inputs), [-1, 3, self.heads, 1, self.size // self.heads])
            cache = KeyValues(*(tf.concat([old, projected[:, part]], 2) for part, old in enumerate(cache, start=1)))
            contexts, _ = attend(projected[:, 0], cache, tf.zeros([], self.variable_dtype))
            return output_map(tf.reshape(contexts, [-1, self.size])), cache

        return step


@keras.saving.register_keras_serializable(package="heliograph")
class CrossAttention(Attention):
    """Attention of target tokens to the source; see `Attention`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.query_map, self.memory_map = self._affine(1, "queries"), self._affine(2, "keys_values")

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        for part in (self.query_map, self.memory_map, self.output_map):
            part.build()

    def prepare(self, outputs: tf.Tensor, place: Places) -> KeyValues:
        """Keys and values of the encoder's packed outputs `[N, H]`, once a sentence."""
        return KeyValues(*split_heads(self.memory_map.function()(outputs), place, 2, self.heads))

    def unroll(
        self, inputs: tf.Tensor, place: Places, memory: KeyValues, mask: tf.Tensor, seed: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Whole sequences: packed `[N, H]` to packed `[N, H]`, and the mean of the heads' weights `[B, T, S]`.

        The memory is prepared, `[B, h, S, D]`; mask and seed are those of `attend`.
        """
        (queries,) = split_heads(self.query_map.function(self._query_scale())(inputs), place, 1, self.heads)
        contexts, weights = attend(queries, memory, mask, self.dropout, seed)
        return self.output_map.function()(join_heads(contexts, place)), tf.reduce_mean(weights, axis=1)

    def stepper(self) -> Any:
        """A function for one step of R rows over the memory of B sentences, R = B K, rows of one sentence adjacent.

        It takes inputs `[R, H]`, the prepared memory and a mask `[B, S]`, and returns outputs `[R, H]` and the mean of
        the heads' weights `[R, S]`.
        """
        query_map, output_map = self.query_map.function(self._query_scale()), self.output_map.function()

        def step(inputs: tf.Tensor, memory: KeyValues, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            sentences, rows = tf.shape(mask)[0], tf.shape(inputs)[0]
            beam = rows // tf.maximum(sentences, 1)
            # Hypotheses are to their sentence what time steps are in training: queries of one memory.
            shape = tf.stack([sentences, beam, self.heads, self.size // self.heads])
            queries = tf.transpose(tf.reshape(query_map(inputs), shape), [0, 2, 1, 3])
            contexts, weights = attend(queries, memory, mask[:, tf.newaxis, tf.newaxis])
            outputs = output_map(tf.reshape(tf.transpose(contexts, [0, 2, 1, 3]), [-1, self.size]))
            return outputs, tf.reshape(tf.reduce_mean(weights, axis=1), tf.stack([rows, tf.shape(mask)[1]]))

        return step
