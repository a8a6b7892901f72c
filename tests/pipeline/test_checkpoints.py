"""Checkpoints: what is written is read back to the bit, and whatever a crash or a disk does, a whole one is left."""

import errno
import math
import resource
from contextlib import contextmanager, suppress
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.checkpoints import Checkpoints, TrainingState, as_array, read_arrays
from preprocessing.errors import DataError

EDGES = [0.1, -0.0, math.nan, math.inf, 1e-45, 3.4e38]


class Plain:
    """A variable without TensorFlow."""

    def __init__(self, value):
        self.value = np.asarray(value)

    def numpy(self):
        return self.value

    def assign(self, value):
        self.value = np.array(value)


def state(update, batches=4, **fields):
    return TrainingState(epoch=update // batches, batch=update % batches, update=update, **fields)


def save(checkpoints, *updates):
    """Checkpoints after these updates; each one's variable holds its update."""
    for update in updates:
        checkpoints.save([Plain(np.full(50, float(update)))], state(update))


def restored(checkpoints):
    """The update of the restored state, or None; the variable and the state agree."""
    variable = Plain(np.zeros(50))
    found = checkpoints.restore([variable])
    if found is None:
        assert not variable.value.any()
        return None
    assert set(variable.value) == {found.update}
    assert found == state(found.update)
    return found.update


def names(checkpoints):
    return sorted(path.name for path in checkpoints.directory.iterdir())


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=2)


