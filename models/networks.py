"""The networks to choose from: each a frozen set of options that makes an encoder and a decoder.

`Seq2Seq` trains, searches and saves whatever encoder and decoder it is given; which ones, and of which sizes, stands
here and nowhere else.
"""

import dataclasses
from typing import Any, Literal

import keras

from models.attention import AttentionKind
from models.decoder import Decoder
from models.embedding import TokenEmbedding
from models.encoder import RecurrentEncoder
from models.recurrence import CellName
from models.recurrent_decoder import ContextPooling, ContextUse, RecurrentDecoder

TiedEmbeddings = Literal["none", "target", "all"]


class Network:
    """What all networks have in common; subclasses are frozen dataclasses."""

    def layers(
        self, source_vocabulary_size: int, target_vocabulary_size: int, dtype: Any, cudnn: bool
    ) -> tuple[keras.layers.Layer, Decoder]:
        """A new encoder and a new decoder.

        Args:
            source_vocabulary_size: number of source ids.
            target_vocabulary_size: number of target ids.
            dtype: Keras' dtype policy.
            cudnn: whether recurrent layers may use cuDNN (see `models.recurrence.Recurrent`).

        Raises:
            ValueError: the options do not fit together.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The options, for Keras' serialization."""
        return dataclasses.asdict(self)  # type: ignore[call-overload, no-any-return]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Network":
        """The inverse of `get_config`."""
        return cls(**config)


def token_embeddings(
    source_size: int, target_size: int, size: int, tied: TiedEmbeddings, init_scale: float | None, dtype: Any
) -> tuple[TokenEmbedding, TokenEmbedding]:
    """The embeddings of source and target, one and the same if all are tied (Press & Wolf 2017; Vaswani et al. 2017).

    Raises:
        ValueError: all are to be tied, but the vocabularies differ in size.
    """
    if tied == "all" and source_size != target_size:
        raise ValueError(
            f"tied must be 'none' or 'target' unless both sides share a vocabulary, got 'all' with {source_size} "
            f"source and {target_size} target ids"
        )

    def embedding(side: str, vocabulary_size: int, transposed: bool) -> TokenEmbedding:
        return TokenEmbedding(
            vocabulary_size, size, init_scale, transposed, dtype=dtype.variable_dtype, name=f"{side}_embedding"
        )

    target = embedding("shared" if tied == "all" else "target", target_size, tied != "none")
    return (target if tied == "all" else embedding("source", source_size, False)), target


@keras.saving.register_keras_serializable(package="heliograph")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentNetwork(Network):
    """Two recurrent stacks; what the decoder sees of the source beyond its initial state is an option."""

    cell: CellName = "lstm"
    """`"lstm"` or `"gru"`."""
    embedding_size: int
    """Components of a token's vector."""
    hidden_size: int
    """Units of every layer."""
    num_layers: int
    """Layers of the encoder, and of the decoder."""
    dropout: float = 0.0
    """Share of embeddings and of the outputs between layers that training drops."""
    init_scale: float | None = None
    """Every weight starts uniform in ±`init_scale`; `None` for Keras' defaults."""
    tied: TiedEmbeddings = "none"
    """Whether the projection's kernel is the target embedding, and the source's embedding, too."""
    attention: Literal["none"] | AttentionKind = "none"
    """How the decoder looks at the source's tokens; see `models.attention` and `RecurrentDecoder`."""
    input_feeding: bool = False
    """Whether a decoder step's features are an input of the next one."""
    context: ContextUse = "initial"
    """Whether a vector of the whole source enters every decoder step, or the initial state alone."""
    context_from: ContextPooling = "final"
    """What that vector is."""
    output_size: int = 0
    """Units of a tanh layer before the projection to the vocabulary; 0 for none."""

    def layers(
        self, source_vocabulary_size: int, target_vocabulary_size: int, dtype: Any, cudnn: bool
    ) -> tuple[RecurrentEncoder, RecurrentDecoder]:
        """See base class."""
        source, target = token_embeddings(
            source_vocabulary_size, target_vocabulary_size, self.embedding_size, self.tied, self.init_scale, dtype
        )
        shared: dict[str, Any] = {
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "dropout": self.dropout,
            "init_scale": self.init_scale,
            "cudnn": cudnn,
            "dtype": dtype,
        }
        decoder = RecurrentDecoder(
            target,
            memory_size=self.hidden_size,
            attention=self.attention,
            input_feeding=self.input_feeding,
            context=self.context,
            context_from=self.context_from,
            output_size=self.output_size,
            tied=self.tied != "none",
            **shared,
        )
        return RecurrentEncoder(source, **shared), decoder


NETWORKS: dict[str, type[Network]] = {"recurrent": RecurrentNetwork}
"""Every architecture by name."""
