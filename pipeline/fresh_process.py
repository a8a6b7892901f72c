"""A call in a process of its own, for results that would tell what their process has done before.

TensorFlow numbers the functions that it traces, and their names lie in a SavedModel: exported after a training or, when
that was done yesterday, after nothing, the same model would be other bytes.
"""

import importlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from pipeline.quiet import load_tensorflow, logging_to_stderr


def call(module: str, function: str, *arguments: Any) -> Any:
    """What a function returns that is called in a new process, with TensorFlow and our log; it ends with this one.

    Args:
        module: name of the function's module.
        function: its name there.
        *arguments: its arguments, picklable.

    Raises:
        Exception: what the function raised.
        RuntimeError: the process ended without a result, or with an exception that cannot be sent.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sending, module, function, arguments), daemon=True)
    process.start()
    sending.close()
    try:
        outcome: Mapping[str, Any] = receiving.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{function}: its process ended with exit code {process.exitcode}") from None
    finally:
        receiving.close()
        process.kill()  # after an interrupt; else it has nothing left to do
        process.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def _work(sending: Connection, module: str, function: str, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with logging_to_stderr():
        load_tensorflow()
        try:
            outcome = {"result": getattr(importlib.import_module(module), function)(*arguments)}
        except Exception as error:
            outcome = {"error": _sendable(error)}
    sending.send(outcome)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    """A killed parent's successor may begin the same work in the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
