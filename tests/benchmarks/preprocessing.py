"""Preprocessing speed: pairs a second of ExampleGen, Transform and StatisticsGen, and of two peers, on Multi30k varied.

    python -m tests.benchmarks.preprocessing --data ../shared/data/multi30k [--json FILE]
        [--sizes 100000,1000000] [--workers 1,2] [--only heliograph]

The corpus of a size is written by `preprocessing_corpus.py`, a plain pair of files. Every row is measured in processes
of its own (`preprocessing_stages.py`). *heliograph* runs with `--direct_running_mode=multi_processing`: so many worker
processes, and the process that runs the pipeline beside them; imports of that process are not counted, but the workers'
are, for every pipeline starts its own. *heliograph_in_process* is a run without Beam options.

*python_loop* does the same work in one process without Beam, and *fairseq_style* the least that training needs: text
that is tokens already to a vocabulary and ids. Memory is the peak of the resident set of the largest process
(`process_memory.py`), in MiB. Outputs of a size are compared between numbers of workers, byte by byte.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.preprocessing_corpus import write_corpus
from tests.benchmarks.process_memory import MemoryWatch

PAIRS_PER_SHARD = 50_000
FEWEST_SHARDS = 8
IN_PROCESS = "_in_process"
PEERS = (f"heliograph{IN_PROCESS}", "python_loop", "fairseq_style")


def main() -> None:
    """Parse the options, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.de.gz and train.en.gz")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--sizes", type=_numbers, default=[100_000, 1_000_000], help="pairs, as 100000,1000000")
    parser.add_argument("--workers", type=_numbers, default=[1, 2], help="numbers of workers, as 1,2")
    parser.add_argument("--only", help="only these systems, as heliograph,python_loop")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for pairs in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            corpus = write_corpus(options.data, Path(folder), pairs)
            runs = [("heliograph", workers) for workers in options.workers] + [(peer, 1) for peer in PEERS]
            for system, workers in runs:
                if options.only is None or system in options.only.split(","):
                    rows.append(measure(system, pairs, workers, corpus, Path(folder, f"{system}-{workers}")))
                    print_row(rows[-1])
    print_summary(rows)
    if options.json:
        report = {"cores": os.cpu_count(), "memory": "peak RSS, MiB", "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def measure(system: str, pairs: int, workers: int, corpus: tuple[Path, Path], output: Path) -> dict[str, Any]:
    """A row: the `stages` by name, with `seconds` and the peaks of memory; `sha256` of all that is written."""
    output.mkdir()
    several = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    job = {
        "system": system.removesuffix(IN_PROCESS),
        "corpus": [str(path) for path in corpus],
        "output": str(output / "out"),
        "shards": max(FEWEST_SHARDS, pairs // PAIRS_PER_SHARD),
        "beam_args": [] if system.endswith(IN_PROCESS) else several,
    }
    (output / "job.json").write_text(json.dumps(job), encoding="utf-8")
    root = Path(__file__).resolve().parents[2]  # where `python -m tests...` and Beam's workers find the code
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.preprocessing_stages", str(output / "job.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdin is not None and process.stdout is not None
    stages: dict[str, dict[str, Any]] = {}
    names = json.loads(process.stdout.readline() or "null")
    watch = MemoryWatch(process.pid)
    for name in names or []:
        watch.take_peaks()
        began = time.perf_counter()
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            break
        seconds = time.perf_counter() - began
        runner, *others = watch.take_peaks()
        memory = {"peak_mib": max(others, default=runner), "runner_mib": runner}
        stages[name] = {"seconds": seconds, **json.loads(answer), **memory}
    watch.stop()
    process.stdin.close()
    if process.wait() or names is None or len(stages) < len(names):
        raise SystemExit(f"{system} with {pairs} pairs and {workers} workers: has failed; see its error above")
    return {
        "system": system,
        "pairs": pairs,
        "workers": workers,
        "pairs_per_second": pairs / sum(stage["seconds"] for stage in stages.values()),
        "peak_mib": max(max(stage["peak_mib"], stage["runner_mib"]) for stage in stages.values()),
        "stages": stages,
        "sha256": fingerprint(output / "out"),
    }


def fingerprint(folder: Path) -> str:
    """SHA-256 of the names and contents of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def print_row(row: dict[str, Any]) -> None:
    """One line, as soon as it is measured."""
    stages = ", ".join(
        f"{name} {stage['seconds']:.1f} s ({stage['cpu_seconds']:.1f} of processors), "
        f"{stage['peak_mib']:.0f} and {stage['runner_mib']:.0f} MiB"
        for name, stage in row["stages"].items()
    )
    print(
        f"{row['system']:14} {row['pairs']:10,} pairs {row['workers']} workers {row['pairs_per_second']:9,.0f} pairs/s "
        f"{row['peak_mib']:6.0f} MiB   {stages}   {row['sha256'][:12]}",
        flush=True,
    )


def print_summary(rows: list[dict[str, Any]]) -> None:
    """What more workers bring, whether outputs are equal, and what a large corpus would take."""
    ours = {(row["pairs"], row["workers"]): row for row in rows if row["system"] == "heliograph"}
    for (pairs, workers), row in ours.items():
        one = ours.get((pairs, 1))
        if one is not None and workers > 1:
            gains = ", ".join(
                f"{name} {one['stages'][name]['seconds'] / stage['seconds']:.2f}"
                for name, stage in row["stages"].items()
            )
            print(f"{pairs:,} pairs, {workers} workers: times as fast as one: {gains}")
    for pairs in sorted({pairs for pairs, _ in ours}):
        bytes_of = {row["sha256"] for row in rows if row["pairs"] == pairs and row["system"].startswith("heliograph")}
        print(f"{pairs:,} pairs: {'identical bytes' if len(bytes_of) == 1 else 'OTHER BYTES'} of all runs")
    if ours:
        pairs, workers = max(ours)
        speed = ours[pairs, workers]["pairs_per_second"]
        hours = 10**9 / (speed / workers * 100) / 3600
        print(
            f"10^9 pairs on 100 workers, by the row of {pairs:,} pairs and {workers} workers: "
            f"10^9 / ({speed:,.0f} pairs/s / {workers} x 100) = {hours:.1f} hours, if storage keeps up"
        )


if __name__ == "__main__":
    main()
