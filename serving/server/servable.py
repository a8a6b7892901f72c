"""One version of a model, loaded as TF Serving loads it and run by the same executor: a session of TensorFlow 1."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.predictions import WARMUP_FILE, read_warmup
from serving.server.errors import RequestError, invalid, of_tensorflow

DEFAULT_SIGNATURE = "serving_default"


class Servable:
    """A loaded version.

    Args:
        path: the version's folder.
        intra_op_threads: threads of one operation; 0 = as many as there are cores.
        inter_op_threads: operations that run at once; 0 = as many as there are cores.

    Raises:
        RequestError: it cannot be loaded, or a warm-up request fails.
    """

    def __init__(self, path: Path, intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
        import tensorflow_text  # noqa: F401  (registers its operations)

        self.path, self.version = path, int(path.name)
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads, inter_op_parallelism_threads=inter_op_threads
        )
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        self._callables: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()
        try:
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        except Exception as error:  # a damaged file can raise anything
            self._session.close()
            raise RequestError(grpc.StatusCode.UNKNOWN, f"{path}: cannot be loaded: {error}") from None
        self.signatures: Mapping[str, SignatureDef] = {
            name: signature for name, signature in loaded.signature_def.items() if not name.startswith("__")
        }

    def warm_up(self) -> None:
        """Answer the warm-up requests, if there are any; one that fails raises its `RequestError`."""
        if not (self.path / WARMUP_FILE).is_file():
            return
        for log in read_warmup(self.path):
            request = log.predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            self.check(request.model_spec.signature_name, inputs)
            self.run(request.model_spec.signature_name, inputs)

    def input_types(self, signature: str) -> dict[str, tf.DType]:
        """The types of a signature's inputs."""
        return {name: tf.as_dtype(info.dtype) for name, info in self._signature(signature).inputs.items()}

    def check(self, signature: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str] = ()) -> None:
        """Raise a `RequestError` if inputs or the names of outputs are not the signature's."""
        found = self._signature(signature)
        if inputs.keys() != found.inputs.keys():
            extra = ", ".join(sorted(inputs.keys() - found.inputs.keys()))
            absent = ", ".join(sorted(found.inputs.keys() - inputs.keys()))
            raise invalid(
                f"input size does not match signature: {len(inputs)}!={len(found.inputs)}. Sent extra: {{{extra}}}. "
                f"Missing but required: {{{absent}}}."
            )
        for place, (name, info) in enumerate(sorted(found.inputs.items())):
            expected, value = tf.as_dtype(info.dtype), inputs[name]
            got = tf.string if value.dtype.kind in "OSU" else tf.as_dtype(value.dtype)
            if got != expected:
                raise invalid(f"Expects arg[{place}] to be {expected.name} but {got.name} is provided")
            if value.ndim != len(info.tensor_shape.dim):
                raise invalid(f"input {name}: expected {len(info.tensor_shape.dim)} dimensions, got {value.ndim}")
        if len(set(outputs)) < len(outputs):
            raise invalid(f"duplicate output tensor alias: {max(outputs, key=list(outputs).count)}")
        for name in outputs:
            if name not in found.outputs:
                raise invalid(f"output tensor alias not found in signature: {name}")

    def run(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The signature's outputs, or those that are named.

        Args:
            signature: its name.
            inputs: as `check` accepts them.
            outputs: names; none for all.
            timeout: seconds.

        Raises:
            RequestError: as the graph refuses the inputs, or `DEADLINE_EXCEEDED`.
        """
        found = self._signature(signature)
        names = tuple(sorted(outputs or found.outputs))
        options = tf.compat.v1.RunOptions(timeout_in_ms=0 if timeout is None else max(1, int(1000 * timeout)))
        try:
            values = self._callable(signature, names)(*(inputs[name] for name in sorted(found.inputs)), options=options)
        except tf.errors.OpError as error:
            raise of_tensorflow(error) from None
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Free its memory."""
        self._session.close()

    def _signature(self, name: str) -> SignatureDef:
        found = self.signatures.get(name or DEFAULT_SIGNATURE)
        if found is None:
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return found

    def _callable(self, signature: str, outputs: tuple[str, ...]) -> Any:
        key = (signature or DEFAULT_SIGNATURE, outputs)
        with self._lock:
            if key not in self._callables:
                found = self._signature(signature)
                fetches = [found.outputs[name].name for name in outputs]
                feeds = [found.inputs[name].name for name in sorted(found.inputs)]
                run = self._session.make_callable(fetches, feeds, accept_options=True)
                self._callables[key] = run
            return self._callables[key]
