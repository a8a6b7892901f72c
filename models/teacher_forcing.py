"""Stochastic teacher forcing: the schedule of its ratio, the coins, and the roll-out that finds the decoder's inputs.

The classic loop (Williams & Zipser 1989; scheduled sampling, Bengio et al. 2015) computes one decoder step, flips a
coin, and feeds either the gold token or the step's own argmax to the next step. No gradient flows through an argmax, so
the loop splits exactly in two: `roll_out` finds the inputs without a gradient tape; one unrolled pass over those
inputs then gives the loop's logits, loss and gradients with whole-sequence kernels.

`parallel_roll_out` finds them in one pass, too, which is what a Transformer wants (Mihaylova & Martins 2019; Duckworth
et al. 2019). That is an approximation: each prediction follows gold tokens only, not the predictions before it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras
import tensorflow as tf

from models.decoder import DecoderSteps
from models.packing import any_rows, pack_lengths
from models.scopes import in_scope

Schedule = Literal["constant", "linear", "exponential", "inverse_sigmoid"]
CoinKind = Literal["batch", "token"]
RollOut = Literal["exact", "parallel"]


@keras.saving.register_keras_serializable(package="heliograph")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherForcing:
    """The ratio ε, the chance that a decoder input is the gold token, as a function of the training iteration i.

    `ε = end + (start - end) d(i)` with the decay d of Bengio et al. 2015, section 2.4, where k is `steps`:

        constant         d = 1
        linear           d = max(0, 1 - i / k)
        exponential      d = exp(-i / k)
        inverse_sigmoid  d = k / (k + exp(i / k)); half of the way is done near i = k ln k
    """

    schedule: Schedule = "constant"
    """How the ratio moves from `start` to `end`."""
    start: float = 1.0
    """Ratio at iteration 0 (of the inverse sigmoid nearly so: its d(0) is k / (k + 1))."""
    end: float = 0.0
    """Ratio that the schedule approaches; the constant schedule stays at `start`."""
    steps: int = 10_000
    """k in the schedules' formulas, in iterations."""
    coin: CoinKind = "batch"
    """One coin per time step for the whole batch (the classic tutorial's), or one per token."""
    roll_out: RollOut = "exact"
    """Whether predictions that are fed follow the classic loop's inputs, or those of pure teacher forcing, which takes
    one parallel pass instead of one step after the other."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("start", "end"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be a ratio between 0 and 1, got {getattr(self, name)}")
        if self.steps < 1:
            raise ValueError(f"steps must be a positive number of iterations, got {self.steps}")
        if self.schedule not in DECAYS:
            raise ValueError(f"schedule must be one of {sorted(DECAYS)}, got {self.schedule!r}")
        if self.coin not in ("batch", "token"):
            raise ValueError(f"coin must be 'batch' or 'token', got {self.coin!r}")
        if self.roll_out not in ("exact", "parallel"):
            raise ValueError(f"roll_out must be 'exact' or 'parallel', got {self.roll_out!r}")

    def ratio(self, iteration: tf.Tensor) -> tf.Tensor:
        """ε as a float32 scalar, of an integer scalar; a graph follows `iteration` without being traced again."""
        decay = DECAYS[self.schedule](tf.cast(iteration, tf.float32), float(self.steps))
        return self.end + (self.start - self.end) * decay

    def get_config(self) -> dict[str, Any]:
        """The fields, for Keras' serialization."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TeacherForcing":
        """The inverse of `get_config`."""
        return cls(**config)


DECAYS: dict[str, Callable[[tf.Tensor, float], tf.Tensor]] = {
    "constant": lambda i, k: tf.ones_like(i),
    "linear": lambda i, k: tf.maximum(0.0, 1.0 - i / k),
    "exponential": lambda i, k: tf.exp(-i / k),
    "inverse_sigmoid": lambda i, k: k / (k + tf.exp(i / k)),
}


def draw_coins(ratio: tf.Tensor, shape: tf.Tensor, kind: CoinKind, seed: tf.Tensor) -> tf.Tensor:
    """Which decoder inputs are gold.

    Args:
        ratio: scalar ε.
        shape: `[2]` int, batch size B and number of decoder inputs T.
        kind: `"batch"` for one coin per time step, `"token"` for one per token.
        seed: `[2]` int32; the same seed gives the same coins.

    Returns:
        `[B, T]` bool. The first column is true: the start token is always given.
    """
    # Time first: columns of padding after the others change none of their coins.
    coins = tf.random.stateless_uniform(tf.stack([shape[1], 1 if kind == "batch" else shape[0]]), seed) < ratio
    coins = tf.broadcast_to(tf.transpose(coins), shape)
    return tf.concat([tf.ones_like(coins[:, :1]), coins[:, 1:]], axis=1)


