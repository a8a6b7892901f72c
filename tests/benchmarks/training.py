"""Training speed: target tokens a second of Heliograph and of two PyTorch peers, on real Multi30k batches.

    pip install -e '.[benchmarks]'
    python -m tests.benchmarks.training --data ../shared/data/multi30k [--json FILE]

Two layers of 512, embedding 256, dropout 0.5, batch 128, the tutorial's vocabularies. Every system runs in a process of
its own and gets the same batches; they take turns, round by round, so that what else the machine does falls on all of
them. A row is the median of its rounds. Tokens are real target tokens with the end token; padding is not counted.
Each system takes about a gigabyte of memory, those of one cell at a time. A run takes 15 to 30 minutes.

*pytorch_loop* is the classic tutorial's loop, *pytorch_fused* whole-sequence layers at ratio 1, and *pytorch_packed* is
that done as well as PyTorch can: packed sequences, a projection of real tokens only, and its fused Adam.

The share of the peak is the work of the matrix products that a batch needs without padding, divided by the time and
by the speed of one large product ([2048, 2048] x [2048, 2048]) in the same precision, measured in the same process.
"""

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

EMBEDDING, HIDDEN, LAYERS, DROPOUT = 256, 512, 2, 0.5
GATES = {"lstm": 4, "gru": 3}
WARM_UP = 3  # batches before the first round: traces, allocations, caches
PYTORCH = ("pytorch_loop", "pytorch_fused", "pytorch_packed")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One row: who trains, and how."""

    system: str
    cell: str
    precision: str
    teacher_forcing: float


CANDIDATES = (
    Candidate("pytorch_loop", "lstm", "float32", 0.5),
    Candidate("pytorch_fused", "lstm", "float32", 1.0),
    Candidate("pytorch_packed", "lstm", "float32", 1.0),
    Candidate("pytorch_loop", "lstm", "bfloat16", 0.5),
    Candidate("pytorch_fused", "lstm", "bfloat16", 1.0),
    *(Candidate("heliograph", "lstm", p, e) for p in ("float32", "bfloat16") for e in (0.0, 0.25, 0.5, 0.75, 1.0)),
    Candidate("pytorch_loop", "gru", "float32", 0.5),
    Candidate("pytorch_fused", "gru", "float32", 1.0),
    *(Candidate("heliograph", "gru", p, e) for p in ("float32", "bfloat16") for e in (0.5, 1.0)),
)


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the six files of the tutorial preset; downloaded if not given")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each system")
    parser.add_argument("--batches", type=int, default=12, help="batches a turn")
    parser.add_argument("--by-length", action="store_true", help="batches of similar lengths instead of random ones")
    parser.add_argument("--only", default="", help="only rows whose description contains this")
    options = parser.parse_args()
    chosen = [
        candidate for candidate in CANDIDATES if options.only in " ".join(map(str, dataclasses.astuple(candidate)))
    ]
    with tempfile.TemporaryDirectory() as folder:
        _in_process(_write_batches, folder, options)
        rows = []
        for cell in GATES:  # the systems of one cell at a time are in memory
            rows += measure([one for one in chosen if one.cell == cell], Path(folder) / "batches.npz", options.rounds)
    print_table(rows)
    if options.json:
        report = {"batches": "by_length" if options.by_length else "random", "cores": os.cpu_count(), "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def measure(candidates: list[Candidate], batches: Path, rounds: int) -> list[dict]:
    """Rows with `tokens_per_second` and the share of the matrix products' peak."""
    context = get_context("spawn")
    workers = []
    for candidate in candidates:
        ours, theirs = context.Pipe()
        process = context.Process(target=_worker, args=(theirs, candidate, str(batches)))
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        try:
            ready = ours.recv()  # one at a time: loading and warming up use the whole machine
        except EOFError:
            raise SystemExit(f"{candidate}: ended before it was ready; see its error above") from None
        workers.append((candidate, ours, process, ready))
        print(f"ready: {candidate}", flush=True)
    speeds: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}
    for _ in range(rounds):
        for candidate, connection, *_ in workers:
            connection.send("go")
            speeds[candidate].append(connection.recv())
    for _, connection, process, _ in workers:
        connection.send("stop")
        process.join()
    return [
        {
            **dataclasses.asdict(candidate),
            "tokens_per_second": statistics.median(speeds[candidate]),
            "slowest": min(speeds[candidate]),
            "fastest": max(speeds[candidate]),
            "share_of_peak": statistics.median(speeds[candidate]) * ready["flop_per_token"] / ready["peak"],
        }
        for candidate, _, _, ready in workers
    ]


def print_table(rows: list[dict]) -> None:
    """The rows, with their ratio to the tutorial's loop and to the fused peer of the same cell, in float32."""
    speed = {(row["system"], row["cell"], row["precision"]): row["tokens_per_second"] for row in rows}
    print("system         cell precision ratio  tokens/s  of peak  x loop x fused")
    for row in rows:
        ratios = []
        for peer in PYTORCH[:2]:
            base = speed.get((peer, row["cell"], "float32"))
            ratios.append(f"{row['tokens_per_second'] / base:7.2f}" if base else " " * 7)
        print(
            f"{row['system']:14} {row['cell']:4} {row['precision']:9} {row['teacher_forcing']:5.2f} "
            f"{row['tokens_per_second']:9,.0f} {row['share_of_peak']:8.0%} {ratios[0]} {ratios[1]}"
        )


