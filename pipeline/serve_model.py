"""Runs the stand-in server until a signal ends it."""

import asyncio
import logging
import signal
import urllib.parse
from contextlib import nullcontext

from pipeline.quiet import filtered_stderr
from preprocessing.errors import DataError
from serving.server.errors import RequestError
from serving.server.serve import ServeOptions, serve

log = logging.getLogger("heliograph.serve")


def serve_model(options: ServeOptions) -> None:
    """Serve one model until SIGINT or SIGTERM; requests under way are answered first.

    Raises:
        DataError: the model cannot be loaded.
    """
    (model,) = options.models

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
            url = f"http://{options.host}:{rest}/v1/models/{urllib.parse.quote(model.name)}"
            log.info("a stand-in for TF Serving, for development; Ctrl-C ends it")
            log.info("REST %s   gRPC grpc://%s:%d/%s", url, options.host, rpc, model.name)
            log.info("""curl -d '{"instances": ["…"]}' %s:predict""", url)

        # After the first version nothing is held back: were the process to die of one, its last words would be lost.
        filters = iter([filtered_stderr])
        await serve(options, stop, ready, lambda: next(filters, nullcontext)())

    try:
        asyncio.run(main())
    except RequestError as error:
        raise DataError(error.message) from None
