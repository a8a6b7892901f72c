"""What a component execution leaves behind, and when it counts.

    ROOT/Transform/3f9a0c1b2d4e/source.vocabulary.tsv
    ROOT/Transform/3f9a0c1b2d4e/train-00000-of-00008.tfrecord.gz
    ROOT/Transform/3f9a0c1b2d4e/manifest.json               written last, by rename

    ROOT/Transform/rerun/3f9a0c1b2d4e/…                     the same artifact, while it is made once more
    ROOT/Pusher/0c1b2d4e3f9a/refusal.txt                    instead of a manifest: why nothing was made

The folder's name is the first 12 hexadecimal digits of a fingerprint of everything the outputs depend on. Without a
readable manifest a folder is no artifact: nothing is made of it, and it is cleared before its component is executed
again. Whoever reads an artifact holds its manifest's lock with others (`reading`); whoever removes or replaces it holds
that alone.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline import staging
from pipeline.locks import shared
from pipeline.origin import code_hash

MANIFEST = "manifest.json"
REFUSAL = "refusal.txt"
"""File that an execution leaves instead of a manifest if it has refused a corpus or a model: why, in one line."""
RERUN = "rerun"
"""Folder below a component's, of the artifacts that are made once more."""
ID_LENGTH = 12  # hexadecimal digits: 48 bits, far from colliding among the executions of one root

_VERSIONED = {"tensorflow": "tensorflow", "keras": "keras", "beam": "apache-beam", "heliograph": "heliograph"}


