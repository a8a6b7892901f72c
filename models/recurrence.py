"""LSTM and GRU over whole sequences: one matrix product for all inputs, then a loop over the recurrence alone.

Keras 3 on a CPU runs the whole cell inside its loop, the input's product included, and TensorFlow's automatic gradient
of that loop adds one `[H, 4H]` product and one addition a step for the recurrent kernel's gradient. Here
both are hoisted out: the input projection before the loop, and the kernel's gradient after it, each as one product
over all time steps. The weights are those of `keras.layers.LSTM` and `keras.layers.GRU(reset_after=True)`.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from models import cells
from models.cells import CellState
from models.initializers import bias_initializer, weight_initializer

CellName = Literal["lstm", "gru"]


class CellFunctions(NamedTuple):
    """A cell as data: its state's type, its number of gates, its forward and backward step."""

    state_type: type[Any]
    saved_type: type[Any]
    gates: int
    forward: Callable[..., Any]
    backward: Callable[..., Any]


CELLS: dict[str, CellFunctions] = {
    "lstm": CellFunctions(cells.LSTMState, cells.LSTMSaved, 4, cells.lstm_forward, cells.lstm_backward),
    "gru": CellFunctions(cells.GRUState, cells.GRUSaved, 3, cells.gru_forward, cells.gru_backward),
}


def run_cell(
    cell: CellFunctions,
    projected: tf.Tensor,
    lengths: tf.Tensor,
    state: CellState,
    recurrent_kernel: tf.Tensor,
    recurrent_bias: tf.Tensor,
) -> tuple[tf.Tensor, CellState]:
    """Run a cell over a sequence; differentiable with respect to every floating-point argument.

    Past a row's length the state stays as it was, so the final state is the one after the last real token, and
    padding changes nothing.

    Args:
        cell: one of `CELLS`.
        projected: time-major `[T, B, G H]`, the inputs' share of the pre-activations, G the number of gates.
        lengths: `[B]` int, real steps of each row.
        state: the state before the first step.
        recurrent_kernel: `[H, G H]`.
        recurrent_bias: `[G H]`; ignored by the LSTM.

    Returns:
        Hidden states, time-major `[T, B, H]`, and the final state.
    """
    steps = tf.shape(projected)[0]
    keep = tf.sequence_mask(lengths, steps)  # [B, T]
    keep = tf.transpose(keep)[:, :, tf.newaxis]  # --> [T, B, 1]

    @tf.custom_gradient
    def run(projected: tf.Tensor, recurrent_kernel: tf.Tensor, recurrent_bias: tf.Tensor, *state: tf.Tensor) -> Any:
        history, saved = _forward_loop(cell, projected, keep, cell.state_type(*state), recurrent_kernel, recurrent_bias)
        hidden = history.hidden.stack()  # [T + 1, B, H]
        final = [array.read(steps) for array in history]

        def gradient(grad_hidden: tf.Tensor, *grad_final: tf.Tensor) -> Any:
            grad_projected, grad_inner, grad_state = _backward_loop(
                cell, grad_hidden, cell.state_type(*grad_final), keep, history, saved, recurrent_kernel
            )
            flat_hidden = tf.reshape(hidden[:-1], [-1, recurrent_kernel.shape[0]])  # [T B, H] before each step
            flat_inner = tf.reshape(grad_inner, [-1, recurrent_kernel.shape[1]])  # [T B, G H]
            grad_kernel = tf.matmul(flat_hidden, flat_inner, transpose_a=True)
            return grad_projected, grad_kernel, tf.reduce_sum(flat_inner, axis=0), *grad_state

        return (hidden[1:], *final), gradient

    hidden, *final = run(projected, recurrent_kernel, recurrent_bias, *state)
    return tf.ensure_shape(hidden, [None, None, recurrent_kernel.shape[0]]), cell.state_type(*final)