def shift_right(target_ids: tf.Tensor, start_id: int) -> tf.Tensor:
    """Gold decoder inputs: targets `[B, T]` moved by one, with the start token first."""
    return tf.concat(
        [tf.fill([tf.shape(target_ids)[0], 1], tf.cast(start_id, target_ids.dtype)), target_ids[:, :-1]], 1
    )


@in_scope("roll_out")
def roll_out(
    steps: DecoderSteps,
    state: Any,
    memory: Any,
    gold_inputs: tf.Tensor,
    gold: tf.Tensor,
    lengths: tf.Tensor,
) -> tf.Tensor:
    """The decoder inputs of the classic loop: gold where the coin says so, else the model's previous prediction.

    It computes only what decides an input: a row goes no further than its last input that is not gold, and only rows
    that need the model's own word are projected to the vocabulary.

    Args:
        steps: the decoder's step in its two halves, without dropout.
        state: the decoder's initial state.
        memory: the decoder's prepared memory; like the state, every tensor in it has the batch first.
        gold_inputs: `[B, T]` int, start token first.
        gold: `[B, T]` bool, true where the input is gold; the first column is not looked at.
        lengths: `[B]` int, real inputs of each row; the padding after them stays as it is in `gold_inputs`.

    Returns:
        `[B, T]`, of the dtype of `gold_inputs`.
    """
    own = ~gold & tf.sequence_mask(lengths, tf.shape(gold)[1])
    # A row is done when its last own input is known: after as many steps as that input's position.
    positions = tf.range(tf.shape(gold)[1])
    packing = pack_lengths(tf.reduce_max(tf.where(own, positions, 0), axis=1), tf.shape(gold)[1])
    inputs, own, state, memory = tf.nest.map_structure(
        lambda values: tf.gather(values, packing.rows), (gold_inputs, own, state, memory)
    )
    given, own = tf.transpose(inputs), tf.transpose(own)  # --> [T, B]

    def body(t: tf.Tensor, token_ids: tf.Tensor, state: Any, inputs: tf.Tensor) -> Any:
        count = packing.counts[t]
        token_ids, state, active = tf.nest.map_structure(lambda values: values[:count], (token_ids, state, memory))
        features, state, _ = steps.advance(token_ids, state, active)

        def predict() -> tf.Tensor:
            own_rows = tf.where(own[t + 1])  # [rows, 1]; all of them are active
            logits = steps.project(tf.gather_nd(features, own_rows))
            predicted = tf.argmax(logits, axis=-1, output_type=inputs.dtype)
            return tf.tensor_scatter_nd_update(given[t + 1], own_rows, predicted)

        # Where all inputs are gold the next step need not wait for this one's upper layers.
        token_ids = tf.cond(tf.reduce_any(own[t + 1]), predict, lambda: given[t + 1])
        return t + 1, token_ids, state, tf.tensor_scatter_nd_update(inputs, [[t + 1]], token_ids[tf.newaxis])

    *_, inputs = tf.while_loop(
        lambda t, *_: t < tf.size(packing.counts),
        body,
        (0, given[0], state, given),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None]), any_rows(state), given.shape),
        maximum_iterations=tf.size(packing.counts),
    )
    return tf.stop_gradient(tf.gather(tf.transpose(inputs), tf.argsort(packing.rows)))


@in_scope("roll_out")
def parallel_roll_out(
    unroll: Callable[[], tf.Tensor],
    project: Callable[[tf.Tensor], tf.Tensor],
    gold_inputs: tf.Tensor,
    gold: tf.Tensor,
    lengths: tf.Tensor,
) -> tf.Tensor:
    """The decoder inputs under the coins, each prediction made under pure teacher forcing.

    It differs from `roll_out` where a prediction follows another. Only predictions that are fed are projected to the
    vocabulary, and if there are none, nothing is computed.

    Args:
        unroll: the decoder's features `[B, T, F]` for `gold_inputs`, without dropout.
        project: features `[..., F]` to logits `[..., V]`.
        gold_inputs: see `roll_out`.
        gold: see `roll_out`.
        lengths: see `roll_out`.

    Returns:
        `[B, T]`, of the dtype of `gold_inputs`.
    """
    own = ~gold & tf.sequence_mask(lengths, tf.shape(gold)[1])
    before = tf.where(own[:, 1:])  # [rows, 2], rows and columns of the inputs that a prediction follows

    def predict() -> tf.Tensor:
        predicted = tf.argmax(project(tf.gather_nd(unroll(), before)), axis=-1, output_type=gold_inputs.dtype)
        fed = before + tf.constant([0, 1], before.dtype)
        return tf.tensor_scatter_nd_update(gold_inputs, fed, predicted)

    return tf.stop_gradient(tf.cond(tf.size(before) > 0, predict, lambda: gold_inputs))
