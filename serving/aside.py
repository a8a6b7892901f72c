"""Where a version is while it is coming or going: a folder beside the published ones that servers do not look at."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ASIDE = ".aside-"
"""What the names of such folders begin with."""

HELD = "held"
"""File in such a folder that is locked as long as a process needs the folder."""


@contextmanager
def folder_aside(base_dir: Path) -> Iterator[Path]:
    """A folder with a name that no other process has, on this machine or another; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=ASIDE, dir=base_dir))
    try:
        with (folder / HELD).open("wb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
