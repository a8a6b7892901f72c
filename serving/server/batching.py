"""Requests that come in at the same time, put together (TF Serving's `--enable_batching`).

A queue for each servable, signature and set of outputs; bounded, so that a server under too much load refuses at once
what it could only answer too late.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import grpc
import numpy as np

from serving.server.errors import RequestError, invalid

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class BatchingOptions:
    """Names and meanings of TF Serving's `BatchingParameters`."""

    max_batch_size: int = 16
    batch_timeout_micros: int = 2000
    """How long the first request of a batch waits for others."""
    max_enqueued_batches: int = 256
    num_batch_threads: int = 2

    def __post_init__(self) -> None:
        for name, least in (("max_batch_size", 1), ("batch_timeout_micros", 0), ("max_enqueued_batches", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.num_batch_threads < 1:
            raise ValueError(f"num_batch_threads must be at least 1, got {self.num_batch_threads}")


class _Task(NamedTuple):
    inputs: Arrays
    rows: int
    end: float | None  # deadline, of the clock `time.monotonic`
    answer: "asyncio.Future[dict[str, np.ndarray]]"


class Batcher:
    """One queue.

    Args:
        run: answers a batch before a deadline (`None` for none); called in a thread of `executor`.
        options: see `BatchingOptions`.
        executor: its threads are shared by all queues.
        on_batch: told the rows of each batch.
    """

    def __init__(
        self,
        run: Callable[[Arrays, float | None], dict[str, np.ndarray]],
        options: BatchingOptions,
        executor: Executor,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._run, self._options, self._executor, self._on_batch = run, options, executor, on_batch
        self._tasks: deque[_Task] = deque()
        self._rows = 0
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(options.num_batch_threads)
        self._batches: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def submit(self, inputs: Arrays, end: float | None = None) -> dict[str, np.ndarray]:
        """The request's own rows of its batch's answer, before a deadline.

        Raises:
            RequestError: inputs of unequal sizes, more rows than a batch has, a full queue, or what `run` raises.
        """
        sizes = {len(value) if value.ndim else -1 for value in inputs.values()}
        if -1 in sizes:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        if len(sizes) != 1:
            raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
        rows = sizes.pop()
        options = self._options
        if rows > options.max_batch_size:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {options.max_batch_size}")
        counted = max(rows, 1)  # a request of no rows takes a place, too
        if self._rows + counted > options.max_batch_size * options.max_enqueued_batches:
            raise RequestError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; try again later",
            )
        task = _Task(inputs, counted, end, asyncio.get_running_loop().create_future())
        self._tasks.append(task)
        self._rows += counted
        self._changed.set()
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._dispatch())
        return await task.answer

    async def _dispatch(self) -> None:
        """Make batches as long as there are tasks."""
        while self._tasks:
            await self._slots.acquire()
            await self._wait_for_more()
            batch = self._take()
            if not batch:  # all of them were given up
                self._slots.release()
                continue
            running = asyncio.create_task(self._answer(batch))
            self._batches.add(running)
            running.add_done_callback(self._batches.discard)

    async def _wait_for_more(self) -> None:
        end = asyncio.get_running_loop().time() + self._options.batch_timeout_micros * 1e-6
        while self._rows < self._options.max_batch_size:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                return

    def _take(self) -> list[_Task]:
        batch: list[_Task] = []
        rows = 0
        while self._tasks and rows + self._tasks[0].rows <= self._options.max_batch_size:
            task = self._tasks.popleft()
            self._rows -= task.rows
            if not task.answer.done():  # else its client has gone
                batch.append(task)
                rows += task.rows
        return batch

    async def _answer(self, batch: list[_Task]) -> None:
        try:
            together = {name: np.concatenate([task.inputs[name] for task in batch]) for name in batch[0].inputs}
            sizes = [len(next(iter(task.inputs.values()))) for task in batch]
            self._on_batch(sum(sizes))
            ends = [task.end for task in batch]
            last = None if None in ends else max(end for end in ends if end is not None)
            outputs = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, together, last)
            for name, value in outputs.items():
                if not value.ndim or len(value) != sum(sizes):
                    raise RequestError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Batched output tensor {name} has 0th dimension different from the sum of those of the inputs",
                    )
            for task, size, after in zip(batch, sizes, itertools.accumulate(sizes), strict=True):
                if not task.answer.done():
                    part = slice(after - size, after)
                    task.answer.set_result({name: value[part] for name, value in outputs.items()})
        except Exception as error:
            for task in batch:
                if not task.answer.done():
                    task.answer.set_exception(error)
        finally:
            self._slots.release()
