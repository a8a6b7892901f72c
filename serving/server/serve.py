"""Starts and ends the stand-in server."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import uvicorn

from serving.server import grpc_api
from serving.server.batching import BatchingOptions
from serving.server.errors import RequestError
from serving.server.library import Library, Model
from serving.server.metrics import Metrics
from serving.server.predictor import Predictor
from serving.server.rest import Rest
from serving.server.servable import Servable

log = logging.getLogger("heliograph.serve")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How the server runs. Where TF Serving has a flag for it, the docstring names it."""

    models: tuple[Model, ...]
    """What is served."""
    host: str = "127.0.0.1"
    """Address that is listened on; TF Serving listens on all."""
    rest_port: int = 8501
    """`--rest_api_port`; 0 takes a free one."""
    grpc_port: int = 8500
    """`--port`; 0 takes a free one."""
    poll_seconds: float = 1.0
    """`--file_system_poll_wait_seconds`."""
    rest_timeout: float = 30.0
    """`--rest_api_timeout_in_ms`, in seconds."""
    max_request_bytes: int = 8 * 2**20
    """Larger requests are refused."""
    max_rows: int = 1024
    """Requests of more texts are refused."""
    batching: BatchingOptions | None = None
    """`--enable_batching` and its parameters."""
    threads: int = 2
    """Requests that are computed at once, without batching."""
    intra_op_threads: int = 0
    """`--tensorflow_intra_op_parallelism`."""
    inter_op_threads: int = 0
    """`--tensorflow_inter_op_parallelism`."""
    grace_seconds: float = 10.0
    """How long requests may take to end when the server is told to."""


class _Uvicorn(uvicorn.Server):
    """Leaves the signals to whoever started the server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    options: ServeOptions,
    stop: asyncio.Event,
    ready: Callable[[int, int], None],
    around_load: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> None:
    """Serve until told to stop, then answer what has been asked, unload, return.

    Args:
        options: see `ServeOptions`.
        stop: set to end it.
        ready: told the REST and the gRPC port, once the models are loaded and warm; the ports open only then.
        around_load: what a version is loaded and warmed up in; one after the other.

    Raises:
        RequestError: none of a model's versions can be loaded.
        OSError: a port cannot be had.
    """
    library = Library(list(options.models), partial(_load, options, around_load))
    loading, stopping = asyncio.create_task(library.refresh()), asyncio.create_task(stop.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        await loading  # a load cannot be broken off
        await library.close()
        return
    await loading
    for model in options.models:
        _check(library, model)
    predictor = Predictor(library, Metrics(), options.threads, options.batching, options.max_rows)
    rest = Rest(predictor, options.rest_timeout, options.max_request_bytes)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bracketed = f"[{options.host}]" if ":" in options.host else options.host
    with socket.create_server((options.host, options.rest_port), family=family) as listening:
        rpc, grpc_port = await grpc_api.start(predictor, f"{bracketed}:{options.grpc_port}", options.max_request_bytes)
        web = _Uvicorn(
            uvicorn.Config(
                rest.application,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=int(options.grace_seconds),
            )
        )
        answering = asyncio.create_task(web.serve(sockets=[listening]))
        polling = asyncio.create_task(library.poll(options.poll_seconds))
        while not web.started and not answering.done():
            await asyncio.sleep(0.01)
        try:
            if not answering.done():
                ready(listening.getsockname()[1], grpc_port)
            # Either part ends only if it fails.
            await asyncio.wait({stopping, answering, polling}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            polling.cancel()
            web.should_exit = True
            await asyncio.gather(answering, rpc.stop(options.grace_seconds))
            await library.close()
            predictor.close()


def _load(
    options: ServeOptions, around_load: Callable[[], contextlib.AbstractContextManager[object]], path: Path
) -> Servable:
    with around_load():
        servable = Servable(path, options.intra_op_threads, options.inter_op_threads)
        try:
            servable.warm_up()
        except BaseException:
            servable.close()
            raise
        return servable


def _check(library: Library, model: Model) -> None:
    try:
        versions = library.status(model.name)
    except RequestError:
        raise RequestError(
            grpc.StatusCode.NOT_FOUND, f"{model.base_dir}: expected versions, folders named by numbers, found none"
        ) from None
    errors = [version.error for version in versions if version.error is not None]
    if len(errors) == len(versions):
        raise errors[0]
    served = [version.number for version in versions if version.error is None]
    for label, number in model.labels.items():
        if number not in served:
            raise RequestError(
                grpc.StatusCode.NOT_FOUND,
                f"label {label}: expected one of the versions that are served, {', '.join(map(str, served))}, "
                f"got {number}",
            )
