"""Exporter, InfraValidator and Pusher: the model as a servable, the proof that it serves, and where servers find it."""

import itertools
import json
import logging
from pathlib import Path

from pipeline.artifacts import MANIFEST, Manifest, versions, write_whole
from pipeline.components import PUSHED_FILE
from pipeline.config import Config
from pipeline.data_files import user_cache
from pipeline.evaluate import EVALUATION_FILE
from pipeline.lineage import for_card
from pipeline.model_files import build_translator, load_model, vocabulary_hashes
from pipeline.translations import TRANSLATIONS_FILE, read_translations, spread
from preprocessing.errors import RefusedError
from serving.export import export, newest_version
from serving.push import push
from serving.server_files import write_server_files
from serving.validate import Rung, passed, validate

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
    translator = build_translator(config, model, transform_dir, shortlist_dir)
    examples = spread(read_translations(evaluator_dir / TRANSLATIONS_FILE), EXAMPLES)
    parts = (transform_dir, trainer_dir, evaluator_dir)
    manifests = [_manifest(part) for part in parts]
    card = {
        "name": config.name,
        "configuration": {name: value for part in manifests for name, value in part.parameters.items()},
        "evaluation": manifests[-1].outputs_fingerprint,  # by which the next candidate finds what it is compared with
        "metrics": json.loads((evaluator_dir / EVALUATION_FILE).read_text(encoding="utf-8")),
        "vocabularies": vocabulary_hashes(transform_dir),
        "versions": versions(),
        "lineage": for_card(output_dir.name, [path for path in (*parts, shortlist_dir) if path is not None]),
    }
    version = export(translator, output_dir / config.name, [(row.source, row.references[0]) for row in examples], card)
    write_server_files(output_dir / SERVER_FILES, config.name)
    return {"bytes": sum(path.stat().st_size for path in version.rglob("*") if path.is_file())}


def _manifest(artifact: Path) -> Manifest:
    return Manifest.model_validate_json((artifact / MANIFEST).read_bytes())


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


def push_model(config: Config, exporter_dir: Path, model_validator_dir: Path, output_dir: Path) -> dict[str, float]:
    """Publish a validated model where `serving.push_to` says, and note in `pushed.json` where that is.

    Returns:
        The number of the published version.

    Raises:
        RefusedError: the model is not blessed.
    """
    verdict = _manifest(model_validator_dir).metrics
    if not verdict["blessed"]:
        raise RefusedError(f"{config.name}: not blessed, so not pushed: {verdict['reason']}")
    base_dir = Path(str(config.serving.push_to), config.name)
    published = push(newest_version(exporter_dir / config.name), base_dir, config.serving.keep_versions)
    log.info("published %s", published)
    write_whole(output_dir / PUSHED_FILE, json.dumps({"published": str(published)}, indent=2) + "\n")
    return {"version": int(published.name)}


def describe(rung: Rung) -> list[str]:
    """A rung in lines for a person, one for each finding."""
    state = {True: "passed", False: "FAILED", None: "not tried"}[rung.passed]
    return [f"{rung.name:<8} {state:<9} {rung.note}".rstrip(), *(f"         {finding}" for finding in rung.findings)]
