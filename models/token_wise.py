"""What a Transformer does to each token alone: affine maps, layer normalisation, the feed-forward network.

Formulas as pure functions of tensors, with their derivatives where TensorFlow's own would be slower or less exact, and
thin layers for the weights. Each layer's `function` casts the weights once, outside of a loop over steps.

Legend: N tokens, I and O sizes of a vector before and after. Types: products and what goes into them are of the compute
type, bfloat16 under a mixed policy; sums, statistics and the residual stream are of the weights' type.
"""

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from models.frozen_weights import derive, product_weight
from models.initializers import bias_initializer, weight_initializer
from models.scopes import in_scope

Activation = Literal["relu", "gelu"]
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"relu": tf.nn.relu, "gelu": tf.nn.gelu}
TokenWise = Callable[[tf.Tensor], tf.Tensor]
EPSILON = 1e-5


@in_scope("affine")
def affine(values: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """`values kernel + bias` in the kernel's type.

    Args:
        values: `[N, I]`; their gradient has their type.
        kernel: `[I, O]`.
        bias: `[O]`. Its gradient is a product with ones, which sums in float32, whatever the type.

    Returns:
        `[N, O]`.
    """

    @tf.custom_gradient
    def run(values: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> Any:
        inputs = tf.cast(values, kernel.dtype)

        @in_scope("affine_gradient")
        def gradient(upstream: tf.Tensor) -> Any:
            ones = tf.ones([1, tf.shape(inputs)[0]], inputs.dtype)
            grad_values = tf.cast(tf.matmul(upstream, kernel, transpose_b=True), values.dtype)
            return grad_values, tf.matmul(inputs, upstream, transpose_a=True), tf.matmul(ones, upstream)[0]

        return tf.nn.bias_add(tf.matmul(inputs, kernel), bias), gradient

    result: tf.Tensor = run(values, kernel, bias)
    return result


@in_scope("layer_norm")
def layer_norm(values: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, dtype: str) -> tf.Tensor:
    """Layer normalisation (Ba et al. 2016): `gain (x - mean) / sqrt(variance + epsilon) + bias` over a vector.

    Args:
        values: `[N, I]` in the type of `gain` and `bias`, in which the statistics are taken.
        gain: `[I]`.
        bias: `[I]`.
        dtype: type of the result.

    Returns:
        `[N, I]`.
    """

    @tf.custom_gradient
    def run(values: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) -> Any:
        centred = values - _mean(values)
        scale = tf.math.rsqrt(_mean(centred * centred) + EPSILON)
        normal = centred * scale

        @in_scope("layer_norm_gradient")
        def gradient(upstream: tf.Tensor) -> Any:
            upstream = tf.cast(upstream, gain.dtype)
            along = upstream * normal
            # Means of `upstream gain` and `along gain`, and sums: products with a vector save passes over all values.
            weighted = (gain / gain.shape[0])[:, tf.newaxis]
            means = tf.matmul(upstream, weighted), tf.matmul(along, weighted)
            grad_values = scale * (upstream * gain - means[0] - normal * means[1])
            ones = tf.ones([1, tf.shape(values)[0]], gain.dtype)
            return grad_values, tf.matmul(ones, along)[0], tf.matmul(ones, upstream)[0]

        return tf.cast(normal * gain + bias, dtype), gradient

    result: tf.Tensor = run(values, gain, bias)
    return result


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=-1, keepdims=True)


@keras.saving.register_keras_serializable(package="heliograph")
class Affine(keras.layers.Layer):
    """The weights of `affine`.

    Args:
        input_size: I.
        output_size: O.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Glorot's uniform kernel and a bias of 0.
    """

    def __init__(self, input_size: int, output_size: int, init_scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_size, self.output_size, self.init_scale = input_size, output_size, init_scale

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.kernel = self.add_weight(
            shape=(self.input_size, self.output_size),
            initializer=weight_initializer(self.init_scale),
            autocast=False,
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.output_size,), initializer=bias_initializer(self.init_scale), autocast=False, name="bias"
        )

    def function(self, scale: np.ndarray | None = None) -> TokenWise:
        """A function from `[N, I]` to `[N, O]` of the compute type, times `scale` `[O]` if there is one.

        A layer is always asked for the same scale, because a frozen one keeps its weights scaled.
        """

        def scaled(weight: tf.Tensor) -> tf.Tensor:
            return tf.cast(weight * scale, self.compute_dtype)

        weights = self.kernel, self.bias
        if scale is None:
            kernel, bias = (product_weight(self, weight) for weight in weights)
        else:
            kernel, bias = (derive(self, weight, "scaled", scaled) for weight in weights)
        return lambda values: affine(values, kernel, bias)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        sizes = {"input_size": self.input_size, "output_size": self.output_size}
        return {**super().get_config(), **sizes, "init_scale": self.init_scale}


@keras.saving.register_keras_serializable(package="heliograph")
class LayerNorm(keras.layers.Layer):
    """The weights of `layer_norm`; they start as the identity.

    Args:
        size: I.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.gain = self.add_weight(shape=(self.size,), initializer="ones", autocast=False, name="gain")
        self.bias = self.add_weight(shape=(self.size,), initializer="zeros", autocast=False, name="bias")

    def function(self, dtype: str | None = None) -> TokenWise:
        """A function from `[N, I]` to `[N, I]` of type `dtype`, by default the compute type."""
        gain, bias = tf.convert_to_tensor(self.gain), tf.convert_to_tensor(self.bias)
        return lambda values: layer_norm(values, gain, bias, dtype or self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="heliograph")
class FeedForward(keras.layers.Layer):
    """Two affine maps with an activation between them (Vaswani et al. 2017, section 3.3).

    Args:
        size: I, before and after.
        inner_size: size between the two.
        activation: `"relu"` or `"gelu"`.
        init_scale: see `Affine`.
    """

    def __init__(
        self,
        size: int,
        inner_size: int,
        activation: Activation = "relu",
        init_scale: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        if inner_size < 1:
            raise ValueError(f"inner_size must be a positive number of units, got {inner_size}")
        self.size, self.inner_size, self.activation, self.init_scale = size, inner_size, activation, init_scale
        policy = self.dtype_policy
        self.inner = Affine(size, inner_size, init_scale, dtype=policy, name="inner")
        self.outer = Affine(inner_size, size, init_scale, dtype=policy, name="outer")

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        self.inner.build()
        self.outer.build()

    def function(self) -> TokenWise:
        """A function from `[N, I]` to `[N, I]` of the compute type."""
        inner, outer, activate = self.inner.function(), self.outer.function(), ACTIVATIONS[self.activation]
        return lambda values: outer(activate(inner(values)))

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        sizes = {"size": self.size, "inner_size": self.inner_size}
        return {**super().get_config(), **sizes, "activation": self.activation, "init_scale": self.init_scale}
