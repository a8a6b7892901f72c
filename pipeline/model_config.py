"""The section `[model]`: one frozen, typed model for each architecture; its keys are those of `models.networks`."""

from typing import Literal

from pydantic import Field

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
    """Recurrent layers in the encoder, and again in the decoder."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Share of embedding and between-layer activations dropped in training, 0 to 1."""
    init_scale: float = Field(default=0.08, ge=0.0)
    """Every weight starts uniform in ±init_scale; 0 = Keras' own initializers."""


ModelConfig = RecurrentConfig
