"""What stands behind an artifact, back to the files from outside: the artifacts it was made of, and what made them.

A published version leads back twice: its model card names the Exporter's artifact, whose folder has everything, and
tells what is told of its ancestors wherever the version is copied to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from pipeline import artifacts
from pipeline.artifacts import Artifact, InputArtifact, Manifest, hash_file
from pipeline.errors import UsageError
from serving.model_card import CARD_FILE, read_card
from serving.versions import versions_of

_SHORTEST_ID = 4  # hexadecimal digits


class Node(BaseModel):
    """One artifact, as far as it is known."""

    model_config = ConfigDict(frozen=True)

    component: str
    id: str
    note: str = ""
    """Why less is known of it than of others."""
    inputs: dict[str, InputArtifact] = {}
    """What it was made of, by the keys that the components have in their run."""
    version: int | None = None
    packages: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    external_files: dict[str, str] = {}
    outputs_fingerprint: str | None = None
    versions: dict[str, str] = {}
    code: str | None = None
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None
    metrics: dict[str, Any] = {}
    command: str | None = None
    platform: str | None = None


class _Document(BaseModel):
    start: str
    artifacts: dict[str, Node]


@dataclass(frozen=True)
class Lineage:
    """An artifact and all its ancestors."""

    start: str
    """`COMPONENT/ID` of the artifact."""
    nodes: Mapping[str, Node]
    """`COMPONENT/ID` to what is known; inputs come after what reads them."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        document = _Document(start=self.start, artifacts=dict(self.nodes))
        return document.model_dump(mode="json", exclude_defaults=True)


def of_artifact(artifact: Artifact) -> Lineage:
    """Reads the manifests of an artifact and of its ancestors, which lie beside it."""
    root = artifact.path.parents[1]
    start = _node(artifact.manifest)
    nodes = {_key(start): start}
    for name, item in _ancestors(start, root):
        nodes.setdefault(name, item)
    return Lineage(_key(start), nodes)


def for_card(artifact_id: str, inputs: Sequence[Path]) -> dict[str, Any]:
    """What a model card says of the Exporter's artifact that it is part of.

    Times and durations are left out, so that an export of the same model is the same export.

    Args:
        artifact_id: of the Exporter.
        inputs: folders of the artifacts that it reads.
    """
    made_of: dict[str, InputArtifact] = {}
    nodes: dict[str, Node] = {}
    for path in inputs:
        artifact = artifacts.read(path)
        if artifact is None:
            raise ValueError(f"inputs must be folders of artifacts, got {path}")
        manifest = artifact.manifest
        made_of[manifest.component] = InputArtifact(
            component=manifest.component, id=manifest.id, fingerprint=manifest.outputs_fingerprint
        )
        for key, node in of_artifact(artifact).nodes.items():
            nodes[key] = Node(**node.model_dump(exclude={"started", "ended", "metrics", "command", "platform"}))
    start = Node(component="Exporter", id=artifact_id, inputs=made_of)
    return Lineage(_key(start), {_key(start): start, **nodes}).document()


def of_card(card: Mapping[str, Any]) -> Lineage:
    """What `for_card` wrote.

    Raises:
        ValueError: it is something else.
    """
    told = _Document.model_validate(card["lineage"])
    if told.start not in told.artifacts:
        raise ValueError(f"artifacts must hold the start, {told.start}")
    return Lineage(told.start, told.artifacts)


