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
import uuid
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

FAN_IN = 64
"""Segments that are merged at once: so many blocks are in memory."""


def write_run(path: str, entries: list[Entry], block_bytes: int = BLOCK_BYTES) -> list[tuple[int, Segment]]:
    """Sorts the entries, in place, and writes them.

    Returns:
      The buckets that have entries, each with its segment.

    Raises:
      DataError: the file cannot be written.
    """
    entries.sort()
    divided = [
        (bucket, list(_blocks(((order, payload) for _, order, payload in group), block_bytes)))
        for bucket, group in itertools.groupby(entries, key=itemgetter(0))
    ]
    lengths = _write(path, (block for _, blocks in divided for block in blocks))
    segments: list[tuple[int, Segment]] = []
    offset = 0
    for bucket, blocks in divided:
        own, lengths = lengths[: len(blocks)], lengths[len(blocks) :]
        segments.append((bucket, (path, offset, own)))
        offset += sum(own)
    return segments


def _blocks(entries: Iterable[tuple[bytes, bytes]], block_bytes: int) -> Iterator[list[tuple[bytes, bytes]]]:
    block: list[tuple[bytes, bytes]] = []
    size = 0
    for order, payload in entries:
        block.append((order, payload))
        size += len(order) + len(payload)
        if size >= block_bytes:
            yield block
            block, size = [], 0
    if block:
        yield block


def merge(segments: Sequence[Segment], fan_in: int = FAN_IN) -> Iterator[tuple[bytes, bytes]]:
    """Yields the orders and payloads of a bucket, sorted by both.

    It holds one block of each segment, of `fan_in` at most: more are merged into longer ones first, beside the others.

    Raises:
      DataError: a longer one cannot be written.
    """
    while len(segments) > fan_in:
        segments = [_merged(segments[start : start + fan_in]) for start in range(0, len(segments), fan_in)]
    return heapq.merge(*map(_entries, segments))


def _merged(segments: Sequence[Segment]) -> Segment:
    if len(segments) == 1:
        return segments[0]
    path = FileSystems.join(FileSystems.split(segments[0][0])[0], uuid.uuid4().hex)
    return path, 0, _write(path, _blocks(heapq.merge(*map(_entries, segments)), BLOCK_BYTES))


def _write(path: str, blocks: Iterable[list[tuple[bytes, bytes]]]) -> list[int]:
    """Writes blocks and returns how long each is."""
    lengths = []
    try:
        with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            for block in blocks:
                packed = pickle.dumps(block, pickle.HIGHEST_PROTOCOL)
                file.write(packed)
                lengths.append(len(packed))
    except (OSError, BeamIOError) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be written ({told}); free space on the disk, or check the folder") from error
    return lengths


def _entries(segment: Segment) -> Iterator[tuple[bytes, bytes]]:
    path, offset, lengths = segment
    for length in lengths:
        # Opened for each block: all segments of a large corpus would be more files than a process may hold open.
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.seek(offset)
            block: list[tuple[bytes, bytes]] = pickle.loads(file.read(length))
        yield from block
        offset += length
