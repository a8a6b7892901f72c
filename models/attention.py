"""Attention over the source: which of its tokens a decoder looks at, and what it sees there.

    weights = softmax over s of score(query, key_s),    context = sum over s of weights_s value_s

The scores, with q a query (a decoder's hidden state) and h_s the encoder's output at source token s:

    dot       q . h_s                          Luong et al. 2015
    general   q . (W h_s)                      Luong et al. 2015
    additive  v . tanh(W q + U h_s + b)        Bahdanau et al. 2015

What depends on the source alone, `W h_s` or `U h_s + b`, is a *key* and computed once a sentence.

Legend: B sentences, S source tokens, M size of an encoder output, A size of a key, H size of a query, K queries of one
sentence: a beam's hypotheses, all time steps of the target, or one. The memory is never repeated for them.

Types: products and keys have the compute type of the layer; the softmax is taken in its variable type.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import keras
import tensorflow as tf

from models.cells import Product, product
from models.frozen_weights import product_weight
from models.initializers import bias_initializer, weight_initializer
from models.scopes import in_scope

AttentionKind = Literal["dot", "general", "additive"]


class AttentionMemory(NamedTuple):
    """What attention needs of a batch of source sentences."""

    keys: tf.Tensor  # what queries are compared with: [B, S, A] if additive, else [B, A, S], ready for the product
    values: tf.Tensor  # [B, S, M] what contexts are made of
    lengths: tf.Tensor  # [B] int32, real source tokens, at least 1 each


class Attended(NamedTuple):
    """What attention gives for each query."""

    context: tf.Tensor  # [B, K, M]
    weights: tf.Tensor  # [B, K, S], 0 in the padding, of sum 1


Attend = Callable[..., Attended]


def masked_softmax(scores: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Softmax of scores `[B, K, S]` over the first `lengths` `[B]` of the S tokens; 0 in the padding."""
    real = tf.sequence_mask(lengths, tf.shape(scores)[-1])[:, tf.newaxis]  # --> [B, 1, S]
    return tf.nn.softmax(tf.where(real, scores, tf.cast(float("-inf"), scores.dtype)))


