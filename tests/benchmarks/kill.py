"""Kills real runs at random moments with `kill -9`, and compares what they leave with a run that nothing happened to.

    python -m tests.benchmarks.kill [--kills 100] [--json FILE]

The pipeline is the built-in dates, 200 of them, with a tiny network, one epoch, pushed at the end. Each round begins
with an empty root, which is run and killed until a run comes to its end. Then every output of every artifact has the
bytes of the uninterrupted run, but for what tells the time: TensorBoard's logs, the manifests' times and seconds.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]

TOML = """
extends = "dates"
data = {builtin = "dates", shards = 2, dates = {count = 200}}
model = {embedding_size = 8, hidden_size = 12, num_layers = 1}
training = {epochs = 1, batch_size = 32, checkpoint_minutes = 0.0}
serving = {push_to = "srv"}
"""


def start(folder: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    """A run of the pipeline with its root in `folder`."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", "my.toml", "--root", "root", *options],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=file,
        )


def prepared(folder: Path) -> Path:
    """An empty folder with the configuration."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "my.toml").write_text(TOML)
    return folder


def outputs(folder: Path) -> dict[str, object]:
    """Component and file to its bytes, or to what of them has to be equal."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("root/*/*/manifest.json")):
        manifest = json.loads(path.read_text().replace(str(folder), "FOLDER"))
        values = {key: manifest[key] for key in ("version", "packages", "parameters", "external_files", "code")}
        found[manifest["component"]] = {
            **values,
            "metrics": {key: value for key, value in manifest["metrics"].items() if "seconds" not in key},
            "files": sorted(name for name in manifest["outputs"] if not name.startswith("logs/")),
        }
        for name in manifest["outputs"]:
            if not name.startswith("logs/"):
                found[f"{manifest['component']}/{name}"] = _comparable(path.parent / name, folder)
    for path in sorted((folder / "srv").rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder))] = _comparable(path, folder)
    return found


def _comparable(path: Path, folder: Path) -> bytes:
    content = path.read_bytes()
    return content.replace(str(folder).encode(), b"FOLDER")


class DiffersError(AssertionError):
    """A killed run was not completed to the bytes of an uninterrupted one."""


def survive(folder: Path, kills: int, *options: str) -> tuple[int, Counter[str]]:
    """Kill so many runs.

    Args:
        folder: an empty one.
        kills: how many.
        *options: of `heliograph run`.

    Returns:
        How many roots were completed, and how often each component was the one that was killed.
    """
    generator = random.Random(os.urandom(8))
    log = folder / "log"
    whole = prepared(folder / "whole")
    began = time.monotonic()
    if start(whole, log, *options).wait() != 0:
        raise DiffersError(log.read_text())
    seconds = time.monotonic() - began
    print(f"uninterrupted: {seconds:.0f} s", flush=True)
    expected = outputs(whole)
    done, rounds, moments = 0, 0, Counter[str]()
    while done < kills:
        killed = prepared(folder / "killed")
        code = None
        while code is None:
            log.unlink()
            process = start(killed, log, *options)
            try:
                # Who comes to its end before was not killed: later runs have less to do.
                code = process.wait(generator.uniform(0, seconds) if done < kills else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done += 1
                running = re.findall(r"^(\w+) +running", log.read_text(), re.MULTILINE)
                moments[running[-1] if running else "before the first"] += 1
        if code != 0:
            raise DiffersError(f"after {done} kills: {log.read_text()}")
        rounds += 1
        found = outputs(killed)
        differing = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
        if differing:
            raise DiffersError(f"after {done} kills these differ: {', '.join(differing)}")
        print(f"{done} kills, {rounds} rounds, all equal", flush=True)
    return rounds, moments


def main() -> None:
    """Kill, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rounds, moments = survive(Path(name), arguments.kills)
    row = {"system": "heliograph", "kills": arguments.kills, "rounds": rounds, "killed_in": dict(moments)}
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": [row]}, indent=2) + "\n")
    print(f"killed in: {', '.join(f'{name} {count}' for name, count in moments.most_common())}")


if __name__ == "__main__":
    main()
