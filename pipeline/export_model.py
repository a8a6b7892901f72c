"""Exporter and InfraValidator: the model as a servable, and the proof that it serves."""

import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifact, versions, write_whole
from pipeline.config import Config
from pipeline.data_files import user_cache
from pipeline.evaluate import EVALUATION_FILE
from pipeline.lineage import for_card, readable
from pipeline.model_files import build_translator, load_model, vocabulary_hashes
from pipeline.translations import TRANSLATIONS_FILE, read_translations, spread
from preprocessing.errors import RefusedError
from serving.export import export
from serving.server_files import write_server_files
from serving.validate import Rung, passed, validate
from serving.versions import newest_version

log = logging.getLogger("heliograph.export")

SERVER_FILES = "tf_serving"
VALIDATION_FILE = "validation.json"

EXAMPLES = 8
"""Test pairs of which the warm-up requests are made."""


def export_model(
    config: Config,
    transform_dir: Path,
    trainer_dir: Path,
    evaluator_dir: Path,
    output_dir: Path,
    shortlist_dir: Path | None = None,
) -> dict[str, float]:
    """Write `OUTPUT_DIR/NAME/1/`, a SavedModel with the configured search, and `OUTPUT_DIR/tf_serving/`.

    Args:
        config: its name, the sections `search`, `source` and `target`, and `serving.precision`.
        transform_dir: the vocabularies.
        trainer_dir: the model.
        evaluator_dir: figures for the model card, and examples for the warm-up requests.
        output_dir: where to.
        shortlist_dir: the shortlist, if there is one.

    Returns:
        The size of the model, in bytes.
    """
    model = load_model(trainer_dir, transform_dir, config.serving.precision)
    translator = build_translator(config, model, transform_dir, shortlist_dir, frozen=True)
    examples = spread(read_translations(evaluator_dir / TRANSLATIONS_FILE), EXAMPLES)
    card = model_card(config.name, output_dir.name, transform_dir, trainer_dir, evaluator_dir, shortlist_dir)
    version = export(translator, output_dir / config.name, [(row.source, row.references[0]) for row in examples], card)
    write_server_files(output_dir / SERVER_FILES, config.name)
    return {"bytes": sum(path.stat().st_size for path in version.rglob("*") if path.is_file())}


def model_card(
    name: str,
    exporter_id: str,
    transform_dir: Path,
    trainer_dir: Path,
    evaluator_dir: Path,
    shortlist_dir: Path | None = None,
) -> dict[str, Any]:
    """What stands behind a model: its configuration, figures, vocabularies, and the artifacts that it was made of.

    Args:
        name: the model's name.
        exporter_id: of the artifact that the card becomes part of.
        transform_dir: see `export_model`, as the others.
        trainer_dir: the model.
        evaluator_dir: its figures.
        shortlist_dir: the shortlist, if there is one.
    """
    parts = [readable(path) for path in (transform_dir, trainer_dir, evaluator_dir)]
    return {
        "name": name,
        "configuration": {name: value for part in parts for name, value in _sections(part).items()},
        "evaluation": parts[-1].fingerprint,  # by which the next candidate finds what it is compared with
        "metrics": json.loads((evaluator_dir / EVALUATION_FILE).read_text(encoding="utf-8")),
        "vocabularies": vocabulary_hashes(transform_dir),
        "versions": versions(),
        "lineage": for_card(
            exporter_id, [*(part.path for part in parts), *(() if shortlist_dir is None else (shortlist_dir,))]
        ),
    }


def _sections(artifact: Artifact) -> Mapping[str, Any]:
    """The sections of the configuration that an artifact follows from; an ensemble's members differ in their seeds."""
    if artifact.manifest.component != "Ensembler":
        return artifact.manifest.parameters
    root, made_of = artifact.path.parents[1], artifact.manifest.inputs.values()
    members = [readable(root / item.component / item.id) for item in made_of if item.component == "Trainer"]
    sections = dict(members[0].manifest.parameters)
    training = dict(sections["training"])
    del training["seed"]
    seeds = [member.manifest.parameters["training"]["seed"] for member in members]
    return {**sections, "training": training, "ensemble": {"seeds": seeds}}


def validate_model(config: Config, exporter_dir: Path, output_dir: Path) -> dict[str, float]:
    """Climb the ladder of `serving.validate`, and write what was found as `validation.json`.

    Raises:
        RefusedError: a rung broke. What was found is written nevertheless.
    """
    version = newest_version(exporter_dir / config.name)
    rungs = validate(version, user_cache())
    for line in itertools.chain.from_iterable(map(describe, rungs)):
        log.info("%s", line)
    report = [{"rung": rung.name, "passed": rung.passed, "findings": list(map(str, rung.findings))} for rung in rungs]
    write_whole(output_dir / VALIDATION_FILE, json.dumps(report, indent=2) + "\n")
    if not passed(rungs):
        finding = next(finding for rung in rungs for finding in rung.findings)
        raise RefusedError(f"{version}: {finding}")
    return {"passed": sum(rung.passed is True for rung in rungs), "rungs": len(rungs)}


def describe(rung: Rung) -> list[str]:
    """A rung in lines for a person, one for each finding."""
    state = {True: "passed", False: "FAILED", None: "not tried"}[rung.passed]
    return [f"{rung.name:<8} {state:<9} {rung.note}".rstrip(), *(f"         {finding}" for finding in rung.findings)]
