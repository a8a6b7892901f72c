"""What reaches standard error, which belongs to progress and errors: our log, and no chatter of other libraries."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Informational lines of the C++ runtime that no setting silences, as they are written before its logging starts.
_CHATTER = re.compile(
    rb"(WARNING: All log messages before absl::InitializeLog|[IW]\d{4} \d\d:|To enable the following instr"
    # TF Text's SentencePiece, at each model: that we normalise, it does not.
    rb"|normalizer\.cc\(\d+\) LOG\(INFO\) precompiled_charsmap is empty)"
)


def set_environment() -> None:
    """Settings that TensorFlow, Keras and gRPC read when they are imported; to be called before."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the models are TensorFlow's; another backend could not run them
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)


def load_tensorflow() -> None:
    """Imports TensorFlow and finds its devices; only what is not chatter reaches standard error."""
    if "tensorflow" in sys.modules:
        return
    set_environment()
    with filtered_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


def tensorflow_error(error: Exception) -> str | None:
    """What TensorFlow's runtime says of a file, a device or memory, in one line; `None` for any other exception."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not isinstance(error, tf.errors.OpError):
        return None
    message = error.message.strip().splitlines()
    if "No space left" in error.message:
        return f"{message[0]}; free space on the disk, then give the same command"
    remedy = {
        tf.errors.DataLossError: "; the file is damaged: delete its folder and run again",
        tf.errors.ResourceExhaustedError: "; lower training.batch_size or evaluation.batch_size",
    }
    return (message[0] if message else type(error).__name__) + remedy.get(type(error), "")


@contextmanager
def filtered_stderr() -> Iterator[None]:
    """Holds back what the process, C++ code included, writes to standard error; then passes it on, less chatter."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held_back.seek(0)
            lines = held_back.read().splitlines(keepends=True)
            os.write(2, b"".join(line for line in lines if not _CHATTER.match(line)))


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Our own log at level INFO; of other libraries' logs only errors."""
    ours, everything = logging.getLogger("heliograph"), logging.getLogger()
    handlers = []
    for logger, level in ((ours, logging.INFO), (everything, logging.ERROR)):
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        handlers.append((logger, handler))
    previous = ours.level, ours.propagate
    ours.setLevel(logging.INFO)
    ours.propagate = False
    try:
        yield
    finally:
        ours.setLevel(previous[0])
        ours.propagate = previous[1]
        for logger, handler in handlers:
            logger.removeHandler(handler)
