"""What changed from one run to another, or from one artifact to another: one line for each difference."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import artifacts
from pipeline.blessing import BASELINE
from pipeline.changes import file_changes, value_changes
from pipeline.lineage import Lineage, Node, of_artifact

_SHORT = 12  # digits of a hash


def of_root(root: Path) -> dict[str, Node]:
    """Component to its newest artifact in a root."""
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    newest = {name: found[0] for name in folders if (found := artifacts.find_all(root, name))}
    return {name: of_artifact(artifact).nodes[f"{name}/{artifact.id}"] for name, artifact in newest.items()}


def of_lineage(lineage: Lineage) -> dict[str, Node]:
    """Key that a component has in its run to its artifact, from the data to the artifact itself."""
    start = lineage.nodes[lineage.start]
    found, waiting = {start.component: start}, [start]
    for node in waiting:
        for name, item in node.inputs.items():
            if name not in found:
                found[name] = lineage.nodes[f"{item.component}/{item.id}"]
                if name != BASELINE:  # that is another model, of other data
                    waiting.append(found[name])
    return dict(sorted(found.items(), key=lambda item: len(_below(lineage, item[1]))))


def differences(one: Mapping[str, Node], other: Mapping[str, Node]) -> list[str]:
    """Lines `COMPONENT  WHAT OLD -> NEW`; what changed alike for several components is told once."""
    told: dict[str, list[str]] = {}
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in other or name not in one:
            told.setdefault(f"only in the {'first' if name in one else 'second'}", []).append(name)
            continue
        for line in _of_component(one[name], other[name]):
            told.setdefault(line, []).append(name)
    return [f"{', '.join(names)}  {line}" for line, names in told.items()]


def _of_component(old: Node, new: Node) -> Iterator[str]:
    causes = [
        *([f"code version {old.version} -> {new.version}"] if old.version != new.version else []),
        *value_changes(_flat_versions(old), _flat_versions(new)),
        *value_changes(old.parameters, new.parameters),
        *file_changes(old.external_files, new.external_files),
    ]
    if old.code and new.code and old.code != new.code:
        causes.append(f"sources {old.code[:_SHORT]} -> {new.code[:_SHORT]}")
    yield from causes
    yield from _metric_changes(old.metrics, new.metrics)
    inputs = [{name: item.fingerprint for name, item in node.inputs.items()} for node in (old, new)]
    known = old.outputs_fingerprint is not None and new.outputs_fingerprint is not None
    if known and old.outputs_fingerprint != new.outputs_fingerprint and not causes and inputs[0] == inputs[1]:
        yield "another output of the same inputs"


def _flat_versions(node: Node) -> dict[str, str]:
    return {**node.packages, **node.versions}


def _metric_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        before: Any = old.get(name)
        after: Any = new.get(name)
        if before == after or name.endswith("seconds"):
            continue
        if _is_number(before) and _is_number(after):
            yield f"{name} {before:.6g} -> {after:.6g} ({after - before:+.4g})"
        else:
            yield from value_changes({name: before} if name in old else {}, {name: after} if name in new else {})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _below(lineage: Lineage, node: Node) -> set[str]:
    found: set[str] = set()
    for item in node.inputs.values():
        key = f"{item.component}/{item.id}"
        found |= {key, *_below(lineage, lineage.nodes[key])}
    return found