class OutputFile(BaseModel):
    """One file of an artifact."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int


class InputArtifact(BaseModel):
    """The artifact that an execution read."""

    model_config = ConfigDict(frozen=True)

    component: str
    id: str
    fingerprint: str


class Manifest(BaseModel):
    """`manifest.json`: what was executed, on what, with what result."""

    model_config = ConfigDict(frozen=True)

    component: str
    id: str
    version: int
    packages: dict[str, str]
    """Distribution to the version, as far as the outputs depend on it."""
    inputs: dict[str, InputArtifact]
    external_files: dict[str, str]
    parameters: dict[str, Any]
    parameters_fingerprint: str
    outputs: dict[str, OutputFile]
    outputs_fingerprint: str
    versions: dict[str, str]
    code: str
    """SHA-256 over the source files of our packages."""
    command: str
    platform: str
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


class DamagedArtifactError(ValueError):
    """There is a manifest, but it is not one, or not of what lies beside it; the message says so in one line."""


def read(path: Path) -> Artifact | None:
    """The artifact in a folder; None if there is no manifest.

    Raises:
        DamagedArtifactError: there is one, but no complete artifact.
    """
    try:
        manifest = Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError:
        raise DamagedArtifactError(f"{path / MANIFEST}: not a readable manifest of this version") from None
    if manifest.id != path.name:
        raise DamagedArtifactError(f"{path / MANIFEST}: belongs to {manifest.component} {manifest.id}")
    damaged = next((name for name, file in manifest.outputs.items() if not _is_whole(path / name, file)), None)
    if damaged is not None:
        raise DamagedArtifactError(f"{path / damaged}: lost or truncated since it was written")
    return Artifact(path, manifest)


def find(root: Path, component: str, artifact_id: str) -> Artifact | None:
    """The artifact ROOT/component/artifact_id, or None if there is no complete one."""
    try:
        artifact = read(root / component / artifact_id)
    except DamagedArtifactError:
        return None
    return artifact if artifact is not None and artifact.manifest.component == component else None


def refusal(path: Path) -> str | None:
    """Why an execution in this folder refused what it judged; None if it did not."""
    try:
        return (path / REFUSAL).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_all(root: Path, component: str) -> list[Artifact]:
    """All complete artifacts of a component, the newest first."""
    folder = root / component
    names = sorted(item.name for item in folder.iterdir() if item.is_dir()) if folder.is_dir() else []
    found = [artifact for name in names if (artifact := find(root, component, name)) is not None]
    return sorted(found, key=lambda artifact: artifact.manifest.ended, reverse=True)


@contextmanager
def reading(artifact: Artifact) -> Iterator[None]:
    """For the length of the block the artifact is neither removed nor replaced.

    Raises:
        FileNotFoundError: it is no longer there, or another one is in its place.
    """
    with shared(artifact.path / MANIFEST):
        again = find(artifact.path.parents[1], artifact.manifest.component, artifact.id)
        if again is None or again.manifest != artifact.manifest:
            raise FileNotFoundError(f"{artifact.path}: another process has just replaced it")
        yield


def prepare(path: Path, keep: bool = False) -> None:
    """Makes a folder without a manifest for an execution; the caller has its lock.

    Args:
        path: the folder.
        keep: whether what a crash left there stays, for the execution to go on from; else it is removed.
    """
    for aside in path.parent.glob(f"{path.name}.aside-*"):
        shutil.rmtree(aside)  # a killed execution was writing there
    if path.is_dir() and not path.is_symlink():
        if keep:
            for name in (MANIFEST, REFUSAL):
                (path / name).unlink(missing_ok=True)
            return
        remove(path)
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
    packages: Mapping[str, str] | None = None,
    command: str = "",
    scratch: str | None = None,
    timed: str | None = None,
) -> Artifact:
    """Makes the files in `path` an artifact by writing its manifest.

    The manifest is a promise about other files: they reach the disk before it does, else a power failure could leave a
    whole manifest beside files of the right size without their content. (A killed process would need none of this.)

    Args:
        path: the folder of the outputs.
        component: its name.
        version: that of its code.
        inputs: what it read.
        external_files: role and name to SHA-256 of what it read from outside.
        parameters: what it was told.
        metrics: what it reported.
        started: when it began.
        ended: when it was done.
        packages: versions of distributions that the outputs depend on.
        command: what a person typed.
        scratch: folder whose files are no outputs.
        timed: folder whose files are no part of the outputs' fingerprint.

    Raises:
        TypeError: Parameters or metrics cannot be written as JSON.
    """
    outputs = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.relative_to(path).parts[0] != scratch:
            outputs[file.relative_to(path).as_posix()] = OutputFile(sha256=hash_file(file), bytes=file.stat().st_size)
            _to_disk(file)
    for folder in [*(folder for folder in path.rglob("*") if folder.is_dir()), path, path.parent]:
        _to_disk(folder)
    compared = {name: file.sha256 for name, file in outputs.items() if name.partition("/")[0] != timed}
    manifest = Manifest(
        component=component,
        id=path.name,
        version=version,
        packages=dict(packages or {}),
        inputs={
            name: InputArtifact(component=item.manifest.component, id=item.id, fingerprint=item.fingerprint)
            for name, item in inputs.items()
        },
        external_files=dict(external_files),
        parameters=plain(parameters),
        parameters_fingerprint=fingerprint(plain(parameters)),
        outputs=outputs,
        outputs_fingerprint=fingerprint(compared),
        versions=versions(),
        code=code_hash(),
        command=command,
        platform=platform.platform(),
        started=started,
        ended=ended,
        metrics=plain(metrics),
    )
    write_whole(path / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    return Artifact(path, manifest)


def replace(path: Path) -> None:
    """Puts the artifact that was made once more in place of `path`, if it is whole; the caller holds both locks.

    Killed between its two renames, it is called again by the next execution, which finds nothing in `path`.
    """
    again = path.parent / RERUN / path.name
    if not (again / MANIFEST).is_file():
        return
    old = path.parent / RERUN / f"{path.name}.old"
    if old.exists():
        remove(old)
    if path.exists():
        path.rename(old)
    again.rename(path)
    if old.exists():
        remove(old)


def remove(path: Path) -> None:
    """Removes an artifact's folder, or what a crash left of one; the caller has its lock."""
    # The manifest goes first: were the removal interrupted, the rest must not be taken for whole.
    (path / MANIFEST).unlink(missing_ok=True)
    staging.discard(path)
    shutil.rmtree(path)


def write_whole(path: Path, text: str) -> None:
    """Writes a UTF-8 file that appears complete or not at all, before others of its folder that are written later."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        _to_disk(aside)
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


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_whole(path: Path, file: OutputFile) -> bool:
    # A file that has grown is whole: TensorBoard's writers may append to a log after the manifest was written.
    return path.is_file() and path.stat().st_size >= file.bytes
