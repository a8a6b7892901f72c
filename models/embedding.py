"""Token embeddings, alone or tied to the projection to the vocabulary."""

from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from models.frozen_weights import derive
from models.initializers import weight_initializer


@keras.saving.register_keras_serializable(package="heliograph")
class TokenEmbedding(keras.layers.Layer):
    """A vector for each token id.

    Args:
        vocabulary_size: number of ids V.
        size: components E of a vector.
        init_scale: every weight starts uniform in ±`init_scale`; `None` for Keras' default.
        transposed: whether the weights are stored `[E, V]`, as a projection wants them that is tied to them (Press &
            Wolf 2017): its matrix product is by far the larger use, and slow with a transposed operand.
        scaled: whether vectors are the weights times √E, which then start with standard deviation 1/√E unless
            `init_scale` is given (Vaswani et al. 2017, section 3.4): of size 1 beside the positions, and of the size of
            a projection's kernel where they are tied to one.
    """

    def __init__(
        self,
        vocabulary_size: int,
        size: int,
        init_scale: float | None = None,
        transposed: bool = False,
        scaled: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size, self.size = vocabulary_size, size
        self.init_scale, self.transposed, self.scaled = init_scale, transposed, scaled

    def build(self, input_shape: Any = None) -> None:
        """Create the weights."""
        shape = (self.vocabulary_size, self.size)
        initializer = weight_initializer(self.init_scale, default="uniform")
        if self.scaled and self.init_scale is None:
            initializer = keras.initializers.RandomNormal(stddev=self.size**-0.5)
        self.embeddings = self.add_weight(
            shape=shape[::-1] if self.transposed else shape,
            initializer=initializer,
            autocast=False,
            name="embeddings",
        )

    def lookup(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A function from ids of any shape to vectors `[..., E]`; to be made outside a loop."""
        if self.transposed:
            rows = derive(self, self.embeddings, "transposed", tf.transpose)
        else:
            rows = tf.convert_to_tensor(self.embeddings)
        if self.scaled:
            return lambda ids: tf.gather(rows, ids) * self.size**0.5
        return lambda ids: tf.gather(rows, ids)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "size": self.size,
            "init_scale": self.init_scale,
            "transposed": self.transposed,
            "scaled": self.scaled,
        }


class HoldsEmbedding:
    """For layers that are given a `TokenEmbedding`, with whose configuration theirs begins."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(**{**config, "embedding": keras.saving.deserialize_keras_object(config["embedding"])})
