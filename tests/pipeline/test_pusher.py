"""Who may push: what is blessed, next to what is published by then. The models are files that say who they are."""

import json
import threading

import pytest

from pipeline.config import Config
from pipeline.pusher import published_in, push_model
from preprocessing.errors import DataError, RefusedError
from serving.versions import versions_of
from tests.pipeline.test_blessing import History


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "root")


@pytest.fixture
def push(history, tmp_path):
    """Pushes the model of an evaluation, which was compared with the one that was published first."""
    data = {"source": "s", "target": "t"}
    config = Config.model_validate({"name": "m", "data": data, "serving": {"push_to": str(tmp_path / "srv")}})

    def pushed(name, blessed=True, baseline=None):
        evaluation = history.judged(name, blessed, baseline=baseline)
        card = history.root / "Exporter" / name / "m" / "1" / "assets.extra" / "model_card.json"
        card.parent.mkdir(parents=True)
        card.write_text(json.dumps({"evaluation": evaluation.fingerprint}))
        output = tmp_path / f"pushed {name}"
        output.mkdir()
        validator = history.root / "ModelValidator" / f"of-{name}"
        return evaluation, lambda: push_model(config, history.root / "Exporter" / name, validator, output)

    return pushed


def test_only_what_is_blessed_is_published(push, tmp_path):
    _, publish = push("first")
    assert publish() == {"version": 1} and published_in(tmp_path / "pushed first") == tmp_path / "srv" / "m" / "1"
    _, publish = push("second", blessed=False)
    with pytest.raises(RefusedError, match=r"^m: not blessed, so not pushed: said$"):
        publish()


def test_of_two_that_were_judged_at_once_one_is_published(push, tmp_path):
    first, publish = push("first")
    publish()
    races = [push(name, baseline=first)[1] for name in ("one", "other")]
    done, refused = [], []

    def run(publish):
        try:
            done.append(publish()["version"])
        except DataError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run, args=(publish,)) for publish in races]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [2] and [path.name for path in versions_of(tmp_path / "srv" / "m")] == ["1", "2"]
    assert refused == [
        f"{tmp_path / 'srv' / 'm' / '2'}: another model was pushed meanwhile; run again: only the verdict is repeated"
    ]
    assert {path.name for path in (tmp_path / "srv" / "m").iterdir()} == {"1", "2"}  # no lock is left


def test_the_first_two_models_of_a_name(push):
    """Neither was compared with anything, and both are blessed; the second one has to be judged next to the first."""
    (_, one), (_, other) = push("one"), push("other")
    assert one() == {"version": 1}
    with pytest.raises(DataError, match="another model was pushed meanwhile"):
        other()
