"""The networks to choose from: each a frozen set of options that makes an encoder and a decoder.

`Seq2Seq` trains, searches and saves whatever encoder and decoder it is given; which ones, and of which sizes, stands
here and nowhere else.
"""

import dataclasses
from typing import Any, Literal, get_args

import keras

from models.attention import AttentionKind
from models.decoder import Decoder
from models.embedding import TokenEmbedding
from models.encoder import RecurrentEncoder
from models.recurrence import CellName
from models.recurrent_decoder import ContextPooling, ContextUse, RecurrentDecoder
from models.token_wise import Activation
from models.transformer import TransformerEncoder
from models.transformer_decoder import TransformerDecoder

TiedEmbeddings = Literal["none", "target", "all"]
Bridge = Literal["copy", "dense"]


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
        ValueError: all are to be tied, but the vocabularies differ in size; or no such way to tie.
    """
    if tied not in get_args(TiedEmbeddings):
        raise ValueError(f"tied must be 'none', 'target' or 'all', got {tied!r}")
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
    """Two recurrent stacks; what the decoder sees of the source beyond its initial state is an option."""

    cell: CellName = "lstm"
    """`"lstm"` or `"gru"`."""
    embedding_size: int
    """Components of a token's vector."""
    hidden_size: int
    """Units of every layer."""
    num_layers: int
    """Layers of the decoder."""
    encoder_hidden_size: int | None = None
    """Units of every layer of the encoder, in each direction; `None` for `hidden_size`."""
    encoder_layers: int | None = None
    """Layers of the encoder; `None` for `num_layers`."""
    bidirectional: bool = False
    """Whether every layer of the encoder reads in both directions (Schuster & Paliwal 1997; Bahdanau et al. 2015)."""
    reverse_source: bool = False
    """Whether the encoder reads the source's words from the last to the first (Sutskever et al. 2014)."""
    bridge: Bridge = "copy"
    """How the decoder starts: with the encoder's final states as they are, which must fit, or with a dense layer of
    them (see `models.bridge.DenseBridge`)."""
    layer_norm: bool = False
    """Whether the inputs of every layer are normalised (see `models.stack.RecurrentStack`)."""
    dropout: float = 0.0
    """Share of embeddings and of the outputs between layers that training drops."""
    variational_dropout: bool = False
    """Whether `dropout` and `output_dropout` have one mask a sentence for all its steps (Gal & Ghahramani 2016)."""
    output_dropout: float = 0.0
    """Share of the decoder's features that training drops before the projection to the vocabulary."""
    word_dropout: float = 0.0
    """Share of the tokens of either side whose whole vectors training drops (Sennrich & Zhang 2019)."""
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
        hidden_size = self.hidden_size if self.encoder_hidden_size is None else self.encoder_hidden_size
        num_layers = self.num_layers if self.encoder_layers is None else self.encoder_layers
        if self.bridge not in ("copy", "dense"):
            raise ValueError(f"bridge must be 'copy' or 'dense', got {self.bridge!r}")
        fits = (hidden_size, num_layers) == (self.hidden_size, self.num_layers) and not self.bidirectional
        if self.bridge == "copy" and not fits:
            raise ValueError(
                f"bridge must be 'dense' unless the encoder reads in one direction and has the decoder's "
                f"{self.num_layers} layers of {self.hidden_size} units, got 'copy' with {num_layers} of {hidden_size}"
                f"{', bidirectional' if self.bidirectional else ''}"
            )
        source, target = token_embeddings(
            source_vocabulary_size, target_vocabulary_size, self.embedding_size, self.tied, self.init_scale, dtype
        )
        shared: dict[str, Any] = {
            "cell": self.cell,
            "layer_norm": self.layer_norm,
            "dropout": self.dropout,
            "variational_dropout": self.variational_dropout,
            "word_dropout": self.word_dropout,
            "init_scale": self.init_scale,
            "cudnn": cudnn,
            "dtype": dtype,
        }
        encoder = RecurrentEncoder(
            source,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bidirectional=self.bidirectional,
            reverse_source=self.reverse_source,
            **shared,
        )
        decoder = RecurrentDecoder(
            target,
            memory_size=encoder.stack.output_size,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            attention=self.attention,
            input_feeding=self.input_feeding,
            context=self.context,
            context_from=self.context_from,
            output_size=self.output_size,
            tied=self.tied != "none",
            bridge_size=encoder.stack.state_size if self.bridge == "dense" else None,
            output_dropout=self.output_dropout,
            **shared,
        )
        return encoder, decoder


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
