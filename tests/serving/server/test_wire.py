"""TF Serving's REST and gRPC protocols, as clients see them; see `conftest` for running them against the real one."""

import base64
import gzip
import json
import os

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest

REAL = "HELIOGRAPH_REST" in os.environ
TEXTS = ["ein hund", "", "Schön! 😀 漢字"]


@pytest.fixture(scope="module")
def expected(served_translator):
    """What the Python model answers."""

    def answer(signature, *columns):
        function = served_translator.signatures()[signature]
        specs = function.input_signature
        arguments = (tf.constant(column, spec.dtype) for column, spec in zip(columns, specs, strict=True))
        return {name: value.numpy() for name, value in function(*arguments).items()}

    return answer


@pytest.fixture(scope="module")
def translations(expected):
    return [text.decode() for text in expected("serving_default", TEXTS)["translation"]]


def predict_request(signature="", version=None, label="", name="demo", **inputs):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    if label:
        request.model_spec.version_label = label
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return request


# REST


def test_rows_in_rows_out(endpoint, translations):
    for instances in (TEXTS, [{"text": text} for text in TEXTS]):
        answer = endpoint.predict({"instances": instances})
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert answer.json() == {"predictions": translations}


def test_columns_in_columns_out(endpoint, translations):
    for inputs in (TEXTS, {"text": TEXTS}):
        assert endpoint.predict({"inputs": inputs}).json() == {"outputs": translations}


def test_bytes_come_as_base64(endpoint, translations):
    instances = [{"b64": base64.b64encode(text.encode()).decode()} for text in TEXTS]
    assert endpoint.predict({"instances": instances}).json() == {"predictions": translations}
    broken = [{"b64": base64.b64encode(b"\xff\xfe\x00hund").decode()}]
    assert endpoint.predict({"instances": broken}).status_code == 200


def test_several_outputs_are_objects(endpoint, expected):
    found = expected("n_best", TEXTS)
    rows = endpoint.predict({"signature_name": "n_best", "instances": TEXTS}).json()["predictions"]
    columns = endpoint.predict({"signature_name": "n_best", "inputs": TEXTS}).json()["outputs"]
    assert [row["translations"] for row in rows] == columns["translations"]
    assert columns["translations"] == [[text.decode() for text in row] for row in found["translations"]]
    np.testing.assert_allclose(columns["scores"], found["scores"], rtol=1e-5)
    assert columns["truncated"] == [False] * 3


def test_several_inputs(endpoint, expected):
    instances = [{"source": text, "target": "ein hund"} for text in TEXTS]
    found = expected("score", TEXTS, ["ein hund"] * 3)
    answer = endpoint.predict({"signature_name": "score", "instances": instances}).json()["predictions"]
    np.testing.assert_allclose([row["log_probability"] for row in answer], found["log_probability"], rtol=1e-4)
    assert [row["tokens"] for row in answer] == found["tokens"].tolist()
    sampled = {"seed": 3, "temperature": 1, "top_k": 5, "top_p": 0.9}
    answer = endpoint.predict({"signature_name": "sample", "instances": [{"text": t, **sampled} for t in TEXTS]})
    found = expected("sample", TEXTS, [3] * 3, [1.0] * 3, [5] * 3, [0.9] * 3)
    assert [row["translation"] for row in answer.json()["predictions"]] == [t.decode() for t in found["translation"]]


def test_versions_and_labels(endpoint, translations):
    for which in ("/versions/1",) if REAL else ("/versions/1", "/labels/stable"):
        answer = endpoint.http.post(f"/v1/models/demo{which}:predict", json={"instances": TEXTS})
        assert answer.json() == {"predictions": translations}


def test_a_gzipped_body(endpoint, translations):
    body = gzip.compress(json.dumps({"instances": TEXTS}).encode())
    answer = endpoint.predict(body, headers={"Content-Encoding": "gzip"})
    assert answer.json() == {"predictions": translations}


def test_an_empty_batch(endpoint):
    assert endpoint.predict({"inputs": []}).status_code in (
        200,
        400,
    )  # JSON does not say that an empty list is one of texts
    answer = endpoint.predict({"inputs": {"text": []}})
    assert answer.status_code == 200 and answer.json() == {"outputs": []}


