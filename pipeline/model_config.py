"""The section `[model]`: one frozen, typed model for each architecture; its keys are those of `models.networks`."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from pipeline.config_section import KIND_KEY, Count, Section


class RecurrentConfig(Section):
    """LSTM or GRU encoder and decoder."""

    architecture: Literal["recurrent"] = "recurrent"
    """Which kind of network; it decides which other keys this section has."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell of encoder and decoder."""
    embedding_size: Count = 256
    """Components of a token's embedding vector."""
    hidden_size: Count = 512
    """Units per recurrent layer."""
    num_layers: Count = 2
    """Recurrent layers in the decoder."""
    encoder_hidden_size: Count = Field(default_factory=lambda validated: int(validated["hidden_size"]))
    """Units per recurrent layer of the encoder, in each direction; default: `hidden_size`."""
    encoder_layers: Count = Field(default_factory=lambda validated: int(validated["num_layers"]))
    """Recurrent layers in the encoder; default: `num_layers`."""
    bidirectional: bool = False
    """Whether each layer of the encoder reads the source forward and backward; needs `bridge = "dense"`."""
    reverse_source: bool = False
    """Whether the encoder reads the source's words from the last to the first, then the end token."""
    bridge: Literal["copy", "dense"] = "copy"
    """How the decoder's layers start: each takes over the final state of the encoder's layer, which must be alike
    (copy), or all start from a learned dense layer of all final states (dense)."""
    context: Literal["initial", "every_step"] = "initial"
    """Whether the decoder knows the source from its initial state alone, or a vector of the whole source enters every
    step and the projection to the vocabulary (Cho et al. 2014)."""
    context_from: Literal["final", "max", "mean"] = "final"
    """What that vector is: the encoder's last hidden state, or the maximum or mean of its outputs."""
    attention: Literal["none", "dot", "general", "additive"] = "none"
    """How the decoder looks at the source's tokens: from each step's result, by a dot product or a bilinear form (dot,
    general; Luong et al. 2015), or before each step, by a small network (additive; Bahdanau et al. 2015), which is
    slower to train."""
    input_feeding: bool = False
    """Whether what a step gives to the projection is an input of the next one; with attention "dot" or "general"."""
    output_size: int = Field(default=0, ge=0)
    """Units of a tanh layer between the decoder and the projection to the vocabulary; 0 = none."""
    layer_norm: bool = False
    """Whether the inputs of each recurrent layer are normalised."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of embedding and between-layer activations dropped in training, 0 to 1."""
    variational_dropout: bool = False
    """Whether `dropout` and `output_dropout` drop the same components in all time steps of a sentence."""
    output_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the decoder's activations dropped in training before the projection to the vocabulary, 0 to 1."""
    word_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of source tokens and decoder inputs whose whole embedding vectors are dropped in training, 0 to 1."""
    init_scale: float = Field(default=0.08, ge=0.0)
    """Every weight starts uniform in ±init_scale; 0 = Keras' own initializers."""
    tied: Literal["none", "target", "all"] = "none"
    """Which embeddings are one matrix with the projection to the vocabulary: none, the target's, or both sides' (all),
    which then need the same vocabulary. `embedding_size` must be `output_size`, or `hidden_size` where the decoder sees
    nothing of the source but its initial state."""

    @property
    def has_attention(self) -> bool:
        """Whether the decoder looks at the source's tokens."""
        return self.attention != "none"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, decoders in (("encoder_hidden_size", self.hidden_size), ("encoder_layers", self.num_layers)):
            if self.bridge == "copy" and getattr(self, field) != decoders:
                raise ValueError(
                    f'{field}: expected {decoders}, as in the decoder, or bridge = "dense", got {getattr(self, field)}'
                )
        if self.bridge == "copy" and self.bidirectional:
            raise ValueError('bridge: expected "dense" with bidirectional = true, got "copy"')
        sees_source = self.attention != "none" or self.context == "every_step"
        directions = 2 if self.bidirectional else 1
        if self.attention == "dot" and directions * self.encoder_hidden_size != self.hidden_size:
            raise ValueError(
                f'attention: expected "general" or "additive" where an encoder output '
                f'({directions * self.encoder_hidden_size} units) is no decoder state ({self.hidden_size}), got "dot"'
            )
        if self.attention != "none" and self.context != "initial":
            raise ValueError(
                f'context: expected "initial" with attention = "{self.attention}", which gives a context of its own, '
                f'got "{self.context}"'
            )
        if self.context == "initial" and self.context_from != "final":
            raise ValueError(f'context_from: expected "final" with context = "initial", got "{self.context_from}"')
        if self.input_feeding and self.attention not in ("dot", "general"):
            raise ValueError(f'attention: expected "dot" or "general" with input_feeding, got "{self.attention}"')
        if self.input_feeding and not self.output_size:
            raise ValueError("output_size: expected at least 1 with input_feeding, got 0")
        if self.tied != "none" and sees_source and not self.output_size:
            raise ValueError(
                f'output_size: expected embedding_size ({self.embedding_size}) with tied = "{self.tied}", got 0'
            )
        features = self.output_size or self.hidden_size
        if self.tied != "none" and self.embedding_size != features:
            name = "output_size" if self.output_size else "hidden_size"
            raise ValueError(
                f'embedding_size: expected {name} ({features}) with tied = "{self.tied}", got {self.embedding_size}'
            )
        if self.variational_dropout and not self.dropout and not self.output_dropout:
            raise ValueError("variational_dropout: expected false without dropout and output_dropout, got true")
        stepwise = self.attention == "additive" or self.input_feeding
        if stepwise and self.variational_dropout and self.dropout and self.num_layers > 1:
            raise ValueError(
                "variational_dropout: expected false with additive attention or input_feeding and num_layers above 1, "
                "got true"
            )
        return self


