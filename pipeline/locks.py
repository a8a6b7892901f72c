"""Who may do what to a file or folder at a time: locks that the kernel releases when their process ends, however.

`exclusive` is for one process that makes something, `shared` for many that read it, `tried` for one that would remove
it if nobody minds.
"""

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
    file = _acquire(path, lambda file: _wait(file, on_wait))
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Holds a lock on the file `path`, which is there for a purpose of its own, together with others who read.

    Raises:
        FileNotFoundError: it is not there.
    """
    while True:
        file = path.open("rb")
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_at(path, file):
            break
        file.close()
    with file:
        yield


@contextmanager
def unread(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Waits until nobody holds the file `path` by `shared`, and lets nobody until the block ends.

    Args:
        path: the file; if there is none, nobody reads it.
        on_wait: called once if somebody does.
    """
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        yield
        return
    with file:
        if not _try(file):
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def tried(path: Path, make: bool) -> Iterator[bool]:
    """Whether nobody else holds a lock on `path`; then this process does, for the length of the block.

    Args:
        path: a lock file, or a file that readers hold by `shared`.
        make: whether a file that is not there is made for the block; else nobody can hold it.
    """
    made = False
    try:
        file = path.open("r+b")
    except (FileNotFoundError, NotADirectoryError):
        if not make:
            yield True
            return
        file, made = path.open("a+b"), True
    with file:
        free = _try(file) and _is_at(path, file)
        try:
            yield free
        finally:
            if free and made:
                path.unlink(missing_ok=True)


def _acquire(path: Path, lock: Callable[[BinaryIO], None]) -> BinaryIO:
    while True:
        file = path.open("a+b")
        try:
            lock(file)
            # The previous holder may have removed the file that we waited for: then another one is the lock now.
            if _is_at(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _try(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(file: BinaryIO, on_wait: Callable[[str], None]) -> None:
    if not _try(file):
        file.seek(0)
        on_wait(file.read().decode() or "unknown")
        fcntl.flock(file, fcntl.LOCK_EX)
