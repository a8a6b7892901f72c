"""The event files as TensorBoard's own HParams plugin reads them."""

from types import SimpleNamespace

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from pipeline.hparams import Session, write_hparams

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
