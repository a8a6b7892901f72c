r"""How the lines of a text file are read: bounded in memory, and with errors a person understands.

Lines end at ``\n`` or ``\r\n`` and nowhere else. Python's ``splitlines`` and text mode also split at U+2028, U+0085,
NUL and more, which would shift one side of a line-aligned pair of files against the other.
"""

import bz2
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple, cast

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems
from backports import zstd

from preprocessing.errors import DataError

READ_ERRORS = (OSError, EOFError, zlib.error, BeamIOError)
"""What reading from `opened` raises, for `explain`."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PREVIEW_BYTES = 256
_CHUNK_BYTES = 1 << 16
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}


class Line(NamedTuple):
    """One line of a file.

    Attributes:
      text: the bytes of the line without its end; of a line that is too long only the first 256 bytes.
      too_long: whether the line has more bytes than allowed.
    """

    text: bytes
    too_long: bool


def read_lines(path: str, max_line_bytes: int, start: int = 0) -> Iterator[Line]:
    """Reads a file line by line, never holding more than `max_line_bytes` of it beside the usual buffers.

    A name ending in ``.gz``, ``.bz2`` or ``.zst`` is decompressed and its checksum verified; a UTF-8 byte order mark at
    the start of the file is left out. The last line counts whether or not it is ended.

    Args:
      path: a file on any file system Beam knows.
      max_line_bytes: longest line, without its end, that is given whole.
      start: of an uncompressed file the byte to start from.

    Yields:
      The lines in order.

    Raises:
      DataError: the file is missing, unreadable, a directory, or a damaged or truncated compressed file.
    """
    done = 0
    try:
        with opened(path, start) as stream:
            for line in _bounded_lines(stream, max_line_bytes):
                first = start == done == 0
                yield line._replace(text=line.text.removeprefix(_BYTE_ORDER_MARK)) if first else line
                done += 1
    except READ_ERRORS as error:
        raise DataError(explain(path, done, error)) from error


def is_compressed(path: str) -> bool:
    """Whether a file of this name is decompressed, and so can be read from its start only."""
    return path.endswith(tuple(_COMPRESSIONS))


@contextmanager
def opened(path: str, start: int = 0) -> Iterator[BinaryIO]:
    """Opens a file for reading, decompressed; what goes wrong is one of `READ_ERRORS`."""
    # Beam's own decompression takes a truncated file for a complete one.
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as raw:
        if path.endswith(".gz"):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(BinaryIO, unpacked)
        elif path.endswith(".bz2"):
            yield _unpacked(raw, bz2.BZ2Decompressor)
        elif path.endswith(".zst"):
            yield _unpacked(raw, zstd.ZstdDecompressor)
        else:
            if start:
                raw.seek(start)
            yield raw


def explain(path: str, done: int, error: Exception) -> str:
    """The one line for a person whose file could not be read beyond line `done`."""
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; check the path"
    if isinstance(error, IsADirectoryError):
        return f"{path}: expected a file, found a directory; name the file, or a pattern such as {path.rstrip('/')}/*"
    if isinstance(error, PermissionError):
        return f"{path}: not readable (permission denied); change its permissions or choose another file"
    packed = next((name for ending, name in _COMPRESSIONS.items() if path.endswith(ending)), "")
    if isinstance(error, EOFError):
        return f"{path}: the {packed} file is truncated after line {done}; copy or download it again"
    if isinstance(error, gzip.BadGzipFile | zlib.error | _DamagedError):
        return f"{path}: not a valid {packed} file after line {done} ({_one_line(error)}); copy or compress it again"
    return f"{path}: cannot be read after line {done} ({_one_line(error)})"


def _bounded_lines(stream: BinaryIO, max_line_bytes: int) -> Iterator[Line]:
    limit = max_line_bytes + len(b"\r\n")
    while chunk := stream.readline(limit):
        ended = chunk.endswith(b"\n")
        text = chunk.removesuffix(b"\n").removesuffix(b"\r") if ended else chunk
        too_long = len(text) > max_line_bytes
        yield Line(text[:_PREVIEW_BYTES] if too_long else text, too_long)
        # Fewer bytes than asked for without a line end is the end of the file.
        while not ended and len(chunk) == limit and (rest := stream.readline(_CHUNK_BYTES)):
            ended = rest.endswith(b"\n")


class _DamagedError(OSError):
    """Compressed data that is none."""


class _Unpacked(io.RawIOBase):
    """Decompresses one stream after the other, to the end of the file.

    `bz2.BZ2File` and `zstd.ZstdFile` take what follows a stream for padding if they cannot read it, so that a damaged
    second stream, which parallel compressors write, would pass for the end.
    """

    def __init__(self, raw: BinaryIO, start: Callable[[], bz2.BZ2Decompressor | zstd.ZstdDecompressor]) -> None:
        self._raw = raw
        self._start = start
        self._stream = start()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        space = memoryview(buffer)
        while not (data := self._decompress(len(space))):
            if data is None:
                return 0
        space[: len(data)] = data
        return len(data)

    def _decompress(self, size: int) -> bytes | None:
        """Up to `size` bytes, of which there may be none yet; None at the end."""
        packed = b""
        if self._stream.eof:
            packed = self._stream.unused_data or self._raw.read(_CHUNK_BYTES)
            if not packed:
                return None
            self._stream = self._start()
        elif self._stream.needs_input:
            packed = self._raw.read(_CHUNK_BYTES)
            if not packed:
                raise EOFError
        try:
            return self._stream.decompress(packed, size)
        except (OSError, zstd.ZstdError) as error:
            raise _DamagedError(_one_line(error)) from error


def _unpacked(raw: BinaryIO, start: Callable[[], bz2.BZ2Decompressor | zstd.ZstdDecompressor]) -> BinaryIO:
    return io.BufferedReader(_Unpacked(raw, start), _CHUNK_BYTES)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
