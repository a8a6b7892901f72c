"""The event files as TensorBoard's own HParams plugin reads them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler
from tensorboard.plugins.projector import ProjectorConfig

from pipeline.hparams import Session, write_hparams, write_session
from pipeline.model_files import load_model
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

SESSIONS = [
    Session(
        "a", {"model.hidden_size": 8, "model.cell": "gru", "model.bidirectional": True, "x": 1}, {"perplexity": 2.5}
    ),
    Session(
        "b", {"model.hidden_size": 16, "model.cell": "gru", "model.bidirectional": False, "x": 0.5}, {"perplexity": 2.0}
    ),
    Session("c", {"model.hidden_size": 32, "model.cell": "gru", "model.bidirectional": False, "x": [1, 2]}, {}),
]


def read(directory):
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(directory))
    context, request = Context(SimpleNamespace(data_provider=provider)), RequestContext()
    found = context.hparams_metadata(request, "")
    experiment = context.experiment_from_metadata(request, "", True, found, None)
    asked = api_pb2.ListSessionGroupsRequest(slice_size=9, allowed_statuses=api_pb2.Status.values())
    return experiment, Handler(request, context, "", asked).run().session_groups


def test_tensorboard_shows_values_and_figures_of_each_trial(tmp_path):
    write_hparams(tmp_path / "logs", [*SESSIONS, SESSIONS[0]._replace(name="old")])
    write_hparams(tmp_path / "logs", SESSIONS)  # replaces what was there
    experiment, groups = read(tmp_path / "logs")
    domains = {
        info.name: [value.number_value or value.string_value for value in info.domain_discrete.values]
        for info in experiment.hparam_infos
    }
    assert domains["model.hidden_size"] == [8, 16, 32] and domains["model.cell"] == ["gru"]
    assert [info.name.tag for info in experiment.metric_infos] == ["perplexity"]
    found = {group.sessions[0].name: group for group in groups}
    assert set(found) == {"a", "b", "c"}
    for session in SESSIONS:
        group = found[session.name]
        assert group.hparams["model.hidden_size"].number_value == session.values["model.hidden_size"]
        assert group.hparams["model.bidirectional"].bool_value == session.values["model.bidirectional"]
        assert {value.name.tag: value.value for value in group.metric_values} == session.figures
    assert found["c"].hparams["x"].string_value == "[1, 2]" and found["b"].hparams["x"].number_value == 0.5


def test_a_training_is_in_the_table_of_a_sweep(tmp_path):
    """Whatever the experiment of a sweep beside it says: the figures have the same tags."""
    write_hparams(tmp_path / "sweeps" / "grid-0", SESSIONS[:2])
    logs = tmp_path / "Trainer" / "0" / "logs"
    for figures in ({}, {"perplexity": 1.5}):  # at its beginning, and at its end
        write_session(logs, {"model": {"hidden_size": 64}, "training": {"epochs": 3}}, figures)
        _, groups = read(tmp_path)
        found = {
            group.hparams["model.hidden_size"].number_value: [value.value for value in group.metric_values]
            for group in groups
        }
        assert found == {8: [2.5], 16: [2.0], 64: [*figures.values()]}
    assert len(list(logs.iterdir())) == 1


def test_a_training_says_its_values_and_its_curves_are_the_figures(config, trainer_dir):
    _, (group,) = read(trainer_dir)
    assert group.hparams["model.hidden_size"].number_value == config.model.hidden_size
    assert group.hparams["training.teacher_forcing.schedule"].string_value == "constant"
    figures = {(value.name.group, value.name.tag): value.value for value in group.metric_values}
    history = json.loads((trainer_dir / "history.json").read_text())
    assert figures["validation", "perplexity"] == pytest.approx(history["val_perplexity"][-1], rel=1e-6)
    assert figures["", "perplexity"] == pytest.approx(min(history["val_perplexity"]), rel=1e-6)


def test_the_projector_has_the_embeddings_of_the_tokens(trainer_dir, transform_dir):
    logs = trainer_dir / "logs"
    config = text_format.Parse((logs / "projector_config.pbtxt").read_text(), ProjectorConfig())
    model = load_model(trainer_dir, transform_dir)
    for shown, side, network in zip(config.embeddings, SIDES, (model.encoder, model.decoder), strict=True):
        tokens = (logs / shown.metadata_path).read_text().splitlines()
        assert shown.tensor_name == side and tokens == read_vocabulary(vocabulary_file(transform_dir, side))
        vectors = np.loadtxt(logs / shown.tensor_path, delimiter="\t")
        np.testing.assert_allclose(vectors, network.embedding.embeddings.numpy(), rtol=1e-4)
