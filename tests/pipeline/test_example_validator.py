"""The ExampleValidator by itself, on a run, and in the order of a run."""

import json
import shutil

import pytest

from pipeline.components import build
from pipeline.config import load
from pipeline.example_validator import ANOMALIES_FILE, compared_files, earlier_statistics, validate_examples
from pipeline.runner import needed
from pipeline.validation_config import ValidationConfig
from preprocessing.errors import DataError
from tests.pipeline.test_status import publish
from tests.preprocessing.test_anomalies import found, put, statistics


def folder(path, content):
    path.mkdir(parents=True)
    (path / "statistics.json").write_text(json.dumps(content))
    return path


def validate(options, statistics_dir, output):
    output.mkdir()
    validation = ValidationConfig(**options)
    return validate_examples(validation, earlier_statistics(validation), statistics_dir, output)


def test_all_checks_are_written_whether_they_pass_or_not(tmp_path):
    good = folder(tmp_path / "good", statistics())
    metrics = validate({}, good, tmp_path / "out")
    report = json.loads((tmp_path / "out" / ANOMALIES_FILE).read_text())
    assert report["anomalies"] == 0 and len(report["checks"]) == metrics["checks"]
    bad = folder(tmp_path / "bad", put(statistics(), ("splits", "train", "suspicious", "untranslated"), found(30)))
    with pytest.raises(DataError, match=r"validation\.max_untranslated_share allows 10\.0%.*a\.de line 7") as caught:
        validate({}, bad, tmp_path / "broken")
    assert str(caught.value).endswith(f"all checks: {tmp_path / 'broken' / ANOMALIES_FILE}")
    assert json.loads((tmp_path / "broken" / ANOMALIES_FILE).read_text())["anomalies"] == 1
    validate({"max_untranslated_share": 0.3}, bad, tmp_path / "allowed")


def test_lost_pairs_are_a_defect(tmp_path):
    lost = folder(tmp_path / "lost", put(statistics(), ("example_gen", "read"), 1))
    with pytest.raises(RuntimeError, match="balance"):
        validate({}, lost, tmp_path / "out")


def test_an_earlier_run_by_its_root_or_file(tmp_path):
    now = folder(tmp_path / "now", statistics())
    then = put(statistics(), ("splits", "train", "source", "scripts"), {"Greek": 1.0})
    path = tmp_path / "root" / "StatisticsGen" / "0123456789ab"
    publish(path)
    (path / "statistics.json").write_text(json.dumps(then))
    for number, reference in enumerate((tmp_path / "root", path / "statistics.json")):
        options = {"compare_with": str(reference)}
        with pytest.raises(DataError, match=r"source script of train drifted by 1\.000"):
            validate({**options, "max_drift": 0.5}, now, tmp_path / f"out{number}")
        validate({**options, "max_drift": 1.0}, now, tmp_path / f"off{number}")
        earlier = earlier_statistics(ValidationConfig(**options))
        assert list(compared_files(earlier)) == ["compare_with statistics.json"]
    with pytest.raises(DataError, match="found the statistics of this one"):
        validate({"compare_with": str(tmp_path / "root")}, path, tmp_path / "same")
    own = folder(tmp_path / "root" / "StatisticsGen" / "123456789abc", statistics())  # the root's next statistics
    with pytest.raises(DataError, match="found the statistics of this one"):
        validate({"compare_with": str(tmp_path / "root")}, own, tmp_path / "own")
    (path / "statistics.json").write_text("{}")
    with pytest.raises(DataError, match=r"validation\.compare_with: .*preprocess that corpus again"):
        validate({"compare_with": str(tmp_path / "root")}, now, tmp_path / "old")
    with pytest.raises(
        DataError, match=r"validation\.compare_with: .*nowhere: expected a statistics\.json or the root"
    ):
        earlier_statistics(ValidationConfig(compare_with=str(tmp_path / "nowhere")))


def test_what_another_run_leaves_meanwhile_changes_nothing(tmp_path):
    """The root is resolved and read once, for the fingerprint and the comparison."""
    now, out = folder(tmp_path / "now", statistics()), tmp_path / "out"
    first, second = (tmp_path / "root" / "StatisticsGen" / (digit * 12) for digit in "12")
    publish(first)
    (first / "statistics.json").write_text(json.dumps(statistics()))
    options = [f"validation.compare_with='{tmp_path / 'root'}'", "validation.max_drift=0.5"]
    validator = next(item for item in build(load("dates", options)) if item.name == "ExampleValidator")
    files = validator.external_files()
    shutil.rmtree(first)
    publish(second)
    (second / "statistics.json").write_text("{}")
    out.mkdir()
    validator.execute({"StatisticsGen": now}, out)
    assert validator.external_files() == files


def test_training_comes_after_it_and_does_not_depend_on_it():
    components = {component.key: component for component in build(load("dates"))}
    changed = {
        component.key: component for component in build(load("dates", ["validation.max_untranslated_share=0.5"]))
    }
    assert [key for key in components if components[key].parameters != changed[key].parameters] == ["ExampleValidator"]
    assert components["Trainer"].inputs == ("Transform",) and components["Trainer"].after == ("ExampleValidator",)
    keys = [component.key for component in needed(list(components.values()), "Trainer")]
    assert keys == ["ExampleGen", "Transform", "StatisticsGen", "ExampleValidator", "Trainer"]


def test_relative_paths_start_from_the_configuration(tmp_path):
    (tmp_path / "my.toml").write_text('[data]\ntsv = "a.tsv"\n[validation]\ncompare_with = "runs/old"\n')
    assert load(str(tmp_path / "my.toml")).validation.compare_with == str(tmp_path / "runs" / "old")
