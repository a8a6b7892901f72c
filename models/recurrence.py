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
from models.packing import Packing, any_rows

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
    packing: Packing,
    state: CellState,
    recurrent_kernel: tf.Tensor,
    recurrent_bias: tf.Tensor,
) -> tuple[tf.Tensor, CellState]:
    """Run a cell over packed sequences; differentiable with respect to every floating-point argument.

    Args:
        cell: one of `CELLS`.
        projected: packed `[N, G H]`, the inputs' share of the pre-activations, G the number of gates.
        packing: where the N steps belong.
        state: the state before the first step, rows in the batch's order.
        recurrent_kernel: `[H, G H]`.
        recurrent_bias: `[G H]`; ignored by the LSTM.

    Returns:
        Hidden states, packed `[N, H]`, and the state after each row's last step, rows in the batch's order.
    """

    @tf.custom_gradient
    def run(projected: tf.Tensor, recurrent_kernel: tf.Tensor, recurrent_bias: tf.Tensor, *fields: tf.Tensor) -> Any:
        state = cell.state_type(*(tf.gather(values, packing.rows) for values in fields))
        history, saved = _forward_loop(cell, projected, packing, state, recurrent_kernel, recurrent_bias)
        # [initial states; packed steps], the layout that `Packing.entering` and `Packing.final` point into
        states = [array.concat() for array in history]
        final = [tf.gather(values, packing.final) for values in states]
        rows = tf.size(packing.rows)

        def gradient(grad_hidden: tf.Tensor, *grad_final: tf.Tensor) -> Any:
            ended = cell.state_type(*(tf.gather(grad, packing.rows) for grad in grad_final))
            grad_projected, grad_inner, grad_state = _backward_loop(
                cell, grad_hidden, ended, packing, history, saved, recurrent_kernel
            )
            entering = tf.gather(states[0], packing.entering)  # --> [N, H], the hidden state before each step
            grad_kernel = tf.matmul(entering, grad_inner, transpose_a=True)
            batch_order = tf.argsort(packing.rows)
            grad_fields = (tf.gather(grad, batch_order) for grad in grad_state)
            return grad_projected, grad_kernel, tf.reduce_sum(grad_inner, axis=0), *grad_fields

        return (states[0][rows:], *final), gradient

    hidden, *final = run(projected, recurrent_kernel, recurrent_bias, *state)
    return tf.ensure_shape(hidden, [None, recurrent_kernel.shape[0]]), cell.state_type(*final)


def _forward_loop(
    cell: CellFunctions,
    projected: tf.Tensor,
    packing: Packing,
    state: Any,
    recurrent_kernel: tf.Tensor,
    recurrent_bias: tf.Tensor,
) -> tuple[Any, Any]:
    """TensorArrays of all states (entry t before step t) and of all saved activations.

    Entry t + 1 of the states and entry t of the activations have `packing.counts[t]` rows: those that have a step t.
    """
    steps = tf.size(packing.counts)
    width = recurrent_kernel.shape[0]

    def array(size: tf.Tensor) -> tf.TensorArray:
        return tf.TensorArray(
            projected.dtype, size=size, clear_after_read=False, infer_shape=False, element_shape=[None, width]
        )

    def body(t: tf.Tensor, state: Any, history: Any, saved: Any) -> Any:
        count, offset = packing.counts[t], packing.offsets[t]
        state = cell.state_type(*(values[:count] for values in state))
        state, activations = cell.forward(projected[offset : offset + count], state, recurrent_kernel, recurrent_bias)
        return t + 1, state, _write(history, t + 1, state), _write(saved, t, activations)

    history = _write(cell.state_type(*(array(steps + 1) for _ in state)), 0, state)
    saved = cell.saved_type(*(array(steps) for _ in cell.saved_type._fields))
    _, _, history, saved = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (0, state, history, saved),
        shape_invariants=(tf.TensorShape([]), any_rows(state), _scalars(history), _scalars(saved)),
        maximum_iterations=steps,
    )
    return history, saved


def _backward_loop(
    cell: CellFunctions,
    grad_hidden: tf.Tensor,
    grad_final: Any,
    packing: Packing,
    history: Any,
    saved: Any,
    recurrent_kernel: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, Any]:
    """Gradients to the projected inputs and to `h U`, packed `[N, G H]`, and to the initial state, sorted rows."""
    steps = tf.size(packing.counts)
    transposed_kernel = tf.transpose(recurrent_kernel)

    def at(arrays: Any, t: tf.Tensor) -> Any:
        return type(arrays)(*(array.read(t) for array in arrays))

    def join(running: Any, rows: tf.Tensor) -> Any:
        """Rows that have a later step carry its gradient; those that end here begin with that of the final state."""
        going_on = tf.shape(running[0])[0]
        pairs = zip(running, grad_final, strict=True)
        return cell.state_type(*(tf.concat([values, final[going_on:rows]], axis=0) for values, final in pairs))

    def body(t: tf.Tensor, running: Any, to_projected: tf.TensorArray, to_inner: tf.TensorArray) -> Any:
        count, offset = packing.counts[t], packing.offsets[t]
        grad_state = join(running, count)
        grad_state = grad_state._replace(hidden=grad_state.hidden + grad_hidden[offset : offset + count])
        before = cell.state_type(*(values[:count] for values in at(history, t)))
        grad_state, grad_projected, grad_inner = cell.backward(
            grad_state, before, at(history, t + 1), at(saved, t), transposed_kernel
        )
        return t - 1, grad_state, to_projected.write(t, grad_projected), to_inner.write(t, grad_inner)

    width = recurrent_kernel.shape[1]
    arrays = [
        tf.TensorArray(grad_hidden.dtype, size=steps, infer_shape=False, element_shape=[None, width]) for _ in range(2)
    ]
    none = cell.state_type(*(values[:0] for values in grad_final))
    _, running, to_projected, to_inner = tf.while_loop(
        lambda t, *_: t >= 0,
        body,
        (steps - 1, none, *arrays),
        shape_invariants=(tf.TensorShape([]), any_rows(none), *_scalars(arrays)),
        maximum_iterations=steps,
    )
    return to_projected.concat(), to_inner.concat(), join(running, tf.size(packing.rows))


def _write(arrays: Any, t: tf.Tensor, values: Any) -> Any:
    return type(values)(*(array.write(t, value) for array, value in zip(arrays, values, strict=True)))


def _scalars(arrays: Any) -> Any:
    """Shape invariants of TensorArrays in a loop: there they are scalar handles."""
    return tf.nest.map_structure(lambda _: tf.TensorShape([]), arrays)


class Recurrent(keras.layers.Layer):
    """A recurrent layer with two faces: `unroll` over whole packed sequences, and one `step`.

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

    def unroll(self, inputs: tf.Tensor, packing: Packing, state: Any) -> tuple[tf.Tensor, Any]:
        """Whole sequences at once.

        Args:
            inputs: `[N, I]`, packed.
            packing: where the N steps belong.
            state: the state before the first step, `[B, H]` in each field.

        Returns:
            Outputs, packed `[N, H]`, and the state after each row's last step.
        """
        input_bias, state_bias = self._biases()
        projected = tf.matmul(inputs, tf.convert_to_tensor(self.kernel)) + input_bias  # --> [N, G H]
        recurrent_kernel = tf.convert_to_tensor(self.recurrent_kernel)
        return run_cell(CELLS[self.cell], projected, packing, state, recurrent_kernel, state_bias)

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
