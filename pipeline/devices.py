"""Which devices train, and one update on all of them."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from models.seq2seq import Seq2Seq
from pipeline.input_data import NO_SAMPLING, Batching, epoch_batches
from preprocessing.segmentation_table import SampledEncoder


@functools.cache
def choose_strategy() -> tf.distribute.Strategy:
    """All GPUs if there are several; else the one device, without a strategy.

    One object for all trainings of a process: two strategies would mix up their collective operations.
    """
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def batches(
    strategy: tf.distribute.Strategy,
    directory: Path,
    batching: Batching,
    seed: int,
    epoch: int,
    first: int = 0,
    sampled: Mapping[str, SampledEncoder] = NO_SAMPLING,
) -> Any:
    """The batches of one epoch from number `first` on, each shared by the replicas; see `epoch_batches`."""
    replicas = strategy.num_replicas_in_sync
    dataset = epoch_batches(directory, batching, seed, epoch, first, replicas, sampled)
    return dataset if replicas == 1 else strategy.distribute_datasets_from_function(lambda _: dataset)


class Updates:
    """A model's `train_step` as one graph for all replicas, traced once for batches of every shape."""

    def __init__(self, strategy: tf.distribute.Strategy, model: Seq2Seq, spec: Any) -> None:
        """Args: the strategy, a compiled model made in its scope, and the `element_spec` of the batches."""

        def step(batch: Any) -> dict[str, tf.Tensor]:
            logs = strategy.run(model.train_step, args=(batch,))
            return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

        self.model = model
        self.function = tf.function(step, input_signature=[spec], autograph=False)

    def __call__(self, batch: Any) -> dict[str, float]:
        """One update; its logs, with the learning rate that it used."""
        rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
        return {**{name: float(value) for name, value in self.function(batch).items()}, "learning_rate": rate}

    @property
    def traces(self) -> int:
        """How often the step was traced; each time costs seconds."""
        return int(self.function.experimental_get_tracing_count())

    @property
    def graph(self) -> tf.Graph:
        """The step's graph."""
        return self.function.get_concrete_function().graph


def report_kernels(kernels: Mapping[str, str | None], replicas: int) -> Iterator[str]:
    """Lines that say which kernel each recurrent layer uses, and why; layers of the same kernel share a line."""
    groups: dict[str | None, list[str]] = {}
    for layer, reason in kernels.items():
        groups.setdefault(reason, []).append(layer)
    for reason, layers in groups.items():
        kernel = f"one product for all inputs, then a loop; not cuDNN: {reason}"
        if reason is None:
            kernel = "cuDNN: a GPU is visible, and sequences are padded on the right, without recurrent dropout"
        yield f"{', '.join(layers)}: {kernel}"
    if replicas > 1:
        yield f"{replicas} replicas share each batch"
