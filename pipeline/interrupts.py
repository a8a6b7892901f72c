"""Ctrl-C that always arrives as KeyboardInterrupt, whatever a library makes of it, or when its time has come."""

import signal
import threading
from collections.abc import Callable, Iterator
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


class Deferred:
    """Whether an interrupt came; whoever asks answers it when it suits."""

    def __init__(self) -> None:
        self.came = False


@contextmanager
def deferred(on_interrupt: Callable[[], None]) -> Iterator[Deferred]:
    """Within the block the first SIGINT or SIGTERM is only noted; the second raises KeyboardInterrupt.

    Args:
        on_interrupt: called at the first one, to say what is going to happen.
    """
    noted = Deferred()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        yield noted  # Python delivers signals to the main thread
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if noted.came:
            raise KeyboardInterrupt
        noted.came = True
        on_interrupt()

    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:  # a background job ignores SIGINT
            signal.signal(number, handle)
    try:
        yield noted
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
