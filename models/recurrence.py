"""LSTM and GRU over whole sequences: cuDNN on a GPU (`cudnn`), elsewhere the loop of this file.

One matrix product for all inputs, then a loop over the recurrence alone.

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
from models.cells import CellState, Product, product
from models.cudnn import run_cudnn, why_not_cudnn
from models.frozen_weights import product_weight
from models.initializers import bias_initializer, weight_initializer
from models.packing import Packing, any_rows
from models.scopes import in_scope

CellName = Literal["lstm", "gru"]
CellStep = Callable[..., tuple[tf.Tensor, Any]]


class StepParts(NamedTuple):
    """One time step in parts, so that rows can share what they have in common: their input, or their state."""

    project: Callable[..., tf.Tensor]
    """Inputs `[B, I]` to their share of the pre-activations, `[B, G H]`; a second argument computes the product."""
    share: Callable[..., tf.Tensor]
    """Hidden states `[B, H]` to theirs; a second argument as well."""
    finish: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Any]
    """Both shares, and the last field of the old state `[B, H]`, to the new state."""


class CellFunctions(NamedTuple):
    """A cell as data: the types of its values, its numbers of gates and biases, its steps."""

    state_type: type[Any]
    saved_type: type[Any]
    gradient_type: type[Any]
    gates: int
    biases: int
    forward: Callable[..., Any]
    backward: Callable[..., Any]


CELLS: dict[str, CellFunctions] = {
    "lstm": CellFunctions(
        cells.LSTMState, cells.LSTMSaved, cells.LSTMGradient, 4, 1, cells.lstm_forward, cells.lstm_backward
    ),
    "gru": CellFunctions(
        cells.GRUState, cells.GRUSaved, cells.GRUGradient, 3, 2, cells.gru_forward, cells.gru_backward
    ),
}


class CellWeights(NamedTuple):
    """The weights of one layer; I is its input's size, G its cell's number of gates."""

    kernel: tf.Tensor  # [I, G H]
    recurrent_kernel: tf.Tensor  # [H, G H]
    input_bias: tf.Tensor  # [G H]
    recurrent_bias: tf.Tensor  # [G H]; the LSTM does not use it

    def cast(self, dtype: str) -> "CellWeights":
        """The same weights in the type of the matrix products."""
        return CellWeights(*(tf.cast(weight, dtype) for weight in self))


def run_cell(
    cell: CellFunctions,
    inputs: tf.Tensor,
    packing: Packing,
    state: CellState,
    weights: CellWeights,
) -> tuple[tf.Tensor, CellState]:
    """Run a cell over packed sequences; differentiable with respect to inputs, state and weights.

    Args:
        cell: one of `CELLS`.
        inputs: packed `[N, I]`.
        packing: where the N steps belong.
        state: the state before the first step, rows in the batch's order.
        weights: the layer's weights, in the type of the matrix products; states and activations keep the type of
            `state`, which is that of `inputs`.

    Returns:
        Hidden states, packed `[N, H]`, and the state after each row's last step, rows in the batch's order.
    """

    @tf.custom_gradient
    @in_scope("recurrence")
    def run(inputs: tf.Tensor, *values: tf.Tensor) -> Any:
        weights = CellWeights(*values[: len(CellWeights._fields)])
        state = cell.state_type(*(tf.gather(field, packing.rows) for field in values[len(weights) :]))
        product_dtype = weights.kernel.dtype
        factors = tf.cast(inputs, product_dtype)
        projected = tf.nn.bias_add(tf.matmul(factors, weights.kernel), weights.input_bias)  # --> [N, G H]
        history, saved = _forward_loop(cell, projected, packing, state, weights)
        # [initial states; packed steps], the layout that `Packing.entering` and `Packing.final` point into
        states = [array.concat() for array in history]
        final = [tf.gather(field, packing.final) for field in states]
        rows = tf.size(packing.rows)

        @in_scope("recurrence_gradient")
        def gradient(grad_hidden: tf.Tensor, *grad_final: tf.Tensor) -> Any:
            ended = cell.state_type(*(tf.gather(grad, packing.rows) for grad in grad_final))
            to_gates, grad_state = _backward_loop(
                cell, grad_hidden, ended, packing, history, saved, weights.recurrent_kernel
            )
            to_projected, to_inner = to_gates[0], to_gates[-1]  # the same for the LSTM
            entering = tf.gather(tf.cast(states[0], product_dtype), packing.entering)  # [N, H] hidden before each step
            ones = tf.ones([1, tf.shape(factors)[0]], product_dtype)
            grad_inputs = tf.matmul(to_projected, weights.kernel, transpose_b=True)
            grad_weights = CellWeights(
                kernel=tf.matmul(factors, to_projected, transpose_a=True),
                recurrent_kernel=tf.matmul(entering, to_inner, transpose_a=True),
                # A product with ones sums in float32, whatever the type.
                input_bias=tf.matmul(ones, to_projected)[0],
                recurrent_bias=tf.matmul(ones, to_inner)[0],
            )
            batch_order = tf.argsort(packing.rows)
            grad_fields = (tf.gather(grad, batch_order) for grad in grad_state)
            gradients = (grad_inputs, *grad_weights, *grad_fields)
            return [tf.cast(grad, value.dtype) for grad, value in zip(gradients, (inputs, *values), strict=True)]

        return (states[0][rows:], *final), gradient

    hidden, *final = run(inputs, *weights, *state)
    return tf.ensure_shape(hidden, [None, weights.recurrent_kernel.shape[0]]), cell.state_type(*final)


def _forward_loop(
    cell: CellFunctions,
    projected: tf.Tensor,
    packing: Packing,
    state: Any,
    weights: CellWeights,
) -> tuple[Any, Any]:
    """TensorArrays of all states (entry t before step t) and of all saved activations.

    Entry t + 1 of the states and entry t of the activations have `packing.counts[t]` rows: those that have a step t.
    """
    steps = tf.size(packing.counts)
    units, dtype = weights.recurrent_kernel.shape[0], state[0].dtype

    def array(size: tf.Tensor) -> tf.TensorArray:
        return tf.TensorArray(dtype, size=size, clear_after_read=False, infer_shape=False, element_shape=[None, units])

    def body(t: tf.Tensor, state: Any, history: Any, saved: Any) -> Any:
        count, offset = packing.counts[t], packing.offsets[t]
        state = cell.state_type(*(values[:count] for values in state))
        state, activations = cell.forward(
            projected[offset : offset + count], state, weights.recurrent_kernel, weights.recurrent_bias
        )
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
) -> tuple[Any, Any]:
    """Gradients to the pre-activations, packed, and to the initial state, in sorted rows."""
    steps = tf.size(packing.counts)
    transposed_kernel = tf.transpose(recurrent_kernel)

    def at(arrays: Any, t: tf.Tensor) -> Any:
        return type(arrays)(*(array.read(t) for array in arrays))

    def join(running: Any, rows: tf.Tensor) -> Any:
        """Rows that have a later step carry its gradient; those that end here begin with that of the final state."""
        going_on = tf.shape(running[0])[0]
        pairs = zip(running, grad_final, strict=True)
        return cell.state_type(*(tf.concat([values, final[going_on:rows]], axis=0) for values, final in pairs))

    def body(t: tf.Tensor, running: Any, to_gates: Any) -> Any:
        count, offset = packing.counts[t], packing.offsets[t]
        grad_state = join(running, count)
        grad_state = grad_state._replace(hidden=grad_state.hidden + grad_hidden[offset : offset + count])
        before = cell.state_type(*(values[:count] for values in at(history, t)))
        grad_state, grad_gates = cell.backward(grad_state, before, at(saved, t), transposed_kernel)
        return t - 1, grad_state, _write(to_gates, t, grad_gates)

    to_gates = cell.gradient_type(
        *(
            tf.TensorArray(
                recurrent_kernel.dtype, size=steps, infer_shape=False, element_shape=[None, recurrent_kernel.shape[1]]
            )
            for _ in cell.gradient_type._fields
        )
    )
    none = cell.state_type(*(values[:0] for values in grad_final))
    _, running, to_gates = tf.while_loop(
        lambda t, *_: t >= 0,
        body,
        (steps - 1, none, to_gates),
        shape_invariants=(tf.TensorShape([]), any_rows(none), _scalars(to_gates)),
        maximum_iterations=steps,
    )
    # An empty array cannot be concatenated eagerly.
    empty = tf.executing_eagerly() and not int(steps)
    nothing = tf.zeros([0, recurrent_kernel.shape[1]], recurrent_kernel.dtype)
    gradients = (nothing if empty else array.concat() for array in to_gates)
    return cell.gradient_type(*gradients), join(running, tf.size(packing.rows))


def _write(arrays: Any, t: tf.Tensor, values: Any) -> Any:
    return type(values)(*(array.write(t, value) for array, value in zip(arrays, values, strict=True)))


def _scalars(arrays: Any) -> Any:
    """Shape invariants of TensorArrays in a loop: there they are scalar handles."""
    return tf.nest.map_structure(lambda _: tf.TensorShape([]), arrays)


def differentiable_lstm_gates(gates: tf.Tensor, state: cells.LSTMState) -> cells.LSTMState:
    """`cells.lstm_gates` with its derivative by hand: TensorFlow's has a padded copy for each of the gates' slices."""

    @tf.custom_gradient
    def run(gates: tf.Tensor, cell: tf.Tensor) -> Any:
        new, saved = cells.lstm_gates(gates, cell)

        def gradient(*grad_new: tf.Tensor) -> Any:
            to_cell, to_gates = cells.lstm_gates_backward(cells.LSTMState(*grad_new), cell, saved, gates.dtype)
            return (*to_gates, to_cell)

        return tuple(new), gradient

    return cells.LSTMState(*run(gates, state.cell))


def differentiable_gru_gates(projected: tf.Tensor, inner: tf.Tensor, state: cells.GRUState) -> cells.GRUState:
    """`cells.gru_gates` with its derivative by hand; see `differentiable_lstm_gates`."""

    @tf.custom_gradient
    def run(projected: tf.Tensor, inner: tf.Tensor, hidden: tf.Tensor) -> Any:
        new, saved = cells.gru_gates(projected, inner, cells.GRUState(hidden))

        def gradient(grad_hidden: tf.Tensor) -> Any:
            grad_new = cells.GRUState(grad_hidden)
            to_hidden, to_gates = cells.gru_gates_backward(grad_new, hidden, saved, projected.dtype)
            return (*to_gates, to_hidden)

        return new.hidden, gradient

    return cells.GRUState(run(projected, inner, state.hidden))


class Recurrent(keras.layers.Layer):
    """A recurrent layer with two faces: `unroll` over whole packed sequences, and `stepper` for one step.

    Use the subclasses `LSTM` and `GRU`. Both faces share the weights, and repeated steps equal the unrolled sequence.
    Under a mixed policy the matrix products are of its compute type; states and activations are of its variable type.

    Args:
        units: hidden size H.
        init_scale: every weight starts uniform in ±`init_scale`; `None` means Glorot uniform kernel, orthogonal
            recurrent kernel, zero biases, and 1 for the LSTM's forget gate.
        cudnn: whether `unroll` may use cuDNN. It is no part of the configuration: a model that is saved and loaded does
            not, because a graph with a cuDNN operation cannot be loaded without a GPU.
    """

    cell: CellName

    def __init__(self, units: int, init_scale: float | None = None, cudnn: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"units must be a positive number, got {units}")
        self.units = units
        self.init_scale = init_scale
        self.why_not_cudnn = why_not_cudnn(cudnn, self.compute_dtype)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs of size `input_shape[-1]`."""
        width = CELLS[self.cell].gates * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            initializer=weight_initializer(self.init_scale),
            autocast=False,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            initializer=weight_initializer(self.init_scale, default="orthogonal"),
            autocast=False,  # the products cast
            name="recurrent_kernel",
        )
        self.bias = self.add_weight(
            shape=(width,) if CELLS[self.cell].biases == 1 else (2, width),
            initializer=bias_initializer(self.init_scale),
            autocast=False,
            name="bias",
        )

    def zero_state(self, batch_size: tf.Tensor) -> Any:
        """A state of zeros, `[B, H]` in each field."""
        state_type = CELLS[self.cell].state_type
        return state_type(*(tf.zeros([batch_size, self.units], self.variable_dtype) for _ in state_type._fields))

    def stepper(self) -> CellStep:
        """A function for one time step: inputs `[B, I]` and a state to the output `[B, H]` and the new state.

        Made outside a loop, it casts the weights once and not at every step. A third argument is the function that
        computes its matrix products.
        """
        raise NotImplementedError

    def step_parts(self) -> StepParts:
        """The same step in parts, without a gradient of its own; to be made outside a loop."""
        raise NotImplementedError

    def unroll(self, inputs: tf.Tensor, packing: Packing, state: Any) -> tuple[tf.Tensor, Any]:
        """Whole sequences at once.

        Args:
            inputs: `[N, I]`, packed.
            packing: where the N steps belong.
            state: the state before the first step, `[B, H]` in each field.

        Returns:
            Outputs, packed `[N, H]`, and the state after each row's last step.
        """
        if self.why_not_cudnn is None:
            # TensorFlow's bfloat16 kernel would only cast to float32 and back, and round the states.
            dtype = "float32" if self.compute_dtype == "bfloat16" else self.compute_dtype
            weights = [tf.convert_to_tensor(weight) for weight in (self.kernel, self.recurrent_kernel, self.bias)]
            return run_cudnn(self.cell, inputs, packing, state, self._with_biases(*weights), dtype)
        return run_cell(CELLS[self.cell], inputs, packing, state, self._weights())

    def _weights(self) -> CellWeights:
        """In the type of the matrix products."""
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        return self._with_biases(*(product_weight(self, weight) for weight in weights))

    def _with_biases(self, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> CellWeights:
        biases = (bias, tf.zeros_like(bias)) if CELLS[self.cell].biases == 1 else tf.unstack(bias)
        return CellWeights(kernel, recurrent_kernel, *biases)

    def get_config(self) -> dict[str, Any]:
        """See base class."""
        return {**super().get_config(), "units": self.units, "init_scale": self.init_scale}


@keras.saving.register_keras_serializable(package="heliograph")
class LSTM(Recurrent):
    """Long short-term memory with the weights of `keras.layers.LSTM`; see `Recurrent`."""

    cell: CellName = "lstm"

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """See base class."""
        super().build(input_shape)
        if self.init_scale is None:
            # Forget gate open at the start (Gers et al. 2000; Jozefowicz et al. 2015).
            zeros, ones = tf.zeros(self.units), tf.ones(self.units)
            self.bias.assign(tf.concat([zeros, ones, zeros, zeros], axis=0))

    def stepper(self) -> CellStep:
        """See base class. One product, `[x; h] [W; U]`, does for two: a small one costs little less than a large."""
        weights = self._weights()
        kernel = tf.concat([weights.kernel, weights.recurrent_kernel], axis=0)  # --> [I + H, 4H]

        def step(inputs: tf.Tensor, state: Any, multiply: Product = product) -> tuple[tf.Tensor, Any]:
            joined = tf.concat([tf.cast(values, kernel.dtype) for values in (inputs, state.hidden)], axis=-1)
            state = differentiable_lstm_gates(multiply(joined, kernel) + weights.input_bias, state)
            return state.hidden, state

        return step

    def step_parts(self) -> StepParts:
        """See base class."""
        weights = self._weights()

        def share(hidden: tf.Tensor, multiply: Product = product) -> tf.Tensor:
            return multiply(hidden, weights.recurrent_kernel) + weights.input_bias

        def project(inputs: tf.Tensor, multiply: Product = product) -> tf.Tensor:
            return multiply(inputs, weights.kernel)

        def finish(projected: tf.Tensor, shared: tf.Tensor, cell: tf.Tensor) -> cells.LSTMState:
            return cells.lstm_gates(projected + shared, cell)[0]

        return StepParts(project, share, finish)


@keras.saving.register_keras_serializable(package="heliograph")
class GRU(Recurrent):
    """Gated recurrent unit with the weights of `keras.layers.GRU(reset_after=True)`; see `Recurrent`."""

    cell: CellName = "gru"

    def stepper(self) -> CellStep:
        """See base class."""
        project, share, _ = self.step_parts()

        def step(inputs: tf.Tensor, state: Any, multiply: Product = product) -> tuple[tf.Tensor, Any]:
            state = differentiable_gru_gates(project(inputs, multiply), share(state.hidden, multiply), state)
            return state.hidden, state

        return step

    def step_parts(self) -> StepParts:
        """See base class."""
        weights = self._weights()

        def project(inputs: tf.Tensor, multiply: Product = product) -> tf.Tensor:
            return multiply(inputs, weights.kernel) + weights.input_bias

        def share(hidden: tf.Tensor, multiply: Product = product) -> tf.Tensor:
            return multiply(hidden, weights.recurrent_kernel) + weights.recurrent_bias

        def finish(projected: tf.Tensor, shared: tf.Tensor, hidden: tf.Tensor) -> cells.GRUState:
            return cells.gru_gates(projected, shared, cells.GRUState(hidden))[0]

        return StepParts(project, share, finish)


LAYERS: dict[str, type[Recurrent]] = {"lstm": LSTM, "gru": GRU}
