"""TF Serving's REST interface (`http_rest_api_handler.cc`, `g3doc/api_rest.md`) as an ASGI application."""

import asyncio
import logging
import re
import urllib.parse
import zlib
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

from serving.server import json_tensors
from serving.server.errors import HTTP_STATUS, RequestError, invalid
from serving.server.messages import metadata_json, status_response
from serving.server.predictor import ModelSpec, Predictor

log = logging.getLogger("heliograph.serve")

_WHICH = r"/v1/models/(?P<name>[^/:]+)(?:/(?:versions/(?P<version>\d+)|labels/(?P<label>[^/:]+)))?"
_CALL = re.compile(_WHICH + r":(?P<method>classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_WHICH + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_METRICS = "/monitoring/prometheus/metrics"
_LARGEST_VERSION = 2**63 - 1


class Rest:
    """The application.

    Args:
        predictor: what answers.
        timeout: seconds after which a request is given up.
        max_body: bytes of a body, unpacked, above which a request is refused.
    """

    def __init__(self, predictor: Predictor, timeout: float, max_body: int) -> None:
        self._predictor, self._timeout, self._max_body = predictor, timeout, max_body
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
        self.application = Starlette(routes=[Route("/{path:path}", self._answer, methods=methods)])

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path == _METRICS and request.method == "GET":
            return Response(self._predictor.metrics.text(), media_type="text/plain; version=0.0.4")
        if not path.lower().startswith("/v1/"):
            return HTMLResponse("<html><body><h1>Not Found</h1></body></html>", 404)
        try:
            return Response(await self._dispatch(request, path), media_type="application/json")
        except RequestError as error:
            return Response(
                json_tensors.error_body(error.message), int(HTTP_STATUS[error.code]), media_type="application/json"
            )
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.exception("a request failed")
            body = json_tensors.error_body(f"{type(error).__name__} in the server; see its log")
            return Response(body, 500, media_type="application/json")

    async def _dispatch(self, request: Request, path: str) -> bytes:
        call, status = _CALL.fullmatch(path), _STATUS.fullmatch(path)
        if request.method == "POST" and call:
            return await self._call(request, call)
        if request.method == "GET" and status:
            spec = _spec(status)
            if status["metadata"]:
                async with self._predictor.library.use(*spec) as servable:
                    return metadata_json(spec.name, servable).encode()
            versions = self._predictor.library.status(*spec)
            message: GetModelStatusResponse = status_response(versions)
            text = json_format.MessageToJson(
                message, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
            )
            return text.encode()
        raise invalid(f"Malformed request: {request.method} {path}")

    async def _call(self, request: Request, call: re.Match[str]) -> bytes:
        spec, method = _spec(call), call["method"].lower()
        with self._predictor.observed(spec.name, method.capitalize(), "REST"):
            if method != "predict":
                raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{method}: this stand-in only answers predict")
            body = await self._body(request)
            async with self._predictor.library.use(*spec) as servable:

                def types(signature: str) -> Mapping[str, Any]:
                    if signature not in servable.signatures:
                        raise invalid(f'Serving signature name: "{signature}" not found in signature def')
                    return servable.input_types(signature)

                # In a thread: while a long body is read, other requests must be answered.
                parsed = await asyncio.to_thread(json_tensors.parse, body, types)
                outputs = await self._predictor.predict(
                    spec, servable, parsed.signature, parsed.inputs, timeout=self._timeout
                )
            return await asyncio.to_thread(json_tensors.answer, outputs, parsed.form)

    async def _body(self, request: Request) -> bytes:
        """The body, unpacked if it is gzipped, never more of it than is allowed."""
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            self._check_size(size)
            parts.append(part)
        body = b"".join(parts)
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return body
        if encoding != "gzip":
            raise invalid(f"Content-Encoding: expected gzip, got {encoding}")
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            unpacked = unpacker.decompress(body, self._max_body + 1)
        except zlib.error as error:
            raise invalid(f"Failed to uncompress the body: {error}") from None
        self._check_size(len(unpacked))
        if not unpacker.eof:
            raise invalid("Failed to uncompress the body: it is cut off")
        return unpacked

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT, f"the body is larger than {self._max_body:,} bytes, the most allowed"
            )


def _spec(match: re.Match[str]) -> ModelSpec:
    name, version, label = (urllib.parse.unquote(match[key] or "") for key in ("name", "version", "label"))
    if len(version) > 19 or (version and int(version) > _LARGEST_VERSION):
        raise invalid(f"Failed to convert version: {version[:40]} to numeric.")
    return ModelSpec(name, int(version) if version else None, label)
