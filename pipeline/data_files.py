"""The files that sentence pairs come from: where they are, and what is in them.

Nothing is read but bytes to hash, so a missing file is known before anything starts.
"""

import fnmatch
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts import hash_file
from pipeline.config_files import CORPUS_PATH_KEYS, PATH_KEYS
from pipeline.data_config import DataConfig
from preprocessing.errors import DataError
from preprocessing.file_patterns import file_systems, find_files, has_wildcards, is_remote

_REMEDY = (
    ", or name the folder that has the file: --set data.directory=FOLDER (else relative paths start from the TOML's "
    "folder)"
)


def external_files(data: DataConfig) -> dict[str, str]:
    """`KEY[INDEX] NAME` to SHA-256 of every file that the section `data` names; of a remote file its store's checksum.

    A key is such as `source[0] train.de.gz` or, of the second of `corpora`, `corpora.1.csv[0] manual.csv`.

    A file that is to be downloaded need not be there: its checksum is part of the configuration. The result does not
    depend on the folder, so moving a corpus leaves the artifacts up to date.

    Raises:
        DataError: A path matches no file, or a file cannot be read.
    """
    hashes: dict[str, str] = {}
    checksums = {} if data.directory else {item.name: item.sha256 for item in data.download}
    hash_once = functools.cache(_hash_one)  # several corpora may be columns of one file
    for key, pattern in named_patterns(data):
        fetched = sorted(fnmatch.filter(checksums, pattern))
        try:
            found = [(name, checksums[name]) for name in fetched] or [
                (os.path.basename(path), hash_once(path)) for path in _matching(f"data.{key}", pattern, data.directory)
            ]
        except OSError as error:
            raise DataError(f"data.{key}: cannot read {error.filename}: {error.strerror}") from None
        hashes.update({f"{key}[{index}] {name}": sha256 for index, (name, sha256) in enumerate(found)})
    return hashes


def named_patterns(data: DataConfig) -> Iterator[tuple[str, str]]:
    """Key and path or pattern of all that the section names."""
    named = [("", PATH_KEYS, data), *((f"corpora.{n}.", CORPUS_PATH_KEYS, one) for n, one in enumerate(data.corpora))]
    for prefix, keys, section in named:
        for key in keys:
            if (pattern := getattr(section, key)) is not None:
                yield prefix + key, pattern


def locate(data: DataConfig, pattern: str) -> str:
    """The absolute path or pattern of a path in the section `data`, whose relative ones start from one folder."""
    if is_remote(pattern):
        return pattern
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


def _matching(key: str, pattern: str, directory: str | None) -> list[str]:
    """The files that a pattern matches, sorted by path: the same that are read."""
    path = pattern if is_remote(pattern) else os.path.join(directory or "", pattern)
    try:
        paths = find_files(path)
    except DataError as error:
        raise DataError(f"{key}: {error}") from error
    if not paths:
        what = "no file matches" if has_wildcards(path) else "no such file"
        remedy = "" if is_remote(path) else _REMEDY
        raise DataError(f"{key}: {what}: {path}; check the path{remedy}")
    return paths


def _hash_one(path: str) -> str:
    if is_remote(path):
        from apache_beam.io.filesystem import BeamIOError

        try:
            return str(file_systems().checksum(path))
        except BeamIOError as error:
            raise DataError(f"{path}: its checksum cannot be had ({' '.join(str(error).split())})") from error
    return hash_file(Path(path))
