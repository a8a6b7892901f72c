"""Predict requests and answers as JSON, row by row or column by column (TF Serving's `json_tensor.cc`)."""

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from serving.server.errors import RequestError, invalid

Form = Literal["row", "column"]
Specs = Mapping[str, tf.DType]

_INTEGERS = {
    tf.int8: (-(2**7), 2**7),
    tf.int16: (-(2**15), 2**15),
    tf.int32: (-(2**31), 2**31),
    tf.int64: (-(2**63), 2**63),
    tf.uint8: (0, 2**8),
    tf.uint16: (0, 2**16),
    tf.uint32: (0, 2**32),
    tf.uint64: (0, 2**64),
}
"""The least integer of each type, and the first one above it."""

DEEPEST = 32
"""Dimensions of an input, at most."""


class Parsed(NamedTuple):
    """A predict request."""

    signature: str
    inputs: dict[str, np.ndarray]
    form: Form


def parse(body: bytes, specs_of: Callable[[str], Specs]) -> Parsed:
    """Read the body of a predict request.

    Args:
        body: JSON; also `NaN` and `Infinity`.
        specs_of: a signature's name to the types of its inputs.

    Raises:
        RequestError: it is no predict request for that signature.
    """
    document = _document(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    specs = specs_of(signature or "serving_default")
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in document:
        return Parsed(signature or "serving_default", _rows(document, specs), "row")
    if "inputs" in document:
        return Parsed(signature or "serving_default", _columns(document["inputs"], specs), "column")
    raise invalid("Missing 'inputs' or 'instances' key")


def answer(outputs: Mapping[str, np.ndarray], form: Form) -> bytes:
    """The body of an answer in the form of its request; a single output goes without its name.

    Strings must be UTF-8, unless their output's name ends in `_bytes`: those are base64.
    """
    columns = {name: _plain(name, outputs[name]) for name in sorted(outputs)}
    if form == "column":
        values = columns if len(columns) > 1 else next(iter(columns.values()))
        return _dumped({"outputs": values})
    sizes = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if len(sizes) > 1 or -1 in sizes:
        raise invalid(f"outputs {', '.join(columns)} have no batch size in common, ask with 'inputs' instead")
    if len(columns) == 1:
        return _dumped({"predictions": next(iter(columns.values()))})
    rows = zip(*columns.values(), strict=True)
    return _dumped({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def error_body(message: str) -> bytes:
    """The body of every refusal."""
    return _dumped({"error": message})


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        # What comes after the document does not matter.
        document, _ = json.JSONDecoder().raw_decode(body.decode().lstrip())
    except RecursionError:
        raise invalid("JSON Parse error: nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_shown(document)} Is not object")
    return document


def _rows(document: Mapping[str, Any], specs: Specs) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {_shown(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {_shown(document)} No values in 'instances' array")
    named = _is_named(instances[0])
    if not named and len(specs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    columns: dict[str, list[Any]] = {name: [] for name in specs}
    for place, instance in enumerate(instances):
        if _is_named(instance) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {got} at item {place} of input list")
        row = instance if named else {next(iter(specs)): instance}
        if row.keys() != specs.keys():
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {_shown(instance)} keys must be "
                f"equal to: {','.join(sorted(specs))}"
            )
        for name, value in row.items():
            columns[name].append(value)
    return {name: _tensor(name, columns[name], specs[name]) for name in specs}


def _columns(inputs: Any, specs: Specs) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(specs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name = next(iter(specs))
        return {name: _tensor(name, inputs, specs[name])}
    for name in specs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(name, inputs[name], specs[name]) for name in specs}


def _is_named(value: Any) -> bool:
    """Whether it is an object other than `{"b64": "…"}`."""
    return isinstance(value, dict) and not (len(value) == 1 and isinstance(value.get("b64"), str))


def _tensor(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
    shape, flat = [], value
    while isinstance(flat, list):
        shape.append(len(flat))
        flat = flat[0] if flat else None
    if len(shape) > DEEPEST:
        raise invalid(f"input {name} is nested too deeply")
    values: list[Any] = []
    _fill(value, shape, dtype, values)
    array = np.empty(len(values), object if dtype == tf.string else dtype.as_numpy_dtype)
    array[:] = values
    return array.reshape(shape)


def _fill(value: Any, shape: Sequence[int], dtype: tf.DType, values: list[Any]) -> None:
    if not isinstance(value, list):
        if shape:
            raise invalid(f"JSON Value: {_shown(value)} found at incorrect level in the JSON DOM")
        values.append(_scalar(value, dtype))
        return
    if not shape:
        raise invalid("Encountered list at unexpected level")
    if len(value) != shape[0]:
        raise invalid(f"Encountered list at unexpected size: {len(value)} expected size: {shape[0]}")
    for one in value:
        _fill(one, shape[1:], dtype, values)


def _scalar(value: Any, dtype: tf.DType) -> Any:
    """A JSON value as one of a type, without loss."""
    if dtype == tf.string and isinstance(value, str):
        return value.encode("utf-8", errors="surrogatepass")
    if dtype == tf.string and isinstance(value, dict) and not _is_named(value):
        return _decoded(value["b64"])
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype in (tf.float32, tf.float64) and is_number:
        largest = 2**24 if dtype == tf.float32 else 2**53
        limit = float(dtype.max)
        if (isinstance(value, int) and abs(value) > largest) or (math.isfinite(value) and abs(value) > limit):
            raise invalid(f"Cannot convert JSON value: {_shown(value)} to {dtype.name} without loss of precision.")
        return value
    least, above = _INTEGERS.get(dtype, (0, 0))
    if isinstance(value, int) and not isinstance(value, bool) and least <= value < above:
        return value
    if dtype == tf.bool and isinstance(value, bool):
        return value
    raise invalid(f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {dtype.name}")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _plain(name: str, values: np.ndarray) -> Any:
    if values.dtype.kind != "O":
        if values.dtype == np.float32:
            return _shortest(values)
        return values.tolist()
    if name.endswith("_bytes"):
        return _nested([{"b64": base64.b64encode(value).decode()} for value in values.ravel()], values.shape)
    try:
        return _nested([value.decode() for value in values.ravel()], values.shape)
    except UnicodeDecodeError as error:
        raise RequestError(invalid("").code, f"output {name} is no UTF-8: {error.reason}") from None


def _shortest(values: np.ndarray) -> Any:
    """Floats in as few digits as tell them apart: 0.2, not 0.20000000298."""
    return _nested([float(str(value)) for value in values.ravel()], values.shape)


def _nested(flat: list[Any], shape: Sequence[int]) -> Any:
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape).tolist()


def _dumped(document: Any) -> bytes:
    return json.dumps(document, indent=4, ensure_ascii=False).encode("utf-8", errors="replace")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"
    return text if len(text) <= 200 else text[:200] + "…"


def _kind(value: Any) -> str:
    if value is None:
        return "Null"
    names = {bool: str(value), str: "String", list: "Array", dict: "Object"}
    return names.get(type(value), "Number")
