"""One process at a time: a file lock that the kernel releases when its process ends, however it ends."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def exclusive(path: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock `path` for the length of the block; the file is gone afterwards.

    Args:
        path: The lock file; its folder exists.
        on_wait: Called with the holder's process id, once, if another process has the lock; then it is awaited.
    """
    file = _acquire(path, on_wait)
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _acquire(path: Path, on_wait: Callable[[str], None]) -> BinaryIO:
    while True:
        file = path.open("a+b")
        try:
            _lock(file, on_wait)
            # The previous holder may have removed the file that we waited for: then another one is the lock now.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: BinaryIO, on_wait: Callable[[str], None]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        on_wait(file.read().decode() or "unknown")
        fcntl.flock(file, fcntl.LOCK_EX)
