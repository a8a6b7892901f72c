"""The ladder: a good model climbs it, and each way to be broken is found, with words that say what to do."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from serving import cpp_probe
from serving.lint import lint
from serving.predictions import ODD, WARMUP_FILE, difference, read_warmup, warmup_logs, write_warmup
from serving.server_files import write_server_files
from serving.validate import passed, validate
from tests.serving.conftest import EXAMPLES, export_demo, make_translator


@pytest.fixture(scope="module")
def version(translator, tmp_path_factory):
    return export_demo(translator, tmp_path_factory.mktemp("exported") / "demo")


@pytest.fixture
def broken(version, tmp_path):
    return shutil.copytree(version, tmp_path / "demo" / "1")


def graph_of(saved):
    return saved.meta_graphs[0]


def change(version, edit):
    path = version / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    edit(graph_of(saved))
    path.write_bytes(saved.SerializeToString())


def test_a_good_model_climbs_every_rung(version, tmp_path, caplog):
    caplog.set_level("INFO", "heliograph.validate")
    rungs = validate(version, tmp_path)
    assert [rung.name for rung in rungs] == ["lint", "session", "C++"]
    assert [finding for rung in rungs for finding in rung.findings] == [] and passed(rungs)
    expected = len(list(read_warmup(version)))
    assert rungs[1].note.startswith(f"{expected} requests answered alike; one text in ")
    if cpp_probe.compiler() is None:
        assert rungs[2].passed is None and "install one" in rungs[2].note
        pytest.skip("no C++ compiler: the last rung was not tried")
    assert rungs[2].passed and rungs[2].note.startswith(f"{expected} requests answered alike; one text in ")
    assert caplog.messages == [
        f"lint: reading the files of {version}",
        f"session: a clean process loads the model and answers {expected} requests",
        "C++: building the program that loads the model, once for this TensorFlow",
        f"C++: the program loads the model and answers {expected} requests",
    ]


def test_the_warmup_file_holds_every_signature_and_what_no_person_types(translator, version):
    logs = [log.predict_log for log in read_warmup(version)]
    texts = {}
    for log in logs:
        spec = log.request.model_spec
        assert spec.name == "demo"
        inputs = {name: tf.make_ndarray(value) for name, value in log.request.inputs.items()}
        texts.setdefault(spec.signature_name, []).append(next(iter(inputs.values())))
        arguments = {name: tf.constant(value) for name, value in inputs.items()}
        for name, value in translator.signatures()[spec.signature_name](**arguments).items():
            assert difference(value.numpy(), tf.make_ndarray(log.response.outputs[name])) is None
    assert set(texts) == set(translator.signatures())
    asked = [text for batch in texts["serving_default"] for text in batch.tolist()]
    assert {odd if isinstance(odd, bytes) else odd.encode() for odd in ODD} <= set(asked)
    assert sorted(len(batch) for batch in texts["n_best"]) == [0, 1, 1, len(EXAMPLES), len(ODD)]


@pytest.mark.parametrize("overlong", ["truncate", "refuse"])
def test_no_warmup_request_is_refused(overlong, tmp_path):
    translator = make_translator(max_tokens=8, overlong=overlong)
    long = [*EXAMPLES, ("a text of very many characters", "ein hund läuft . " * 9)]
    for log in warmup_logs(translator, "demo", long):
        assert log.predict_log.response.outputs


def test_the_card_and_the_files_of_the_server(version, tmp_path):
    card = json.loads((version / "assets.extra" / "model_card.json").read_text())
    assert card == {"name": "demo", "metrics": {"bleu": 12.5}}
    write_server_files(tmp_path / "tf_serving", "demo")
    written = {path.name: path.read_text() for path in (tmp_path / "tf_serving").iterdir()}
    assert set(written) == {"models.config", "batching.config", "monitoring.config", "compose.yaml", "kubernetes.yaml"}
    assert 'name: "demo"' in written["models.config"] and "${TF_SERVING_TAG:-2.21.0}" in written["compose.yaml"]
    assert not [name for name, text in written.items() if re.search(r"\$(name|id|quoted)", text)]
    write_server_files(tmp_path / "odd", "My Model_1")
    assert 'name: "My Model_1"' in (tmp_path / "odd" / "models.config").read_text()
    assert "  my-model-1:\n" in (tmp_path / "odd" / "compose.yaml").read_text()
    for folder in ("tf_serving", "odd"):
        compose, kubernetes = ((tmp_path / folder / name).read_text() for name in ("compose.yaml", "kubernetes.yaml"))
        for flag in ("--port=8500", "--rest_api_port=8501", "--model_config_file=/config/models.config"):
            assert f"- {flag}\n" in compose and f"- {flag}\n" in kubernetes
    with pytest.raises(ValueError, match="name must hold no"):
        write_server_files(tmp_path / "bad", 'a"b')


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: (v / "saved_model.pb").unlink(), r"saved_model\.pb: missing; export it again"),
        (lambda v: (v / "saved_model.pb").write_bytes(b"\x0a\xff\xff"), r"not a SavedModel, or cut off"),
        (lambda v: shutil.rmtree(v / "variables"), r"variables: no variables; copy the whole folder"),
        (lambda v: (v / WARMUP_FILE).unlink(), r"tf_serving_warmup_requests: missing"),
        (
            lambda v: change(v, lambda g: g.meta_info_def.tags.append("x") or g.meta_info_def.tags.remove("serve")),
            "tag serve",
        ),
        (lambda v: change(v, lambda g: g.signature_def.pop("score")), "signature score is missing"),
        (
            lambda v: change(v, lambda g: g.signature_def["n_best"].outputs.pop("scores")),
            "signature n_best: outputs scores missing",
        ),
        (
            lambda v: change(v, lambda g: setattr(g.signature_def["score"], "method_name", "x")),
            "signature score: method 'x', expected tensorflow/serving/predict",
        ),
        (
            lambda v: change(
                v, lambda g: setattr(g.signature_def["score"].inputs["source"].tensor_shape.dim[0], "size", 4)
            ),
            "signature score: input source has a batch of 4 only, expected any",
        ),
        (
            lambda v: change(v, lambda g: g.signature_def["score"].inputs["source"].tensor_shape.ClearField("dim")),
            "signature score: input source has no batch dimension",
        ),
        (
            lambda v: change(v, lambda g: g.signature_def["n_best"].outputs["scores"].ClearField("name")),
            "signature n_best: output scores is no dense tensor and cannot be fetched",
        ),
        (lambda v: change(v, lambda g: g.graph_def.node.add(name="x", op="PyFunc")), "operation PyFunc calls Python"),
        (lambda v: change(v, lambda g: g.graph_def.node.add(name="x", op="CudnnRNNV3")), "CudnnRNNV3 needs a GPU"),
        (lambda v: change(v, lambda g: g.graph_def.node.add(name="x", op="XlaLaunch")), "TF Serving does not compile"),
        (
            lambda v: change(v, lambda g: g.graph_def.node.add(name="x", op="Addons>GatherTree")),
            "belongs neither to TensorFlow nor to TF Text",
        ),
        (
            lambda v: change(v, lambda g: g.graph_def.node.add(name="x", op="TFText>Utf8Binarize")),
            "missing in the images 2.12 to 2.19",
        ),
        (
            lambda v: change(v, lambda g: setattr(g.graph_def.library.function[0].attr["_XlaMustCompile"], "b", True)),
            "must be compiled",
        ),
        (
            lambda v: change(v, lambda g: g.asset_file_def.add(filename="/tmp/words.txt")),
            "/tmp/words.txt is an absolute",
        ),
        (lambda v: v.rename(v.with_name("one")), "only sees folders whose names are integers"),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(broken, spoil, message):
    assert lint(broken) == []
    moved = spoil(broken)
    findings = [str(finding) for finding in lint(moved if hasattr(moved, "name") else broken)]
    assert len(findings) == 1 and re.search(message, findings[0])


def test_an_answer_that_differs_breaks_the_ladder(translator, broken, tmp_path):
    logs = warmup_logs(translator, "demo", EXAMPLES)
    scores = next(log.predict_log for log in logs if log.predict_log.request.model_spec.signature_name == "n_best")
    values = tf.make_ndarray(scores.response.outputs["scores"]) + 0.5
    scores.response.outputs["scores"].CopyFrom(tf.make_tensor_proto(values))
    write_warmup(logs, broken)
    rungs = validate(broken, tmp_path)
    assert [(rung.name, rung.passed) for rung in rungs] == [("lint", True), ("session", False)]
    assert not passed(rungs) and len(rungs[1].findings) == 1
    assert "signature n_best, output scores: " in str(rungs[1].findings[0])


def test_a_damaged_or_empty_warmup_file_proves_nothing(broken, tmp_path):
    write_warmup([], broken)
    (finding,) = validate(broken, tmp_path)[-1].findings
    assert "holds no request with its answer for n_best, score, serving_default" in str(finding)
    (broken / WARMUP_FILE).write_bytes(b"no records at all, but some bytes")
    rungs = validate(broken, tmp_path)
    assert not passed(rungs) and "tf_serving_warmup_requests: damaged" in str(rungs[-1].findings[0])


def test_variables_that_are_cut_off_break_the_ladder(broken, tmp_path):
    (data,) = (broken / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:100])
    rungs = validate(broken, tmp_path)
    assert rungs[-1].name == "session" and "Error: " in str(rungs[-1].findings[0])


def test_differences():
    one, other = np.array([1.0, np.nan, -np.inf]), np.array([1.0001, np.nan, -np.inf])
    assert difference(one, other) is None
    assert difference(np.array([1.0]), np.array([1.1])) == "1.0 became 1.1"
    assert difference(np.zeros([2, 1]), np.zeros([1, 2])) == "shape [2, 1] became [1, 2]"
    words = np.array([b"a", b"b"], object), np.array([b"a", b"c"], object)
    assert difference(*words) == "b'b' became b'c', one of 1 differences"
