"""Which code made an artifact, known without Git: a hash over the source files that are installed or checked out."""

import functools
import hashlib
from pathlib import Path

PACKAGES = ("models", "pipeline", "preprocessing", "serving")
"""What the code is made of."""

_COMPILED = "__pycache__"


@functools.cache
def code_hash() -> str:
    """SHA-256 over the files of our packages, in hexadecimal: equal files, equal hash, wherever they lie.

    Computed once in a process, at first use.
    """
    return hash_sources(Path(__file__).parents[1])


def hash_sources(folder: Path) -> str:
    """SHA-256 over the names and the bytes of all files of our packages in `folder`, compiled ones left out."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((folder / package).rglob("*")):
            if path.is_file() and _COMPILED not in path.parts:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()
