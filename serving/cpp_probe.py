"""The C++ program that answers requests without Python: built against the TensorFlow wheel, run, read.

TF Serving's own loading is `tensorflow::LoadSavedModel` and `Session::Run`; `serving/cpp/probe.cc` calls the same two.
So it shows what Python's loader hides: an operation that only Python registers, a signature that cannot be fetched.
"""

import hashlib
import logging
import os
import re
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.named_tensor_pb2 import NamedTensorProto
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

log = logging.getLogger("heliograph.validate")

SOURCE = Path(__file__).with_name("cpp") / "probe.cc"


PATIENCE = 600
"""Seconds after which the program is given up."""

_ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception): |[\w ]+: ).+")


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Why a process failed, in one line: the last one that names an error, or its signal or exit code."""
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    named = [line for line in done.stderr.splitlines() if _ERROR.match(line) and not line.startswith("WARNING")]
    return named[-1] if named else f"exit code {done.returncode}"


def compiler() -> str | None:
    """The path of a C++ compiler, if there is one."""
    return shutil.which("g++") or shutil.which("clang++")


def build(cache: Path, using: str) -> Path:
    """Compile and link, in about 20 seconds, unless that was done before with the same source and TensorFlow.

    Args:
        cache: the program's folder; it is created if need be.
        using: the compiler.

    Returns:
        The program.

    Raises:
        RuntimeError: with the compiler's words.
    """
    folder, flags = Path(tf.sysconfig.get_lib()), tf.sysconfig.get_compile_flags()
    identity = "\0".join([SOURCE.read_text(encoding="utf-8"), tf.version.VERSION, str(folder), using, *flags])
    program = cache / f"probe-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if program.exists():
        return program
    log.info("C++: building the program that loads the model, once for this TensorFlow")
    cache.mkdir(parents=True, exist_ok=True)
    aside = cache / f".{program.name}.{os.getpid()}.partial"
    # Without --no-as-needed the linker would leave out the library that registers the session.
    link = ["-Wl,--no-as-needed", f"-L{folder}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    command = [using, "-O1", "-w", *flags, str(SOURCE), "-o", str(aside), *link, f"-Wl,-rpath,{folder}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        aside.unlink(missing_ok=True)
        raise RuntimeError(f"{using} cannot build {SOURCE.name}: {' '.join(done.stderr.split())[:300]}")
    aside.rename(program)
    return program


def answer(
    program: Path, version: Path, logs: Sequence[PredictionLog], folder: Path, repeats: int, libraries: Sequence[str]
) -> tuple[list[PredictionLog], list[float]]:
    """The program's answers, and how long each request took, in milliseconds.

    Args:
        program: what `build` made.
        version: the model's folder.
        logs: the requests.
        folder: for files in between.
        repeats: runs that are timed.
        libraries: those of TF Text's operations.

    Raises:
        RuntimeError: with the program's words.
    """
    requests, answers = folder / "requests", folder / "answers"
    requests.write_bytes(b"".join(map(_framed, (message for log in logs for message in _messages(log)))))
    command = [str(program), str(version), str(requests), str(answers), str(repeats), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer in {PATIENCE} s") from None
    if done.returncode:
        raise RuntimeError(reason(done))
    return _logs(answers.read_bytes()), [float(line) for line in done.stdout.split()]


def _messages(log: PredictionLog) -> Iterator[NamedTensorProto]:
    request = log.predict_log.request
    yield NamedTensorProto(name=request.model_spec.signature_name)
    for name in sorted(request.inputs):
        yield NamedTensorProto(name=name, tensor=request.inputs[name])


def _framed(message: NamedTensorProto) -> bytes:
    content: bytes = message.SerializeToString()
    return struct.pack("<I", len(content)) + content


def _logs(content: bytes) -> list[PredictionLog]:
    logs: list[PredictionLog] = []
    place = 0
    while place < len(content):
        (size,) = struct.unpack_from("<I", content, place)
        message = NamedTensorProto.FromString(content[place + 4 : place + 4 + size])
        place += 4 + size
        if message.tensor.dtype:
            logs[-1].predict_log.response.outputs[message.name].CopyFrom(message.tensor)
        else:
            logs.append(PredictionLog())
            logs[-1].predict_log.request.model_spec.signature_name = message.name
    return logs
