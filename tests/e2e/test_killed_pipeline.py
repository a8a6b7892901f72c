"""Real components killed at random moments; `tests/benchmarks/kill.py` does it a hundred times, to the pushed model."""

from tests.benchmarks.kill import survive


def test_what_is_killed_is_completed_to_the_same_bytes(tmp_path):
    rounds, moments = survive(tmp_path, 3, "--until", "Trainer")
    assert rounds >= 1 and moments.total() == 3
