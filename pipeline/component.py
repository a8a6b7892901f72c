"""A step of a run: what it depends on, what identifies an execution of it, and which steps another one needs."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.artifacts import Artifact

Execute = Callable[[Mapping[str, Path], Path], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Component:
    """A step: what it depends on, and how it is done."""

    name: str
    """TFX's name; the folder below the root."""
    variant: str = ""
    """What tells it apart from other components of the same name in one run."""
    version: int
    """Of the code, in the components' fingerprints. Whoever changes code so that the same inputs and parameters give
    other outputs raises the version of every component that executes this code, in the same commit: then an upgrade
    makes anew what it must. It stays when the outputs do, as after a refactoring or a speed-up, and when only files
    change that `timed` leaves out. The manifest's hash over all sources tells two codes of one version apart."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Distribution to the version that the outputs depend on: exact where another one may write other bytes, and no
    more than major.minor where outputs are dear and patches only mend."""
    execute: Execute
    """Called with the folders of the inputs by name and an output folder, empty or as an interrupted execution left it
    (see `resumes_from`); returns metrics. The output folder's name is the artifact's id."""
    resumes_from: str | None = None
    """Folder within the output folder from which an execution goes on after an interrupted one, which leaves the output
    folder as it is. What lies there is no output: it may be deleted afterwards."""
    timed: str | None = None
    """Folder within the output folder whose files tell the time: no part of the fingerprint of the outputs, so equal
    results are equal whenever they were made."""
    inputs: tuple[str, ...] = ()
    """Keys of the components whose artifacts it reads."""
    after: tuple[str, ...] = ()
    """Keys of components that have to have succeeded before it is executed, though nothing it makes depends on them."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The part of the configuration that its outputs depend on, JSON-able."""
    still_there: Callable[[Path], bool] = lambda _: True
    """Called with the folder of a complete artifact: whether what it made outside that folder still exists; if not, it
    is executed again."""
    resolve: Callable[[Path, Mapping[str, Artifact]], Mapping[str, Artifact]] = lambda root, inputs: {}
    """Called with the root and the artifacts of `inputs`: further artifacts of the root that it reads, by keys of their
    own, such as that of the last blessed model."""
    external_files: Callable[[], Mapping[str, str]] = dict
    """Role and name to SHA-256 of the files that it reads from outside the root; DataError if one is missing."""

    @property
    def key(self) -> str:
        """What it is called within a run."""
        return f"{self.name} {self.variant}" if self.variant else self.name


def identify(component: Component, inputs: Mapping[str, str], external_files: Mapping[str, str]) -> str:
    """The artifact id of an execution.

    Args:
        component: what is executed.
        inputs: key of each component that it reads to the fingerprint of that one's outputs.
        external_files: role and name to SHA-256.
    """
    identity = {
        "component": component.name,
        "version": component.version,
        "packages": dict(component.packages),
        "parameters": artifacts.plain(component.parameters),
        "inputs": dict(inputs),
        "external_files": dict(external_files),
    }
    return artifacts.fingerprint(identity)[: artifacts.ID_LENGTH]


def needed(components: Sequence[Component], until: str | Collection[str]) -> list[Component]:
    """The components of these keys, all that they read and all that they come after, directly or not, in that order."""
    wanted = {until} if isinstance(until, str) else set(until)
    for component in reversed(components):
        if component.key in wanted:
            wanted.update(component.inputs, component.after)
    return [component for component in components if component.key in wanted]


def keys_of(components: Sequence[Component], name: str) -> list[str]:
    """Keys of the components that a person means: one key, or a name and with it all its variants.

    Raises:
        ValueError: there is no such component; the message names the nearest one.
    """
    found = [component.key for component in components if name in (component.key, component.name)]
    if not found:
        known = list(dict.fromkeys(name for item in components for name in (item.name, item.key)))
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"{name}: no component of this configuration; {hint}components: {', '.join(known)}")
    return found
