"""What becomes of a model that does not serve."""

import json

import pytest

from pipeline import export_model
from pipeline.config import load
from preprocessing.errors import RefusedError
from serving.validate import Finding, Rung


def test_a_model_that_does_not_serve_is_refused_and_what_was_found_is_kept(tmp_path, monkeypatch):
    rungs = [
        Rung("lint", True, [], ""),
        Rung("session", False, [Finding("scores: 1.0, expected 2.0", "export it again")], ""),
    ]
    monkeypatch.setattr(export_model, "validate", lambda version, cache: rungs)
    version = tmp_path / "Exporter" / "dates" / "1"
    version.mkdir(parents=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(RefusedError, match=r"dates/1: .*scores: 1\.0, expected 2\.0; export"):
        export_model.validate_model(load("dates"), tmp_path / "Exporter", tmp_path / "out")
    written = json.loads((tmp_path / "out" / export_model.VALIDATION_FILE).read_text())
    assert [rung["passed"] for rung in written] == [True, False]
