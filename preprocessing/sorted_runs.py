"""Sorting what memory does not hold: sorted runs in files, which are then merged (Knuth, TAOCP 3, section 5.4).

An entry has a bucket, an order and a payload. A run is a file of as many entries as are sorted at once; it has one
segment for each of its buckets, cut into blocks, so that whoever merges the segments of a bucket holds one block of
each::

    block of bucket 0 | block of bucket 0 | block of bucket 3 | ...         block = pickle of [(order, payload), ...]

Runs live as long as one pipeline. Paths may be of any file system Beam knows.
"""

import heapq
import itertools
import pickle
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from preprocessing.errors import DataError

Entry = tuple[int, bytes, bytes]
"""Bucket, order, payload."""

Segment = tuple[str, int, list[int]]
"""What a run has of one bucket: the path of the file, where the first block begins, and the length of each block."""

BLOCK_BYTES = 1 << 18
"""Orders and payloads in a block, at most one entry more."""


def write_run(path: str, entries: list[Entry], block_bytes: int = BLOCK_BYTES) -> list[tuple[int, Segment]]:
    """Sorts the entries, in place, and writes them.

    Returns:
      The buckets that have entries, each with its segment.

    Raises:
      DataError: the file cannot be written.
    """
    entries.sort()
    segments: list[tuple[int, Segment]] = []
    blocks: list[bytes] = []
    offset = 0
    for bucket, group in itertools.groupby(entries, key=itemgetter(0)):
        packed = [pickle.dumps(block, pickle.HIGHEST_PROTOCOL) for block in _blocks(group, block_bytes)]
        segments.append((bucket, (path, offset, [len(block) for block in packed])))
        blocks += packed
        offset += sum(map(len, packed))
    try:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(b"".join(blocks))
    except (OSError, BeamIOError) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be written ({told}); free space on the disk, or check the folder") from error
    return segments


def _blocks(entries: Iterable[Entry], block_bytes: int) -> Iterator[list[tuple[bytes, bytes]]]:
    block: list[tuple[bytes, bytes]] = []
    size = 0
    for _, order, payload in entries:
        block.append((order, payload))
        size += len(order) + len(payload)
        if size >= block_bytes:
            yield block
            block, size = [], 0
    if block:
        yield block


def merge(segments: Sequence[Segment]) -> Iterator[tuple[bytes, bytes]]:
    """Yields the orders and payloads of a bucket, sorted by both, holding one block of each segment."""
    return heapq.merge(*map(_entries, segments))


def _entries(segment: Segment) -> Iterator[tuple[bytes, bytes]]:
    path, offset, lengths = segment
    for length in lengths:
        # Opened for each block: all segments of a large corpus would be more files than a process may hold open.
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.seek(offset)
            block: list[tuple[bytes, bytes]] = pickle.loads(file.read(length))
        yield from block
        offset += length
