"""The files that sentence pairs come from: where they are, and what is in them.

Nothing is read but bytes to hash, so a missing file is known before anything starts.
"""

import fnmatch
import glob
import hashlib
import os
from pathlib import Path

from pipeline.artifacts import hash_file
from pipeline.config_files import PATH_KEYS
from pipeline.data_config import DataConfig
from preprocessing.errors import DataError

_WILDCARDS = "*?["


def external_files(data: DataConfig) -> dict[str, str]:
    """`KEY[INDEX] NAME` to SHA-256 of every file that the section `data` names, such as `source[0] train.de.gz`.

    A file that is to be downloaded need not be there: its checksum is part of the configuration. The result does not
    depend on the folder, so moving a corpus leaves the artifacts up to date.

    Raises:
        DataError: A path matches no file, or a file cannot be read.
    """
    hashes: dict[str, str] = {}
    checksums = {} if data.directory else {item.name: item.sha256 for item in data.download}
    for key in PATH_KEYS:
        pattern: str | None = getattr(data, key)
        if pattern is None:
            continue
        fetched = sorted(fnmatch.filter(checksums, pattern))
        found = [(name, checksums[name]) for name in fetched] or _hash_local(f"data.{key}", pattern, data.directory)
        hashes.update({f"{key}[{index}] {name}": sha256 for index, (name, sha256) in enumerate(found)})
    return hashes


def locate(data: DataConfig, pattern: str) -> str:
    """The absolute path or pattern of a path in the section `data`, whose relative ones start from one folder."""
    return os.path.join(data.directory or str(cache_folder(data)), pattern)


def cache_folder(data: DataConfig) -> Path:
    """Where the downloaded files of a configuration are kept, for all runs of this user.

    Its name follows from the checksums, so files of the same name in different configurations do not meet.
    """
    names = "".join(f"{item.sha256} {item.name}\n" for item in sorted(data.download, key=lambda item: item.name))
    digest = hashlib.sha256(names.encode()).hexdigest()[:12]
    return user_cache() / digest


def user_cache() -> Path:
    """Folder of what can be made or fetched again, for all runs of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "heliograph"


def _hash_local(key: str, pattern: str, directory: str | None) -> list[tuple[str, str]]:
    """Name and SHA-256 of the files that a local pattern matches, sorted by path."""
    path = os.path.join(directory or "", pattern)
    # A name such as corpus[1].txt is a file before it is a pattern.
    paths = sorted(glob.glob(path)) or ([path] if os.path.exists(path) else [])
    if not paths:
        what = "no file matches" if any(mark in path for mark in _WILDCARDS) else "no such file"
        raise DataError(
            f"{key}: {what}: {path}; check the path, or name the folder that has the file: "
            "--set data.directory=FOLDER (else relative paths start from the TOML's folder)"
        )
    try:
        return [(os.path.basename(item), hash_file(Path(item))) for item in paths]
    except OSError as error:
        raise DataError(f"{key}: cannot read {error.filename}: {error.strerror}") from None
