"""The SavedModel outside this code: a clean process, the Session path of TF Serving, stock operations only."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from models.ensemble import EnsembleNetwork
from tests.serving.conftest import ATTENTION, MEMBERS, export_demo, make_translator

BATCHES = [
    [],
    ["ein hund"],
    ["", "Schön!", "\u202e\u0301", "😀👩‍👩‍👧 漢字", "a\u2028b\x00c", "x" * 200, "don't\u00a0stop"],
]

OTHERS = {"temperature": 0.7, "top_k": 5, "top_p": 0.9}
"""What every row of a request has in the inputs that are no text; seeds count up."""

CLIENT = """
import json, os, sys
import tensorflow as tf
import tensorflow_text
os.chdir("/")
os.chdir("/")
batches, others = json.load(open(sys.argv[2]))
def rows(name, texts):
    if name == "seed":
        return range(len(texts))
    return [others[name]] * len(texts) if name in others else [text.encode() for text in texts]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    answers = []
    for texts in batches:
        answer = {}
        for key, signature in meta.signature_def.items():
            if key.startswith("__"):
                continue
            feed = {info.name: list(rows(name, texts)) for name, info in signature.inputs.items()}
            fetches = {name: info.name for name, info in signature.outputs.items()}
            for name, value in session.run(fetches, feed).items():
                shape, values = list(value.shape), value.ravel().tolist()
                answer[key + "." + name] = [shape, [v.decode() if isinstance(v, bytes) else v for v in values]]
        answers.append(answer)
ours = {"models", "preprocessing", "serving", "pipeline"}
banned = sorted(ours & set(sys.modules))
json.dump({"answers": answers, "banned": banned}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def version(translator, tmp_path_factory) -> Path:
    return export_demo(translator, tmp_path_factory.mktemp("serving") / "demo")


def answers_of_a_clean_process(version, tmp_path):
    (tmp_path / "batches.json").write_text(json.dumps([BATCHES, OTHERS]))
    command = [sys.executable, "-c", CLIENT, str(version), str(tmp_path / "batches.json"), str(tmp_path / "out.json")]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["banned"] == []
    return result["answers"]


def check_answers(answers, translator):
    for texts, answer in zip(BATCHES, answers, strict=True):
        for key, function in translator.signatures().items():
            others = {"seed": range(len(texts)), **{name: [value] * len(texts) for name, value in OTHERS.items()}}
            inputs = [tf.constant(others.get(spec.name, texts), spec.dtype) for spec in function.input_signature]
            for name, value in function(*inputs).items():
                shape, values = answer[f"{key}.{name}"]
                assert shape == value.shape.as_list()
                if value.dtype == tf.string:
                    assert values == [text.decode() for text in value.numpy().ravel()]
                else:
                    np.testing.assert_allclose(values, value.numpy().ravel(), atol=1e-4)


def test_a_clean_process_gives_the_same_answers_through_a_session(translator, version, tmp_path):
    moved = version.rename(tmp_path / "moved")  # nothing outside the folder is needed
    answers = answers_of_a_clean_process(moved, tmp_path)
    moved.rename(version)
    check_answers(answers, translator)


@pytest.mark.parametrize("network", [ATTENTION, EnsembleNetwork(members=MEMBERS[2:])], ids=["attention", "ensemble"])
def test_networks_of_every_kind_are_exported(network, tmp_path):
    translator = make_translator(network)
    check_answers(answers_of_a_clean_process(export_demo(translator, tmp_path / "demo"), tmp_path), translator)


def test_the_signatures_are_the_contract(version):
    saved = SavedModel.FromString((version / "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    described = {
        key: {
            "inputs": {name: (info.dtype, [d.size for d in info.tensor_shape.dim]) for name, info in s.inputs.items()},
            "outputs": {
                name: (info.dtype, [d.size for d in info.tensor_shape.dim]) for name, info in s.outputs.items()
            },
            "method": s.method_name,
        }
        for key, s in signatures.items()
        if not key.startswith("__")
    }
    string, real, whole = (kind.as_datatype_enum for kind in (tf.string, tf.float32, tf.int32))
    text, numbers, flags = (string, [-1]), (real, [-1]), (tf.bool.as_datatype_enum, [-1])
    method = "tensorflow/serving/predict"
    assert described == {
        "serving_default": {"inputs": {"text": text}, "outputs": {"translation": text}, "method": method},
        "n_best": {
            "inputs": {"text": text},
            "outputs": {"translations": (string, [-1, 3]), "scores": (real, [-1, 3]), "truncated": flags},
            "method": method,
        },
        "complete": {
            "inputs": {"text": text, "prefix": text},
            "outputs": {"translation": text, "truncated": flags},
            "method": method,
        },
        "sample": {
            "inputs": {
                "text": text,
                "seed": (tf.int64.as_datatype_enum, [-1]),
                "temperature": numbers,
                "top_k": (whole, [-1]),
                "top_p": numbers,
            },
            "outputs": {"translation": text, "log_probability": numbers, "truncated": flags},
            "method": method,
        },
        "score": {
            "inputs": {"source": text, "target": text},
            "outputs": {
                "log_probability": numbers,
                "tokens": (whole, [-1]),
                "perplexity": numbers,
                "truncated": flags,
            },
            "method": method,
        },
    }


def test_the_graph_holds_stock_operations_and_no_path(version):
    content = (version / "saved_model.pb").read_bytes()
    saved = SavedModel.FromString(content)
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    operations = {node.op for node in nodes}
    functions = {function.signature.name for function in graph.library.function}
    assert not [name for name in functions if "attend" in name]  # nothing of a signature that this network lacks
    for banned in ("PyFunc", "Cudnn", "Xla", "GatherTree"):
        assert not [name for name in operations if banned in name]
    assert not [f.signature.name for f in graph.library.function if f.attr["_XlaMustCompile"].b]
    stock = {name for name in operations - functions if name in dir(tf.raw_ops)}
    assert operations - functions - stock <= {"NormalizeUTF8", "CaseFoldUTF8"}
    assert str(Path.cwd()).encode() not in content and str(version.parent).encode() not in content


def test_versions_count_up_and_appear_whole(translator, tmp_path, monkeypatch):
    base = tmp_path / "demo"
    assert [export_demo(translator, base).name for _ in range(2)] == ["1", "2"]
    (base / "7").mkdir()
    assert export_demo(translator, base).name == "8"

    def full_disk(*_, **__):
        Path(_[1]).mkdir()
        (Path(_[1]) / "saved_model.pb").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_demo(translator, base)
    assert sorted(child.name for child in base.iterdir()) == ["1", "2", "7", "8"]
