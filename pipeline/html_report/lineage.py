"""The sections about where everything comes from: the artifacts, and the model's card."""

import os.path
from collections.abc import Mapping
from typing import Any

from pipeline.artifacts import Artifact
from pipeline.changes import flat
from pipeline.figures import duration
from pipeline.html_report.blocks import Block, Cell, Details, Heading, Link, Paragraph, Section, Table
from pipeline.html_report.run import Run, anchor
from preprocessing.wording import counted

_PASSED = {True: "passed", False: "failed", None: "not tried"}


def lineage_section(run: Run) -> Section:
    """Every artifact that the page shows, when and of what it was made, and the files that it was made of."""
    states = [(state, state.artifact) for state in run.states if state.artifact is not None]
    known = {(artifact.manifest.component, artifact.id) for _, artifact in states}
    table = Table(
        header=("component", "state", "id", "version", "ended (UTC)", "took", "bytes", "from"),
        rows=[
            (
                state.component,
                state.state,
                artifact.id,
                str(artifact.manifest.version),
                f"{artifact.manifest.ended:%Y-%m-%d %H:%M}",
                duration((artifact.manifest.ended - artifact.manifest.started).total_seconds()),
                f"{sum(file.bytes for file in artifact.manifest.outputs.values()):,}",
                _inputs(artifact, known),
            )
            for state, artifact in states
        ],
        columns="wwcnwnnt",
        anchors=[anchor(artifact) for _, artifact in states],
    )
    missing = [state.component for state in run.states if state.artifact is None and state.state != "refused"]
    blocks: list[Block] = [table]
    if missing:
        blocks.append(Paragraph(f"Not there yet: {', '.join(missing)}.", "note"))
    files = {name: digest for _, item in states for name, digest in item.manifest.external_files.items()}
    if files:
        rows = [(*name.partition(" ")[::2], digest) for name, digest in sorted(files.items())]
        listing = Table(header=("role", "file", "SHA-256"), rows=rows, columns="wcc")
        blocks.append(Details(f"{counted(len(files), 'file')} from outside", [listing]))
    versions = sorted({(name, version) for _, item in states for name, version in item.manifest.versions.items()})
    blocks.append(Details("Versions of the software", [Table(header=("", "version"), rows=versions, columns="wc")]))
    return Section("lineage", "Lineage", blocks)


def _inputs(artifact: Artifact, known: set[tuple[str, str]]) -> Cell:
    inputs = artifact.manifest.inputs
    if not inputs:
        return str(artifact.manifest.parameters.get("builtin", "files from outside"))
    links = []
    for key, item in inputs.items():
        component = key.partition(" ")[0]
        # An outdated artifact may be made of one that is no longer shown.
        links.append(Link(f"{key} {item.id}", f"{component}-{item.id}" if (component, item.id) in known else ""))
    return links


def model_section(run: Run) -> Section | None:
    """Whether the model serves, where it was published, and its card; None before it is exported."""
    card = run.document("Exporter", "model_card.json")
    if card is None:
        return None
    blocks: list[Block] = []
    pushed = run.document("Pusher", "pushed.json")
    if pushed is not None:
        blocks.append(Paragraph(f"Published as version {os.path.basename(pushed['published'])}.", "good"))
    rungs = run.judgement("InfraValidator", "validation.json")
    if rungs is not None:
        rows = [(rung["rung"], _PASSED[rung["passed"]], "; ".join(rung["findings"])) for rung in rungs]
        blocks += [Heading("Does it serve?"), Table(header=("tried with", "", "findings"), rows=rows, columns="wwt")]
    blocks.append(Heading("Model card"))
    for name, value in card["configuration"].items():
        options = [(key, _plain(item)) for key, item in flat(value if isinstance(value, Mapping) else {name: value})]
        blocks.append(Details(name, [Table(header=("key", "value"), rows=options, columns="cc")]))
    for title, header in (("vocabularies", ("file", "SHA-256")), ("versions", ("software", "version"))):
        blocks.append(Details(title, [Table(header=header, rows=[*card[title].items()], columns="cc")]))
    return Section("model", "Model", blocks)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
