"""The endpoint under load: throughput and latency by batching, hot swaps, memory, and odd requests.

    python -m tests.benchmarks.endpoint --model MODEL_DIR --texts FILE [--json FILE] [--clients 64] [--seconds 20]

MODEL_DIR is a version of a SavedModel, FILE holds real texts, one a line. The server is `heliograph serve`'s, in a
process of its own, on the same machine; clients are threads of this process with one connection each, that ask for one
text after the other (mixed lengths, in random order). Then:

- *swaps*: versions are pushed while all clients ask; no request may fail (default: 20);
- *memory*: resident memory of the server after each thousand of 10,000 further requests, half of them over gRPC;
- *odd requests*: random bytes, changed JSON and changed protocol messages; every answer must be well formed, and the
  server must still translate afterwards (default: 100,000).
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import numpy as np

from serving.client import Client, ClientOptions
from serving.push import push

ROWS = {
    "no batching": (),
    "batches of 8, 1 ms": ("--batching", "--max-batch-size=8", "--batch-timeout-micros=1000"),
    "batches of 16, 2 ms": ("--batching", "--max-batch-size=16", "--batch-timeout-micros=2000"),
    "batches of 32, 5 ms": ("--batching", "--max-batch-size=32", "--batch-timeout-micros=5000"),
}


class Server:
    """`heliograph serve` in a process of its own."""

    def __init__(self, base_dir: Path, arguments: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "pipeline", "serve", str(base_dir)]
        command += ["--rest-port=0", "--grpc-port=0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("REST "):
                _, self.rest, _, self.grpc = line.split()
            if line.startswith("curl "):
                break
        else:
            raise RuntimeError(f"the server did not start: {' '.join(command)}")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def resident_mib(self) -> float:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmRSS in /proc")


class Load:
    """Clients that ask until they are told to stop."""

    def __init__(self, url: str, texts: list[str], clients: int) -> None:
        self.url, self.texts = url, texts
        self.milliseconds: list[float] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        choice = random.Random(seed)
        with httpx.Client(timeout=120.0) as client:
            while not self._stop.is_set():
                start = time.perf_counter()
                try:
                    answer = client.post(f"{self.url}:predict", json={"instances": [choice.choice(self.texts)]})
                    if answer.status_code != 200 or not isinstance(answer.json()["predictions"][0], str):
                        self.failures.append(answer.text)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                self.milliseconds.append(1000 * (time.perf_counter() - start))


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a version of a SavedModel")
    parser.add_argument("--texts", type=Path, required=True, help="real texts, one a line")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each row, after as long a warm-up of a tenth")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--requests", type=int, default=10_000, help="of the test of memory")
    parser.add_argument("--odd", type=int, default=100_000, help="odd requests")
    options = parser.parse_args()
    texts = options.texts.read_text(encoding="utf-8").splitlines()
    result: dict[str, object] = {"clients": options.clients}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "demo"
        push(options.model, base, keep=2)
        result["rows"] = [throughput(name, base, arguments, texts, options) for name, arguments in ROWS.items()]
        with Server(base, ROWS["batches of 16, 2 ms"]) as server:
            result["swaps"] = swaps(server, base, Path(folder), texts, options)
            result["memory_mib"] = memory(server, texts, options.requests)
            result["odd_requests"] = odd_requests(server, texts, options.odd)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def throughput(
    name: str, base: Path, arguments: tuple[str, ...], texts: list[str], options: argparse.Namespace
) -> dict[str, object]:
    """One row: requests a second, and how long they took."""
    with Server(base, arguments) as server, Load(server.rest, texts, options.clients) as load:
        time.sleep(options.seconds / 10)
        before = len(load.milliseconds)
        time.sleep(options.seconds)
        taken = load.milliseconds[before:]
    p50, p95, p99 = np.percentile(taken, [50, 95, 99])
    row = {
        "batching": name,
        "requests_per_second": len(taken) / options.seconds,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "failures": len(load.failures),
    }
    print(
        f"{name:<22} {row['requests_per_second']:8.1f} requests/s   p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms"
        f"   {len(load.failures)} failures",
        flush=True,
    )
    return row


def swaps(server: Server, base: Path, folder: Path, texts: list[str], options: argparse.Namespace) -> dict[str, object]:
    """Push versions under load; how many requests were answered, and how many failed."""
    with Load(server.rest, texts, options.clients) as load:
        for number in range(2, options.swaps + 2):
            changed = folder / f"version-{number}"
            subprocess.run(["cp", "-r", str(options.model), str(changed)], check=True)
            (changed / "note").write_text(str(number))
            push(changed, base, keep=2)
            wait_for(lambda number=number: current(server) == number)
    found = {"swaps": options.swaps, "requests": len(load.milliseconds), "failures": len(load.failures)}
    print(f"swaps: {found['swaps']}, requests meanwhile: {found['requests']}, failed: {found['failures']}", flush=True)
    return found


def current(server: Server) -> int:
    """The version that is served."""
    versions = httpx.get(server.rest, timeout=60).json()["model_version_status"]
    return max((int(v["version"]) for v in versions if v["state"] == "AVAILABLE"), default=0)


def wait_for(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Look ten times a second."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the new version was not served in time")
        time.sleep(0.1)


def memory(server: Server, texts: list[str], requests: int) -> list[float]:
    """Resident memory after each tenth of the requests."""
    found = []
    options = ClientOptions(batch_size=1, deadline=120.0)
    with Client(server.rest, options) as rest, Client(server.grpc, options) as rpc:
        for number in range(requests):
            (rest, rpc)[number % 2].translate([texts[number % len(texts)]])
            if (number + 1) % (requests // 10) == 0:
                found.append(server.resident_mib())
    print("memory after each tenth of the requests, MiB: " + " ".join(f"{one:.0f}" for one in found), flush=True)
    return found


def odd_requests(server: Server, texts: list[str], count: int) -> dict[str, int]:
    """Send what no client should; half over REST, half over gRPC. Returns how often each status came back."""
    choice, statuses = random.Random(0), {}
    good = json.dumps({"signature_name": "n_best", "instances": [{"text": texts[0]}]}).encode()
    message = request_message(texts[0])
    address = server.grpc.removeprefix("grpc://").split("/")[0]
    with httpx.Client(timeout=60.0) as client, grpc.insecure_channel(address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")  # bytes in, bytes out
        for number in range(count):
            if number % 2:
                answer = client.post(f"{server.rest}:predict", content=mutated(good, choice))
                document = answer.json()  # always JSON: an answer or an error
                assert ("error" in document) == (answer.status_code != 200), answer.text
                status = f"REST {answer.status_code}"
            else:
                try:
                    call(mutated(message, choice), timeout=60)
                    status = "gRPC OK"
                except grpc.RpcError as error:
                    assert error.code() in EXPECTED, error
                    status = f"gRPC {error.code().name}"
            statuses[status] = statuses.get(status, 0) + 1
        answer = client.post(f"{server.rest}:predict", json={"instances": texts[:1]})
        assert answer.status_code == 200, answer.text
    print("odd requests: " + ", ".join(f"{status} {n:,}" for status, n in sorted(statuses.items())), flush=True)
    return statuses


EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INTERNAL,  # gRPC's own answer to bytes that are no message
}


def request_message(text: str) -> bytes:
    """A predict request."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    request = PredictRequest()
    request.model_spec.name = "demo"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([text]))
    content: bytes = request.SerializeToString()
    return content


def mutated(content: bytes, choice: random.Random) -> bytes:
    """Random bytes, or the content with some bytes changed, left out or repeated."""
    if choice.random() < 0.2:
        return choice.randbytes(choice.randrange(60))
    changed = bytearray(content)
    for _ in range(choice.randrange(1, 5)):
        place, kind = choice.randrange(len(changed) + 1), choice.randrange(3)
        if kind == 0 and place < len(changed):
            changed[place] = choice.randrange(256)
        elif kind == 1:
            del changed[place : place + choice.randrange(8)]
        else:
            changed[place:place] = changed[place : place + choice.randrange(8)]
    return bytes(changed)


if __name__ == "__main__":
    main()
