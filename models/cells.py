"""The recurrent cells' formulas, forward and backward, as pure functions of tensors.

Legend: B batch, H hidden size. `projected` is the input's share of the pre-activations, `x W + b`, which depends on no
state and is therefore computed for all time steps at once (see `recurrence`); a cell adds the state's share `h U`.
Gate order and weight layout are those of `keras.layers.LSTM` and `keras.layers.GRU(reset_after=True)`.

The backward functions are the derivatives by hand. They leave the gradients of the kernels to the caller, who computes
each for all steps in one matrix product instead of one small product a step.

Types: matrix products have the kernels' type, bfloat16 under a mixed policy; so have `projected` and the gradients of
pre-activations, which go into further products. States and activations have the state's type, float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

Product = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""Values `[N, I]` and a kernel `[I, O]` to their matrix product `[N, O]`, as `product` computes it."""


def product(values: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """`values @ kernel` in the kernel's type."""
    return tf.matmul(tf.cast(values, kernel.dtype), kernel)


class LSTMState(NamedTuple):
    """State of one LSTM layer."""

    hidden: tf.Tensor  # [B, H]
    cell: tf.Tensor  # [B, H]


class GRUState(NamedTuple):
    """State of one GRU layer."""

    hidden: tf.Tensor  # [B, H]


CellState = LSTMState | GRUState


class LSTMGradient(NamedTuple):
    """Gradient to the pre-activations; the input's share and the state's share have the same."""

    gates: tf.Tensor  # [B, 4H]


class GRUGradient(NamedTuple):
    """Gradients to the pre-activations; in the candidate the reset gate stands before the state's share."""

    projected: tf.Tensor  # [B, 3H]
    inner: tf.Tensor  # [B, 3H]


class LSTMSaved(NamedTuple):
    """What the LSTM's backward pass needs from the forward pass, beside the states."""

    i: tf.Tensor  # [B, H] input gate
    f: tf.Tensor  # [B, H] forget gate
    g: tf.Tensor  # [B, H] candidate
    o: tf.Tensor  # [B, H] output gate
    tanh_cell: tf.Tensor  # [B, H] tanh of the new cell


class GRUSaved(NamedTuple):
    """What the GRU's backward pass needs from the forward pass, beside the states."""

    z: tf.Tensor  # [B, H] update gate
    r: tf.Tensor  # [B, H] reset gate
    n: tf.Tensor  # [B, H] candidate
    inner_candidate: tf.Tensor  # [B, H] the state's share of the candidate, before the reset gate


def lstm_forward(
    projected: tf.Tensor, state: LSTMState, recurrent_kernel: tf.Tensor, recurrent_bias: tf.Tensor | None = None
) -> tuple[LSTMState, LSTMSaved]:
    """One LSTM step (Hochreiter & Schmidhuber 1997, with forget gate, Gers et al. 2000).

        i, f, o = sigmoid(...), g = tanh(...),  c_t = f c_{t-1} + i g,  h_t = o tanh(c_t)

    Args:
        projected: `[B, 4H]`, `x W + b`, gates in the order i, f, g, o.
        state: the state before the step.
        recurrent_kernel: `[H, 4H]`.
        recurrent_bias: not used by this cell (one bias, in `projected`).

    Returns:
        The new state, and what `lstm_backward` needs.
    """
    del recurrent_bias
    return lstm_gates(projected + product(state.hidden, recurrent_kernel), state.cell)


def lstm_gates(gates: tf.Tensor, cell: tf.Tensor) -> tuple[LSTMState, LSTMSaved]:
    """The part of `lstm_forward` after its products: pre-activations `[B, 4H]` and the old cell to the new state."""
    i, f, g, o = _parts(gates, 4, cell.dtype)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    cell = f * cell + i * g
    tanh_cell = tf.tanh(cell)
    return LSTMState(o * tanh_cell, cell), LSTMSaved(i, f, g, o, tanh_cell)


def lstm_backward(
    grad_state: LSTMState, state: LSTMState, saved: LSTMSaved, transposed_kernel: tf.Tensor
) -> tuple[LSTMState, LSTMGradient]:
    """The derivative of `lstm_forward`.

    Args:
        grad_state: gradient with respect to the new state.
        state: the state before the step.
        saved: what the forward step kept.
        transposed_kernel: `[4H, H]`, the recurrent kernel transposed: once for all steps, because a product with
            `transpose_b=True` takes up to three times as long on a CPU.

    Returns:
        Gradients with respect to the previous state and to the pre-activations.
    """
    grad_cell, gradient = lstm_gates_backward(grad_state, state.cell, saved, transposed_kernel.dtype)
    grad_hidden = tf.cast(tf.matmul(gradient.gates, transposed_kernel), grad_cell.dtype)
    return LSTMState(grad_hidden, grad_cell), gradient


def lstm_gates_backward(
    grad_state: LSTMState, cell: tf.Tensor, saved: LSTMSaved, dtype: tf.DType
) -> tuple[tf.Tensor, LSTMGradient]:
    """The derivative of `lstm_gates`: gradients to the previous `cell`, and of `dtype` to the pre-activations."""
    i, f, g, o, tanh_cell = saved
    grad_cell = grad_state.cell + _tanh_gradient(tanh_cell, grad_state.hidden * o)
    gates = (
        _sigmoid_gradient(i, grad_cell * g),
        _sigmoid_gradient(f, grad_cell * cell),
        _tanh_gradient(g, grad_cell * i),
        _sigmoid_gradient(o, grad_state.hidden * tanh_cell),
    )
    # Cast before they are joined: in bfloat16 that is half the memory traffic.
    return grad_cell * f, LSTMGradient(tf.concat([tf.cast(gate, dtype) for gate in gates], axis=-1))


def _parts(gates: tf.Tensor, count: int, dtype: tf.DType) -> list[tf.Tensor]:
    """`[B, count H]` as tensors `[B, H]` of `dtype`. Slices are faster than `tf.split`, and smaller before the cast."""
    units = gates.shape[-1] // count
    return [tf.cast(gates[:, part * units : (part + 1) * units], dtype) for part in range(count)]


def _sigmoid_gradient(y: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
    """Gradient before a sigmoid whose result is y, `grad y (1 - y)`, in one pass."""
    return tf.raw_ops.SigmoidGrad(y=y, dy=grad)


def _tanh_gradient(y: tf.Tensor, grad: tf.Tensor) -> tf.Tensor:
    """Gradient before a tanh whose result is y, `grad (1 - y y)`, in one pass."""
    return tf.raw_ops.TanhGrad(y=y, dy=grad)


def gru_forward(
    projected: tf.Tensor, state: GRUState, recurrent_kernel: tf.Tensor, recurrent_bias: tf.Tensor | None
) -> tuple[GRUState, GRUSaved]:
    """One GRU step (Cho et al. 2014) with the reset gate after the product, as cuDNN computes it.

        z, r = sigmoid(...),  n = tanh(x W_n + b_n + r (h U_n + b'_n)),  h_t = z h_{t-1} + (1 - z) n

    Args:
        projected: `[B, 3H]`, `x W + b`, in the order z, r, n.
        state: the state before the step.
        recurrent_kernel: `[H, 3H]`.
        recurrent_bias: `[3H]`, b'.

    Returns:
        The new state, and what `gru_backward` needs.
    """
    inner = product(state.hidden, recurrent_kernel) + tf.cast(recurrent_bias, recurrent_kernel.dtype)
    return gru_gates(projected, inner, state)


def gru_gates(projected: tf.Tensor, inner: tf.Tensor, state: GRUState) -> tuple[GRUState, GRUSaved]:
    """The part of `gru_forward` after its matrix products.

    `projected` and `inner` `[B, 3H]` are the shares of the input and of the state, biases included.
    """
    x_z, x_r, x_n = _parts(projected, 3, state.hidden.dtype)
    inner_z, inner_r, inner_n = _parts(inner, 3, state.hidden.dtype)
    z, r = tf.sigmoid(x_z + inner_z), tf.sigmoid(x_r + inner_r)
    n = tf.tanh(x_n + r * inner_n)
    return GRUState(z * state.hidden + (1.0 - z) * n), GRUSaved(z, r, n, inner_n)


def gru_backward(
    grad_state: GRUState, state: GRUState, saved: GRUSaved, transposed_kernel: tf.Tensor
) -> tuple[GRUState, GRUGradient]:
    """The derivative of `gru_forward`; arguments and results as of `lstm_backward`, with 3H for 4H."""
    past_products, gradient = gru_gates_backward(grad_state, state.hidden, saved, transposed_kernel.dtype)
    grad_hidden = past_products + tf.cast(tf.matmul(gradient.inner, transposed_kernel), past_products.dtype)
    return GRUState(grad_hidden), gradient


def gru_gates_backward(
    grad_state: GRUState, hidden: tf.Tensor, saved: GRUSaved, dtype: tf.DType
) -> tuple[tf.Tensor, GRUGradient]:
    """The derivative of `gru_gates`: gradients to the previous `hidden`, and of `dtype` to the pre-activations."""
    z, r, n, inner_candidate = saved
    grad_z = _sigmoid_gradient(z, grad_state.hidden * (hidden - n))
    grad_n = _tanh_gradient(n, grad_state.hidden * (1.0 - z))
    grad_r = _sigmoid_gradient(r, grad_n * inner_candidate)
    to_z, to_r, to_n, to_inner = (tf.cast(grad, dtype) for grad in (grad_z, grad_r, grad_n, grad_n * r))
    gradient = GRUGradient(tf.concat([to_z, to_r, to_n], axis=-1), tf.concat([to_z, to_r, to_inner], axis=-1))
    return grad_state.hidden * z, gradient
