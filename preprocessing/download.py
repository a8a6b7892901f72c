"""How public files get onto this machine: downloaded once, verified by checksum, kept in a cache."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pooch
import requests

from preprocessing.errors import DataError

_LOGGER = logging.getLogger("heliograph.preprocessing")
_SECONDS_WITHOUT_DATA = 30
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file somebody publishes.

    Attributes:
      name: file name it is kept under.
      url: http or https address.
      sha256: hexadecimal checksum of its content.
    """

    name: str
    url: str
    sha256: str


def fetch_files(files: Sequence[RemoteFile], cache_dir: str) -> str:
    """Makes sure that a folder holds all files, downloading those that are missing or differ from their checksum.

    A file appears under its name only when it is complete and verified. With all of them there, nothing is asked of the
    network.

    Args:
      files: what is needed.
      cache_dir: folder to keep the files in; made if necessary.

    Returns:
      The folder.

    Raises:
      DataError: a file cannot be downloaded, differs from its checksum, or cannot be written.
    """
    # pooch reports to standard error by itself; what happens is logged here instead.
    pooch.get_logger().setLevel(logging.WARNING)
    for file in files:
        path = os.path.join(cache_dir, file.name)
        if not os.path.exists(path):
            _LOGGER.info("downloading %s to %s", file.url, path)
        try:
            # Written aside and renamed when verified; a cached file is verified too, and replaced if it is damaged.
            pooch.retrieve(file.url, file.sha256.lower(), fname=file.name, path=cache_dir, downloader=_download)
        except requests.RequestException as error:
            raise DataError(
                f"{file.url}: cannot be downloaded ({_cause(error)}); check the network,"
                f" or put the file at {path} by hand"
            ) from error
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror}); choose another cache folder") from error
        except ValueError as error:
            raise DataError(f"{file.url}: {_one_line(error)} Try again, or check the checksum") from error
    return cache_dir


def _download(url: str, output_file: str, _: object) -> None:
    """Downloads for pooch, whose own downloader leaves the connection open when it breaks."""
    # Asking for the file as it is: a server that compresses on the way would change what the checksum sees.
    as_it_is = {"Accept-Encoding": "identity"}
    with requests.get(url, stream=True, timeout=_SECONDS_WITHOUT_DATA, headers=as_it_is) as response:
        response.raise_for_status()
        with open(output_file, "wb") as file:
            for chunk in response.iter_content(chunk_size=_CHUNK_BYTES):
                file.write(chunk)


def _cause(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    return _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
