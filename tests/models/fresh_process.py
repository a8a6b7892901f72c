"""Models that are saved here and loaded in a process that has seen nothing of this one."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from models.batches import Batch
from models.seq2seq import Seq2Seq

PROGRAM = """
import sys, pathlib, numpy as np, keras, models.ensemble, models.seq2seq
folder = pathlib.Path(sys.argv[1])
batch = dict(np.load(folder / "batch.npz"))
models = {path.stem: keras.saving.load_model(path, compile=False) for path in folder.glob("*.keras")}
np.savez(folder / "logits.npz", **{name: model(batch) for name, model in models.items()})
"""


def check_saved(models: Mapping[str, Seq2Seq], batch: Batch, folder: Path) -> None:
    """Each model gives the same logits there."""
    np.savez(folder / "batch.npz", **{key: value.numpy() for key, value in batch.items()})
    for name, model in models.items():
        keras.saving.save_model(model, folder / f"{name}.keras", include_optimizer=False)
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = dict(np.load(folder / "logits.npz"))
    assert found.keys() == models.keys()
    for name, model in models.items():
        np.testing.assert_allclose(found[name], model(batch), atol=1e-6, err_msg=name)
