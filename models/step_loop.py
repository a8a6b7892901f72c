"""Whole sequences through a decoder's step, where a step's input depends on the step before.

Attention inside the recurrence (Bahdanau et al. 2015) and input feeding (Luong et al. 2015) leave nothing but a loop
over the time steps. It runs over packed steps, as `recurrence` does, so that no padding is computed.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.dropout import fold_in
from models.packing import Packing, any_rows
from models.scopes import in_scope
from models.states import Advance

Step = Callable[[tf.Tensor, Any, Any, tf.Tensor | None], Advance]


@in_scope("step_loop")
def run_steps(
    step: Step,
    inputs: tf.Tensor,
    packing: Packing,
    state: Any,
    memory: Any,
    dropout_seed: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Repeat a step over packed sequences.

    Args:
        step: inputs `[R, I]`, a state, a memory and a dropout seed to an `Advance` with attention.
        inputs: packed `[N, I]`.
        packing: where the N steps belong.
        state: the state before the first step, a nest of tensors whose rows are in the batch's order.
        memory: the prepared memory, a nest of tensors whose rows are in the batch's order.
        dropout_seed: `[2]` int32, from which a seed for every step follows; `None` for no dropout.

    Returns:
        Features, packed `[N, F]`, and attention weights, packed `[N, S]`.
    """
    state, memory = tf.nest.map_structure(lambda values: tf.gather(values, packing.rows), (state, memory))
    # One step at least, if need be of no row, because TensorFlow cannot join the results of none.
    counts = tf.cond(tf.size(packing.counts) > 0, lambda: packing.counts, lambda: tf.zeros([1], tf.int32))
    steps = tf.size(counts)

    def array(width: int | None) -> tf.TensorArray:
        return tf.TensorArray(inputs.dtype, size=steps, infer_shape=False, element_shape=[None, width])

    pieces = array(inputs.shape[-1]).split(inputs, counts)

    def body(t: tf.Tensor, state: Any, features: tf.TensorArray, attention: tf.TensorArray) -> Any:
        active, known = tf.nest.map_structure(lambda values: values[: counts[t]], (state, memory))
        advance = step(pieces.read(t), active, known, fold_in(dropout_seed, t))
        return t + 1, advance.state, features.write(t, advance.features), attention.write(t, advance.attention)

    scalar = tf.TensorShape([])  # a TensorArray in a loop is a scalar handle
    _, _, features, attention = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (0, state, array(None), array(None)),
        shape_invariants=(scalar, any_rows(state), scalar, scalar),
        maximum_iterations=steps,
    )
    return features.concat(), attention.concat()
