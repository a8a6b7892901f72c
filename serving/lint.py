"""What a SavedModel must be for TF Serving to load it and to batch its requests, read from its files alone.

Nothing is executed. Each rule is one that TF Serving's sources state, or that a SavedModel of another tool has broken;
`saved_model.pb` is read as a message, so that a graph with operations unknown to this process can be read, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.framework import op_def_registry

from serving.predictions import WARMUP_FILE

REQUIRED = {
    "serving_default": ({"text"}, {"translation"}),
    "n_best": ({"text"}, {"translations", "scores"}),
    "score": ({"source", "target"}, {"log_probability", "tokens", "perplexity"}),
}
"""Signatures that every translator has: their inputs, and outputs that must be among theirs."""

METHOD = "tensorflow/serving/predict"
LARGEST = 2**31 - 1
NOT_IN_OLD_IMAGES = {"TFText>RoundRobinTrim", "TFText>RoundRobinGenerateMasks", "TFText>Utf8Binarize"}
_PYTHON = re.compile("PyFunc")
_ABSOLUTE = re.compile(rb"/(?:[\w.+-]+/)+[\w.+-]+")


class Finding(NamedTuple):
    """Something wrong with a model."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


def lint(version: Path) -> list[Finding]:
    """All that is wrong with a version, as far as its files tell.

    Args:
        version: the folder `NAME/<integer>/`.
    """
    return list(_findings(version))


def _findings(version: Path) -> Iterator[Finding]:
    again = "export it again"
    path = version / "saved_model.pb"
    if not version.name.isdecimal():
        yield Finding(f"{version.name}: TF Serving only sees folders whose names are integers", "rename the folder")
    if not path.is_file():
        yield Finding(f"{path}: missing", again)
        return
    content = path.read_bytes()
    if len(content) > LARGEST:
        yield Finding(
            f"{path}: {len(content):,} bytes, TF Serving reads at most {LARGEST:,}", "make constants variables"
        )
    try:
        saved = SavedModel.FromString(content)
    except DecodeError:
        yield Finding(f"{path}: not a SavedModel, or cut off", again)
        return
    served = [graph for graph in saved.meta_graphs if "serve" in graph.meta_info_def.tags]
    if len(served) != 1:
        yield Finding(f"{path}: {len(served)} graphs with the tag serve, expected one", again)
        return
    yield from _variables(version)
    yield from _operations(served[0].graph_def)
    yield from _paths(served[0])
    yield from _signatures(served[0].signature_def)
    if not (version / WARMUP_FILE).is_file():
        yield Finding(f"{version / WARMUP_FILE}: missing: a server answers its first requests slowly", again)


def _variables(version: Path) -> Iterator[Finding]:
    folder = version / "variables"
    if not (folder / "variables.index").is_file() or not list(folder.glob("variables.data-*")):
        yield Finding(f"{folder}: no variables", "copy the whole folder, not saved_model.pb alone")


def _operations(graph: GraphDef) -> Iterator[Finding]:
    import tensorflow_text  # noqa: F401  (registers its operations)

    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    for operation in sorted({node.op for node in nodes} - functions):
        if _PYTHON.search(operation):
            yield Finding(f"operation {operation} calls Python, which a server has not", "write it with TensorFlow")
        elif "cudnn" in operation.lower():
            yield Finding(f"operation {operation} needs a GPU", "export a model that was built without cuDNN")
        elif operation.startswith("Xla"):
            yield Finding(f"operation {operation}: TF Serving does not compile", "build without jit_compile")
        elif operation in NOT_IN_OLD_IMAGES:
            yield Finding(f"operation {operation} is missing in the images 2.12 to 2.19", "use image 2.20 or later")
        elif op_def_registry.get(operation) is None:
            yield Finding(
                f"operation {operation} belongs neither to TensorFlow nor to TF Text, so no stock server has it",
                "write it with their operations",
            )
    for function in graph.library.function:
        if function.attr["_XlaMustCompile"].b:
            yield Finding(f"function {function.signature.name} must be compiled", "build without jit_compile")


def _paths(graph: MetaGraphDef) -> Iterator[Finding]:
    for asset in graph.asset_file_def:
        if Path(asset.filename).is_absolute():
            yield Finding(f"asset {asset.filename} is an absolute path", "save the file as an asset of the model")
    for node in graph.graph_def.node:
        value: Sequence[bytes] = node.attr["value"].tensor.string_val if node.op == "Const" else ()
        if len(value) == 1 and _ABSOLUTE.fullmatch(value[0]) and Path(value[0].decode()).exists():
            yield Finding(f"constant {node.name} is a path of this machine: {value[0].decode()}", "save it as an asset")


def _signatures(signatures: Mapping[str, Any]) -> Iterator[Finding]:
    again = "export with heliograph's own signatures"
    for name, (inputs, outputs) in REQUIRED.items():
        if name not in signatures:
            yield Finding(f"signature {name} is missing", again)
            continue
        found = signatures[name]
        for side, expected in (("inputs", inputs), ("outputs", outputs)):
            absent = sorted(expected - set(getattr(found, side)))
            if absent:
                yield Finding(f"signature {name}: {side} {', '.join(absent)} missing", again)
    for name, signature in signatures.items():
        if name.startswith("__"):  # TensorFlow's own
            continue
        if signature.method_name != METHOD:
            yield Finding(f"signature {name}: method {signature.method_name!r}, expected {METHOD}", again)
        for side in ("inputs", "outputs"):
            for key, info in getattr(signature, side).items():
                yield from _tensor(f"signature {name}: {side[:-1]} {key}", info)


def _tensor(place: str, info: TensorInfo) -> Iterator[Finding]:
    dense = "return a dense tensor, padded, with the batch first"
    if info.WhichOneof("encoding") != "name" or not info.name:
        yield Finding(f"{place} is no dense tensor and cannot be fetched", dense)
    elif info.tensor_shape.unknown_rank or not info.tensor_shape.dim:
        yield Finding(f"{place} has no batch dimension, so requests cannot be batched", dense)
    elif info.tensor_shape.dim[0].size != -1:
        yield Finding(f"{place} has a batch of {info.tensor_shape.dim[0].size} only, expected any", dense)