class TransformerConfig(Section):
    """Transformer encoder and decoder with pre-norm and sinusoidal positions."""

    architecture: Literal["transformer"] = "transformer"
    """Which kind of network; it decides which other keys this section has."""
    hidden_size: Count = 256
    """Size of the residual stream, and of a token's embedding vector (d_model); even, and a multiple of `heads`."""
    num_layers: Count = 3
    """Layers of the decoder."""
    encoder_layers: int = Field(default_factory=lambda validated: int(validated["num_layers"]), ge=1)
    """Layers of the encoder; default: `num_layers`."""
    heads: Count = 4
    """Attention heads per layer."""
    feed_forward_size: Count = 1024
    """Inner size of the feed-forward networks."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation of the feed-forward networks."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the embeddings and of each sublayer's output dropped in training, 0 to 1."""
    attention_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the attention weights dropped in training, 0 to 1."""
    word_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the tokens whose embedding is dropped in training, 0 to 1."""
    tied: Literal["none", "target", "all"] = "none"
    """Whether the projection to the vocabulary is the target embedding (target), and the source embedding, too (all,
    which needs one vocabulary for both sides)."""
    init_scale: float = Field(default=0.0, ge=0.0)
    """Every weight but the norms' starts uniform in ±init_scale; 0 = Glorot's and, for embeddings, normal weights."""

    @property
    def has_attention(self) -> bool:
        """Whether the decoder looks at the source's tokens."""
        return True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.hidden_size % 2:
            raise ValueError(f"hidden_size: expected an even number, got {self.hidden_size}")
        if self.hidden_size % self.heads:
            raise ValueError(f"heads: expected a divisor of hidden_size ({self.hidden_size}), got {self.heads}")
        return self


def _architecture(section: object) -> object:
    """The architecture of a section, read or made; recurrent if it does not say; `None` for what is no section."""
    if isinstance(section, Mapping):
        return section.get(KIND_KEY, "recurrent")
    return getattr(section, KIND_KEY, None)


ModelConfig = Annotated[
    Annotated[RecurrentConfig, Tag("recurrent")] | Annotated[TransformerConfig, Tag("transformer")],
    Discriminator(_architecture),
]
