"""A program: the same updates on 1, 2 and 4 logical CPU devices, for test_replicas.py. Devices must be made first.

python -m tests.models.replica_steps FOLDER      writes FOLDER/CASE-REPLICAS.npz
"""

import sys
from pathlib import Path

from tests.conftest import set_environment

set_environment()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

from models.networks import RecurrentNetwork, TransformerNetwork  # noqa: E402
from models.optimizers import FusedAdam  # noqa: E402
from models.teacher_forcing import TeacherForcing  # noqa: E402
from pipeline.devices import Updates  # noqa: E402
from pipeline.input_data import _shares  # noqa: E402
from tests.models.test_encoder import network  # noqa: E402
from tests.models.test_teacher_forcing import make_batch, make_model  # noqa: E402

ATTENTION = RecurrentNetwork(
    embedding_size=6, hidden_size=8, num_layers=1, cell="gru", init_scale=0.8, attention="additive"
)
TRANSFORMER = TransformerNetwork(hidden_size=8, num_layers=1, heads=2, feed_forward_size=12, init_scale=0.8)
CASES = {
    "lstm_moving_average": {"ema": 0.5},
    "gru_token_coins_micro_batches": {"cell": "gru", "coin": "token", "micro_batches": 2},
    "bidirectional": {"network": network("bidirectional_lstm"), "label_smoothing": 0.1, "coin": "token"},
    "keras_sgd": {"optimizer": keras.optimizers.SGD},
    "attention_micro_batches": {"network": ATTENTION, "micro_batches": 2},
    "transformer_parallel_roll_out": {"network": TRANSFORMER, "roll_out": "parallel", "coin": "token"},
    "float16": {"dtype": "mixed_float16"},
    "overflow": {"dtype": "mixed_float16", "overflow": True},
}
FOUR = ("lstm_moving_average", "gru_token_coins_micro_batches")  # the cases of four replicas


def run(
    strategy,
    cell="lstm",
    coin="batch",
    micro_batches=1,
    optimizer=None,
    ema=None,
    dtype="float64",
    overflow=False,
    network=None,
    label_smoothing=0.0,
    roll_out="exact",
):
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        model = make_model(cell, layers=1, dtype=dtype, network=network)
        chosen = optimizer(0.5) if optimizer else FusedAdam(0.05, ema_momentum=ema)
        forcing = TeacherForcing(schedule="linear", start=0.9, end=0.1, steps=3, coin=coin, roll_out=roll_out)
        model.compile(chosen, forcing, 4, clip_norm=0.3, micro_batches=micro_batches, label_smoothing=label_smoothing)
    if overflow:  # one word, which stands in the last row alone, has an embedding that float16 cannot hold
        table = model.encoder.embedding.embeddings
        table.assign(tf.tensor_scatter_nd_update(table.value, [[10]], tf.fill([1, 6], 1e6)))
    before = [variable.numpy() for variable in model.weights]
    # Fewer rows than replicas in the last batch: some replicas have none.
    rows = [([5, 1, 3, 2, 6, 4, 2], [7, 2, 4, 1, 5, 3, 6]), ([3, 5, 2, 2], [1, 7, 2, 3]), ([4, 2], [2, 6])]
    batches = [make_batch(*lengths, seed) for seed, lengths in enumerate(rows)]
    for batch in batches:
        ids = tf.where(batch["source_ids"] == 10, 9, batch["source_ids"])
        last = tf.one_hot(len(ids) - 1, len(ids), dtype=tf.int32)[:, None] * tf.one_hot(0, ids.shape[1], dtype=tf.int32)
        batch["source_ids"] = ids * (1 - last) + 10 * last
    spec = {name: tf.TensorSpec([None] * value.shape.rank, value.dtype) for name, value in batches[0].items()}
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)
    if replicas > 1:
        shared = dataset.flat_map(lambda batch: _shares(batch, replicas))
        dataset = strategy.distribute_datasets_from_function(lambda _: shared)
    updates = Updates(strategy, model, dataset.element_spec)
    logs = [updates(batch) for batch in dataset]
    found = {f"weight_{n}": variable.numpy() for n, variable in enumerate(model.weights)}
    copies = [strategy.experimental_local_results(variable.value) for variable in model.weights]
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return {
        **found,
        **{f"average_{n}": variable.numpy() for n, variable in enumerate(getattr(inner, "averages", []))},
        **{name: np.array([log[name] for log in logs]) for name in logs[0] if name != "perplexity"},
        "copies_agree": all(all((one == other).numpy().all() for other in row) for row in copies for one in row),
        "unchanged": all((one == found[f"weight_{n}"]).all() for n, one in enumerate(before)),
        "scale": np.array(getattr(model.optimizer, "dynamic_scale", np.array(1.0))),
        "traces": updates.traces,
        "iterations": model.optimizer.iterations.numpy(),
    }


def main(replicas: int, folder: Path) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    names = [f"/cpu:{number}" for number in range(replicas)]
    # One strategy for all cases: each begins to count its collective operations anew, and they would be mixed up.
    strategy = tf.distribute.MirroredStrategy(names) if replicas > 1 else tf.distribute.get_strategy()
    for case, options in CASES.items():
        if replicas < 4 or case in FOUR:
            np.savez(folder / f"{case}-{replicas}.npz", **run(strategy, **options))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
