import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.download import RemoteFile, fetch_files
from preprocessing.errors import DataError
from tests.file_server import FileServer, serve

CONTENT = b"ein hund\n" * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve({"/good": CONTENT, "/cut": CONTENT}, cut={"/cut": 1000}) as server:
        yield server


def remote(server: FileServer, page: str, name: str = "train.de", sha256: str = SHA256) -> RemoteFile:
    return RemoteFile(name, server.url(f"/{page}"), sha256)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_downloads_once(server: FileServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [remote(server, "good"), remote(server, "good", "b", SHA256.upper())]
    cache = tmp_path / "deep" / "cache"
    assert fetch_files(files, str(cache)) == str(cache)
    assert (cache / "train.de").read_bytes() == CONTENT
    assert files_in(tmp_path) == ["b", "train.de"]
    fetch_files(files, str(cache))
    assert server.asked == ["/good", "/good"]
    assert capfd.readouterr().out == ""


def test_damaged_cache_is_replaced(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "train.de").write_bytes(b"half")
    fetch_files([remote(server, "good")], str(tmp_path))
    assert (tmp_path / "train.de").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "sha256", "told"),
    [
        ("none", SHA256, "/none: cannot be downloaded \\(HTTP 404 Not Found\\)"),
        ("good", "0" * 64, f"/good: .*expected {'0' * 64} but got {SHA256}"),
        ("cut", SHA256, "/cut: cannot be downloaded"),
    ],
)
def test_bad_downloads_leave_nothing(server: FileServer, tmp_path: Path, page: str, sha256: str, told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        fetch_files([remote(server, page, sha256=sha256)], str(tmp_path))
    assert "\n" not in str(caught.value)
    assert files_in(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    for url in ("http://127.0.0.1:9/x", "nonsense"):
        with pytest.raises(DataError, match=r"cannot be downloaded .*by hand"):
            fetch_files([RemoteFile("x", url, SHA256)], str(tmp_path))


def test_cache_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        fetch_files([remote(server, "good")], str(tmp_path / "file" / "cache"))
