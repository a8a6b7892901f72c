"""The model card, of artifacts that are made by hand, and what becomes of a model that does not serve."""

import json

import pytest

from pipeline import export_model
from pipeline.artifacts import InputArtifact
from pipeline.config import load
from pipeline.export_model import model_card
from preprocessing.errors import RefusedError
from serving.validate import Finding, Rung
from tests.pipeline.test_lineage import make

TEXT = {"source": {"unit": "word"}, "target": {"unit": "word"}}


def trained(root, number, seed, transform):
    parameters = {**TEXT, "model": {"cell": "gru"}, "training": {"epochs": 3, "seed": seed}}
    return make(root, "Trainer", number, [transform], str(seed), parameters=parameters)


def card(root, model, transform, shortlist=None):
    outputs = ("evaluation.json",)
    parameters = {"search": {"beam_size": 2}, "evaluation": {}, "serving": {}, **TEXT}
    evaluator = make(root, "Evaluator", 9, [transform, model], "{}", outputs=outputs, parameters=parameters)
    paths = (transform.path, model.path, evaluator.path)
    return model_card("my", "4" * 12, *paths, shortlist and shortlist.path), evaluator


def preprocessed(root):
    outputs = ("source.vocabulary.tsv", "target.vocabulary.tsv")
    return make(root, "Transform", 1, outputs=outputs, parameters={**TEXT, "vocabulary": {"joint": False}})


def test_the_sections_that_a_model_follows_from(tmp_path):
    transform = preprocessed(tmp_path)
    found, evaluator = card(tmp_path, trained(tmp_path, 2, 7, transform), transform)
    sections = {"source", "target", "vocabulary", "model", "training", "search", "evaluation", "serving"}
    assert found["configuration"].keys() == sections and found["configuration"]["training"]["seed"] == 7
    assert found["evaluation"] == evaluator.fingerprint and found["vocabularies"].keys() == {
        "source.vocabulary.tsv",
        "target.vocabulary.tsv",
    }


def test_an_ensembles_card_has_the_configuration_of_its_members(tmp_path):
    transform = preprocessed(tmp_path)
    members = {f"Trainer seed {seed}": trained(tmp_path, seed, seed, transform) for seed in (1, 2)}
    model = make(tmp_path, "Ensembler", 5, [transform])
    manifest = model.manifest.model_copy(update={"inputs": model.manifest.inputs | inputs_of(members)})
    (model.path / "manifest.json").write_text(manifest.model_dump_json())
    configuration = card(tmp_path, model, transform)[0]["configuration"]
    assert configuration["model"] == {"cell": "gru"} and configuration["training"] == {"epochs": 3}
    assert configuration["ensemble"] == {"seeds": [1, 2]}


def inputs_of(members):
    return {
        key: InputArtifact(component="Trainer", id=item.id, fingerprint=item.fingerprint)
        for key, item in members.items()
    }


def test_a_shortlist_is_named(tmp_path):
    transform = preprocessed(tmp_path)
    shortlist = make(tmp_path, "ShortlistGen", 3, [transform], parameters={"candidates": 20, "frequent": 300})
    model = trained(tmp_path, 2, 7, transform)
    told = card(tmp_path, model, transform, shortlist)[0]["lineage"]
    assert told["artifacts"][told["start"]]["inputs"]["ShortlistGen"]["id"] == shortlist.id
    assert told["artifacts"][f"ShortlistGen/{shortlist.id}"]["parameters"] == {"candidates": 20, "frequent": 300}


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
