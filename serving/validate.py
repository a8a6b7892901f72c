"""Proof that a SavedModel loads and answers outside this code: a ladder of rungs, each closer to TF Serving.

1. lint: the files, by `serving.lint`;
2. session: an isolated Python process, which has none of our code, loads it through a Session and answers the requests
   of the warm-up file as the Python model did that was exported;
3. C++: a small program does the same with TensorFlow's C++ loader, where there is a compiler.

No rung is TF Serving itself.
"""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from preprocessing.wording import counted
from serving import cpp_probe
from serving.cpp_probe import PATIENCE, reason
from serving.lint import REQUIRED, Finding, lint
from serving.predictions import WARMUP_FILE, difference, read_warmup

log = logging.getLogger("heliograph.validate")

PROBE = Path(__file__).with_name("session_probe.py")
REPEATS = 5
"""Runs of each request that the C++ program times."""


class Rung(NamedTuple):
    """One of the ladder's checks."""

    name: str
    passed: bool | None  # `None`: it could not be tried here
    findings: Sequence[Finding]
    note: str  # what was done, or why it could not be


def validate(version: Path, cache: Path) -> list[Rung]:
    """Climb the ladder until a rung breaks. What takes seconds or minutes is told when it begins.

    Args:
        version: the folder `NAME/<integer>/`.
        cache: where the C++ program is kept, see `serving.cpp_probe.build`.
    """
    rungs = [_lint(version)]
    if rungs[-1].passed:
        try:
            logs = list(read_warmup(version))
        except (tf.errors.OpError, DecodeError) as error:
            return [*rungs, _broken("session", f"{WARMUP_FILE}: damaged: {' '.join(str(error).split())[:200]}")]
        asked = {log.predict_log.request.model_spec.signature_name for log in logs if log.predict_log.response.outputs}
        unproved = ", ".join(sorted(REQUIRED.keys() - asked))
        if unproved:
            what = f"{WARMUP_FILE}: holds no request with its answer for {unproved}"
            return [*rungs, _broken("session", what)]
        with tempfile.TemporaryDirectory() as folder:
            rungs.append(_session(version, logs, Path(folder)))
            if rungs[-1].passed:
                rungs.append(_cpp(version, logs, Path(folder), cache))
    return rungs


def passed(rungs: Sequence[Rung]) -> bool:
    """Whether no rung broke."""
    return all(rung.passed is not False for rung in rungs)


def _lint(version: Path) -> Rung:
    log.info("lint: reading the files of %s", version)
    findings = lint(version)
    return Rung("lint", not findings, findings, counted(len(findings), "finding"))


def _session(version: Path, logs: Sequence[PredictionLog], folder: Path) -> Rung:
    log.info("session: a clean process loads the model and answers %s", counted(len(logs), "request"))
    answers = folder / "answers.tfrecord"
    # -I: neither the current folder nor PYTHONPATH can lend it our code.
    command = [sys.executable, "-I", str(PROBE), str(version), str(answers), *text_libraries()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return _broken("session", f"a clean process did not answer in {PATIENCE} s")
    if done.returncode:
        return _broken("session", f"a clean process cannot answer: {reason(done)}")
    found = [PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(answers))]
    return _compare("session", logs, found, [float(line) for line in done.stdout.split()])


def _cpp(version: Path, logs: Sequence[PredictionLog], folder: Path, cache: Path) -> Rung:
    using = cpp_probe.compiler()
    if using is None:
        return Rung("C++", None, (), "not tried: no g++ or clang++ here; install one to load the model without Python")
    try:
        program = cpp_probe.build(cache, using)
        log.info("C++: the program loads the model and answers %s", counted(len(logs), "request"))
        found, times = cpp_probe.answer(program, version, logs, folder, REPEATS, text_libraries())
    except RuntimeError as error:
        return _broken("C++", str(error))
    return _compare("C++", logs, found, times)


def _broken(name: str, what: str) -> Rung:
    return Rung(name, False, [Finding(what, "export again, with the versions that serve")], "")


def _compare(
    name: str, expected: Sequence[PredictionLog], found: Sequence[PredictionLog], times: Sequence[float]
) -> Rung:
    findings = []
    for before, after in zip(expected, found, strict=True):
        request, answer = before.predict_log.request, after.predict_log.response
        for output, value in before.predict_log.response.outputs.items():
            there = output in answer.outputs
            differs = (
                difference(tf.make_ndarray(value), tf.make_ndarray(answer.outputs[output])) if there else "missing"
            )
            if differs:
                place = f"signature {request.model_spec.signature_name}, output {output}"
                findings.append(Finding(f"{place}: {differs}", "export again on this machine, and compare versions"))
    single = [time for log, time in zip(expected, times, strict=True) if _is_single_default(log)]
    note = f"{counted(len(found), 'request')} answered alike; one text in {min(single):.1f} ms" if single else ""
    return Rung(name, not findings, findings, note)


def _is_single_default(log: PredictionLog) -> bool:
    request = log.predict_log.request
    is_default = request.model_spec.signature_name == "serving_default"
    return is_default and [dim.size for dim in request.inputs["text"].tensor_shape.dim] == [1]


def text_libraries() -> list[str]:
    """The files of TF Text's operations."""
    import tensorflow_text

    return sorted(map(str, Path(tensorflow_text.__file__).parent.glob("python/ops/*.so")))
