"""Runs the stand-in server until a signal ends it."""

import asyncio
import logging
import signal
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from preprocessing.errors import DataError
from serving.server.batching import BatchingOptions
from serving.server.errors import RequestError
from serving.server.library import Model
from serving.server.serve import ServeOptions, serve

log = logging.getLogger("heliograph.serve")


def serve_model(base_dir: Path, host: str, rest_port: int, grpc_port: int, batching: Mapping[str, int] | None) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are answered first.

    Args:
        base_dir: the folder of the model's versions, whose name is the model's.
        host: address to listen on.
        rest_port: 0 for a free one.
        grpc_port: 0 for a free one.
        batching: fields of `BatchingOptions`; `None` for no batching.

    Raises:
        DataError: the model cannot be loaded.
    """
    options = ServeOptions(
        models=(Model(name=base_dir.name, base_dir=base_dir),),
        host=host,
        rest_port=rest_port,
        grpc_port=grpc_port,
        batching=None if batching is None else BatchingOptions(**batching),
    )

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)

        def end() -> None:
            stop.set()
            for number in numbers:  # a second signal ends the process at once
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, end)

        def ready(rest: int, rpc: int) -> None:
            url = f"http://{host}:{rest}/v1/models/{urllib.parse.quote(base_dir.name)}"
            log.info("a stand-in for TF Serving, for development; Ctrl-C ends it")
            log.info("REST %s   gRPC grpc://%s:%d/%s", url, host, rpc, base_dir.name)
            log.info("""curl -d '{"instances": ["…"]}' %s:predict""", url)

        await serve(options, stop, ready)

    try:
        asyncio.run(main())
    except RequestError as error:
        raise DataError(error.message) from None
