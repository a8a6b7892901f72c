"""The Pusher: publishes what is blessed where servers find it, unless another model got there first."""

import json
import logging
from pathlib import Path

from pipeline.artifacts import MANIFEST, Manifest, write_whole
from pipeline.blessing import is_overtaken
from pipeline.config import Config
from pipeline.locks import exclusive
from preprocessing.errors import DataError, RefusedError
from serving.push import push
from serving.versions import newest_version

log = logging.getLogger("heliograph.push")

PUSH_LOCK = ".lock"
"""File in the servable's folder that a Pusher has locked while it publishes; servers do not look at it."""

_PUSHED_FILE = "pushed.json"


def push_model(config: Config, exporter_dir: Path, model_validator_dir: Path, output_dir: Path) -> dict[str, float]:
    """Publish a validated model where `serving.push_to` says, and note in `pushed.json` where that is.

    Returns:
        The number of the published version.

    Raises:
        RefusedError: the model is not blessed.
        DataError: it was not judged next to the one that is published by now.
    """
    verdict = Manifest.model_validate_json((model_validator_dir / MANIFEST).read_bytes())
    if not verdict.metrics["blessed"]:
        raise RefusedError(f"{config.name}: not blessed, so not pushed: {verdict.metrics['reason']}")
    base_dir = Path(str(config.serving.push_to), config.name)
    base_dir.mkdir(parents=True, exist_ok=True)
    with exclusive(base_dir / PUSH_LOCK, waiting):
        if is_overtaken(model_validator_dir.parents[1], verdict, base_dir):
            raise DataError(
                f"{newest_version(base_dir)}: another model was pushed meanwhile; run again: "
                "only the verdict is repeated"
            )
        published = push(newest_version(exporter_dir / config.name), base_dir, config.serving.keep_versions)
    log.info("published %s", published)
    write_whole(output_dir / _PUSHED_FILE, json.dumps({"published": str(published)}, indent=2) + "\n")
    return {"version": int(published.name)}


def is_published(pusher_dir: Path) -> bool:
    """Whether the version that `push_model` published is still there, be it or not the newest: a rollback stands."""
    return published_in(pusher_dir).is_dir()


def published_in(pusher_dir: Path) -> Path:
    """The folder of the version that `push_model` published."""
    return Path(json.loads((pusher_dir / _PUSHED_FILE).read_text(encoding="utf-8"))["published"])


def waiting(process: str) -> None:
    """Says whose lock is awaited."""
    log.info("waiting for process %s, which is publishing", process)
