"""The memory of a process and of all that it starts, from Linux's /proc.

Measured is the resident set, in MiB, pages shared with other processes included. Each process's peak is kept by the
kernel, so that looking from time to time misses only what a process reaches in its very last moment.
"""

import contextlib
import threading
from pathlib import Path

INTERVAL = 0.1  # seconds


def forget_peak(process: int | str = "self") -> None:
    """Lets the kernel's count of a process's peak begin anew."""
    Path(f"/proc/{process}/clear_refs").write_text("5")


class MemoryWatch:
    """Follows the processes below one, in a thread.

    Args:
        root: number of the process.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._peaks: dict[int, float] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def take_peaks(self) -> list[float]:
        """The peak of each process since the last call, in MiB: the root's first, then that of each process below."""
        self._look()
        with self._lock:
            peaks, self._peaks = self._peaks, {}
        return [peaks[process] for process in sorted(peaks, key=lambda process: (process != self._root, process))]

    def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        for process in _family(self._root):
            with contextlib.suppress(OSError, StopIteration):  # it has ended meanwhile, or is not yet what it will be
                peak = _peak_mib(process)
                with self._lock:
                    self._peaks[process] = max(peak, self._peaks.get(process, 0.0))


def _family(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:  # grows while it is walked over
        found += children.get(process, [])
    return found


def _peak_mib(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
