"""A lineage as a tree that a person reads, down to the data."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.artifacts import plain
from pipeline.changes import flat, shown
from pipeline.figures import duration
from pipeline.lineage import Lineage, Node
from pipeline.status import numbers

_WIDTH = 110
_SHORT = 12  # digits of a hash


def tree(lineage: Lineage, defaults: Mapping[str, Any]) -> str:
    """The artifact, and below each what it was made of; what was told of one is not told again.

    Args:
        lineage: of the artifact.
        defaults: sections of the configuration by name, as mappings; parameters that are as there are left out.
    """
    return "\n".join(_branch(lineage, lineage.start, dict(flat(plain(defaults))), "", "", set()))


def _branch(
    lineage: Lineage,
    key: str,
    defaults: Mapping[str, Any],
    first: str,
    rest: str,
    told: set[str],
    above: str | None = None,
) -> Iterator[str]:
    node = lineage.nodes[key]
    if key in told:
        yield f"{first}{node.component} {node.id}  (see above)"
        return
    told.add(key)
    yield f"{first}{node.component} {node.id}  {', '.join(_heading(node))}".rstrip()
    children = [f"{item.component}/{item.id}" for item in node.inputs.values()]
    stem = f"{rest}{'│' if children else ' '}  "
    for label, text in _details(node, defaults, above):
        wrapped = textwrap.wrap(text, _WIDTH - len(stem) - 12, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(wrapped):
            yield f"{stem}{label if number == 0 else '':<12}{line}"
    for number, child in enumerate(children):
        last = number == len(children) - 1
        corner, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _branch(lineage, child, defaults, rest + corner, rest + line, told, node.command)


def _heading(node: Node) -> Iterator[str]:
    if node.note:
        yield node.note
    if node.started is not None and node.ended is not None:
        yield f"{node.ended:%Y-%m-%d %H:%M} UTC"
        yield f"took {duration((node.ended - node.started).total_seconds())}"
    if node.version is not None:
        yield f"code version {node.version}"
    if node.code is not None:
        yield f"sources {node.code[:_SHORT]}"


def _details(node: Node, defaults: Mapping[str, Any], above: str | None) -> Iterator[tuple[str, str]]:
    if node.command and node.command != above:
        yield "command", node.command
    if node.packages:
        yield "packages", ", ".join(f"{name} {version}" for name, version in node.packages.items())
    changed = [
        f"{key} {shown(value)}" for key, value in flat(node.parameters) if key not in defaults or defaults[key] != value
    ]
    if changed:
        yield "parameters", ", ".join(changed)
    metrics = numbers(node.metrics)
    if metrics:
        yield "metrics", ", ".join(f"{name} {value}" for name, value in metrics.items())
    for name, sha256 in node.external_files.items():
        yield "file", f"{name}  SHA-256 {sha256[:_SHORT]}"
