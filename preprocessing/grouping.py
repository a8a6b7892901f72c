"""Beam's shuffles, through files: what is sorted, grouped or spread goes from worker to worker in sorted runs.

    entries ──WriteRuns──▶ runs in a folder         only the runs' names are shuffled by the runner
                           names ──GroupByKey──▶ merge ──▶ sorted entries of a bucket

A runner on one machine keeps what it shuffles in the memory of one process, and each element passes through that
process, so memory would grow with the corpus and a second worker would wait for it. Here each worker holds one run
while it writes, and a bounded number of blocks while it merges. The folder has to be one that all workers see, as that
of the output has, anyway. A bundle that is tried again writes other runs; those of the failed attempt nobody reads.
"""

import itertools
import tempfile
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindows

from preprocessing.errors import DataError
from preprocessing.sorted_runs import Entry, Segment, merge, write_run

T = TypeVar("T")

RUN_BYTES = 32 << 20
"""Orders and payloads that are sorted at once, and what Python needs around them."""

SPREAD_BYTES = 4 << 20
"""The same of a run that another worker goes on with: small, so that each gets about as many."""

HELD_VALUES = 10_000
"""Values of one key that are held in memory; more are in a temporary file."""

_OVERHEAD = 160  # bytes of Python's objects around an entry


@contextmanager
def shuffle_folder(parent: str) -> Iterator[str]:
    """A folder for the runs of one pipeline, which is deleted in the end.

    Raises:
      DataError: it cannot be made.
    """
    folder = FileSystems.join(parent, f"shuffle-{uuid.uuid4().hex}")
    try:
        FileSystems.mkdirs(folder)
    except OSError as error:
        raise DataError(f"{parent}: cannot be written ({error}); choose another folder or free it") from error
    try:
        yield folder
    finally:
        delete_folder(folder)


def delete_folder(folder: str) -> None:
    """Deletes a folder with all that is in it; in an object store there is nothing else, so `folder/` names it."""
    FileSystems.delete([folder if FileSystems.get_scheme(folder) is None else f"{folder}/"])


class SortIntoBuckets(beam.PTransform[PCollection[Entry], PCollection[tuple[int, list[Segment]]]]):
    """Sorts entries: (bucket, order, payload) -> (bucket, segments), for `sorted_runs.merge`.

    Each bucket is there once, even one without an entry.

    Args:
      folder: where the runs are written.
      buckets: how many there are; they are numbered from 0.
      run_bytes: how much is sorted at once.
    """

    def __init__(self, folder: str, buckets: int, run_bytes: int = RUN_BYTES) -> None:
        super().__init__()
        self._folder = folder
        self._buckets = buckets
        self._run_bytes = run_bytes

    def expand(self, entries: PCollection[Entry]) -> PCollection[tuple[int, list[Segment]]]:
        """Groups the segments' names by bucket, together with the numbers of all buckets."""
        segment = tuple[int, Any]
        written = entries | "WriteRuns" >> beam.ParDo(_WriteRuns(self._folder, self._run_bytes)).with_output_types(
            segment
        )
        every = (
            entries.pipeline
            | "Buckets" >> beam.Create(range(self._buckets), reshuffle=False)
            | "Number" >> beam.Map(lambda bucket: (bucket, None)).with_output_types(segment)
        )
        grouped: PCollection[tuple[int, list[Segment]]] = (
            (written, every)
            | "WithEmpty" >> beam.Flatten()
            | "Group" >> beam.GroupByKey()
            | "Segments" >> beam.MapTuple(lambda bucket, found: (bucket, sorted(filter(None, found))))
        )
        return grouped


class _WriteRuns(beam.DoFn):
    def __init__(self, folder: str, run_bytes: int) -> None:
        self._folder = folder
        self._run_bytes = run_bytes

    def start_bundle(self) -> None:
        self._entries: list[Entry] = []
        self._bytes = 0

    # Not a generator, and no list for most elements: this is called for each entry of the corpus.
    def process(self, entry: Entry) -> list[tuple[int, Any]] | None:
        self._entries.append(entry)
        self._bytes += len(entry[1]) + len(entry[2]) + _OVERHEAD
        return self._write() if self._bytes >= self._run_bytes else None

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(GlobalWindows.windowed_value, self._write())

    def _write(self) -> list[tuple[int, Segment]]:
        entries, self._entries, self._bytes = self._entries, [], 0
        return write_run(FileSystems.join(self._folder, uuid.uuid4().hex), entries) if entries else []


