"""The section `[model]`: one frozen, typed model for each architecture; its keys are those of `models.networks`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.config_section import Count, Section


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
    which then need the same vocabulary. `embedding_size` must be `hidden_size`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, decoders in (("encoder_hidden_size", self.hidden_size), ("encoder_layers", self.num_layers)):
            if self.bridge == "copy" and getattr(self, field) != decoders:
                raise ValueError(
                    f'{field}: expected {decoders}, as in the decoder, or bridge = "dense", got {getattr(self, field)}'
                )
        if self.bridge == "copy" and self.bidirectional:
            raise ValueError('bridge: expected "dense" with bidirectional = true, got "copy"')
        if self.tied != "none" and self.embedding_size != self.hidden_size:
            raise ValueError(
                f'embedding_size: expected hidden_size ({self.hidden_size}) with tied = "{self.tied}", '
                f"got {self.embedding_size}"
            )
        return self


ModelConfig = RecurrentConfig
