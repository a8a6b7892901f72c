"""A client of TF Serving's REST and gRPC interfaces, and so of the stand-in's."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from urllib3 import Timeout

from preprocessing.wording import counted

_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED}
_AGAIN_HTTP = {409, 429, 503}


class EndpointError(Exception):
    """The endpoint refused, or did not answer; the message says which endpoint and why."""


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """How a client asks."""

    deadline: float = 30.0
    """Seconds in which a batch must be answered, all attempts together."""
    attempts: int = 4
    """Tries of a batch that the server was too busy for, or could not be reached with."""
    pause: float = 0.1
    """Seconds before the second try, at most; doubled before each further one."""
    batch_size: int = 16
    """Texts that are sent together."""

    def __post_init__(self) -> None:
        for name, least in (("deadline", 0.001), ("attempts", 1), ("pause", 0.0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class Client:
    """Translates texts by a server.

    Args:
        endpoint: `http://HOST:PORT/v1/models/NAME`, optionally with `/versions/N` or `/labels/L` behind it, for REST;
            `grpc://HOST:PORT/NAME` for gRPC.
        options: see `ClientOptions`.

    Raises:
        ValueError: the endpoint is neither.
    """

    def __init__(self, endpoint: str, options: ClientOptions | None = None) -> None:
        self.endpoint, self.options = endpoint.rstrip("/"), options or ClientOptions()
        scheme, _, rest = self.endpoint.partition("://")
        self._session: requests.Session | None = None
        self._channel: grpc.Channel | None = None
        if scheme in ("http", "https") and "/v1/models/" in rest:
            self._session = requests.Session()
        elif scheme == "grpc" and rest.count("/") == 1 and all(rest.split("/")):
            address, self._name = rest.split("/")
            self._channel = grpc.insecure_channel(address)
            self._stub = PredictionServiceStub(self._channel)
        else:
            raise ValueError(
                f"endpoint must be http://HOST:PORT/v1/models/NAME or grpc://HOST:PORT/NAME, got {endpoint!r}"
            )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
        if self._channel is not None:
            self._channel.close()

    def translate(self, texts: Sequence[str]) -> list[str]:
        """The best translation of each text, in order.

        Texts of similar lengths are sent together: a batch takes as long as its longest one.

        Raises:
            EndpointError: a batch was refused, or not answered in time.
        """
        translations = [""] * len(texts)
        for places in _batches(texts, self.options.batch_size):
            for place, translation in zip(places, self._batch([texts[place] for place in places]), strict=True):
                translations[place] = translation
        return translations

    def _batch(self, texts: Sequence[str]) -> list[str]:
        ask = self._by_rest if self._session is not None else self._by_grpc
        end = time.monotonic() + self.options.deadline
        for attempt in range(1, self.options.attempts + 1):
            try:
                return ask(texts, max(0.001, end - time.monotonic()))
            except _TryAgainError as error:
                # Half to all of the pause, so that clients that failed together do not come back together.
                pause = self.options.pause * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                if attempt == self.options.attempts or time.monotonic() + pause >= end:
                    raise EndpointError(f"{self.endpoint}: {error}, after {counted(attempt, 'attempt')}") from None
                time.sleep(pause)
        raise AssertionError("the loop returns or raises")

    def _by_rest(self, texts: Sequence[str], timeout: float) -> list[str]:
        try:
            answer = self._post({"instances": list(texts)}, timeout)
        except requests.Timeout:
            raise EndpointError(f"{self.endpoint}: no answer in {self.options.deadline:g} s") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise _TryAgainError(f"cannot be reached ({type(error).__name__})") from None
        except requests.RequestException as error:
            raise EndpointError(f"{self.endpoint}: {error}") from None
        try:
            document = answer.json()
        except requests.JSONDecodeError:
            document = {}
        if answer.status_code != 200:
            message = document.get("error", answer.reason) if isinstance(document, dict) else answer.reason
            if answer.status_code in _AGAIN_HTTP:
                raise _TryAgainError(f"{answer.status_code}: {message}")
            raise EndpointError(f"{self.endpoint}: {answer.status_code}: {message}")
        found = document.get("predictions") if isinstance(document, dict) else None
        if not isinstance(found, list) or len(found) != len(texts) or not all(isinstance(one, str) for one in found):
            raise EndpointError(f"{self.endpoint}: expected {counted(len(texts), 'translation')}, got something else")
        return found

    def _post(self, body: Any, timeout: float) -> requests.Response:
        """A whole answer. The timeouts of `requests` are of each piece that comes in; this one is of all together."""
        session: Any = self._session
        end = time.monotonic() + timeout
        answer: requests.Response
        with session.post(f"{self.endpoint}:predict", json=body, timeout=Timeout(total=timeout), stream=True) as answer:
            late = threading.Timer(max(0.0, end - time.monotonic()), _end_reading, [answer])
            late.start()
            try:
                _ = answer.content  # read, and kept
            except requests.RequestException:
                if time.monotonic() < end:
                    raise
            finally:
                late.cancel()
        if time.monotonic() >= end:
            raise requests.Timeout
        return answer

    def _by_grpc(self, texts: Sequence[str], timeout: float) -> list[str]:
        request = PredictRequest()
        request.model_spec.name = self._name
        encoded = [text.encode("utf-8", errors="replace") for text in texts]
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(encoded, tf.string, [len(encoded)]))
        try:
            answer = self._stub.Predict(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() in _AGAIN:
                raise _TryAgainError(f"{error.code().name}: {error.details()}") from None
            raise EndpointError(f"{self.endpoint}: {error.code().name}: {error.details()}") from None
        there = "translation" in answer.outputs
        found: Any = tf.make_ndarray(answer.outputs["translation"]) if there else np.zeros(0)
        if found.shape != (len(texts),) or found.dtype.kind != "O":
            raise EndpointError(f"{self.endpoint}: expected {counted(len(texts), 'translation')}, got something else")
        return [text.decode(errors="replace") for text in found]


def _end_reading(answer: requests.Response) -> None:
    with suppress(RuntimeError, ValueError, OSError):  # it has just come in, or the server has gone
        answer.raw.shutdown()


class _TryAgainError(Exception):
    """The same request may succeed later."""


def _batches(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Places of texts, of similar lengths together."""
    places = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(places), size):
        yield places[start : start + size]
