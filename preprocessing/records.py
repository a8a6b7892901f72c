"""How records lie in one file: TFRecord framing inside gzip, written whole or not at all, byte for byte reproducible.

A record is framed as ::

    uint64 length | uint32 masked_crc(length) | bytes record | uint32 masked_crc(record)        (little endian)
    masked_crc(x) = ((crc32c(x) >> 15 | crc32c(x) << 17) + 0xa282ead8) mod 2^32

Paths may be of any file system Beam knows.
"""

import gzip
import io
import struct
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import google_crc32c
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.errors import DataError
from preprocessing.file_patterns import list_folder

_ASIDE = ".aside"
_BUFFER_BYTES = 1 << 16  # a call of gzip's, in Python, for each few bytes would take as long as what it does


def write_whole(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file aside and renames it, so that it appears whole or not at all.

    Args:
      path: where the file appears; an older one is replaced.
      write: receives the open file; what it returns is ignored.

    Raises:
      DataError: the file cannot be written.
    """
    aside = f"{path}.{uuid.uuid4().hex}{_ASIDE}"
    try:
        try:
            with FileSystems.create(aside, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                write(file)
            FileSystems.rename([aside], [path])
        except BaseException:
            if FileSystems.exists(aside):
                FileSystems.delete([aside])
            raise
    except (OSError, BeamIOError) as error:
        raise DataError(
            f"{path}: cannot be written ({_one_line(error)}); check the path, its permissions and space"
        ) from error


def delete_leftovers(folder: str) -> None:
    """Deletes what workers that died were writing, where others did their work."""
    for name in list_folder(folder):
        if name.endswith(_ASIDE):
            FileSystems.delete([FileSystems.join(folder, name)])


def write_records(path: str, records: Iterable[bytes]) -> int:
    """Writes one gzipped TFRecord file; the same records give the same bytes.

    Returns:
      How many there were.

    Raises:
      DataError: the file cannot be written.
    """
    count = 0

    def write(file: BinaryIO) -> None:
        nonlocal count
        # Neither a name nor a time in the header: both would differ from run to run.
        with (
            gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as unbuffered,
            io.BufferedWriter(unbuffered, _BUFFER_BYTES) as compressed,
        ):
            for count, record in enumerate(records, start=1):  # noqa: B007
                compressed.write(_frame(record))

    write_whole(path, write)
    return count


def read_records(path: str) -> Iterator[bytes]:
    """Yields the records of one gzipped TFRecord file.

    Raises:
      DataError: the file is missing, truncated or damaged.
    """
    try:
        with (
            FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
            gzip.GzipFile(fileobj=file, mode="rb") as unbuffered,
            io.BufferedReader(unbuffered, _BUFFER_BYTES) as compressed,
        ):
            while header := compressed.read(12):
                yield _record_after(header, compressed, path)
    except (OSError, EOFError, zlib.error, BeamIOError) as error:
        raise DataError(f"{path}: not a readable gzipped TFRecord file ({_one_line(error)}); write it again") from error


def _frame(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


def _record_after(header: bytes, file: BinaryIO, path: str) -> bytes:
    damaged = DataError(f"{path}: expected whole TFRecords with their checksums, found a damaged one; write it again")
    if len(header) < 12 or _masked_crc(header[:8]) != header[8:]:
        raise damaged
    (length,) = struct.unpack("<Q", header[:8])
    record = file.read(length)
    if len(record) < length or _masked_crc(record) != file.read(4):
        raise damaged
    return record


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
