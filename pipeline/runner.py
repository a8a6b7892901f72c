"""In which order components are executed, and which of them need not be.

A component is identified by a fingerprint of its name, its version, its parameters, the files it reads from outside and
the contents of the artifacts it reads. If a complete artifact of that fingerprint exists, the component is up to date.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipeline import artifacts
from pipeline.artifacts import Artifact
from pipeline.interrupts import interruptible
from pipeline.locks import exclusive
from preprocessing.errors import DataError

Execute = Callable[[Mapping[str, Path], Path], Mapping[str, Any]]

_log = logging.getLogger("heliograph")

Standing = Literal["up to date", "source missing", "outdated", "missing"]


@dataclass(frozen=True, kw_only=True)
class Component:
    """A step: what it depends on, and how it is done."""

    name: str
    """TFX's name; the folder below the root."""
    variant: str = ""
    """What tells it apart from other components of the same name in one run."""
    version: int
    """Raised when a change of the code changes the outputs."""
    execute: Execute
    """Called with the folders of the inputs by name and an output folder, empty or as an interrupted execution left it
    (see `resumes_from`); returns metrics."""
    resumes_from: str | None = None
    """Folder within the output folder from which an execution goes on after an interrupted one, which leaves the output
    folder as it is. What lies there is no output: it may be deleted afterwards."""
    inputs: tuple[str, ...] = ()
    """Keys of the components whose artifacts it reads."""
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


@dataclass(frozen=True)
class State:
    """How a component stands, without executing anything."""

    component: str
    state: Standing
    artifact: Artifact | None
    """The artifact that is up to date; if there is none, the newest of the component, if any. `source missing`: the
    files from outside are gone, and this is the newest artifact with the same parameters, which serves as up to date.
    """


def run(components: Sequence[Component], root: Path, until: str | None = None) -> dict[str, Artifact]:
    """Executes, in the given order, the components that are not up to date.

    Args:
        components: In topological order.
        root: Folder of the run.
        until: Key of the component that is wanted: only it and what it needs is executed. None: all components.

    Returns:
        Key of a component to its artifact.

    Raises:
        KeyboardInterrupt: With a message that names the interrupted component.
    """
    wanted = components if until is None else needed(components, until)
    width = max(len(component.key) for component in wanted)
    done: dict[str, Artifact] = {}
    for component in wanted:
        label = component.key.ljust(width)
        try:
            done[component.key] = _bring_up_to_date(component, done, root, label)
        except KeyboardInterrupt as interrupt:
            afterwards = (
                "goes on from its last checkpoint, if it has one,"
                if component.resumes_from
                else "keeps nothing and starts afresh"
            )
            raise KeyboardInterrupt(str(interrupt) or f"{component.key} {afterwards} in the next run") from None
    return done


def inspect(components: Sequence[Component], root: Path) -> list[State]:
    """How each component stands. What reads an artifact that is not up to date is not up to date either."""
    states: list[State] = []
    done: dict[str, Artifact] = {}
    for component in components:
        artifact: Artifact | None = None
        state: Standing = "up to date"
        if all(name in done for name in component.inputs):
            try:
                artifact = _find(
                    component, root, _identify(component, _inputs(component, done, root), component.external_files())
                )
            except DataError:
                # What was made of a corpus outlives it: a trained model still translates.
                artifact, state = _newest_with_same_parameters(component, root), "source missing"
        if artifact is not None:
            done[component.key] = artifact
            states.append(State(component.key, state, artifact))
            continue
        # Another variant's artifact is not an older one of this component.
        others = [] if component.variant else artifacts.find_all(root, component.name)
        states.append(State(component.key, "outdated", others[0]) if others else State(component.key, "missing", None))
    return states


def needed(components: Sequence[Component], until: str) -> list[Component]:
    """The component `until` and all that it reads, directly or indirectly, in the given order."""
    wanted = {until}
    for component in reversed(components):
        if component.key in wanted:
            wanted.update(component.inputs)
    return [component for component in components if component.key in wanted]


def _newest_with_same_parameters(component: Component, root: Path) -> Artifact | None:
    identity = (component.version, artifacts.plain(component.parameters))
    for artifact in artifacts.find_all(root, component.name):
        if (artifact.manifest.version, artifact.manifest.parameters) == identity:
            return artifact
    return None


def _find(component: Component, root: Path, artifact_id: str) -> Artifact | None:
    artifact = artifacts.find(root, component.name, artifact_id)
    return artifact if artifact is not None and component.still_there(artifact.path) else None


def _bring_up_to_date(component: Component, done: Mapping[str, Artifact], root: Path, label: str) -> Artifact:
    external_files = component.external_files()
    inputs = _inputs(component, done, root)
    artifact_id = _identify(component, inputs, external_files)
    artifact = _find(component, root, artifact_id)
    if artifact is None:
        path = root / component.name / artifact_id
        path.parent.mkdir(parents=True, exist_ok=True)

        def on_wait(process: str) -> None:
            _log.info("%s  waiting for process %s, which is executing it", label, process)

        with exclusive(path.with_name(f"{artifact_id}.lock"), on_wait):
            artifact = _find(component, root, artifact_id)  # the other process may have finished it
            if artifact is None:
                return _execute(component, inputs, external_files, path, label)
    _log.info("%s  up to date (%s)", label, artifact_id)
    return artifact


def _execute(
    component: Component, inputs: Mapping[str, Artifact], external_files: Mapping[str, str], path: Path, label: str
) -> Artifact:
    _log.info("%s  running…", label)
    artifacts.prepare(path, keep=component.resumes_from is not None)
    started, clock = datetime.now(UTC), time.monotonic()
    with interruptible():
        metrics = component.execute({name: artifact.path for name, artifact in inputs.items()}, path)
    artifact = artifacts.publish(
        path,
        component=component.name,
        version=component.version,
        inputs=inputs,
        external_files=external_files,
        parameters=component.parameters,
        metrics=metrics,
        started=started,
        ended=datetime.now(UTC),
        scratch=component.resumes_from,
    )
    _log.info("%s  done in %.1f s (%s)", label, time.monotonic() - clock, artifact.id)
    return artifact


def _inputs(component: Component, done: Mapping[str, Artifact], root: Path) -> dict[str, Artifact]:
    """All artifacts that it reads, by key."""
    inputs = {name: done[name] for name in component.inputs}
    return {**inputs, **component.resolve(root, inputs)}


def _identify(component: Component, inputs: Mapping[str, Artifact], external_files: Mapping[str, str]) -> str:
    """The artifact id of an execution with these inputs."""
    identity = {
        "component": component.name,
        "version": component.version,
        "parameters": artifacts.plain(component.parameters),
        "inputs": {name: artifact.fingerprint for name, artifact in inputs.items()},
        "external_files": dict(external_files),
    }
    return artifacts.fingerprint(identity)[: artifacts.ID_LENGTH]
