"""Ctrl-C that always arrives as KeyboardInterrupt, whatever a library makes of it on the way."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible() -> Iterator[None]:
    """Raises KeyboardInterrupt at the end of the block if SIGINT came during it.

    Beam reports an interrupt in a worker as a RuntimeError, and native code may lose it altogether: what a block leaves
    behind after one is not to be trusted, however the block ended.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield  # not ours to handle: Python delivers signals to the main thread; a background job ignores SIGINT
        return
    came = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except BaseException:
        if came.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
    if came.is_set():
        raise KeyboardInterrupt
