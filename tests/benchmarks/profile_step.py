"""Where the time of a training step goes: TensorFlow's profiler, by part of the step and kind of operation.

    python -m tests.benchmarks.profile_step --data ../shared/data/multi30k [--precision bfloat16] [--json FILE]

The model and the batches are those of `tests.benchmarks.training` (LSTM, ratio 0.5). Times are those of operations,
added up over threads, so together they may exceed the step's.
"""

import argparse
import glob
import json
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.benchmarks.training import WARM_UP, Candidate, _heliograph, _in_process, _write_batches, load_batches

STEPS = 6
PARTS = {  # the first pattern that is found in an operation's name
    r"roll_out": "roll-out",
    r"projection": "vocabulary projection and loss",
    r"recurrence_gradient.*while": "recurrence, backward loop",
    r"recurrence_gradient": "recurrence, backward, all steps at once",
    r"recurrence.*while": "recurrence, forward loop",
    r"recurrence": "recurrence, forward, all steps at once",
    r"dropout": "dropout",
    r"clip|ResourceApplyAdam": "clipping and Adam",
}
CONTAINERS = re.compile(r"^(While|Stateless|Partitioned|Stateful|ParallelFor|Process|Run|__inference|Eager)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the six files of the tutorial preset; downloaded if not given")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    options = parser.parse_args()
    options.batches, options.by_length = STEPS, False
    with tempfile.TemporaryDirectory() as folder:
        _in_process(_write_batches, folder, options)
        batches, sizes = load_batches(str(Path(folder) / "batches.npz"))
        rows, step = profile(options.precision, batches, sizes, folder)
    total = sum(rows.values())
    print(f"{options.precision}: a step takes {1e3 * step:.0f} ms; share of the operations' time")
    for (part, kind), seconds in rows.most_common():
        if seconds >= 0.01 * total:
            print(f"{seconds / total:5.0%}  {part}: {kind}")
    if options.json:
        shares = [{"part": part, "kind": kind, "share": seconds / total} for (part, kind), seconds in rows.items()]
        options.json.write_text(json.dumps({"precision": options.precision, "step": step, "rows": shares}) + "\n")


def profile(precision: str, batches: list[dict], sizes, folder: str) -> tuple[Counter, float]:
    """Seconds by (part, kind of operation), and the time of a step without the profiler."""
    step, _ = _heliograph(Candidate("heliograph", "lstm", precision, 0.5), sizes, batches)
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for batch in batches:
        step(batch)
    began = time.perf_counter()
    for batch in batches[WARM_UP:]:
        step(batch)
    seconds = (time.perf_counter() - began) / STEPS
    with tf.profiler.experimental.Profile(folder):
        for batch in batches[WARM_UP:]:
            step(batch)
    space = xplane_pb2.XSpace()
    space.ParseFromString(Path(glob.glob(f"{folder}/plugins/profile/*/*.xplane.pb")[0]).read_bytes())
    found: Counter = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if name and not CONTAINERS.match(operation.strip()):
                    found[part_of(name, operation), kind_of(operation)] += event.duration_ps / 1e12
    return found, seconds


def part_of(name: str, operation: str) -> str:
    found = (part for pattern, part in PARTS.items() if re.search(pattern, f"{name}:{operation}"))
    return next(found, "everything else")


def kind_of(operation: str) -> str:
    if "MatMul" in operation:
        return "matrix products"
    if operation in ("Cast", "ConcatV2", "StridedSlice", "Pack", "GatherV2", "TensorListConcatV2", "_MklTranspose"):
        return "casts and copies"
    return "elementwise and others"


if __name__ == "__main__":
    main()