def test_round_trip_to_the_bit(checkpoints):
    written = [np.array(EDGES, np.float32).reshape(2, 3), np.int64(2**62 + 1), np.float32(1 / 3), np.zeros((0, 5))]
    made = [tf.Variable(written[0]), tf.Variable(written[1]), keras.Variable(written[2]), tf.Variable(written[3])]
    full = TrainingState(
        epoch=3,
        batch=7,
        update=31,
        nll=0.1 + 0.2,
        tokens=1e22 / 3,
        last={"learning_rate": math.nextafter(1e-3, 1)},
        history={"perplexity": [math.pi, -math.inf, 5e-324], "val_bleu": [2 / 3]},
        best_epoch=2,
        since_best=1,
        since_plateau=1,
        logs={"train/events.1": 2**40},
    )
    checkpoints.save(made, full)
    others = [type(variable)(np.zeros_like(as_array(variable))) for variable in made]
    assert repr(Checkpoints(checkpoints.directory, keep=1).restore(others)) == repr(full)
    for variable, array in zip(others, written, strict=True):
        value = as_array(variable)
        assert (value.dtype, value.shape, value.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_many_variables_keep_their_order(checkpoints):
    checkpoints.save([Plain(float(number)) for number in range(1200)], state(1))
    variables = [Plain(0.0) for _ in range(1200)]
    checkpoints.restore(variables)
    assert [float(variable.value) for variable in variables] == list(range(1200))


def test_nothing_to_restore(checkpoints):
    assert checkpoints.newest() is None and restored(checkpoints) is None
    checkpoints.save_best([np.ones(3)], 1)  # weights alone are no place to go on from
    assert restored(checkpoints) is None


def test_retention(checkpoints):
    kept = []
    for update in range(1, 18):
        save(checkpoints, update)
        assert checkpoints.newest().name.startswith(f"update-{update:08}") and restored(checkpoints) == update
        kept.append(names(checkpoints))
    ends = [f"update-{4 * epoch:08}-epoch-{epoch:03}.npz" for epoch in range(1, 5)]
    assert kept[:5] == [
        ["update-00000001.npz"],
        ["update-00000002.npz"],
        ["update-00000003.npz"],
        ends[:1],
        [ends[0], "update-00000005.npz"],
    ]
    assert kept[9:12] == [[*ends[:2], "update-00000010.npz"], [*ends[:2], "update-00000011.npz"], ends[1:3]]
    assert kept[15:] == [ends[2:], [*ends[2:], "update-00000017.npz"]]
    assert [path.name for path in checkpoints.ends_of_epochs()] == ends[2:]


def test_the_best_weights_stay_until_a_checkpoint_knows_better_ones(checkpoints):
    for epoch in (1, 2):
        checkpoints.save_best([np.full(3, epoch), np.zeros((2, 2))], epoch)
    assert names(checkpoints) == ["best-001.npz", "best-002.npz"]  # a crash here goes on with epoch 1 as the best
    save(checkpoints, 4, 8, 12, 16)
    checkpoints.forget_best(but=2)
    assert [name for name in names(checkpoints) if "best" in name] == ["best-002.npz"]
    arrays, _ = read_arrays(checkpoints.best_file(2))
    assert [array.tolist() for array in arrays] == [[2, 2, 2], [[0, 0], [0, 0]]]
    checkpoints.forget_best(but=0)
    assert not [name for name in names(checkpoints) if "best" in name]


def truncated(content):
    return content[: len(content) // 2]


def without_last_byte(content):
    return content[:-1]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def zeroed(content):
    return bytes(len(content))


@pytest.mark.parametrize("damage", [truncated, without_last_byte, flipped, zeroed, lambda content: b"no archive"])
@pytest.mark.parametrize("newest", [8, 10])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(checkpoints, caplog, damage, newest):
    save(checkpoints, 4, 8, newest)
    path = checkpoints.newest()
    path.write_bytes(damage(path.read_bytes()))
    assert restored(checkpoints) == {8: 4, 10: 8}[newest]
    assert f"{path}: damaged" in caplog.text and "the checkpoint before it" in caplog.text
    assert not path.exists()  # it would be newer than those that follow
    save(checkpoints, newest)
    assert restored(checkpoints) == newest


def test_if_all_are_damaged_nothing_is_restored(checkpoints):
    save(checkpoints, 4, 8, 9)
    for path in checkpoints.directory.iterdir():
        path.write_bytes(truncated(path.read_bytes()))
    assert restored(checkpoints) is None and names(checkpoints) == []


def test_an_empty_file_is_damaged(checkpoints):
    save(checkpoints, 4, 8)
    checkpoints.newest().write_bytes(b"")
    assert restored(checkpoints) == 4


def test_no_flipped_bit_goes_unnoticed(checkpoints):
    save(checkpoints, 4, 8)
    path = checkpoints.newest()
    content = path.read_bytes()
    wrong = []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
        try:
            if restored(checkpoints) not in (4, 8):
                wrong.append((place, "nothing restored"))
        except Exception as error:
            wrong.append((place, repr(error)))
    assert wrong == []


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_what_cannot_be_read_now_is_not_deleted(checkpoints, monkeypatch, number):
    save(checkpoints, 4, 8)
    with monkeypatch.context() as patch, suppress(OSError):
        for name in ("builtins.open", "io.open"):  # NumPy's and Path's
            patch.setattr(name, mock.Mock(side_effect=OSError(number, "for now")))
        restored(checkpoints)
    assert restored(checkpoints) == 8


def test_the_checkpoint_before_still_has_its_best_weights(checkpoints):
    for epoch in (1, 2):  # as the Trainer does, each epoch being better than the one before
        checkpoints.save_best([np.full(3, epoch)], epoch)
        checkpoints.save([Plain(np.zeros(2))], state(4 * epoch, best_epoch=epoch))
        checkpoints.forget_best(but=epoch)
    checkpoints.newest().write_bytes(b"damaged")
    found = checkpoints.restore([Plain(np.zeros(2))])
    assert found.best_epoch == 1 and checkpoints.best_file(1).exists()


@pytest.mark.parametrize("shapes", [[(50,), (2,)], [(49,)], [(50, 1)], []])
def test_the_checkpoint_of_another_model_is_refused(checkpoints, shapes):
    save(checkpoints, 4)
    variables = [Plain(np.zeros(shape)) for shape in shapes]
    with pytest.raises(DataError, match=f"expected the {len(shapes)} arrays .* delete {checkpoints.directory}$"):
        checkpoints.restore(variables)
    assert not any(variable.value.any() for variable in variables)
    assert restored(checkpoints) == 4


@contextmanager
def largest_file(size):
    """Writes beyond this size fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("update", [8, 9])
def test_a_full_disk_leaves_the_older_checkpoints(checkpoints, share, update):
    big = [np.random.default_rng(0).normal(size=(300, 500)) for _ in range(3)]
    checkpoints.save_best(big, 1)
    size = checkpoints.best_file(1).stat().st_size
    save(checkpoints, 3, 4, 5)
    before = {path: path.read_bytes() for path in checkpoints.directory.iterdir()}
    with largest_file(int(share * size)):
        with pytest.raises(OSError, match="File too large"):
            checkpoints.save([Plain(array) for array in big], state(update))
        with pytest.raises(OSError, match="File too large"):
            checkpoints.save_best(big, 2)
    assert {path: path.read_bytes() for path in checkpoints.directory.iterdir()} == before
    assert restored(checkpoints) == 5


def test_a_write_that_is_interrupted_leaves_nothing(checkpoints, monkeypatch):
    save(checkpoints, 4)

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.checkpoints.np.savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(checkpoints, 8)
    assert len(names(checkpoints)) == 1 and restored(checkpoints) == 4
