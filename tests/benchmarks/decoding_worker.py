"""One system of the decoding benchmark in a process of its own, which translates when its turn comes.

`Worker` starts the process, whose program calls `take_turns`. They exchange lines of JSON: a job in a file whose name
is the program's argument; one line when the system is loaded and warm; then for each turn a question on its standard
input and an answer on its standard output. So every system is timed by the same few lines, whatever its interpreter:
this file needs the standard library alone, and imports nothing of Heliograph.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Translate = Callable[[list[str]], list[str]]
"""A request: sentences to translations, in their order."""

WARM_UP = 3  # requests of each size, for each beam: traces, allocations, caches


class Worker:
    """A running system.

    Args:
        name: for messages.
        command: what starts the program, without its last argument, the job's file.
        job: what the program's `load` needs, and `sentences`, `batches` (sizes of a request) and `threads`.
        path: where the job is written.
        environment: `NAME=VALUE` each, beside what is set here.
    """

    def __init__(
        self, name: str, command: list[str], job: dict[str, Any], path: Path, environment: Sequence[str] = ()
    ) -> None:
        path.write_text(json.dumps(job), encoding="utf-8")
        self.name = name
        self.process = subprocess.Popen(
            [*command, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            cwd=Path(__file__).resolve().parents[2],  # where `python -m tests...` finds the program
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(job["threads"]),
                **dict(one.split("=", 1) for one in environment),
            },
        )
        self._answer()

    def turn(self, beam: int, batch: int) -> dict[str, Any]:
        """Translate all sentences once: `seconds` of each request, and `translations`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"beam": beam, "batch": batch}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process has ended; see its error above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def take_turns(load: Callable[[dict[str, Any]], dict[int, Translate]]) -> None:
    """What a system's program does.

    Args:
        load: loads the system of a job, and returns for each beam size what translates a request.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    systems = load(job)
    for translate in systems.values():
        for batch in job["batches"]:
            for request in _requests(job["sentences"], batch)[:WARM_UP]:
                translate(request)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        turn = json.loads(line)
        answer = _timed(systems[turn["beam"]], _requests(job["sentences"], turn["batch"]))
        print(json.dumps(answer), file=answers, flush=True)


def _requests(sentences: list[str], batch: int) -> list[list[str]]:
    return [sentences[first : first + batch] for first in range(0, len(sentences), batch)]


def _timed(translate: Translate, requests: list[list[str]]) -> dict[str, Any]:
    seconds: list[float] = []
    translations: list[str] = []
    for request in requests:
        began = time.perf_counter()
        translations += translate(request)
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "translations": translations}
