"""What a component execution leaves behind, and when it counts.

    ROOT/Transform/3f9a0c1b2d4e/source.vocabulary.tsv
    ROOT/Transform/3f9a0c1b2d4e/train-00000-of-00008.tfrecord.gz
    ROOT/Transform/3f9a0c1b2d4e/manifest.json               written last, by rename

The folder's name is the first 12 hexadecimal digits of a fingerprint of everything the outputs depend on. Without a
readable manifest a folder is no artifact: it is never read, and cleared before its component is executed again.
"""

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

MANIFEST = "manifest.json"
ID_LENGTH = 12  # hexadecimal digits: 48 bits, far from colliding among the executions of one root

_VERSIONED = {"tensorflow": "tensorflow", "keras": "keras", "beam": "apache-beam", "heliograph": "heliograph"}

_log = logging.getLogger("heliograph.artifacts")


class OutputFile(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class InputArtifact(BaseModel):
    """The artifact that an execution read."""

    model_config = ConfigDict(frozen=True)

    id: str
    fingerprint: str


class Manifest(BaseModel):
    """`manifest.json`: what was executed, on what, with what result."""

    model_config = ConfigDict(frozen=True)

    component: str
    id: str
    version: int
    inputs: dict[str, InputArtifact]
    external_files: dict[str, str]
    parameters: dict[str, Any]
    parameters_fingerprint: str
    outputs: dict[str, OutputFile]
    outputs_fingerprint: str
    versions: dict[str, str]
    started: AwareDatetime
    ended: AwareDatetime
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A complete component execution."""

    path: Path
    """Folder of the outputs."""
    manifest: Manifest

    @property
    def id(self) -> str:
        """Name of the folder."""
        return self.manifest.id

    @property
    def fingerprint(self) -> str:
        """Identity of the outputs: equal files, equal fingerprint, whatever produced them."""
        return self.manifest.outputs_fingerprint

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures that the component reported."""
        return self.manifest.metrics


def fingerprint(value: object) -> str:
    """SHA-256 of a JSON-able value, in hexadecimal; independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """A copy made of JSON's types only: NumPy scalars become numbers, non-finite numbers strings, paths strings.

    Raises:
        TypeError: The value holds something else.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "item"):  # a scalar of NumPy or TensorFlow's
        return plain(value.item())
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"expected a number, string, list or mapping, got {value!r} ({type(value).__name__})")


def find(root: Path, component: str, artifact_id: str) -> Artifact | None:
    """The artifact ROOT/component/artifact_id, or None if there is no complete one."""
    path = root / component / artifact_id
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError:
        _log.warning("%s: not a readable manifest; the artifact is treated as absent", path / MANIFEST)
        return None
    if (manifest.component, manifest.id) != (component, artifact_id):
        _log.warning("%s: belongs to %s/%s; treated as absent", path / MANIFEST, manifest.component, manifest.id)
        return None
    damaged = next((name for name, file in manifest.outputs.items() if not _is_whole(path / name, file)), None)
    if damaged is not None:
        _log.warning("%s: lost or truncated since it was written; the artifact is treated as absent", path / damaged)
        return None
    return Artifact(path, manifest)


def find_all(root: Path, component: str) -> list[Artifact]:
    """All complete artifacts of a component, the newest first."""
    folder = root / component
    names = sorted(item.name for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []
    found = [artifact for name in names if (artifact := find(root, component, name)) is not None]
    return sorted(found, key=lambda artifact: artifact.manifest.ended, reverse=True)


def prepare(path: Path, keep: bool = False) -> None:
    """Makes a folder without a manifest for an execution.

    Args:
        path: the folder.
        keep: whether what a crash left there stays, for the execution to go on from; else it is removed.
    """
    if path.is_dir() and not path.is_symlink():
        # The manifest goes first: were the removal interrupted, the rest must not be taken for whole.
        (path / MANIFEST).unlink(missing_ok=True)
        if keep:
            return
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    path.mkdir(parents=True)


def publish(
    path: Path,
    *,
    component: str,
    version: int,
    inputs: Mapping[str, Artifact],
    external_files: Mapping[str, str],
    parameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    started: datetime,
    ended: datetime,
    scratch: str | None = None,
) -> Artifact:
    """Makes the files in `path` an artifact by writing its manifest; those in the folder `scratch` are no part of it.

    Raises:
        TypeError: Parameters or metrics cannot be written as JSON.
    """
    outputs = {
        file.relative_to(path).as_posix(): OutputFile(sha256=hash_file(file), bytes=file.stat().st_size)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.relative_to(path).parts[0] != scratch
    }
    manifest = Manifest(
        component=component,
        id=path.name,
        version=version,
        inputs={name: InputArtifact(id=item.id, fingerprint=item.fingerprint) for name, item in inputs.items()},
        external_files=dict(external_files),
        parameters=plain(parameters),
        parameters_fingerprint=fingerprint(plain(parameters)),
        outputs=outputs,
        outputs_fingerprint=fingerprint({name: file.sha256 for name, file in outputs.items()}),
        versions=versions(),
        started=started,
        ended=ended,
        metrics=plain(metrics),
    )
    write_whole(path / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return Artifact(path, manifest)


def write_whole(path: Path, text: str) -> None:
    """Writes a UTF-8 file that appears complete or not at all.

    It is not forced to the disk: if a power failure empties a manifest or shortens an output, `find` says so.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of what outputs may depend on; a distribution that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name, distribution in _VERSIONED.items():
        try:
            found[name] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _is_whole(path: Path, file: OutputFile) -> bool:
    # A file that has grown is whole: TensorBoard's writers may append to a log after the manifest was written.
    return path.is_file() and path.stat().st_size >= file.bytes
