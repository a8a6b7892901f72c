"""A file system as Beam's remote ones are: ``remote:///tmp/a`` is the local ``/tmp/a``, only read forwards.

Like an object store it has no folders: they are there while they hold a file.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from apache_beam.io.filesystem import FileMetadata, MatchResult
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions


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

    def read(self, size: int = -1) -> bytes:
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

    def create(self, path: str, *_: Any, **__: Any) -> BinaryIO:  # type: ignore[override]
        local = Path(_local(path))
        local.parent.mkdir(parents=True, exist_ok=True)
        return local.open("wb")

    def mkdirs(self, path: str) -> None:
        assert path.startswith("remote://")

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for destination in map(_local, destination_file_names):
            Path(destination).parent.mkdir(parents=True, exist_ok=True)
        super().rename([*map(_local, source_file_names)], [*map(_local, destination_file_names)])

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            if path.endswith("/"):
                shutil.rmtree(_local(path), ignore_errors=True)
            else:
                Path(_local(path)).unlink()

    def split(self, path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        return folder, name

    def exists(self, path: str) -> bool:
        return Path(_local(path)).exists()

    def size(self, path: str) -> int:
        return Path(_local(path)).stat().st_size

    def checksum(self, path: str) -> str:
        return hashlib.md5(Path(_local(path)).read_bytes()).hexdigest()

    def match(self, patterns: list[str], limits: Any = None) -> list[MatchResult]:
        (found,) = LocalFileSystem(PipelineOptions()).match([_local(patterns[0])])
        files = [FileMetadata(f"remote://{one.path}", one.size_in_bytes) for one in found.metadata_list]
        return [MatchResult(patterns[0], files)]


def _local(path: str) -> str:
    assert path.startswith("remote://"), f"expected a path of this file system, got {path}"
    return path.removeprefix("remote://")
