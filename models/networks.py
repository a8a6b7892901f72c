"""The networks to choose from: each a frozen set of options that makes an encoder and a decoder.

`Seq2Seq` trains, searches and saves whatever encoder and decoder it is given; which ones, and of which sizes, stands
here and nowhere else.
"""

import dataclasses
from typing import Any, Literal

import keras

from models.decoder import Decoder
from models.embedding import TokenEmbedding
from models.encoder import RecurrentEncoder
from models.recurrence import CellName
from models.recurrent_decoder import RecurrentDecoder
from models.token_wise import Activation
from models.transformer import TransformerEncoder
from models.transformer_decoder import TransformerDecoder

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
    source_size: int,
    target_size: int,
    size: int,
    tied: TiedEmbeddings,
    init_scale: float | None,
    dtype: Any,
    scaled: bool = False,
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
            vocabulary_size, size, init_scale, transposed, scaled, dtype=dtype.variable_dtype, name=f"{side}_embedding"
        )

    target = embedding("shared" if tied == "all" else "target", target_size, tied != "none")
    return (target if tied == "all" else embedding("source", source_size, False)), target


@keras.saving.register_keras_serializable(package="heliograph")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentNetwork(Network):
    """Two recurrent stacks (Sutskever et al. 2014; Cho et al. 2014)."""

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
        return RecurrentEncoder(source, **shared), RecurrentDecoder(target, tied=self.tied != "none", **shared)


@keras.saving.register_keras_serializable(package="heliograph")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerNetwork(Network):
    """The Transformer (Vaswani et al. 2017) with pre-norm (Xiong et al. 2020) and sinusoidal positions."""

    hidden_size: int
    """Size of the residual stream, and of token vectors and features (d_model)."""
    num_layers: int
    """Layers of the decoder."""
    encoder_layers: int | None = None
    """Layers of the encoder; `None` for as many as the decoder's."""
    heads: int
    """Attention heads, a divisor of `hidden_size`."""
    feed_forward_size: int
    """Inner size of the feed-forward networks."""
    activation: Activation = "relu"
    """`"relu"` or `"gelu"`, in the feed-forward networks."""
    dropout: float = 0.0
    """Share of the embeddings and of each sublayer's output that training drops."""
    attention_dropout: float = 0.0
    """Share of the attention weights that training drops."""
    word_dropout: float = 0.0
    """Share of the tokens whose embedding training drops."""
    init_scale: float | None = None
    """Every weight but the norms' starts uniform in ±`init_scale`; `None` for Glorot's kernels, normal embeddings."""
    tied: TiedEmbeddings = "none"
    """Whether the projection's kernel is the target embedding, and the source's embedding, too."""

    def layers(
        self, source_vocabulary_size: int, target_vocabulary_size: int, dtype: Any, cudnn: bool
    ) -> tuple[TransformerEncoder, TransformerDecoder]:
        """See base class."""
        del cudnn  # no recurrent layer
        source, target = token_embeddings(
            source_vocabulary_size,
            target_vocabulary_size,
            self.hidden_size,
            self.tied,
            self.init_scale,
            dtype,
            scaled=True,
        )
        names = ("hidden_size", "heads", "feed_forward_size", "activation", "init_scale")
        rates = ("dropout", "attention_dropout", "word_dropout")
        shared: dict[str, Any] = {name: getattr(self, name) for name in (*names, *rates)}
        encoder_layers = self.num_layers if self.encoder_layers is None else self.encoder_layers
        encoder = TransformerEncoder(source, num_layers=encoder_layers, dtype=dtype, **shared)
        tied = self.tied != "none"
        return encoder, TransformerDecoder(target, num_layers=self.num_layers, tied=tied, dtype=dtype, **shared)


NETWORKS: dict[str, type[Network]] = {"recurrent": RecurrentNetwork, "transformer": TransformerNetwork}
"""Every architecture by name."""
