"""How a huge plain file is read in parallel by byte ranges, without losing count of its lines.

    bytes        0 ....... B ....... 2B ...... 3B ....... end
    newlines          3         2         0          4          counted in parallel, block by block
    lines           0..3       4, 5       -        6..9         belong to the block with the newline before them

Line N, from 0, starts behind newline N. So from the sums of the blocks' newlines follow a block and a number of
newlines to skip in it, for any line and in any file: the lines of a source's block are read beside the same lines of
its target, wherever in the target's file those are.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import NamedTuple

from preprocessing.errors import DataError
from preprocessing.lines import READ_ERRORS, Line, explain, opened, read_lines

_CHUNK_BYTES = 1 << 20


class BlockCount(NamedTuple):
    """What is counted of one block.

    Attributes:
      newlines: bytes that end a line.
      ended: whether the block's last byte is one.
    """

    newlines: int
    ended: bool


class LineIndex(NamedTuple):
    """Where the lines of one file are.

    Attributes:
      before: number of newlines before each block.
      lines: number of lines of the file.
    """

    before: tuple[int, ...]
    lines: int


class Place(NamedTuple):
    """Where a line starts: behind so many newlines, counted from a byte."""

    start: int
    newlines: int


class LineRange(NamedTuple):
    """Consecutive lines of one or more line-aligned files.

    Attributes:
      first: number of the first line, from 0.
      size: how many lines.
      places: where the first one starts in each file.
    """

    first: int
    size: int
    places: tuple[Place, ...]


def count_block(path: str, start: int, size: int) -> BlockCount:
    """Counts the newlines of `size` bytes of a file from byte `start`.

    Raises:
      DataError: the file cannot be read, or ends earlier.
    """
    newlines, last = 0, b""
    for chunk in _chunks(path, start, size):
        newlines += chunk.count(b"\n")
        last = chunk[-1:]
        size -= len(chunk)
    if size:
        raise DataError(f"{path}: got shorter while it was read; start again when it is complete")
    return BlockCount(newlines, last == b"\n")


def index_lines(counts: Sequence[BlockCount]) -> LineIndex:
    """Sums up the blocks of a file, given in their order; a last line without an end counts."""
    before = tuple(accumulate((count.newlines for count in counts), initial=0))
    return LineIndex(before[:-1], before[-1] + (bool(counts) and not counts[-1].ended))


def line_ranges(indexes: Sequence[LineIndex], block_bytes: int) -> Iterator[LineRange]:
    """Divides files of equally many lines at the blocks of the first one."""
    before, lines = indexes[0]
    starts = [0, *(newlines + 1 for newlines in before[1:]), lines]
    for start, stop in pairwise(starts):
        stop = min(stop, lines)
        if start < stop:  # not so where a long line covers a whole block
            yield LineRange(start, stop - start, tuple(place_of(start, index, block_bytes) for index in indexes))


def place_of(line: int, index: LineIndex, block_bytes: int) -> Place:
    """Finds where line `line`, from 0, starts in the file of an index."""
    if line == 0:
        return Place(0, 0)
    block = bisect_left(index.before, line) - 1
    return Place(block * block_bytes, line - index.before[block])


def read_range(path: str, max_line_bytes: int, part: LineRange | None, side: int = 0) -> Iterator[Line]:
    """Yields the lines of a range, which are the same that `lines.read_lines` gives there.

    Args:
      path: an uncompressed file, or any with `part` None.
      max_line_bytes: longest line that is given whole.
      part: which lines; None for all.
      side: which of the range's files this is.

    Raises:
      DataError: as `read_lines`; or the file has changed since its lines were counted.
    """
    if part is None:
        yield from read_lines(path, max_line_bytes)
        return
    found = 0
    start = _skip(path, part.places[side])
    for line in islice(read_lines(path, max_line_bytes, start), part.size):
        found += 1
        yield line
    if found < part.size:
        raise DataError(f"{path}: got shorter while it was read; start again when it is complete")


def _skip(path: str, place: Place) -> int:
    """The byte behind the newlines to be skipped; opened anew from there, a file is only ever read forwards."""
    position, left = place
    if not left:
        return position
    for chunk in _chunks(path, position, None):
        newlines = chunk.count(b"\n")
        if newlines >= left:
            at = -1
            for _ in range(left):
                at = chunk.index(b"\n", at + 1)
            return position + at + 1
        left -= newlines
        position += len(chunk)
    return position


def _chunks(path: str, start: int, size: int | None) -> Iterator[bytes]:
    """Yields the bytes of a file from `start` on, `size` of them or all."""
    try:
        with opened(path, start) as stream:
            while size is None or size > 0:
                chunk = stream.read(_CHUNK_BYTES if size is None else min(_CHUNK_BYTES, size))
                if not chunk:
                    return
                yield chunk
                size = None if size is None else size - len(chunk)
    except READ_ERRORS as error:
        raise DataError(explain(path, 0, error)) from error
