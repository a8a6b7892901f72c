"""The section `[serving]`: in which arithmetic a model answers, and where validated models go."""

from typing import Literal

from pydantic import Field

from pipeline.config_section import Count, Section


class ServingConfig(Section):
    """How a trained model is served."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the matrix products of the exported model, and of its evaluation, whatever it was trained in. Weights,
    softmax and sums stay float32, but what the products give has three digits. bfloat16 is faster where the processor
    has instructions for it (AMX or AVX512-BF16, most GPUs) and slower elsewhere."""
    push_to: str | None = Field(default=None, min_length=1)
    """Folder that servers read models from: a validated model is published as `PUSH_TO/NAME/<integer>/`. A relative
    path starts from the folder of the configuration file, after --set from the current one. Default: nothing is pushed.
    """
    keep_versions: Count = 3
    """Versions that stay there, the newest ones."""
