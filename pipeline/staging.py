"""Steps on Beam whose workers do not see the run's folders: what they read and write is staged where all see it.

    artifacts of the run ──copied──▶ TEMP_LOCATION/heliograph-…/0, 1, …  ──▶ workers
    output of the step   ◀──copied── TEMP_LOCATION/heliograph-…/output   ◀── workers

Beam's option `--temp_location` names the folder, on any file system that Beam knows (`gs://`, `hdfs://`, `s3://`, or
a folder that is mounted everywhere). Without it the workers read and write the run's folders. The staged files are
deleted in the end; of a step that was killed, when its folder is next cleared: a note there names them.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from preprocessing.errors import DataError
from preprocessing.file_patterns import file_systems, has_wildcards, is_remote, list_folder
from preprocessing.wording import counted

NOTE = "staged"
"""In the folder of an execution: where its files are staged, for as long as they are."""

_OPTION = "Beam option --temp_location"
_COPIES = 8  # at once; each waits for a network most of the time
_BLOCK = 1 << 20

_log = logging.getLogger("heliograph.staging")


@contextmanager
def staged(beam_args: Sequence[str], output: Path, *inputs: Path) -> Iterator[tuple[str, ...]]:
    """Folders for a pipeline to write to and to read from: those of the run, or staged ones.

    Args:
        beam_args: Beam's options.
        output: the step's folder, which receives all files that were written if the block ends well.
        inputs: folders of artifacts; only the files right in them are staged, as Beam's steps have no others.

    Raises:
        DataError: Beam refuses an option, or something cannot be copied.
    """
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    from preprocessing.beam_run import pipeline_options, use_file_systems

    parent = pipeline_options(beam_args).view_as(GoogleCloudOptions).temp_location
    if parent is None:
        yield (str(output), *map(str, inputs))
        return
    if has_wildcards(parent):
        raise DataError(f"{_OPTION}={parent}: Beam reads *, ? and [ in a path as wildcards; choose another folder")
    use_file_systems(beam_args)
    base = parent if is_remote(parent) else os.path.abspath(parent)
    folder = f"{base.rstrip('/')}/heliograph-{uuid.uuid4().hex}"
    _try_out(folder, parent)
    (output / NOTE).write_text(folder, encoding="utf-8")
    try:
        written, *places = (FileSystems.join(folder, name) for name in ("output", *map(str, range(len(inputs)))))
        for path, place in zip(inputs, places, strict=True):
            _copy_files(str(path), place)
        yield (written, *places)
        if not list_folder(written):
            raise DataError(f"{_OPTION}={parent}: the workers have left nothing in {written}; is it the same for all?")
        _copy_files(written, str(output))
    finally:
        discard(output)


def discard(output: Path) -> None:
    """Deletes what an execution has staged, one that was killed perhaps; where that fails, a warning names it."""
    note = output / NOTE
    if not note.exists():
        return
    from preprocessing.grouping import delete_folder

    folder = note.read_text(encoding="utf-8")
    try:
        if is_remote(folder) or os.path.isdir(folder):
            file_systems()  # have options by now, if only those of the environment
            delete_folder(folder)
    except Exception as error:  # each file system has classes of its own
        _log.warning("%s: staged files cannot be deleted (%s); delete them by hand", folder, _one_line(error))
    note.unlink()


def _try_out(folder: str, parent: str) -> None:
    """Writes a file: object stores say only then that a bucket is missing, or a key wrong."""
    from apache_beam.io.filesystems import FileSystems

    logging.disable(logging.ERROR)  # of tracebacks, before our own line
    try:
        with FileSystems.create(FileSystems.join(folder, "begun")) as file:
            file.write(b"1")
    except Exception as error:  # as above
        raise DataError(f"{_OPTION}={parent}: cannot be written ({_one_line(error)})") from error
    finally:
        logging.disable(logging.NOTSET)


def _copy_files(from_folder: str, to_folder: str) -> None:
    names = list_folder(from_folder)
    _log.info("copying %s from %s to %s", counted(len(names), "file"), from_folder, to_folder)
    with ThreadPoolExecutor(_COPIES) as pool:
        for _ in pool.map(lambda name: _copy_file(name, from_folder, to_folder), names):
            pass


def _copy_file(name: str, from_folder: str, to_folder: str) -> None:
    """Streams one file; Beam's own `FileSystems.copy` stays within one file system."""
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    as_it_is = CompressionTypes.UNCOMPRESSED
    source, target = (FileSystems.join(folder, name) for folder in (from_folder, to_folder))
    try:
        with (
            FileSystems.open(source, compression_type=as_it_is) as read,
            FileSystems.create(target, compression_type=as_it_is) as write,
        ):
            shutil.copyfileobj(read, write, _BLOCK)
    except Exception as error:  # as above
        raise DataError(f"{source}: cannot be copied to {to_folder} ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
