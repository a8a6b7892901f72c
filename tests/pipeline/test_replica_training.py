"""The Trainer on two replicas, interrupted in the middle of an epoch and resumed, ends where one replica does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import dump
from pipeline.train import train
from tests.pipeline.conftest import small_config


def test_two_replicas_interrupted_and_resumed_end_where_one_does(corpus, transform_dir, tmp_path):
    config = small_config(corpus, model={"dropout": 0.0}, training={"checkpoint_minutes": 0.0, "ema_momentum": 0.5})
    (tmp_path / "config.toml").write_text(dump(config))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    arguments = [str(tmp_path / "config.toml"), str(transform_dir), str(tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.replica_training", *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "the machine is gone" in done.stderr, done.stderr[-3000:]
    expected, found = train(config, transform_dir, tmp_path / "one"), json.loads(done.stdout.splitlines()[-1])
    assert found == pytest.approx(expected, rel=1e-3)
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")]
    for name, values in histories[0].items():
        assert histories[1][name] == pytest.approx(values, rel=1e-3), name
