"""TF Serving's gRPC interface: `PredictionService` and `ModelService`, with the official messages."""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
from tensorflow_serving.apis.model_pb2 import ModelSpec as ModelSpecMessage
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from serving.server.errors import RequestError, invalid
from serving.server.messages import metadata_response, status_response
from serving.server.predictor import ModelSpec, Predictor

log = logging.getLogger("heliograph.serve")

SPREAD = 1024
"""Elements that a message may hold more of than it has bytes."""

HEALTHY = ("", "ModelService", "PredictionService")
"""Services whose health can be asked for, under TF Serving's names."""


async def start(predictor: Predictor, address: str, max_message: int) -> tuple[grpc.aio.Server, int]:
    """A running server, and its port.

    Args:
        predictor: what answers.
        address: `HOST:PORT`; port 0 takes a free one.
        max_message: bytes of a message above which gRPC refuses it.

    Raises:
        OSError: the address cannot be had.
    """
    options = [("grpc.max_receive_message_length", max_message), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(interceptors=[_Parsing()], options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(predictor), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(predictor), server)
    healths = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healths, server)
    for service in HEALTHY:
        await healths.set(service, health_pb2.HealthCheckResponse.SERVING)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"{address}: cannot be listened on: {error}") from None
    await server.start()
    return server, port


class _Parsing(grpc.aio.ServerInterceptor):
    """Refuses bytes that are no message with INTERNAL, as gRPC for C++ does; that for asyncio says UNKNOWN."""

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def answer(content: bytes, context: Any) -> Any:
            try:
                request = handler.request_deserializer(content)
            except DecodeError as error:
                await context.abort(grpc.StatusCode.INTERNAL, f"the request cannot be parsed: {error}")
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(answer, None, handler.response_serializer)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def Predict(self, request: PredictRequest, context: Any) -> PredictResponse:  # noqa: N802
        return await _answered(context, lambda: self._predict(request, context))

    async def _predict(self, request: PredictRequest, context: Any) -> PredictResponse:
        spec = _spec(request.model_spec, request.HasField("model_spec"))
        with self._predictor.observed(spec.name, "Predict", "GRPC"):
            async with self._predictor.library.use(*spec) as servable:
                signature = request.model_spec.signature_name
                inputs = {name: _array(name, value) for name, value in request.inputs.items()}
                outputs = await self._predictor.predict(
                    spec, servable, signature, inputs, tuple(request.output_filter), context.time_remaining()
                )
            response = PredictResponse()
            response.model_spec.name = spec.name
            response.model_spec.version.value = servable.version
            response.model_spec.signature_name = signature or "serving_default"
            for name, value in outputs.items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return response

    async def GetModelMetadata(  # noqa: N802
        self, request: GetModelMetadataRequest, context: Any
    ) -> GetModelMetadataResponse:
        async def answer() -> GetModelMetadataResponse:
            spec = _spec(request.model_spec, request.HasField("model_spec"))
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            for field in request.metadata_field:
                if field != "signature_def":
                    raise invalid(f"Metadata field {field} is not supported")
            async with self._predictor.library.use(*spec) as servable:
                return metadata_response(spec.name, servable)

        return await _answered(context, answer)

    async def Classify(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        await _unimplemented(context, "Classify")

    async def Regress(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        await _unimplemented(context, "Regress")

    async def MultiInference(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        await _unimplemented(context, "MultiInference")


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    async def GetModelStatus(self, request: GetModelStatusRequest, context: Any) -> GetModelStatusResponse:  # noqa: N802
        async def answer() -> GetModelStatusResponse:
            spec = _spec(request.model_spec, request.HasField("model_spec"))
            return status_response(self._predictor.library.status(*spec))

        return await _answered(context, answer)

    async def HandleReloadConfigRequest(self, request: Any, context: Any) -> NoReturn:  # noqa: N802
        await _unimplemented(context, "HandleReloadConfigRequest")


async def _answered(context: Any, answer: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await answer()
    except RequestError as error:
        await context.abort(error.code, error.message)
    except Exception as error:
        log.exception("a request failed")
        await context.abort(grpc.StatusCode.INTERNAL, f"{type(error).__name__} in the server; see its log")


async def _unimplemented(context: Any, method: str) -> NoReturn:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{method}: this stand-in only answers Predict")
    raise AssertionError("abort raises")


def _spec(message: ModelSpecMessage, present: bool) -> ModelSpec:
    if not present:
        raise invalid("Missing ModelSpec")
    version = message.version.value if message.HasField("version") else None
    return ModelSpec(message.name, version, message.version_label)


def _array(name: str, value: Any) -> Any:
    """A message as an array, no larger than the message: one value may stand for many only up to `SPREAD`."""
    dims = [dim.size for dim in value.tensor_shape.dim]
    count = math.prod(dims)
    if min(dims, default=0) < 0 or value.tensor_shape.unknown_rank or count > max(SPREAD, value.ByteSize()):
        raise invalid(f"input {name} is no tensor: its shape {dims} does not suit its {value.ByteSize()} bytes")
    try:
        return tf.make_ndarray(value)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise invalid(f"input {name} is no tensor: {error}") from None
