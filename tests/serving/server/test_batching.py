"""The queue: who is put together with whom, what is refused, and that everyone gets their own rows."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving.server.batching import Batcher, BatchingOptions
from serving.server.errors import RequestError


class Bench:
    """Adds one, slowly, and notes the sizes of batches."""

    def __init__(self, seconds=0.0, **options):
        self.sizes, self.ends, self.seconds = [], [], seconds
        self.options = BatchingOptions(**{"batch_timeout_micros": 20_000, **options})

    def run(self, inputs, end):
        self.ends.append(end)
        time.sleep(self.seconds)
        if (inputs["x"] < 0).any():
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "negative")
        return {"y": inputs["x"] + 1}

    async def submit_all(self, requests):
        with ThreadPoolExecutor(4) as executor:
            batcher = Batcher(self.run, self.options, executor, self.sizes.append)
            tasks = (batcher.submit({"x": np.array(request)}) for request in requests)
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert not batcher._rows
            return [answer if isinstance(answer, Exception) else answer["y"].tolist() for answer in answers]

    def answers(self, *requests):
        return asyncio.run(self.submit_all(requests))


def test_everyone_gets_their_own_rows():
    bench = Bench(max_batch_size=8)
    requests = [
        list(range(start, start + size)) for start, size in ((0, 3), (10, 1), (20, 5), (30, 2), (40, 8), (50, 0))
    ]
    assert bench.answers(*requests) == [[value + 1 for value in request] for request in requests]
    assert sum(bench.sizes) == 19 and max(bench.sizes) <= 8 and len(bench.sizes) <= 6


def test_a_full_batch_does_not_wait_and_a_lone_request_waits_its_time():
    bench = Bench(max_batch_size=2, batch_timeout_micros=10_000_000)
    start = time.monotonic()
    assert bench.answers([1], [2]) == [[2], [3]]
    assert time.monotonic() - start < 5 and bench.sizes == [2]
    lone = Bench(max_batch_size=2, batch_timeout_micros=200_000)
    start = time.monotonic()
    assert lone.answers([1]) == [[2]]
    assert time.monotonic() - start >= 0.2


def test_what_cannot_be_batched_is_refused():
    too_many, scalar = Bench(max_batch_size=2).answers([1, 2, 3], 5)
    assert (too_many.code, scalar.code) == (grpc.StatusCode.INVALID_ARGUMENT,) * 2
    assert "Task size 3 is larger than maximum input batch size 2" in too_many.message
    assert "at least one dimension" in scalar.message

    async def unequal():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda inputs, _: inputs, BatchingOptions(), executor)
            await batcher.submit({"a": np.zeros(2), "b": np.zeros(3)})

    with pytest.raises(RequestError, match="equal 0th-dimension size"):
        asyncio.run(unequal())


def test_a_full_queue_refuses_at_once():
    bench = Bench(seconds=0.2, max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    answers = bench.answers(*([[value] for value in range(6)]))
    refused = [answer for answer in answers if isinstance(answer, RequestError)]
    assert len(refused) == 4 and all(error.code == grpc.StatusCode.UNAVAILABLE for error in refused)
    assert [answer for answer in answers if isinstance(answer, list)] == [[1], [2]]


def test_an_error_reaches_the_whole_batch_and_nobody_else():
    bench = Bench(max_batch_size=2)
    answers = bench.answers([1], [-5], [3], [4])
    assert [type(answer) for answer in answers] == [RequestError, RequestError, list, list]
    assert answers[2:] == [[4], [5]]


def test_a_request_that_was_given_up_is_not_computed():
    bench = Bench(seconds=0.2, max_batch_size=1, num_batch_threads=1)

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(bench.run, bench.options, executor, bench.sizes.append)
            first = asyncio.create_task(batcher.submit({"x": np.array([1])}))
            second = asyncio.create_task(batcher.submit({"x": np.array([2])}))
            await asyncio.sleep(0.1)
            second.cancel()
            third = await batcher.submit({"x": np.array([3])})
            return await first, third

    first, third = asyncio.run(main())
    assert (first["y"].tolist(), third["y"].tolist()) == ([2], [4]) and bench.sizes == [1, 1]


def test_a_batch_has_the_latest_deadline_of_its_requests():
    bench = Bench(max_batch_size=2)

    async def main(*ends):
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(bench.run, bench.options, executor)
            await asyncio.gather(*(batcher.submit({"x": np.array([1])}, end) for end in ends))

    asyncio.run(main(5.0, 7.0))
    asyncio.run(main(5.0, None))
    assert bench.ends == [7.0, None]


@pytest.mark.parametrize("answer", [np.zeros(3), np.array(1)])
def test_outputs_that_are_not_row_by_row_are_an_error(answer):
    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda *_: {"y": answer}, BatchingOptions(), executor)
            await batcher.submit({"x": np.array([1, 2])})

    with pytest.raises(RequestError, match="Batched output tensor y") as caught:
        asyncio.run(main())
    assert caught.value.code == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1, got 0"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be at least 0, got -1"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches must be at least 1, got 0"),
        ({"num_batch_threads": 0}, "num_batch_threads must be at least 1, got 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        BatchingOptions(**options)
