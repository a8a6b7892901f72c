"""What is up to date and what is not, and why: how things stand, without executing anything.

A component's reasons are the differences between what it would be executed with and the newest artifact that it left.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import artifacts
from pipeline.artifacts import Artifact, DamagedArtifactError
from pipeline.changes import file_changes, value_changes
from pipeline.component import Component, identify
from pipeline.locks import tried
from preprocessing.errors import DataError
from preprocessing.wording import counted

Standing = Literal["up to date", "source missing", "outdated", "missing", "refused"]

_MOST = 4
"""Reasons that are told of one component."""


@dataclass(frozen=True)
class State:
    """How a component stands."""

    component: str
    state: Standing
    artifact: Artifact | None
    """The artifact that is up to date; if there is none, the newest of the component, if any. `source missing`: the
    files from outside are gone, and this is the newest artifact with the same parameters, which serves as up to date.
    `refused`: none, for its execution refused the corpus or the model that it judged. It is no longer told once what
    it reads has changed, such as the model to compare with."""
    reason: str = ""
    """Why it is not up to date."""
    ids: tuple[str, ...] = ()
    """Ids of the artifacts that it has, would get, or may turn out to have or to go on with."""
    awaits: tuple[str, ...] = ()
    """Keys of components that are executed before it, if it depends on their outputs alone whether it is."""


def inspect(components: Sequence[Component], root: Path, rerun: Collection[str] = ()) -> list[State]:
    """How each component stands. What reads an artifact that is not up to date is not up to date either.

    Args:
        components: in topological order.
        root: folder of the run.
        rerun: keys of components that are to be executed whatever there is.
    """
    states: list[State] = []
    done: dict[str, Artifact] = {}
    possible: dict[str, list[Artifact]] = {}
    for component in components:
        others = artifacts.find_all(root, component.name)
        state = _inspect(component, others, done, possible, root, component.key in rerun)
        if state.artifact is not None and state.state in ("up to date", "source missing"):
            done[component.key] = state.artifact
        possible[component.key] = [item for item in others if item.id in state.ids]
        states.append(state)
    return states


def lines(states: Sequence[State]) -> list[str]:
    """What a run is going to do, one line for each component."""
    width = max((len(state.component) for state in states), default=0)
    return [f"{state.component.ljust(width)}  {_intention(state)}" for state in states]


def _intention(state: State) -> str:
    if state.awaits:
        return f"runs if the output of {' or '.join(state.awaits)} changes"
    if state.artifact is not None and state.state in ("up to date", "source missing"):
        return f"{state.state} ({state.artifact.id})"
    return f"runs: refused before: {state.reason}" if state.state == "refused" else f"runs: {state.reason}"


def _inspect(
    component: Component,
    others: Sequence[Artifact],
    done: Mapping[str, Artifact],
    possible: Mapping[str, Sequence[Artifact]],
    root: Path,
    rerun: bool,
) -> State:
    # Another variant's artifact is not an older one of this component.
    newest = others[0] if others and not component.variant else None
    standing: Standing = "missing" if newest is None else "outdated"
    inputs = {name: done[name].fingerprint for name in component.inputs if name in done}
    awaited = tuple(name for name in component.inputs if name not in inputs)
    try:
        files = component.external_files()
    except DataError as error:
        # What was made of a corpus outlives it: a trained model still translates.
        same = None if awaited else _newest_with_same_parameters(component, others)
        if same is None:
            return State(component.key, standing, newest, str(error))
        return State(component.key, "source missing", same, str(error), (same.id,))
    ids: tuple[str, ...]
    if awaited:
        folder = None
        fitting = tuple(item.id for item in others if not _differences(component, item, inputs, files))
        ids = (*fitting, *_resumable(component, possible, root, files))
        if fitting and not rerun:
            return State(component.key, standing, newest, f"depends on {', '.join(awaited)}", ids, awaited)
    else:
        inputs = {name: artifact.fingerprint for name, artifact in all_inputs(component, done, root).items()}
        artifact_id = identify(component, inputs, files)
        folder, ids = root / component.name / artifact_id, (artifact_id,)
        artifact = up_to_date(component, root, artifact_id)
        if artifact is not None and not rerun:
            return State(component.key, "up to date", artifact, ids=ids)
        refusal = artifacts.refusal(folder)
        if refusal is not None and not rerun:
            return State(component.key, "refused", None, refusal, ids)
    reason = "asked for" if rerun else _reason(component, others, inputs, files, folder)
    return State(component.key, standing, newest, reason, ids)


def _resumable(
    component: Component, possible: Mapping[str, Sequence[Artifact]], root: Path, files: Mapping[str, str]
) -> Iterator[str]:
    """Ids of the executions that it would go on with, if what it reads turns out to be what there is already."""
    if component.resumes_from is None:
        return
    for found in itertools.product(*(possible.get(name, ()) for name in component.inputs)):
        inputs = all_inputs(component, dict(zip(component.inputs, found, strict=True)), root)
        yield identify(component, {name: artifact.fingerprint for name, artifact in inputs.items()}, files)


def all_inputs(component: Component, done: Mapping[str, Artifact], root: Path) -> dict[str, Artifact]:
    """Key to artifact of all that it reads; what it names as `inputs` is done."""
    inputs = {name: done[name] for name in component.inputs}
    return {**inputs, **component.resolve(root, inputs)}


def up_to_date(component: Component, root: Path, artifact_id: str) -> Artifact | None:
    """The complete artifact of this id, unless what it made outside its folder is gone."""
    artifact = artifacts.find(root, component.name, artifact_id)
    return artifact if artifact is not None and component.still_there(artifact.path) else None


def _newest_with_same_parameters(component: Component, others: Sequence[Artifact]) -> Artifact | None:
    identity = (component.version, dict(component.packages), artifacts.plain(component.parameters))
    for artifact in others:
        manifest = artifact.manifest
        if (manifest.version, manifest.packages, manifest.parameters) == identity:
            return artifact
    return None


def _differences(
    component: Component, artifact: Artifact, inputs: Mapping[str, str], files: Mapping[str, str]
) -> list[str]:
    """Why an artifact is not that of an execution with these inputs, as far as they are known."""
    old = artifact.manifest
    found = []
    if old.version != component.version:
        found.append(f"code version {old.version} -> {component.version}")
    found += value_changes(old.packages, component.packages)
    found += value_changes(old.parameters, artifacts.plain(component.parameters))
    found += file_changes(old.external_files, files)
    # What else it reads is known only together with its inputs.
    known = set(old.inputs) if set(component.inputs) - set(inputs) else set(inputs)
    if set(old.inputs) != known | set(component.inputs):
        found += value_changes({"inputs": sorted(old.inputs)}, {"inputs": sorted({*known, *component.inputs})})
    found += [
        f"input {key} changed" for key in inputs if key in old.inputs and old.inputs[key].fingerprint != inputs[key]
    ]
    return found


def _reason(
    component: Component,
    others: Sequence[Artifact],
    inputs: Mapping[str, str],
    files: Mapping[str, str],
    folder: Path | None,
) -> str:
    reasons = []
    if folder is not None and (folder / artifacts.MANIFEST).exists():
        try:
            artifacts.read(folder)
            return f"what it made is no longer there ({folder.name})"
        except DamagedArtifactError as error:
            return str(error)
    if others:
        # A variant is compared with the one that it resembles most, others with the newest.
        candidates = [_differences(component, item, inputs, files) for item in others]
        reasons = min(candidates, key=len) if component.variant else candidates[0]
    if len(reasons) > _MOST:
        reasons = [*reasons[:_MOST], counted(len(reasons) - _MOST, "more change")]
    if folder is not None and folder.is_dir():
        with tried(folder.with_name(f"{folder.name}.lock"), make=False) as free:
            if not free:
                return "another process is executing it"
        scratch = folder / (component.resumes_from or "")
        goes_on = component.resumes_from is not None and scratch.is_dir()
        reasons = [*reasons, "goes on from an interrupted execution" if goes_on else "an execution did not finish"]
    return ", ".join(reasons) or "never executed"
