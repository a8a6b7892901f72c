r"""How the lines of a text file are read: bounded in memory, and with errors a person understands.

Lines end at ``\n`` or ``\r\n`` and nowhere else. Python's ``splitlines`` and text mode also split at U+2028, U+0085,
NUL and more, which would shift one side of a line-aligned pair of files against the other.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PREVIEW_BYTES = 256
_SKIP_BYTES = 1 << 16


class Line(NamedTuple):
    """One line of a file.

    Attributes:
      text: the bytes of the line without its end; of a line that is too long only the first 256 bytes.
      too_long: whether the line has more bytes than allowed.
    """

    text: bytes
    too_long: bool


def read_lines(path: str, max_line_bytes: int) -> Iterator[Line]:
    """Reads a file line by line, never holding more than `max_line_bytes` of it beside the usual buffers.

    A name ending in ``.gz`` is decompressed and its checksum verified; a UTF-8 byte order mark at the start of the file
    is left out. The last line counts whether or not it is ended.

    Args:
      path: a file on any file system Beam knows.
      max_line_bytes: longest line, without its end, that is given whole.

    Yields:
      The lines in order.

    Raises:
      DataError: the file is missing, unreadable, a directory, or a damaged or truncated gzip file.
    """
    done = 0
    try:
        with _opened(path) as stream:
            for line in _bounded_lines(stream, max_line_bytes):
                yield line._replace(text=line.text.removeprefix(_BYTE_ORDER_MARK)) if done == 0 else line
                done += 1
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_explain(path, done, error)) from error


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    # Beam's own decompression takes a truncated file for a complete one; the gzip module does not.
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        if not path.endswith(".gz"):
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked:
            yield cast(BinaryIO, unpacked)


def _bounded_lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[Line]:
    limit = max_line_bytes + len(b"\r\n")
    while chunk := stream.readline(limit):
        ended = chunk.endswith(b"\n")
        text = chunk.removesuffix(b"\n").removesuffix(b"\r") if ended else chunk
        too_long = len(text) > max_line_bytes
        yield Line(text[:_PREVIEW_BYTES] if too_long else text, too_long)
        # Fewer bytes than asked for without a line end is the end of the file.
        while not ended and len(chunk) == limit and (rest := stream.readline(_SKIP_BYTES)):
            ended = rest.endswith(b"\n")


def _explain(path: str, done: int, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{path}: expected a file, found a directory; name the file, or a pattern such as {path.rstrip('/')}/*"
    if isinstance(error, PermissionError):
        return f"{path}: not readable (permission denied); change its permissions or choose another file"
    if isinstance(error, EOFError):
        return f"{path}: the gzip file is truncated after line {done}; copy or download it again"
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return f"{path}: not a valid gzip file after line {done} ({_one_line(error)}); copy or compress it again"
    return f"{path}: cannot be read after line {done} ({_one_line(error)})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