class GroupThroughFiles(beam.PTransform[PCollection[tuple[bytes, Any]], PCollection[tuple[bytes, Iterable[Any]]]]):
    """As `beam.GroupByKey`: (key, value) -> (key, values), the values in the order of their encoded bytes.

    The values of a key can be iterated again and again.

    Args:
      folder: where the runs are written.
      buckets: over how many tasks the groups are spread.
      coder: of the values.
      run_bytes: how much is sorted at once.
    """

    def __init__(self, folder: str, buckets: int, coder: Coder, run_bytes: int = RUN_BYTES) -> None:
        super().__init__()
        self._sort = SortIntoBuckets(folder, buckets, run_bytes)
        self._buckets = buckets
        self._coder = coder

    def expand(self, values: PCollection[tuple[bytes, Any]]) -> PCollection[tuple[bytes, Iterable[Any]]]:
        """The bucket follows from the key alone."""
        groups: PCollection[tuple[bytes, Iterable[Any]]] = (
            values
            | "Encode" >> beam.Map(_entry_of, self._buckets, self._coder).with_output_types(Entry)
            | "Sort" >> self._sort
            | "Groups" >> beam.ParDo(_ReadGroups(self._coder))
        )
        return groups


def _entry_of(element: tuple[bytes, Any], buckets: int, coder: Coder) -> Entry:
    key, value = element
    return zlib.crc32(key) % buckets, key, coder.encode(value)


class _ReadGroups(beam.DoFn):
    def __init__(self, coder: Coder) -> None:
        self._coder = coder

    def process(self, element: tuple[int, list[Segment]]) -> Iterator[tuple[bytes, Iterable[Any]]]:
        decode: Callable[[bytes], Any] = self._coder.decode
        for key, entries in itertools.groupby(merge(element[1]), key=itemgetter(0)):
            held = [decode(payload) for _, payload in itertools.islice(entries, HELD_VALUES)]
            if len(held) < HELD_VALUES:
                yield key, held
            else:
                with tempfile.TemporaryFile() as file:
                    yield key, _Values(held, file, (payload for _, payload in entries), self._coder)


class _Values:
    """Many values of one key: the first in memory, the others in a file. One iteration at a time."""

    def __init__(self, held: list[Any], file: Any, others: Iterator[bytes], coder: Coder) -> None:
        self._held = held
        self._file = file
        self._decode: Callable[[bytes], Any] = coder.decode
        for payload in others:
            file.write(len(payload).to_bytes(8))
            file.write(payload)

    def __iter__(self) -> Iterator[Any]:
        yield from self._held
        self._file.seek(0)
        while length := self._file.read(8):
            yield self._decode(self._file.read(int.from_bytes(length)))


class SpreadThroughFiles(beam.PTransform[PCollection[Any], PCollection[list[Any]]]):
    """As `beam.Reshuffle`: lets other workers go on with elements, which come in batches.

    Args:
      folder: where the runs are written.
      coder: of the elements.
      batch: how many elements are in a batch at most.
      run_bytes: how much one worker gets at a time.
    """

    def __init__(self, folder: str, coder: Coder, batch: int, run_bytes: int = SPREAD_BYTES) -> None:
        super().__init__()
        self._folder = folder
        self._coder = coder
        self._batch = batch
        self._run_bytes = run_bytes

    def expand(self, elements: PCollection[Any]) -> PCollection[list[Any]]:
        """All elements are in bucket 0, and each run is read for itself."""
        batches: PCollection[list[Any]] = (
            elements
            | "Encode" >> beam.Map(lambda element, coder: (0, b"", coder.encode(element)), self._coder)
            | "WriteRuns" >> beam.ParDo(_WriteRuns(self._folder, self._run_bytes))
            | "Spread" >> beam.Reshuffle()
            | "ReadRuns" >> beam.ParDo(_ReadBatches(self._coder, self._batch))
        )
        return batches


class _ReadBatches(beam.DoFn):
    def __init__(self, coder: Coder, batch: int) -> None:
        self._coder = coder
        self._batch = batch

    def process(self, element: tuple[int, Segment]) -> Iterator[list[Any]]:
        yield from batches((self._coder.decode(payload) for _, payload in merge([element[1]])), self._batch)


def batches(elements: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yields lists of `size` elements, the last one shorter."""
    iterator = iter(elements)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