def _write_batches(folder: str, options: argparse.Namespace) -> None:
    """Preprocess the corpus as the tutorial preset does, and keep some batches as arrays."""
    from pipeline.config import load
    from pipeline.input_data import Batching, epoch_batches
    from pipeline.preprocess import generate, transform
    from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

    overrides = [f"data.directory={Path(options.data).resolve()}"] if options.data else []
    config = load("multi30k-de-en-tutorial", overrides)
    examples, records = Path(folder, "examples"), Path(folder, "records")
    for path in (examples, records):
        path.mkdir()
    generate(config, examples, [])
    transform(config, examples, records, [])
    dataset = epoch_batches(records, Batching(size=config.training.batch_size, by_length=options.by_length), 1, 0)
    arrays = {f"{side}_size": len(read_vocabulary(vocabulary_file(records, side))) for side in SIDES}
    for index, batch in enumerate(itertools.islice(dataset.as_numpy_iterator(), WARM_UP + options.batches)):
        arrays.update({f"{index}/{name}": value for name, value in batch.items()})
    np.savez(Path(folder, "batches.npz"), **arrays)


def _in_process(function, *arguments) -> None:
    process = get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def load_batches(path: str):
    """The batches, and the model's sizes, that `_write_batches` wrote."""
    with np.load(path) as file:
        arrays = dict(file)
    names = ("source_ids", "source_lengths", "target_ids", "target_lengths")
    count = sum(name.endswith("/target_ids") for name in arrays)
    batches = [{name: arrays[f"{index}/{name}"] for name in names} for index in range(count)]
    return batches, (int(arrays["source_size"]), int(arrays["target_size"]), EMBEDDING, HIDDEN, LAYERS)


def _worker(connection: Connection, candidate: Candidate, path: str) -> None:
    """One system in its own process: warm up, then a turn for each message."""
    batches, sizes = load_batches(path)
    make = _pytorch if candidate.system in PYTORCH else _heliograph
    step, peak = make(candidate, sizes, batches)
    for batch in batches[:WARM_UP]:
        step(batch)
    tokens = sum(int(batch["target_lengths"].sum()) for batch in batches[WARM_UP:])
    work = sum(training_flop(batch, candidate.cell, sizes) for batch in batches[WARM_UP:])
    connection.send({"peak": peak, "flop_per_token": work / tokens})
    while connection.recv() == "go":
        began = time.perf_counter()
        for batch in batches[WARM_UP:]:
            step(batch)
        connection.send(tokens / (time.perf_counter() - began))


def training_flop(batch: dict, cell: str, sizes) -> float:
    """Floating-point operations of the matrix products of one update, forward and backward, without padding.

    The roll-out is not counted: it is what a coin costs beyond the work that the update needs.
    """
    _, vocabulary, embedding, hidden, layers = sizes
    recurrent = GATES[cell] * hidden * (embedding + hidden + (layers - 1) * 2 * hidden)
    source, target = int(batch["source_lengths"].sum()), int(batch["target_lengths"].sum())
    return 6.0 * ((source + target) * recurrent + target * hidden * vocabulary)


def _best_of(multiply, size: int = 2048, times: int = 30) -> float:
    """FLOP/s of the fastest of several products of two `[size, size]` matrices."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - began)
    return 2.0 * size**3 / min(seconds)


def _pytorch(candidate: Candidate, sizes, batches):
    import torch

    from tests.benchmarks.pytorch_peers import Peer

    bfloat16 = candidate.precision == "bfloat16"
    kind = candidate.system.removeprefix("pytorch_")
    peer = Peer(sizes, DROPOUT, candidate.cell, kind, candidate.teacher_forcing, bfloat16)
    a = torch.randn(2048, 2048).to(torch.bfloat16 if bfloat16 else torch.float32)
    return peer.step, _best_of(lambda: a @ a)


def _heliograph(candidate: Candidate, sizes, batches):
    from pipeline.quiet import load_tensorflow

    load_tensorflow()
    import keras
    import tensorflow as tf

    from models.networks import RecurrentNetwork
    from models.optimizers import FusedAdam
    from models.seq2seq import Seq2Seq
    from models.teacher_forcing import TeacherForcing
    from preprocessing.special_tokens import START_ID

    keras.utils.set_random_seed(1)
    bfloat16 = candidate.precision == "bfloat16"
    model = Seq2Seq(
        source_vocabulary_size=sizes[0],
        target_vocabulary_size=sizes[1],
        start_id=START_ID,
        dtype="mixed_bfloat16" if bfloat16 else "float32",
        network=RecurrentNetwork(
            embedding_size=EMBEDDING,
            hidden_size=HIDDEN,
            num_layers=LAYERS,
            cell=candidate.cell,
            dropout=DROPOUT,
            init_scale=0.08,
        ),
    )
    model.compile(FusedAdam(1e-3), TeacherForcing(start=candidate.teacher_forcing), seed=1, clip_norm=1.0)
    shapes = {name: tf.TensorSpec([None] * value.ndim, value.dtype) for name, value in batches[0].items()}
    step = tf.function(model.train_step, input_signature=[shapes], autograph=False)
    a = tf.cast(tf.random.normal([2048, 2048]), tf.bfloat16 if bfloat16 else tf.float32)
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    multiply()
    return lambda batch: step(batch)["loss"].numpy(), _best_of(lambda: multiply().numpy())


if __name__ == "__main__":
    main()