def additive_scores(queries: tf.Tensor, keys: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """`v . tanh(query + key)` of every query and every key.

    Args:
        queries: `[B, K, A]`.
        keys: `[B, S, A]`.
        vector: `[A]`, v.

    Returns:
        `[B, K, S]`.
    """

    def energies(queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        return tf.tanh(queries[:, :, tf.newaxis] + keys[:, tf.newaxis])  # --> [B, K, S, A]

    @tf.custom_gradient
    def run(queries: tf.Tensor, keys: tf.Tensor, vector: tf.Tensor) -> Any:
        size = vector.shape[0]
        values = energies(queries, keys)
        scores = tf.linalg.matvec(tf.reshape(values, [-1, size]), vector)

        def gradient(grad: tf.Tensor) -> Any:
            # Computed again: kept for all steps of a sequence they would be the largest values of training.
            values = energies(queries, keys)
            column = tf.reshape(grad, [-1, 1])
            to_scores = tf.reshape(tf.matmul(column, vector[tf.newaxis]), tf.shape(values))
            to_sums = tf.raw_ops.TanhGrad(y=values, dy=to_scores)
            to_vector = tf.matmul(tf.reshape(values, [-1, size]), column, transpose_a=True)[:, 0]
            return tf.reduce_sum(to_sums, axis=2), tf.reduce_sum(to_sums, axis=1), to_vector

        return tf.reshape(scores, tf.shape(values)[:-1]), gradient

    scores: tf.Tensor = run(queries, keys, vector)
    return scores


def by_sentence(rows: tf.Tensor, sentences: tf.Tensor) -> tf.Tensor:
    """Rows `[B K, ...]`, those of one sentence together, as `[B, K, ...]`; B may be 0, and K is then 1."""
    each = tf.maximum(tf.shape(rows)[0] // tf.maximum(sentences, 1), 1)
    return tf.reshape(rows, [sentences, each, *rows.shape[1:]])


def attend_rows(
    attend: Attend, queries: tf.Tensor, memory: AttentionMemory, multiply: Product = product
) -> tuple[tf.Tensor, tf.Tensor]:
    """Contexts `[R, M]` and weights `[R, S]` of queries `[R, H]`, those of one sentence together; see `attender`."""
    attended = attend(by_sentence(queries, tf.shape(memory.lengths)[0]), memory, multiply)
    rows = tf.shape(queries)[0]
    # Not -1 rows: without a source column their number would be undefined.
    weights = tf.reshape(attended.weights, [rows, tf.shape(attended.weights)[2]])
    return tf.reshape(attended.context, [rows, memory.values.shape[2]]), weights


@keras.saving.register_keras_serializable(package="heliograph")
class Attention(keras.layers.Layer):
    """Attention with the weights that its scores need.

    Args:
        kind: `"dot"`, `"general"` or `"additive"`.
        query_size: size H of a query; additive keys have it, too.
        memory_size: size M of an encoder output.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' defaults.

    Raises:
        ValueError: another kind, or dot products of vectors that differ in size.
    """

    def __init__(
        self, kind: AttentionKind, query_size: int, memory_size: int, init_scale: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if kind not in get_args(AttentionKind):
            raise ValueError(f"kind must be one of {sorted(get_args(AttentionKind))}, got {kind!r}")
        if kind == "dot" and query_size != memory_size:
            raise ValueError(
                f"memory_size must be query_size for dot products, got {memory_size} and {query_size}; "
                "'general' and 'additive' take any sizes"
            )
        self.kind, self.query_size, self.memory_size, self.init_scale = kind, query_size, memory_size, init_scale

    def build(self, input_shape: Any = None) -> None:
        """Create the weights; their shapes follow from the constructor's arguments alone."""

        def add(name: str, shape: tuple[int, ...], initializer: keras.initializers.Initializer) -> Any:
            # The products cast.
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)

        kernel, size = weight_initializer(self.init_scale), self.query_size
        if self.kind != "dot":
            self.key_kernel = add("key_kernel", (self.memory_size, size), kernel)
        if self.kind == "additive":
            self.key_bias = add("key_bias", (size,), bias_initializer(self.init_scale))
            self.query_kernel = add("query_kernel", (size, size), kernel)
            self.score_vector = add("score_vector", (size,), kernel)

    @in_scope("attention_keys")
    def prepare(self, outputs: tf.Tensor, lengths: tf.Tensor) -> AttentionMemory:
        """The memory of encoder outputs `[B, S, M]`, of which `lengths` `[B]` are real."""
        values = tf.cast(outputs, self.compute_dtype)
        if self.kind == "dot":
            return AttentionMemory(tf.linalg.matrix_transpose(values), values, lengths)
        keys = tf.matmul(tf.reshape(values, [-1, self.memory_size]), product_weight(self, self.key_kernel))
        if self.kind == "additive":
            keys += product_weight(self, self.key_bias)
        keys = tf.reshape(keys, tf.concat([tf.shape(values)[:2], [self.query_size]], axis=0))
        return AttentionMemory(keys if self.kind == "additive" else tf.linalg.matrix_transpose(keys), values, lengths)

    def attender(self) -> Attend:
        """A function from queries `[B, K, H]` and a memory to contexts and weights; to be made outside a loop.

        A third argument is the function that computes its matrix products.
        """
        if self.kind == "additive":
            query_kernel, vector = (product_weight(self, weight) for weight in (self.query_kernel, self.score_vector))

        @in_scope("attention")
        def attend(queries: tf.Tensor, memory: AttentionMemory, multiply: Product = product) -> Attended:
            if self.kind == "additive":
                flat = multiply(tf.reshape(queries, [-1, self.query_size]), query_kernel)
                scores = additive_scores(tf.reshape(flat, tf.shape(queries)), memory.keys, vector)
            else:
                scores = multiply(queries, memory.keys)
            weights = masked_softmax(tf.cast(scores, self.variable_dtype), memory.lengths)
            return Attended(multiply(weights, memory.values), weights)

        return attend

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {
            **super().get_config(),
            "kind": self.kind,
            "query_size": self.query_size,
            "memory_size": self.memory_size,
            "init_scale": self.init_scale,
        }