def test_status_and_metadata(endpoint):
    entry = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("/v1/models/demo", "/v1/models/demo/versions/1", "/V1/Models/demo"):
        assert endpoint.http.get(path).json() == {"model_version_status": [entry]}
    document = endpoint.http.get("/v1/models/demo/metadata").json()
    assert document["model_spec"] == {"name": "demo", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["text"]["dtype"] == "DT_STRING"
    assert {"n_best", "complete", "sample", "score", "attention"} <= set(signatures)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe\x00", "JSON Parse error"),
        (b"[1]", "Is not object"),
        ({"signature_name": 3, "instances": ["x"]}, "'signature_name' key must be a string value"),
        ({"instances": ["x"], "inputs": ["x"]}, "only one of 'inputs' or 'instances'"),
        ({"text": ["x"]}, "Missing 'inputs' or 'instances' key"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": "x"}, "'instances' to be an list/array"),
        ({"instances": [3]}, "is not of expected type"),
        ({"instances": [None]}, "is not of expected type"),
        ({"instances": ["x", {"text": "y"}]}, "Expecting value/list but got object at item 1"),
        ({"instances": [{"text": "x"}, "y"]}, "Expecting object but got list at item 1"),
        ({"instances": [{"txt": "x"}]}, "txt"),
        ({"instances": [{"b64": "!"}]}, "Unable to base64 decode"),
        ({"signature_name": "nope", "instances": ["x"]}, 'Serving signature name: "nope" not found in signature def'),
        ({"signature_name": "score", "instances": ["x"]}, "instances is a plain list, but expecting list of objects"),
        ({"signature_name": "score", "inputs": {"source": ["x"]}}, "Missing named input: target in 'inputs' object"),
        (
            {
                "signature_name": "sample",
                "instances": [{"text": "x", "seed": 1, "temperature": 0, "top_k": 0, "top_p": 1}],
            },
            "temperature must be positive",
        ),
        ({"signature_name": "score", "inputs": {"source": ["x"], "target": ["x", "y"]}}, "expected one for each text"),
    ],
)
def test_wrong_requests_are_refused_in_words(endpoint, body, message):
    answer = endpoint.predict(body)
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"] and message in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/demo:foo", 400, "Malformed request: POST /v1/models/demo:foo"),
        ("PUT", "/v1/models/demo:predict", 400, "Malformed request: PUT /v1/models/demo:predict"),
        ("GET", "/v1/models/demo:predict", 400, "Malformed request: GET /v1/models/demo:predict"),
        ("POST", "/v1/models/absent:predict", 404, "Servable not found for request: Latest(absent)"),
        ("POST", "/v1/models/demo/versions/9:predict", 404, "Servable not found for request: Specific(demo, 9)"),
        ("POST", "/v1/models/demo/labels/beta:predict", 400, "Unrecognized servable version label: beta"),
        ("GET", "/v1/models/absent", 404, "Could not find any versions of model absent"),
        ("GET", "/v1/models/demo/versions/9", 404, "Could not find version 9 of model demo"),
        ("GET", "/v1/models/demo/versions/99999999999999999999", 400, "Failed to convert version"),
        ("GET", "/v1/models/demo/versions/" + "9" * 5000, 400, "Failed to convert version"),
    ],
)
def test_wrong_paths(endpoint, method, path, status, message):
    answer = endpoint.http.request(method, path, json={"instances": ["x"]} if method == "POST" else None)
    assert answer.status_code == status and message in answer.json()["error"]


def test_a_path_outside_is_html(endpoint):
    answer = endpoint.http.get("/health")
    assert answer.status_code == 404 and "html" in answer.headers["content-type"]


@pytest.mark.parametrize("text", ["x" * 10_000, "\x00", "a\u2028b\u0000c", "\ud7ff", " " * 5000])
def test_odd_texts_are_answered(endpoint, text):
    answer = endpoint.predict({"instances": [text]})
    assert answer.status_code == 200 and isinstance(answer.json()["predictions"][0], str)


# gRPC


def test_grpc_predict(endpoint, translations):
    for request in (predict_request(text=TEXTS), predict_request("serving_default", version=1, text=TEXTS)):
        answer = endpoint.prediction.Predict(request, timeout=60)
        assert answer.model_spec.name == "demo" and answer.model_spec.version.value == 1
        assert [text.decode() for text in tf.make_ndarray(answer.outputs["translation"])] == translations


