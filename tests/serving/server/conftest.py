"""A server for the wire tests: our stand-in, in a thread; or a real TF Serving that two environment variables name.

    HELIOGRAPH_REST=http://127.0.0.1:8501 HELIOGRAPH_GRPC=127.0.0.1:8500 pytest tests/serving/server/test_wire.py

The real one must serve the model `demo` that `export_demo(make_translator(ATTENTION), …)` writes, as version 1.
"""

import asyncio
import os
import threading
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from serving.predictions import write_warmup
from serving.server.library import Model
from serving.server.serve import ServeOptions, serve
from tests.serving.conftest import ATTENTION, export_demo, make_translator

TIMEOUT = 120.0


class Endpoint(NamedTuple):
    """A running server."""

    http: httpx.Client
    channel: grpc.Channel
    address: str  # of gRPC

    def predict(self, body, name="demo", **options):
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return self.http.post(f"/v1/models/{name}:predict", **content, **options)

    @property
    def prediction(self):
        return PredictionServiceStub(self.channel)

    @property
    def models(self):
        return ModelServiceStub(self.channel)


@contextmanager
def running(options: ServeOptions):
    """The stand-in, on free ports."""
    ports, failure, started = [], [], threading.Event()
    stop = {}

    async def main():
        stop["loop"], stop["event"] = asyncio.get_running_loop(), asyncio.Event()

        def ready(*found):
            ports.extend(found)
            started.set()

        await serve(options, stop["event"], ready)

    def run():
        try:
            asyncio.run(main())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(TIMEOUT)
        if failure:
            raise failure[0]
        rest, rpc = ports
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{rest}", timeout=TIMEOUT) as client,
            grpc.insecure_channel(f"127.0.0.1:{rpc}") as channel,
        ):
            yield Endpoint(client, channel, f"127.0.0.1:{rpc}")
    finally:
        if thread.is_alive():
            stop["loop"].call_soon_threadsafe(stop["event"].set)
        thread.join(TIMEOUT)
        assert not thread.is_alive()


class Upper(tf.Module):
    """A model that loads at once: text in capitals, or after some turns of a loop."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def upper(self, text):
        return {"translation": tf.strings.upper(text)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name=name) for name in ("text", "prefix")],
    )
    def complete(self, text, prefix):
        return {"translation": prefix + tf.strings.upper(text), "truncated": tf.strings.length(text) > 100}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="text"), tf.TensorSpec([None], tf.int32, name="turns")]
    )
    def slow(self, text, turns):
        _, total = tf.while_loop(
            lambda turn, _: turn < tf.reduce_max(turns),
            lambda turn, total: (turn + 1, tf.linalg.matmul(total, total) / tf.norm(total)),
            (0, tf.ones([200, 200])),
        )
        with tf.control_dependencies([total]):
            return {"translation": tf.strings.upper(text)}


@pytest.fixture(scope="session")
def upper_version(tmp_path_factory):
    """A version of `Upper`, with a warm-up request."""
    version, model = tmp_path_factory.mktemp("upper") / "1", Upper()
    tf.saved_model.save(
        model, str(version), signatures={"serving_default": model.upper, "complete": model.complete, "slow": model.slow}
    )
    log = PredictionLog()
    log.predict_log.request.model_spec.signature_name = "serving_default"
    log.predict_log.request.inputs["text"].CopyFrom(tf.make_tensor_proto(["x"]))
    write_warmup([log], version)
    return version


def options_for(base_dir, **more):
    model = {key: more.pop(key) for key in ("latest", "labels") if key in more}
    models = (Model(name=base_dir.name, base_dir=base_dir, **model),)
    return ServeOptions(**{"models": models, "rest_port": 0, "grpc_port": 0, "poll_seconds": 0.1, **more})


@pytest.fixture(scope="session")
def served_translator():
    return make_translator(ATTENTION)


@pytest.fixture(scope="session")
def served_version(served_translator, tmp_path_factory):
    """A version that tests copy or serve, and leave as it is."""
    return export_demo(served_translator, tmp_path_factory.mktemp("served") / "demo")


@pytest.fixture(scope="session")
def endpoint(request):
    if "HELIOGRAPH_REST" in os.environ:
        with (
            httpx.Client(base_url=os.environ["HELIOGRAPH_REST"], timeout=TIMEOUT) as client,
            grpc.insecure_channel(os.environ["HELIOGRAPH_GRPC"]) as channel,
        ):
            yield Endpoint(client, channel, os.environ["HELIOGRAPH_GRPC"])
        return
    served = request.getfixturevalue("served_version")
    with running(options_for(served.parent, labels={"stable": 1})) as found:
        yield found
