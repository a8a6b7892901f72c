"""What all sections of the configuration have in common."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]

Metric = Literal[
    "bleu", "chrf", "token_bleu", "exact_match", "word_error_rate", "phone_error_rate", "character_error_rate"
]

KIND_KEY = "architecture"
"""The key that tells of which kind a section is, where there are several."""


def as_tuple(value: object) -> object:
    """Lets strict validation take a TOML array where a tuple is declared."""
    return tuple(value) if isinstance(value, list) else value


class Section(BaseModel):
    """What all sections have in common: immutable, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )
