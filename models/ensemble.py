"""Several trained networks as one: a network whose encoder and decoder hold those of its members.

The probability of a token is the mean of the members' probabilities. Training, search, perplexity, saving and export
see an encoder and a decoder like any other.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from models.decoder import Advancer, Decoder, SearchSteps
from models.losses import CrossEntropy
from models.networks import Network
from models.states import Advance, SourceMemory, Unrolled


class _Members(keras.layers.Layer):
    """What both have in common: the layers that they hold, and no weights of their own."""

    members: list[Any]

    def build(self, input_shape: Any = None) -> None:
        """See base class."""
        for member in self.members:
            member.build()

    @property
    def recurrent_layers(self) -> list[Any]:
        """All `Recurrent` layers of the members."""
        return [layer for member in self.members for layer in member.recurrent_layers]


class EnsembleEncoder(_Members):
    """The members' encoders over the same source. It has no configuration: `Seq2Seq` rebuilds it from its network.

    Args:
        members: the encoders.

    Call arguments:
        source_ids, source_lengths: as of the members. Dropout is the members' matter in their own training.

    Output:
        A tuple with a `SourceMemory` for each member.
    """

    def __init__(self, members: Sequence[keras.layers.Layer], *, name: str = "encoder", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.members = list(members)

    def call(
        self, source_ids: tf.Tensor, source_lengths: tf.Tensor, dropout_seed: tf.Tensor | None = None
    ) -> tuple[SourceMemory, ...]:
        """See the class."""
        return tuple(member(source_ids, source_lengths, dropout_seed) for member in self.members)


class EnsembleDecoder(_Members, Decoder):
    """The members' decoders side by side; see `Decoder`. Like the encoder it has no configuration of its own.

    Its features are the members' features, one after the other in one vector; its "logits" are the logarithms of the
    mean probabilities. Attention weights are the mean of those of the members that have any.

    Args:
        members: the decoders, over one target vocabulary.
    """

    def __init__(self, members: Sequence[Decoder], *, name: str = "decoder", dtype: Any = None) -> None:
        sizes = [member.feature_size for member in members]
        super().__init__(members[0].embedding, feature_size=sum(sizes), name=name, dtype=dtype)
        self.members, self.sizes = list(members), sizes

    @property
    def has_attention(self) -> bool:
        """See base class."""
        return any(member.has_attention for member in self.members)

    def prepare(self, memory: tuple[SourceMemory, ...]) -> tuple[Any, ...]:
        """One prepared memory for each member."""
        return tuple(member.prepare(part) for member, part in zip(self.members, memory, strict=True))

    def initial_state(self, memory: tuple[SourceMemory, ...]) -> tuple[Any, ...]:
        """One state for each member."""
        return tuple(member.initial_state(part) for member, part in zip(self.members, memory, strict=True))

    def advancer(self) -> Advancer:
        """See base class."""
        return _advance_all([member.advancer() for member in self.members])

    def search_stepper(self) -> SearchSteps:
        """See base class."""
        steppers = [member.search_stepper() for member in self.members]

        def prepare(memory: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(one.prepare(part) for one, part in zip(steppers, memory, strict=True))

        def begin(state: tuple[Any, ...], rows: tf.Tensor | None) -> tuple[Any, ...]:
            return tuple(one.begin(part, rows) for one, part in zip(steppers, state, strict=True))

        return SearchSteps(prepare, begin, _advance_all([one.advance for one in steppers]))

    def unroll_features(
        self,
        token_ids: tf.Tensor,
        lengths: tf.Tensor,
        memory: tuple[SourceMemory, ...],
        dropout_seed: tf.Tensor | None = None,
    ) -> Unrolled:
        """See base class."""
        parts = [
            member.unroll_features(token_ids, lengths, part, dropout_seed)
            for member, part in zip(self.members, memory, strict=True)
        ]
        return Unrolled(
            tf.concat([part.features for part in parts], axis=-1), _mean([part.attention for part in parts])
        )

    def cross_entropy(self, features: tf.Tensor, target_ids: tf.Tensor, label_smoothing: float = 0.0) -> CrossEntropy:
        """See base class."""
        log_probabilities = self.projector()(features)
        nll = -tf.reduce_sum(tf.gather(log_probabilities, target_ids, axis=1, batch_dims=1))
        uniform = -tf.reduce_sum(tf.reduce_mean(log_probabilities, axis=1))
        return CrossEntropy((1.0 - label_smoothing) * nll + label_smoothing * uniform, tf.stop_gradient(nll))

    def projector(self, multiple: int = 1) -> Callable[[tf.Tensor], tf.Tensor]:
        """See base class."""
        return self._mix([member.projector(multiple) for member in self.members])

    def chooser(self, union: tf.Tensor, multiple: int = 1) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """See base class; probabilities are among a sentence's choices."""
        return self._mix([member.chooser(union, multiple) for member in self.members])

    def _mix(self, projectors: Sequence[Callable[..., tf.Tensor]]) -> Callable[..., tf.Tensor]:
        def project(features: tf.Tensor, *choices: tf.Tensor) -> tf.Tensor:
            parts = tf.split(features, self.sizes, axis=-1)
            each = [tf.nn.log_softmax(one(part, *choices)) for one, part in zip(projectors, parts, strict=True)]
            return tf.reduce_logsumexp(tf.stack(each), axis=0) - math.log(len(each))

        return project


def _advance_all(advancers: Sequence[Advancer]) -> Advancer:
    def advance(token_ids: tf.Tensor, state: tuple[Any, ...], memory: tuple[Any, ...]) -> Advance:
        parts = [one(token_ids, *each) for one, *each in zip(advancers, state, memory, strict=True)]
        return Advance(
            tf.concat([part.features for part in parts], axis=-1),
            tuple(part.state for part in parts),
            _mean([part.attention for part in parts]),
        )

    return advance


def _mean(attention: Sequence[Any]) -> Any:
    present = [weights for weights in attention if not isinstance(weights, tuple)]
    return sum(present) / len(present) if present else ()


@keras.saving.register_keras_serializable(package="heliograph")
@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleNetwork(Network):
    """The mean of several networks' probabilities."""

    members: tuple[Network, ...]
    """The networks, of any kind, over the same vocabularies."""

    def __post_init__(self) -> None:
        """Check the number."""
        if not self.members:
            raise ValueError("members must hold at least one network, got none")

    def layers(
        self, source_vocabulary_size: int, target_vocabulary_size: int, dtype: Any, cudnn: bool
    ) -> tuple[EnsembleEncoder, EnsembleDecoder]:
        """See base class."""
        pairs = [member.layers(source_vocabulary_size, target_vocabulary_size, dtype, cudnn) for member in self.members]
        encoders, decoders = zip(*pairs, strict=True)
        return EnsembleEncoder(encoders, dtype=dtype), EnsembleDecoder(decoders, dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {"members": [keras.saving.serialize_keras_object(member) for member in self.members]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `get_config`."""
        return cls(members=tuple(keras.saving.deserialize_keras_object(member) for member in config["members"]))
