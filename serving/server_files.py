"""The files that TF Serving is started with: models, batching, monitoring, a compose file, a Kubernetes manifest."""

import re
import string
from pathlib import Path

TEMPLATES = Path(__file__).with_name("tf_serving")


def write_server_files(folder: Path, name: str) -> None:
    """Write all templates of `serving/tf_serving/` for a model.

    Args:
        folder: where to; it is created if need be. The compose file takes the versions from `../NAME` beside it.
        name: the model's name, as requests name it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for template in sorted(TEMPLATES.iterdir()):
        # What Kubernetes and Docker call a thing has neither capitals nor underscores; the model keeps its name.
        text = string.Template(template.read_text(encoding="utf-8")).substitute(name=name)
        (folder / template.name).write_text(text, encoding="utf-8")


def is_portable(name: str) -> bool:
    """Whether a model's name is also one for Kubernetes and Docker."""
    return bool(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name))
