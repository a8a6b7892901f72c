"""From configuration to the checks of the corpus: where statistics lie, and what becomes of anomalies."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.artifacts import find_all, write_whole
from pipeline.summary import summary
from pipeline.validation_config import ValidationConfig
from preprocessing.anomalies import Limits, as_json, check_corpus, defects, message
from preprocessing.errors import DataError, RefusedError

ANOMALIES_FILE = "anomalies.json"

_STATISTICS_FILE = "statistics.json"  # as `preprocessing.statistics` names it, which loads Beam
_KEY = "validation.compare_with"

_log = logging.getLogger("heliograph.validate")


class Earlier(NamedTuple):
    """The statistics that a corpus is compared with."""

    path: Path
    content: bytes
    """Read once: what is hashed is what is compared with, whatever other runs leave meanwhile."""


def earlier_statistics(validation: ValidationConfig) -> Earlier | None:
    """The statistics that `compare_with` names, if anything: that file, or the newest statistics of that root.

    Raises:
        DataError: They are not there.
    """
    if validation.compare_with is None:
        return None
    path = Path(validation.compare_with)
    if not path.is_file():
        found = find_all(path, "StatisticsGen")
        if not found:
            raise DataError(
                f"{_KEY}: {path}: expected a {_STATISTICS_FILE} or the root of a preprocessed run, found none"
            )
        path = found[0].path / _STATISTICS_FILE
    return Earlier(path, path.read_bytes())


def compared_files(earlier: Earlier | None) -> dict[str, str]:
    """Role and name to SHA-256 of the earlier statistics, if there are any."""
    return {} if earlier is None else {f"compare_with {_STATISTICS_FILE}": hashlib.sha256(earlier.content).hexdigest()}


def validate_examples(
    validation: ValidationConfig, earlier: Earlier | None, statistics_dir: Path, output: Path
) -> dict[str, Any]:
    """Checks the corpus and writes all checks; returns the numbers of checks and of those that tell too little.

    Raises:
        RefusedError: The corpus is beyond a limit. All checks are written nevertheless.
        RuntimeError: Pairs have got lost, or a source is in two splits.
    """
    path = statistics_dir / _STATISTICS_FILE
    given = Path(str(validation.compare_with)).resolve()
    # The run's own root would be an earlier one until its statistics are there, and never again.
    if earlier is not None and (earlier.path.resolve() == path.resolve() or given == path.resolve().parents[2]):
        raise DataError(
            f"{_KEY}: {validation.compare_with}: expected an earlier run, found the statistics of this one; "
            f"name another root, or a copy of an earlier {_STATISTICS_FILE}"
        )
    compared = None if earlier is None else _parse(*earlier)
    limits = Limits(**validation.model_dump(exclude={"compare_with"}))
    try:
        checks = check_corpus(_parse(path, path.read_bytes()), limits, compared)
    except DataError as error:
        raise DataError(f"{_KEY}: {validation.compare_with}: {error}") from error
    report = output / ANOMALIES_FILE
    write_whole(report, json.dumps(as_json(checks), indent=2, ensure_ascii=False) + "\n")
    broken = defects(checks)
    if broken:
        raise RuntimeError(f"{broken[0]}: this is a defect of Heliograph or of the runner; all checks: {report}")
    complaint = message(checks, "validation")
    if complaint is not None:
        raise RefusedError(f"{complaint}; all checks: {report}")
    metrics = {"checks": len(checks), "too_few_cases": sum(check.verdict == "few" for check in checks)}
    for line in summary("ExampleValidator", metrics):
        _log.info("%s", line)
    return metrics


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DataError(f"{path}: expected statistics as JSON ({error}); preprocess that corpus again") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected statistics, an object of JSON, found {type(found).__name__}")
    return found