def _forward_loop(
    cell: CellFunctions,
    projected: tf.Tensor,
    keep: tf.Tensor,
    state: Any,
    recurrent_kernel: tf.Tensor,
    recurrent_bias: tf.Tensor,
) -> tuple[Any, Any]:
    """TensorArrays of all states (entry t before step t, entry T the last) and of all saved activations."""
    steps = tf.shape(projected)[0]

    def array(size: tf.Tensor) -> tf.TensorArray:
        return tf.TensorArray(projected.dtype, size=size, clear_after_read=False)

    def write(arrays: Any, t: tf.Tensor, values: Any) -> Any:
        return type(values)(*(array.write(t, value) for array, value in zip(arrays, values, strict=True)))

    def body(t: tf.Tensor, state: Any, history: Any, saved: Any) -> Any:
        new_state, activations = cell.forward(projected[t], state, recurrent_kernel, recurrent_bias)
        new_state = _select(keep[t], new_state, state)
        return t + 1, new_state, write(history, t + 1, new_state), write(saved, t, activations)

    history = write([array(steps + 1) for _ in state], 0, state)
    saved = cell.saved_type(*(array(steps) for _ in cell.saved_type._fields))
    _, _, history, saved = tf.while_loop(
        lambda t, *_: t < steps, body, (0, state, history, saved), maximum_iterations=steps
    )
    return history, saved


def _backward_loop(
    cell: CellFunctions,
    grad_hidden: tf.Tensor,
    grad_final: Any,
    keep: tf.Tensor,
    history: Any,
    saved: Any,
    recurrent_kernel: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Gradients to the projected inputs and to `h U` `[T, B, G H]`, and to the initial state."""
    steps = tf.shape(grad_hidden)[0]
    transposed_kernel = tf.transpose(recurrent_kernel)

    def at(arrays: Any, t: tf.Tensor) -> Any:
        return type(arrays)(*(array.read(t) for array in arrays))

    def body(t: tf.Tensor, grad_state: Any, to_projected: tf.TensorArray, to_inner: tf.TensorArray) -> Any:
        grad_state = grad_state._replace(hidden=grad_state.hidden + grad_hidden[t])
        # A padded step computed nothing: no gradient enters its cell, and the state's gradient passes it unchanged.
        entering = _select(keep[t], grad_state, cell.state_type(*map(tf.zeros_like, grad_state)))
        leaving, grad_projected, grad_inner = cell.backward(
            entering, at(history, t), at(history, t + 1), at(saved, t), transposed_kernel
        )
        grad_state = _select(keep[t], leaving, grad_state)
        return t - 1, grad_state, to_projected.write(t, grad_projected), to_inner.write(t, grad_inner)

    arrays = [tf.TensorArray(grad_hidden.dtype, size=steps) for _ in range(2)]
    _, grad_state, to_projected, to_inner = tf.while_loop(
        lambda t, *_: t >= 0, body, (steps - 1, grad_final, *arrays), maximum_iterations=steps
    )
    return to_projected.stack(), to_inner.stack(), grad_state


def _select(keep: tf.Tensor, new: Any, old: Any) -> Any:
    """`new` in the rows where `keep` `[B, 1]` holds, else `old`, for every tensor of a state."""
    return type(new)(*(tf.where(keep, n, o) for n, o in zip(new, old, strict=True)))


class Recurrent(keras.layers.Layer):
    """A recurrent layer with two faces: `unroll` over a whole sequence, and one `step`.

    Use the subclasses `LSTM` and `GRU`. Both faces share the weights, and repeated steps equal the unrolled sequence.

    Args:
        units: hidden size H.
        init_scale: every weight starts uniform in ±`init_scale`; `None` means Glorot uniform kernel, orthogonal
            recurrent kernel, zero biases, and 1 for the LSTM's forget gate.
    """

    cell: CellName

    def __init__(self, units: int, init_scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be a positive number, got {units}")
        self.units = units
        self.init_scale = init_scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of size `input_shape[-1]`."""
        width = CELLS[self.cell].gates * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width), initializer=weight_initializer(self.init_scale), name="kernel"
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            initializer=weight_initializer(self.init_scale, default="orthogonal"),
            name="recurrent_kernel",
        )
        self.bias = self._add_bias(width)

    def _add_bias(self, width: int) -> Any:
        raise NotImplementedError("use LSTM or GRU")

    def _biases(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The input's bias and the state's bias, each `[G H]`."""
        raise NotImplementedError("use LSTM or GRU")

    def zero_state(self, batch_size: tf.Tensor) -> Any:
        """A state of zeros, `[B, H]` in each field."""
        state_type = CELLS[self.cell].state_type
        return state_type(*(tf.zeros([batch_size, self.units], self.compute_dtype) for _ in state_type._fields))

    def step(self, inputs: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """One time step: inputs `[B, I]` and a state to the output `[B, H]` and the new state."""
        input_bias, state_bias = self._biases()
        projected = tf.matmul(inputs, tf.convert_to_tensor(self.kernel)) + input_bias
        new_state, _ = CELLS[self.cell].forward(
            projected, state, tf.convert_to_tensor(self.recurrent_kernel), state_bias
        )
        return new_state.hidden, new_state

    def unroll(self, inputs: tf.Tensor, lengths: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """A whole sequence at once.

        Args:
            inputs: `[B, T, I]`, padded on the right.
            lengths: `[B]` int, the number of real steps; further steps leave the state as it is.
            state: the state before the first step.

        Returns:
            Outputs `[B, T, H]` and the state after each row's last real step.
        """
        input_bias, state_bias = self._biases()
        time_major = tf.transpose(inputs, [1, 0, 2])  # --> [T, B, I]
        projected = tf.tensordot(time_major, tf.convert_to_tensor(self.kernel), 1) + input_bias  # --> [T, B, G H]
        recurrent_kernel = tf.convert_to_tensor(self.recurrent_kernel)
        hidden, state = run_cell(CELLS[self.cell], projected, lengths, state, recurrent_kernel, state_bias)
        return tf.transpose(hidden, [1, 0, 2]), state

    def call(self, inputs: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Outputs `[B, T, H]` of a sequence from a state of zeros."""
        outputs, _ = self.unroll(inputs, lengths, self.zero_state(tf.shape(inputs)[0]))
        return outputs

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), "units": self.units, "init_scale": self.init_scale}