def resolve(name: str, roots: Sequence[Path]) -> Lineage:
    """The lineage of what a person names.

    Args:
        name: the folder of an artifact, the folder of a published version, or the id of an artifact or its beginning.
        roots: where artifacts are looked for.

    Raises:
        UsageError: it is none of these, or an id that several artifacts have.
    """
    folder = Path(name)
    if folder.is_dir():
        if (folder / artifacts.MANIFEST).is_file():
            return of_artifact(readable(folder.absolute()))
        card = read_card(folder)
        if card is not None and "lineage" in card:
            return _of_version(folder.absolute(), card, roots)
        raise UsageError(
            f"{name}: expected the folder of an artifact, which has a {artifacts.MANIFEST}, or of a published version "
            f"(NAME/NUMBER), whose model card tells its lineage{_its_versions(folder)}"
        )
    found = _with_id(name, roots)
    if not found and folder.name.isdecimal() and _its_versions(folder.parent):
        raise UsageError(f"{name}: no such version{_its_versions(folder.parent)}")
    searched = ", ".join(map(str, roots)) or "no folder of a run"
    if len(found) != 1:
        what = ", ".join(str(path) for path in found) or "none"
        raise UsageError(
            f"{name}: expected a folder, or the id of one artifact in {searched}, found {what}; give --root DIR"
        )
    return of_artifact(readable(found[0]))


def _its_versions(servable: Path) -> str:
    versions = [path.name for path in versions_of(servable)]
    return f"; {servable} has {', '.join(versions)}" if versions else ""


def readable(folder: Path) -> Artifact:
    """The artifact in a folder.

    Raises:
        UsageError: it is not whole.
    """
    try:
        artifact = artifacts.read(folder)
    except artifacts.DamagedArtifactError as error:
        raise UsageError(str(error)) from None
    if artifact is None:
        raise UsageError(f"{folder}: expected the folder of an artifact, found no {artifacts.MANIFEST}")
    return artifact


def _of_version(folder: Path, card: Mapping[str, Any], roots: Sequence[Path]) -> Lineage:
    around = folder.parents[1]
    if (around / artifacts.MANIFEST).is_file():
        return of_artifact(readable(around))
    try:
        told = of_card(card)
    except ValueError:
        raise UsageError(f"{folder / CARD_FILE}: its lineage is not one that this version can read") from None
    start = told.nodes[told.start]
    for root in roots:
        exported = artifacts.find(root, start.component, start.id)
        if exported is None or not _holds(exported, folder):
            continue
        pushers = [
            item
            for item in artifacts.find_all(root, "Pusher")
            if item.manifest.inputs["Exporter"].fingerprint == exported.fingerprint
            and str(item.metrics["version"]) == folder.name
        ]
        return of_artifact(pushers[0] if pushers else exported)
    note = "told by the model card; its run is not here, or --root names another one"
    return Lineage(told.start, {**told.nodes, told.start: start.model_copy(update={"note": note})})


def _holds(exported: Artifact, version: Path) -> bool:
    """Whether a published version has the bytes of this export, and no other files."""
    ours = {Path(*Path(name).parts[2:]): file for name, file in exported.manifest.outputs.items() if "/" in name}
    files = {path.relative_to(version): path for path in version.rglob("*") if path.is_file()}
    return all(name in ours and ours[name].sha256 == hash_file(path) for name, path in files.items())


def _with_id(name: str, roots: Sequence[Path]) -> list[Path]:
    if len(name) < _SHORTEST_ID or "/" in name or any(mark in name for mark in "*?["):
        return []
    return [path.parent for root in roots for path in sorted(root.glob(f"*/{name}*/{artifacts.MANIFEST}"))]


def _ancestors(node: Node, root: Path) -> Iterator[tuple[str, Node]]:
    for item in node.inputs.values():
        artifact = artifacts.find(root, item.component, item.id)
        if artifact is None:
            found = Node(component=item.component, id=item.id, note="no longer there")
        else:
            found = _node(artifact.manifest)
            if artifact.fingerprint != item.fingerprint:
                found = found.model_copy(update={"note": "made again since, with another output"})
        yield _key(found), found
        yield from _ancestors(found, root)


def _node(manifest: Manifest) -> Node:
    values = manifest.model_dump(exclude={"outputs", "parameters_fingerprint"})
    return Node(**values)


def _key(node: Node) -> str:
    return f"{node.component}/{node.id}"