def test_grpc_output_filter(endpoint):
    request = predict_request("n_best", text=TEXTS)
    request.output_filter.append("scores")
    assert list(endpoint.prediction.Predict(request, timeout=60).outputs) == ["scores"]
    request.output_filter[0] = "absent"
    check_refused(endpoint, request, grpc.StatusCode.INVALID_ARGUMENT, "absent")


def check_refused(endpoint, request, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.prediction.Predict(request, timeout=60)
    assert caught.value.code() == code and message in caught.value.details()


def test_grpc_refusals(endpoint):
    code = grpc.StatusCode
    check_refused(endpoint, PredictRequest(), code.INVALID_ARGUMENT, "Missing ModelSpec")
    check_refused(
        endpoint, predict_request(name="absent", text=["x"]), code.NOT_FOUND, "Servable not found for request"
    )
    check_refused(endpoint, predict_request("nope", text=["x"]), code.FAILED_PRECONDITION, "nope")
    check_refused(endpoint, predict_request(), code.INVALID_ARGUMENT, "Missing but required: {text}")
    check_refused(endpoint, predict_request(text=["x"], more=["y"]), code.INVALID_ARGUMENT, "Sent extra: {more}")
    check_refused(endpoint, predict_request(text=[1.0]), code.INVALID_ARGUMENT, "string")
    twice = predict_request("n_best", text=["x"])
    twice.output_filter.extend(["scores", "scores"])
    check_refused(endpoint, twice, code.INVALID_ARGUMENT, "duplicate output tensor alias: scores")
    if not REAL:
        huge = predict_request(text=["x"])
        huge.inputs["text"].tensor_shape.dim[0].size = 10**12
        check_refused(endpoint, huge, code.INVALID_ARGUMENT, "does not suit its")
        huge.inputs["text"].tensor_shape.dim[0].size = -5
        check_refused(endpoint, huge, code.INVALID_ARGUMENT, "does not suit its")
        check_refused(endpoint, predict_request(text=["x"] * 1025), code.INVALID_ARGUMENT, "at most 1,024 rows")
        check_refused(endpoint, predict_request(label="x", text=["x"]), code.INVALID_ARGUMENT, "label: x")


@pytest.mark.parametrize("content", [b"\xff\xff", b"\x0a\x7f", b"\x00"])
@pytest.mark.parametrize("method", ["PredictionService/Predict", "ModelService/GetModelStatus"])
def test_grpc_bytes_that_are_no_message(endpoint, translations, method, content):
    call = endpoint.channel.unary_unary(f"/tensorflow.serving.{method}")  # bytes in, bytes out
    with pytest.raises(grpc.RpcError) as caught:
        call(content, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    test_grpc_predict(endpoint, translations)


def test_grpc_status_and_metadata(endpoint):
    request = GetModelStatusRequest()
    request.model_spec.name = "demo"
    (status,) = endpoint.models.GetModelStatus(request, timeout=60).model_version_status
    assert (status.version, status.state, status.status.error_code) == (1, 30, 0)
    request.model_spec.name = "absent"
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.models.GetModelStatus(request, timeout=60)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    metadata = GetModelMetadataRequest(metadata_field=["signature_def"])
    metadata.model_spec.name = "demo"
    answer = endpoint.prediction.GetModelMetadata(metadata, timeout=60)
    signatures = SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert signatures.signature_def["score"].outputs["tokens"].dtype == tf.int32.as_datatype_enum


@pytest.mark.skipif(REAL, reason="the stand-in's own")
def test_what_only_the_stand_in_says(endpoint):
    with pytest.raises(grpc.RpcError) as caught:
        endpoint.prediction.Classify(ClassificationRequest(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED and "stand-in" in caught.value.details()
    answer = endpoint.http.post("/v1/models/demo:classify", json={})
    assert answer.status_code == 501 and "stand-in" in answer.json()["error"]
    stub = health_pb2_grpc.HealthStub(endpoint.channel)
    for service in ("", "PredictionService", "ModelService"):
        asked = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(asked, timeout=60).status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.skipif(REAL, reason="needs --monitoring_config_file")
def test_prometheus(endpoint):
    endpoint.predict({"instances": ["x"]})
    endpoint.predict({"instances": [3]})
    page = endpoint.http.get("/monitoring/prometheus/metrics").text
    assert ':tensorflow:serving:request_count{model_name="demo",status="OK"}' in page
    assert 'status="INVALID_ARGUMENT"' in page
    assert ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="REST",model_name="demo"}' in page
