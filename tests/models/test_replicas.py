"""The update on 2 and 4 replicas equals the update on one: uneven lengths, clipping, coins, micro-batches, float16."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SAME = (
    "lstm_moving_average",
    "gru_token_coins_micro_batches",
    "bidirectional",
    "keras_sgd",
    "attention_micro_batches",
    "transformer_parallel_roll_out",
)


@pytest.fixture(scope="module")
def updates(tmp_path_factory):
    """Results of `replica_steps` by case and number of replicas; a process for each number, for its devices."""
    folder = tmp_path_factory.mktemp("replicas")
    root = Path(__file__).parents[2]
    for count in (1, 2, 4):
        command = [sys.executable, "-m", "tests.models.replica_steps", str(count), str(folder)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    return {path.stem: dict(np.load(path)) for path in folder.iterdir()}


@pytest.mark.parametrize(("case", "replicas"), [*((case, 2) for case in SAME), *((case, 4) for case in SAME[:2])])
def test_replicas_make_the_update_of_one(updates, case, replicas):
    one, several = updates[f"{case}-1"], updates[f"{case}-{replicas}"]
    assert one.keys() == several.keys() and several["copies_agree"] and not one["unchanged"]
    assert one["traces"] == several["traces"] == 1
    assert (one["gradient_norm"] > 0.3).any()  # it clips
    assert ("average_0" in one) == (case == "lstm_moving_average")
    for name, value in one.items():
        np.testing.assert_allclose(several[name], value, rtol=0, atol=1e-12, err_msg=name)


def test_loss_scaling_makes_nearly_the_same_update_on_two_replicas(updates):
    one, two = updates["float16-1"], updates["float16-2"]
    assert two["copies_agree"] and not two["unchanged"] and one["iterations"] == two["iterations"] == 3
    np.testing.assert_allclose(two["gradient_norm"], one["gradient_norm"], rtol=1e-2)
    for name in (name for name in one if name.startswith("weight")):
        assert np.abs(two[name] - one[name]).mean() < 2e-3  # Adam moves each by 0.05 an update, whatever the gradient


@pytest.mark.parametrize("replicas", [1, 2])
def test_an_overflow_on_one_replica_skips_the_update_of_all(updates, replicas):
    found = updates[f"overflow-{replicas}"]
    assert found["unchanged"] and found["copies_agree"] and found["iterations"] == 0
    assert not np.isfinite(found["gradient_norm"]).any()
    assert float(found["scale"]) == 2.0**15 / 2**3
