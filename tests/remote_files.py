"""A file system as Beam's remote ones are: ``remote:///tmp/a`` is the local ``/tmp/a``, only read forwards."""

import hashlib
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import FileMetadata, MatchResult
from apache_beam.io.localfilesystem import LocalFileSystem


class ForwardStream:
    """What `FileSystems.open` gives; may be positioned once, before it is read."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115
        self._started = False

    def __enter__(self) -> "ForwardStream":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def seek(self, place: int) -> None:
        assert not self._started, "expected to be positioned before anything is read"
        self._started = True
        self._file.seek(place)

    def read(self, size: int) -> bytes:
        self._started = True
        return self._file.read(size)

    def readline(self, size: int) -> bytes:
        self._started = True
        return self._file.readline(size)


class RemoteFileSystem(LocalFileSystem):
    """Beam finds it by its scheme, once this module is imported."""

    @classmethod
    def scheme(cls) -> str:
        return "remote"

    def open(self, path: str, *_: Any, **__: Any) -> ForwardStream:  # type: ignore[override]
        return ForwardStream(_local(path))

    def exists(self, path: str) -> bool:
        return Path(_local(path)).exists()

    def size(self, path: str) -> int:
        return Path(_local(path)).stat().st_size

    def checksum(self, path: str) -> str:
        return hashlib.md5(Path(_local(path)).read_bytes()).hexdigest()

    def match(self, patterns: list[str], limits: Any = None) -> list[MatchResult]:
        (found,) = super().match([_local(patterns[0])])
        files = [FileMetadata(f"remote://{one.path}", one.size_in_bytes) for one in found.metadata_list]
        return [MatchResult(patterns[0], files)]


def _local(path: str) -> str:
    return path.removeprefix("remote://")
