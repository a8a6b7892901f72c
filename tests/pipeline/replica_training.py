"""A program: the Trainer on two logical CPU devices, interrupted and resumed, for test_replica_training.py.

python -m tests.pipeline.replica_training CONFIG TRANSFORM_DIR OUTPUT_DIR      prints the figures as JSON
"""

import json
import sys
from pathlib import Path

from tests.conftest import set_environment

set_environment()

import tensorflow as tf  # noqa: E402

from pipeline import devices  # noqa: E402
from pipeline.config import load  # noqa: E402
from pipeline.train import train  # noqa: E402


def main(config: str, transform_dir: Path, output_dir: Path) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    devices.choose_strategy = lambda: strategy
    update, calls = devices.Updates.__call__, []

    def failing(self, batch):
        calls.append(batch)
        if len(calls) == 25:  # in the second epoch
            raise RuntimeError("the machine is gone")
        return update(self, batch)

    devices.Updates.__call__ = failing
    try:
        train(load(config), transform_dir, output_dir)
    except RuntimeError as error:
        print(error, file=sys.stderr)
    print(json.dumps(train(load(config), transform_dir, output_dir)))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
