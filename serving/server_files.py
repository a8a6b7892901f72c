"""The files that TF Serving is started with: models, batching, monitoring, a compose file, a Kubernetes manifest."""

import re
import string
import urllib.parse
from pathlib import Path

TEMPLATES = Path(__file__).with_name("tf_serving")

_UNSAFE = re.compile(r"[\"\\$#]")


def write_server_files(folder: Path, name: str) -> None:
    """Write all templates of `serving/tf_serving/` for a model.

    Args:
        folder: where to; it is created if need be. The compose file takes the versions from `../NAME` beside it.
        name: the model's name, as requests name it.

    Raises:
        ValueError: the name holds a character that one of the files would take for something else.
    """
    if _UNSAFE.search(name):
        raise ValueError(f'name must hold no ", \\, $ or #, for the files of the server, got {name!r}')
    folder.mkdir(parents=True, exist_ok=True)
    values = {"name": name, "id": portable(name), "quoted": urllib.parse.quote(name, safe="")}
    for template in sorted(TEMPLATES.iterdir()):
        text = string.Template(template.read_text(encoding="utf-8")).substitute(values)
        (folder / template.name).write_text(text, encoding="utf-8")


def portable(name: str) -> str:
    """A model's name as Kubernetes and Docker write names: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "model"
