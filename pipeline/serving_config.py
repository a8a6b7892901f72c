"""The section `[serving]`: where validated models go."""

from pydantic import Field

from pipeline.config_section import Count, Section


class ServingConfig(Section):
    """Publishing for a server."""

    push_to: str | None = Field(default=None, min_length=1)
    """Folder that servers read models from: a validated model is published as `PUSH_TO/NAME/<integer>/`. A relative
    path starts from the folder of the configuration file, after --set from the current one. Default: nothing is pushed.
    """
    keep_versions: Count = 3
    """Versions that stay there, the newest ones."""
