"""Checkpoints of a training: each is one file that holds all that the next update depends on.

    checkpoints/update-00000454-epoch-002.npz   after an epoch, with its validation
    checkpoints/update-00000500.npz             within an epoch; replaced by the next one
    checkpoints/best-002.npz                    the weights alone of the epoch that validation likes best

A file appears whole or not at all, and a damaged one is noticed by its checksums. Nothing random is saved: coins,
dropout and the order of the data are functions of the seed and the position.
"""

import dataclasses
import io
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.errors import DataError

log = logging.getLogger("heliograph.train")

HEADER = "header"  # the name of the JSON among a file's arrays


@dataclasses.dataclass
class TrainingState:
    """Where a training stands, beside its variables: plain numbers, as JSON."""

    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Batches done in the epoch that has begun."""
    update: int = 0
    """Batches done in all."""
    nll: float = 0.0
    """Summed loss of the epoch that has begun, in nats."""
    tokens: float = 0.0
    """Target tokens of the epoch that has begun."""
    last: dict[str, float] = dataclasses.field(default_factory=dict)
    """Logs of the last update that the history keeps of an epoch."""
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    """Figures of each finished epoch."""
    best_epoch: int = 0
    """The epoch that validation likes best, from 1; 0 if the selection's figure was never finite."""
    since_best: int = 0
    """Epochs without improvement of the selection."""
    since_plateau: int = 0
    """The same since the learning rate was last lowered."""
    logs: dict[str, int] = dataclasses.field(default_factory=dict)
    """Log files and their sizes in bytes."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        directory: made if need be.
        keep: how many checkpoints at the ends of epochs are kept; a newer one within an epoch is kept, too.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory, self.keep = directory, keep

    def ends_of_epochs(self) -> list[Path]:
        """The checkpoints at the ends of epochs, the newest last."""
        return sorted(self.directory.glob("update-*-epoch-*.npz"))

    def newest(self) -> Path | None:
        """The newest checkpoint."""
        return max(self.directory.glob("update-*.npz"), default=None)

    def save(self, variables: Sequence[Any], state: TrainingState) -> Path:
        """Write a checkpoint, then remove those that are no longer kept.

        Raises:
            OSError: it could not be written; the older ones are as they were.
        """
        end = "" if state.batch else f"-epoch-{state.epoch:03}"
        path = self.directory / f"update-{state.update:08}{end}.npz"
        write_arrays(path, [as_array(variable) for variable in variables], dataclasses.asdict(state))
        ends = self.ends_of_epochs()
        for old in {*self.directory.glob("update-*.npz")} - {*ends} - {path}:
            old.unlink()
        for old in ends[: -self.keep]:
            old.unlink()
        return path

    def restore(self, variables: Sequence[Any]) -> TrainingState | None:
        """Put the newest whole checkpoint into the variables; None if there is none.

        Raises:
            DataError: the checkpoint belongs to other variables.
            OSError: it cannot be read at present.
        """
        for aside in self.directory.glob(".*.npz.*"):
            aside.unlink()  # a killed process was writing it
        while (path := self.newest()) is not None:
            try:
                arrays, values = read_arrays(path)
                state = TrainingState(**values)
            except DamagedFileError as error:
                log.warning("%s; going back to the checkpoint before it", error)
                path.unlink()
                continue
            if [array.shape for array in arrays] != [as_array(variable).shape for variable in variables]:
                raise DataError(
                    f"{path}: expected the {len(variables)} arrays of this model, got others; delete {self.directory}"
                )
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
            return state
        return None

    def best_file(self, epoch: int) -> Path:
        """Where the weights of the best epoch, counted from 1, lie."""
        return self.directory / f"best-{epoch:03}.npz"

    def save_best(self, weights: Sequence[np.ndarray], epoch: int) -> None:
        """Keep the weights of an epoch that is better than all before."""
        write_arrays(self.best_file(epoch), weights, {})

    def forget_best(self, but: int) -> None:
        """Remove the weights of other epochs than the best one, and than those that kept checkpoints call the best."""
        needed = {self.best_file(but)}
        for path in self.directory.glob("update-*.npz"):
            with suppress(DamagedFileError):  # nothing will go on from it
                needed.add(self.best_file(read_values(path)["best_epoch"]))
        for path in {*self.directory.glob("best-*.npz")} - needed:
            path.unlink()


class DamagedFileError(DataError):
    """A file of arrays is not whole."""


def as_array(variable: Any) -> np.ndarray:
    """A variable's value."""
    return np.asarray(variable.numpy())


def write_arrays(path: Path, arrays: Sequence[np.ndarray], values: dict[str, Any]) -> None:
    """Write arrays and JSON-able values into one file, which appears whole, and on the disk, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    named: dict[str, Any] = {f"{number:04}": array for number, array in enumerate(arrays)}
    named[HEADER] = np.array(json.dumps({"arrays": len(arrays), "values": values}))
    try:
        with aside.open("wb") as file:
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk does not name the file
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, before an older checkpoint is removed
    finally:
        os.close(folder)


def read_arrays(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """What `write_arrays` wrote.

    Raises:
        DamagedFileError: the file is not whole.
        OSError: it cannot be read at present.
    """
    content = path.read_bytes()
    with _noticing_damage(path), np.load(io.BytesIO(content), allow_pickle=False) as file:
        header = json.loads(str(file[HEADER]))
        return [file[f"{number:04}"] for number in range(header["arrays"])], header["values"]


def read_values(path: Path) -> dict[str, Any]:
    """The values alone of what `write_arrays` wrote, without reading the arrays.

    Raises:
        DamagedFileError: the file is not whole.
    """
    with path.open("rb") as raw, _noticing_damage(path), np.load(raw, allow_pickle=False) as file:
        values: dict[str, Any] = json.loads(str(file[HEADER]))["values"]
        return values


@contextmanager
def _noticing_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # zipfile, NumPy and JSON have a dozen ways to say so
        raise DamagedFileError(f"{path}: damaged ({type(error).__name__}: {error})") from error
