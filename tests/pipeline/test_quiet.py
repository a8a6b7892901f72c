import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.quiet import filtered_stderr, set_environment, tensorflow_error
from preprocessing.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
CHATTER = b"normalizer.cc(51) LOG(INFO) precompiled_charsmap is empty. use identity normalization.\n"


def test_only_chatter_is_held_back(capfd):
    with filtered_stderr():
        os.write(2, b"I0000 00:00:1795373090.3 4212 cudart_stub.cc:31] Could not find cuda drivers\nreal trouble\n")
        os.write(
            2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\nand more\n"
        )
    with filtered_stderr():
        os.write(2, CHATTER)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "real trouble\nand more\nafter\n"


def test_a_model_is_loaded_to_be_served_without_chatter(tmp_path, monkeypatch, capfd):
    from pipeline.serve_model import serve_model
    from serving.server.library import Model
    from serving.server.serve import ServeOptions

    def servable(*_):
        os.write(2, CHATTER + b"real trouble\n")
        raise RuntimeError("damaged")

    monkeypatch.setattr("serving.server.serve.Servable", servable)
    (tmp_path / "my" / "1").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be loaded: damaged"):
        serve_model(ServeOptions(models=(Model(name="my", base_dir=tmp_path / "my"),)))
    assert capfd.readouterr().err == "real trouble\n"


def test_keras_gets_its_backend(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    set_environment()
    assert (os.environ["KERAS_BACKEND"], os.environ["TF_CPP_MIN_LOG_LEVEL"]) == ("tensorflow", "0")


def test_tensorflow_starts_silently():
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    code = "from pipeline.quiet import load_tensorflow; load_tensorflow(); import keras; print(keras.backend.backend())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("tensorflow\n", "", 0)


def test_tensorflows_runtime_errors_are_one_line():
    import tensorflow as tf

    damaged = tf.errors.DataLossError(None, None, "corrupted record at 12\n\t [[node]]")
    assert tensorflow_error(damaged) == "corrupted record at 12; the file is damaged: delete its folder and run again"
    assert tensorflow_error(tf.errors.ResourceExhaustedError(None, None, "OOM")).startswith("OOM; lower training.batch")
    assert tensorflow_error(ValueError("a bug")) is None
