"""JSON to tensors and back: round trips, and that any bytes at all get an answer in words."""

import json
import math

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server import json_tensors
from serving.server.errors import RequestError

SPECS = {"text": tf.string, "seed": tf.int64, "top_p": tf.float32, "k": tf.int32, "flag": tf.bool}


def specs_of(signature):
    return {"text": tf.string} if signature == "serving_default" else SPECS


row = st.fixed_dictionaries(
    {
        "text": st.text(max_size=5),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "top_p": st.floats(width=32, allow_nan=False),
        "k": st.integers(-(2**31), 2**31 - 1),
        "flag": st.booleans(),
    }
)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(row, min_size=1, max_size=4))
def test_rows_and_columns_are_the_same_tensors(rows):
    columns = {name: [one[name] for one in rows] for name in SPECS}
    found = [
        json_tensors.parse(json.dumps({"signature_name": "x", **body}).encode(), specs_of).inputs
        for body in ({"instances": rows}, {"inputs": columns})
    ]
    for name, dtype in SPECS.items():
        assert found[0][name].dtype == found[1][name].dtype == (object if dtype == tf.string else dtype.as_numpy_dtype)
        expected = [value.encode() if isinstance(value, str) else value for value in columns[name]]
        assert found[0][name].tolist() == found[1][name].tolist() == expected
    for form in ("row", "column"):
        answer = json.loads(json_tensors.answer(found[0], form))
        back = answer["predictions"] if form == "row" else answer["outputs"]
        back = {name: [one[name] for one in back] for name in SPECS} if form == "row" else back
        assert back["text"] == columns["text"] and back["seed"] == columns["seed"] and back["flag"] == columns["flag"]
        assert [np.float32(value) for value in back["top_p"]] == [np.float32(value) for value in columns["top_p"]]


def test_floats_are_short_and_special_ones_have_names():
    values = {"p": np.array([0.2, 1.0, 1e-8, np.nan, np.inf, -np.inf], np.float32)}
    text = json_tensors.answer(values, "column").decode()
    assert "".join(text.split()) == '{"outputs":[0.2,1.0,1e-08,NaN,Infinity,-Infinity]}'
    parsed = json_tensors.parse(
        b'{"signature_name": "x", "inputs": {"p": [NaN, -Infinity, 1]}}', lambda _: {"p": tf.float32}
    )
    assert math.isnan(parsed.inputs["p"][0]) and parsed.inputs["p"][1:].tolist() == [-np.inf, 1.0]


def test_deeper_tensors_and_base64_answers():
    parsed = json_tensors.parse(b'{"inputs": [["a", "b"], ["c", "d"]]}', specs_of)
    assert parsed.inputs["text"].tolist() == [[b"a", b"b"], [b"c", b"d"]]
    for ragged in (b'{"inputs": [["a"], ["b", "c"]]}', b'{"inputs": ["a", ["b"]]}', b'{"inputs": [["b"], "a"]}'):
        with pytest.raises(RequestError, match=r"Encountered list|incorrect level"):
            json_tensors.parse(ragged, specs_of)
    answer = json_tensors.answer({"raw_bytes": np.array([b"\xff\x00"], object)}, "row")
    assert json.loads(answer) == {"predictions": [{"b64": "/wA="}]}
    with pytest.raises(RequestError, match="output raw is no UTF-8"):
        json_tensors.answer({"raw": np.array([b"\xff"], object)}, "row")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (tf.int32, "2147483648"),
        (tf.int32, "1.5"),
        (tf.int32, "true"),
        (tf.int64, "9223372036854775808"),
        (tf.float32, "16777217"),
        (tf.float32, "1e39"),
        (tf.float32, '"1"'),
        (tf.uint8, "300"),
        (tf.int8, "-129"),
        (tf.uint32, "-1"),
        (tf.bool, "1"),
        (tf.string, "1"),
        (tf.string, '{"b64": 1}'),
        (tf.string, '{"b64": "é"}'),
        (tf.int32, '{"b64": "AAAA"}'),
    ],
)
def test_values_that_would_lose_something_are_refused(dtype, value):
    with pytest.raises(RequestError) as caught:
        json_tensors.parse(f'{{"inputs": {{"x": [{value}]}}}}'.encode(), lambda _: {"x": dtype})
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_what_follows_the_document_does_not_matter():
    assert json_tensors.parse(b' {"inputs": ["a"]} trailing', specs_of).inputs["text"].tolist() == [b"a"]


DEPTHS = (10, 31, 64, 65, 300, 980, 990, 1000, 2000, 200_000)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "b64", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(
    body=st.binary(max_size=60)
    | st.dictionaries(st.sampled_from(["instances", "inputs", "signature_name"]), anything, max_size=3).map(
        lambda document: json.dumps(document).encode()
    )
    | st.builds(
        lambda depth: b'{"inputs": ' + b"[" * depth + b"]" * depth + b"}",
        st.sampled_from([10, 31, 64, 65, 300, 980, 990, 1000, 2000, 200_000]),
    )
)
def test_any_body_is_parsed_or_refused(body):
    try:
        parsed = json_tensors.parse(body, specs_of)
    except RequestError as error:
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT
        assert json.loads(json_tensors.error_body(error.message))["error"] == error.message
    else:
        assert all(isinstance(value, np.ndarray) for value in parsed.inputs.values())
