"""Whole sequences through a decoder's step, where a step's input depends on the step before.

Attention inside the recurrence (Bahdanau et al. 2015) and input feeding (Luong et al. 2015) leave nothing but a loop
over the time steps. It runs over packed steps, as `recurrence` does, so that no padding is computed.

TensorFlow's automatic gradient of such a loop computes a gradient of every kernel at every step, and adds it up: of the
decoder's weights, and of the encoder outputs that contexts are made of. Here the gradient of a kernel W in
`y_t = x_t W` is taken out of the loop. With a *tap* of zeros added, `y_t = x_t W + tap_t`, the gradient to the tap is
that to y_t. The loop keeps all x_t and gives W no gradient; after it one product over all steps does, for the gradient
of W is the sum of `transposed(x_t) (gradient to tap_t)`.
"""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from models.cells import Product, product
from models.dropout import fold_in
from models.packing import Packing, any_rows, unpack
from models.scopes import in_scope
from models.states import Advance

Step = Callable[[tf.Tensor, Any, Any, tf.Tensor | None, Product], Advance]
"""Inputs `[R, I]`, a state, a memory, a dropout seed, and the function that computes matrix products."""


@in_scope("step_loop")
def run_steps(
    step: Step, inputs: tf.Tensor, packing: Packing, state: Any, memory: Any, dropout_seed: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Repeat a step over packed sequences; differentiable.

    Args:
        step: multiplies with the same kernels at every call. A kernel is a matrix made outside the loop, or a tensor
            of the memory, one matrix for each row.
        inputs: packed `[N, I]`.
        packing: where the N steps belong.
        state: the state before the first step, a nest of tensors whose rows are in the batch's order.
        memory: the prepared memory, a nest of tensors whose rows are in the batch's order.
        dropout_seed: `[2]` int32, from which a seed for every step follows; `None` for no dropout.

    Returns:
        Features, packed `[N, F]`, and attention weights, packed `[N, S]`.
    """
    kernels = _kernels(step, inputs, state, memory)
    state, sorted_memory = tf.nest.map_structure(lambda values: tf.gather(values, packing.rows), (state, memory))
    # One step at least, if need be of no row, because TensorFlow cannot join the results of none.
    counts = tf.cond(tf.size(packing.counts) > 0, lambda: packing.counts, lambda: tf.zeros([1], tf.int32))
    steps = tf.size(counts)

    def array(dtype: tf.DType, *shape: int | None) -> tf.TensorArray:
        return tf.TensorArray(dtype, size=steps, infer_shape=False, element_shape=[None, *shape])

    def array_for(kernel: tf.Tensor) -> tf.TensorArray:
        return array(kernel.dtype, *([None] * (kernel.shape.rank - 1)))

    factors: list[tf.Tensor] = []  # of each product all x_t, packed; known after the loop, before any gradient
    taps = [array_for(kernel).split(_tap(kernel, n, factors, packing), counts) for n, kernel in enumerate(kernels)]
    # Once for all steps: a product with `transpose_b=True` takes up to three times as long on a CPU.
    transposed = [tf.transpose(kernel) if kernel.shape.rank == 2 else None for kernel in kernels]
    pieces = array(inputs.dtype, inputs.shape[-1]).split(inputs, counts)

    def body(t: tf.Tensor, state: Any, features: tf.TensorArray, attention: tf.TensorArray, record: Any) -> Any:
        active, known = tf.nest.map_structure(lambda values: _first(values, counts[t]), (state, sorted_memory))
        number, written = itertools.count(), []

        def multiply(values: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            n = next(number)
            values = tf.cast(values, kernel.dtype)
            written.append(record[n].write(t, tf.stop_gradient(values)))
            return _tapped_product(values, kernel, transposed[n], taps[n].read(t))

        advance = step(pieces.read(t), active, known, fold_in(dropout_seed, t), multiply)
        features, attention = features.write(t, advance.features), attention.write(t, advance.attention)
        return t + 1, advance.state, features, attention, tuple(written)

    arrays = (array(inputs.dtype, None), array(inputs.dtype, None), tuple(array_for(kernel) for kernel in kernels))
    _, _, features, attention, record = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (0, state, *arrays),
        # A TensorArray in a loop is a scalar handle.
        shape_invariants=(
            tf.TensorShape([]),
            any_rows(state),
            *tf.nest.map_structure(lambda _: tf.TensorShape([]), arrays),
        ),
        maximum_iterations=steps,
    )
    factors.extend(values.concat() for values in record)
    return features.concat(), attention.concat()


def _first(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The first `count` rows. TensorFlow's own gradient of a slice takes six times as long as this padding."""
    if not values.dtype.is_floating:
        return values[:count]

    @tf.custom_gradient
    def run(values: tf.Tensor) -> Any:
        def gradient(grad: tf.Tensor) -> tf.Tensor:
            after = tf.shape(values)[0] - count
            return tf.pad(grad, [[0, after], *([0, 0] for _ in grad.shape[1:])])

        return values[:count], gradient

    rows: tf.Tensor = run(values)
    return rows


def _kernels(step: Step, inputs: tf.Tensor, state: Any, memory: Any) -> list[tf.Tensor]:
    """What a step multiplies with, in order, found by a step of no rows; of the memory, the whole tensor."""
    kernels = []
    state, memory_rows = tf.nest.map_structure(lambda values: values[:0], (state, memory))
    whole = list(zip(tf.nest.flatten(memory_rows), tf.nest.flatten(memory), strict=True))

    def multiply(values: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        kernels.append(next((values for rows, values in whole if rows is kernel), kernel))
        return product(values, kernel)

    step(inputs[:0], state, memory_rows, None, multiply)
    return kernels


def _tap(kernel: tf.Tensor, n: int, factors: list[tf.Tensor], packing: Packing) -> tf.Tensor:
    """Zeros of the shape of all products with `kernel`, packed, whose gradient becomes that of `kernel`."""

    @tf.custom_gradient
    def tap(kernel: tf.Tensor) -> Any:
        def gradient(grad: tf.Tensor) -> tf.Tensor:
            values = factors[n]
            if kernel.shape.rank == 3:  # [B, I, O], one for each row: packed [N, 1, I] and [N, 1, O] to [B, T, ...]
                values, grad = (unpack(tf.squeeze(each, axis=1), packing) for each in (values, grad))
            return tf.matmul(values, grad, transpose_a=True)

        inner = [1] * (kernel.shape.rank - 2)
        shape = tf.concat([tf.shape(packing.positions)[:1], inner, tf.shape(kernel)[-1:]], axis=0)
        return tf.zeros(shape, kernel.dtype), gradient

    zeros: tf.Tensor = tap(kernel)
    return zeros


def _tapped_product(values: tf.Tensor, kernel: tf.Tensor, transposed: tf.Tensor | None, tap: tf.Tensor) -> tf.Tensor:
    """`values @ kernel + tap` of a `tap` of zeros, without gradient to the kernel."""

    @tf.custom_gradient
    def run(values: tf.Tensor, tap: tf.Tensor) -> Any:
        def gradient(grad: tf.Tensor) -> Any:
            if transposed is None:
                return tf.matmul(grad, kernel, transpose_b=True), grad
            return tf.matmul(grad, transposed), grad

        return tf.matmul(values, kernel), gradient

    result: tf.Tensor = run(values, tap)
    return result