@keras.saving.register_keras_serializable(package="heliograph")
class LSTM(Recurrent):
    """Long short-term memory with the weights of `keras.layers.LSTM`; see `Recurrent`."""

    cell: CellName = "lstm"

    def _add_bias(self, width: int) -> Any:
        bias = self.add_weight(shape=(width,), initializer=bias_initializer(self.init_scale), name="bias")
        if self.init_scale is None:
            # Forget gate open at the start (Gers et al. 2000; Jozefowicz et al. 2015).
            bias.assign(tf.concat([tf.zeros(self.units), tf.ones(self.units), tf.zeros(2 * self.units)], axis=0))
        return bias

    def _biases(self) -> tuple[tf.Tensor, tf.Tensor]:
        bias = tf.convert_to_tensor(self.bias)
        return bias, tf.zeros_like(bias)


@keras.saving.register_keras_serializable(package="heliograph")
class GRU(Recurrent):
    """Gated recurrent unit with the weights of `keras.layers.GRU(reset_after=True)`; see `Recurrent`."""

    cell: CellName = "gru"

    def _add_bias(self, width: int) -> Any:
        return self.add_weight(shape=(2, width), initializer=bias_initializer(self.init_scale), name="bias")

    def _biases(self) -> tuple[tf.Tensor, tf.Tensor]:
        bias = tf.convert_to_tensor(self.bias)
        return bias[0], bias[1]


LAYERS: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU}
