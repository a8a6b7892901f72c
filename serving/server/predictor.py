"""From a request to its answer, whichever protocol it came by: version, checks, batching, deadline, metrics."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import numpy as np

from serving.server.batching import Batcher, BatchingOptions
from serving.server.errors import RequestError, invalid
from serving.server.library import Library
from serving.server.metrics import Metrics
from serving.server.servable import DEFAULT_SIGNATURE, Servable


class ModelSpec(NamedTuple):
    """Which model a request is for."""

    name: str
    version: int | None = None
    label: str = ""


class Predictor:
    """Answers predict requests.

    Args:
        library: the models.
        metrics: gets counts and times.
        threads: requests, or batches, that are computed at once.
        batching: how requests are put together; `None` for each alone.
        max_rows: rows of a request, at most.
    """

    def __init__(
        self, library: Library, metrics: Metrics, threads: int, batching: BatchingOptions | None, max_rows: int
    ) -> None:
        self.library, self.metrics, self.batching, self.max_rows = library, metrics, batching, max_rows
        count = batching.num_batch_threads if batching else threads
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="predict")
        self._batchers: dict[tuple[int, str, tuple[str, ...]], Batcher] = {}

    async def predict(
        self,
        spec: ModelSpec,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The answer of a servable that is in use.

        Raises:
            RequestError: also `DEADLINE_EXCEEDED` after `timeout` seconds.
        """
        servable.check(signature, inputs, outputs)
        rows = max((len(value) for value in inputs.values() if value.ndim), default=0)
        if rows > self.max_rows:
            raise invalid(f"a request may have at most {self.max_rows:,} rows, got {rows:,}")
        end = None if timeout is None else time.monotonic() + timeout
        work = (
            self._batcher(spec.name, servable, signature, tuple(sorted(outputs))).submit(inputs, end)
            if self.batching
            else self._alone(servable, signature, inputs, outputs, end)
        )
        try:
            return await asyncio.wait_for(work, timeout)
        except TimeoutError:
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, f"Timed out after {timeout:.3g} seconds") from None

    @contextmanager
    def observed(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts and times what is done within."""
        start, status = time.perf_counter(), "UNKNOWN"
        # An unknown name would be a new time series for each misspelling.
        label = model if model in self.library.models else ""
        try:
            yield
            status = "OK"
        except RequestError as error:
            status = error.code.name
            raise
        finally:
            self.metrics.requests.labels(label, status).inc()
            self.metrics.latency.labels(label, api, entrypoint).observe(1e6 * (time.perf_counter() - start))

    def close(self) -> None:
        """Wait for what is being computed."""
        self._executor.shutdown()

    async def _alone(
        self,
        servable: Servable,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str],
        end: float | None,
    ) -> dict[str, np.ndarray]:
        def run() -> dict[str, np.ndarray]:
            return servable.run(signature, inputs, outputs, _left(end))

        return await asyncio.get_running_loop().run_in_executor(self._executor, run)

    def _batcher(self, model: str, servable: Servable, signature: str, outputs: tuple[str, ...]) -> Batcher:
        key = (id(servable), signature or DEFAULT_SIGNATURE, outputs)
        if key not in self._batchers:
            alive = {id(v.servable) for known in self.library.versions.values() for v in known.values()}
            self._batchers = {old: batcher for old, batcher in self._batchers.items() if old[0] in alive}
            self._batchers[key] = Batcher(
                lambda together, end: servable.run(signature, together, outputs, _left(end)),
                self.batching or BatchingOptions(),
                self._executor,
                self.metrics.batch_size.labels(model).observe,
            )
        return self._batchers[key]


def _left(end: float | None) -> float | None:
    """Seconds until a deadline, or an error if it is past: a request may have waited for its turn."""
    if end is None:
        return None
    left = end - time.monotonic()
    if left <= 0:
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "timed out before it was computed")
    return left
