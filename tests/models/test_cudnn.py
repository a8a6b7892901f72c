"""The cuDNN path, without a GPU: its arguments against Keras', its equations against ours, its graph.

`cudnn_rnn` below stands in for the operation. It follows cuDNN's documentation (`cudnnRNNMode_t` for the equations,
`cudnnGetRNNWeightParams` for the order of the parameters) and shares no code with `models`.
"""

import importlib
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from models import cudnn
from models.cells import GRUState, LSTMState
from models.cudnn import cudnn_parameters, run_cudnn, why_not_cudnn
from models.packing import pack, pack_lengths
from models.recurrence import CELLS, CellWeights, run_cell
from tests import reference

# The package holds a function of the same name, hence not `from ... import rnn`.
keras_rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")

INPUTS, UNITS = 3, 5
GATES = {"lstm": 4, "gru": 3}
STATES = {"lstm": LSTMState, "gru": GRUState}
# cuDNN's linLayerID; i of the GRU is the update gate, c and h are the new memory.
CUDNN_GATES = {"lstm": "ifco", "gru": "rih"}


def make_weights(cell, dtype="float64", seed=0):
    width = GATES[cell] * UNITS
    generator = np.random.default_rng(seed)
    kernel, recurrent_kernel, *biases = (
        tf.constant(generator.normal(size=shape), dtype) for shape in ((INPUTS, width), (UNITS, width), width, width)
    )
    return CellWeights(kernel, recurrent_kernel, biases[0], tf.zeros_like(biases[0]) if cell == "lstm" else biases[1])


def make_batch(cell, lengths, columns, dtype="float64", seed=1):
    """Padded inputs, zero in the padding as cuDNN gets them; their packing; a state."""
    generator = np.random.default_rng(seed)
    real = np.arange(columns) < np.reshape(lengths, [-1, 1])
    inputs = generator.normal(size=(len(lengths), columns, INPUTS)) * real[:, :, np.newaxis]
    fields = (tf.constant(generator.normal(size=(len(lengths), UNITS)), dtype) for _ in STATES[cell]._fields)
    return tf.constant(inputs, dtype), pack_lengths(tf.constant(lengths, tf.int32), columns), STATES[cell](*fields)


def read_parameters(mode, params, input_size, units):
    """cuDNN's W, R, b_W and b_R by gate; vectors are columns."""
    position = 0

    def take(*shape):
        nonlocal position
        start, position = position, position + int(np.prod(shape))
        return tf.reshape(params[start:position], shape)

    w, r, b_w, b_r = [{gate: take(units, size) for gate in CUDNN_GATES[mode]} for size in (input_size, units, 1, 1)]
    assert position == params.shape[0]
    return w, r, b_w, b_r


def cudnn_rnn(mode, inputs, lengths, hidden, cell, params):
    """The documented equations, row by row; in TensorFlow, so that the gradient can be taken.

    inputs [B, T, I], hidden and cell [B, H] to outputs [B, T, H], zero in the padding, and the last hidden and cell.
    """
    w, r, b_w, b_r = read_parameters(mode, params, inputs.shape[2], hidden.shape[1])
    outputs, last_hidden, last_cell = [], [], []
    for row, length in enumerate(lengths):
        h = hidden[row][:, tf.newaxis]
        c = None if cell is None else cell[row][:, tf.newaxis]
        steps = []
        for t in range(length):
            x = inputs[row, t][:, tf.newaxis]

            def gate(name, x=x, h=h):
                return tf.sigmoid(w[name] @ x + r[name] @ h + b_w[name] + b_r[name])

            if mode == "lstm":
                new = tf.tanh(w["c"] @ x + r["c"] @ h + b_w["c"] + b_r["c"])
                c = gate("f") * c + gate("i") * new
                h = gate("o") * tf.tanh(c)
            else:
                new = tf.tanh(w["h"] @ x + gate("r") * (r["h"] @ h + b_r["h"]) + b_w["h"])
                h = (1 - gate("i")) * new + gate("i") * h
            steps.append(h[:, 0])
        steps += [tf.zeros_like(h[:, 0])] * (inputs.shape[1] - length)
        outputs.append(tf.stack(steps))
        last_hidden.append(h[:, 0])
        last_cell.append(h[:, 0] if c is None else c[:, 0])
    return tf.stack(outputs), tf.stack(last_hidden), tf.stack(last_cell)


@pytest.fixture
def calls(monkeypatch):
    """Replaces the operation by `cudnn_rnn`, and holds the arguments of its calls."""
    calls = []

    def operation(**arguments):
        calls.append(arguments)
        inputs, hidden, params = (arguments[name] for name in ("input", "input_h", "params"))
        lengths = arguments["sequence_lengths"]
        assert arguments["is_training"], "without it the operation has no gradient"
        assert inputs.dtype == hidden.dtype == params.dtype and lengths.dtype == tf.int32
        state_axis = 0 if arguments["time_major"] else 1  # of the layers, of which there is one
        if arguments["time_major"]:
            inputs = tf.transpose(inputs, [1, 0, 2])
        lengths = lengths.numpy().tolist()
        # What TensorFlow and cuDNN demand.
        assert len(lengths) == inputs.shape[0] >= 1
        assert all(1 <= length <= inputs.shape[1] for length in lengths)
        cell = None
        if arguments["rnn_mode"] == "lstm":
            cell = arguments["input_c"]
            assert cell.shape == hidden.shape and cell.dtype == hidden.dtype
            cell = tf.squeeze(cell, state_axis)
        hidden = tf.squeeze(hidden, state_axis)
        outputs, *final = cudnn_rnn(arguments["rnn_mode"], inputs, lengths, hidden, cell, params)
        if arguments["time_major"]:
            outputs = tf.transpose(outputs, [1, 0, 2])
        final = (tf.expand_dims(field, state_axis) for field in final)
        return outputs, *final, tf.zeros([0], inputs.dtype), tf.zeros([0], tf.int8)

    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", operation)
    return calls


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_parameters_mean_to_cudnn_what_the_weights_mean_to_us(cell):
    weights, lengths = make_weights(cell), [2, 4, 1]
    inputs, _, state = make_batch(cell, lengths, 4)
    outputs, *final = cudnn_rnn(
        cell, inputs, lengths, state.hidden, getattr(state, "cell", None), cudnn_parameters(cell, weights)
    )
    bias = weights.input_bias if cell == "lstm" else tf.stack([weights.input_bias, weights.recurrent_bias])
    expected, expected_final = getattr(reference, cell)(
        *(value.numpy() if tf.is_tensor(value) else value for value in (inputs, lengths, *weights[:2], bias, *state))
    )
    np.testing.assert_allclose(outputs, expected, atol=1e-12)
    for value, expected_value in zip(final, expected_final, strict=False):  # the GRU has no cell state
        np.testing.assert_allclose(value, expected_value, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_arguments_are_those_of_keras(cell, calls, monkeypatch):
    # Keras' way of calling the operation is known to be right on GPUs.
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"is_cuda_build": True, "is_rocm_build": False})
    weights, lengths = make_weights(cell), [2, 4, 1]
    inputs, packing, state = make_batch(cell, lengths, 6)
    run_cudnn(cell, pack(inputs, packing), packing, state, weights, "float64")
    bias = weights.input_bias if cell == "lstm" else tf.stack([weights.input_bias, weights.recurrent_bias])
    getattr(keras_rnn, f"_cudnn_{cell}")(
        inputs,
        *state,
        kernel=weights.kernel,
        recurrent_kernel=weights.recurrent_kernel,
        bias=bias,
        mask=tf.sequence_mask(lengths, 6),
        time_major=False,
        go_backwards=False,
        return_sequences=True,
    )
    ours, theirs = calls
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("lengths", "columns"), [([2, 4, 1, 4], 4), ([1, 3], 5), ([2, 2], 2), ([1], 1), ([], 3), ([], 0)]
)
def test_results_and_gradients_are_those_of_run_cell(cell, lengths, columns, calls):
    weights = make_weights(cell)
    inputs, packing, state = make_batch(cell, lengths, columns)
    packed = pack(inputs, packing)
    results = []
    ours = partial(run_cudnn, cell, product_dtype="float64")
    for run in (ours, partial(run_cell, CELLS[cell])):
        with tf.GradientTape() as tape:
            tape.watch([packed, state, weights])
            hidden, final = run(inputs=packed, packing=packing, state=state, weights=weights)
            loss = tf.reduce_sum(tf.sin(hidden)) + tf.add_n([tf.reduce_sum(field**3) for field in final])
        trained = weights[:3] if cell == "lstm" else weights  # the LSTM's second bias is a constant
        gradients = tape.gradient(loss, [packed, *state, *trained])
        assert type(final) is STATES[cell]
        results.append([hidden, *final, *gradients])
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    (call,) = calls
    assert call["sequence_lengths"].numpy().tolist() == (lengths or [1])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 2e-2), ("bfloat16", 2e-1)])
def test_cudnn_gets_the_type_of_the_products_and_we_get_that_of_the_state(cell, dtype, tolerance, calls):
    weights = make_weights(cell, "float32")
    inputs, packing, state = make_batch(cell, [2, 4, 1], 4, "float32")
    hidden, final = run_cudnn(cell, pack(inputs, packing), packing, state, weights, dtype)
    expected, expected_final = run_cell(CELLS[cell], pack(inputs, packing), packing, state, weights)
    for ours, theirs in zip((hidden, *final), (expected, *expected_final), strict=True):
        assert ours.dtype == tf.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    (call,) = calls
    assert {call[name].dtype.name for name in ("input", "input_h", "params")} == {dtype}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_graph_has_one_operation_and_one_for_the_gradient(cell):
    weights = make_weights(cell, "float32")

    @tf.function
    def step(inputs, lengths, weights):
        packing = pack_lengths(lengths, tf.shape(inputs)[1])
        state = STATES[cell](*(tf.zeros([tf.size(lengths), UNITS]) for _ in STATES[cell]._fields))
        with tf.GradientTape() as tape:
            tape.watch([inputs, weights, state])
            hidden, final = run_cudnn(cell, pack(inputs, packing), packing, state, CellWeights(*weights), "bfloat16")
            loss = tf.reduce_sum(hidden) + tf.add_n([tf.reduce_sum(field) for field in final])
        assert hidden.shape.as_list() == [None, UNITS]
        assert all(field.shape.as_list() == [None, UNITS] for field in final)
        return tape.gradient(loss, [inputs, *state, *(weights[:3] if cell == "lstm" else weights)])

    graph = step.get_concrete_function(
        tf.TensorSpec([None, None, INPUTS]), tf.TensorSpec([None], tf.int32), list(weights)
    ).graph
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    names = [node.op for node in nodes]
    assert [name for name in names if "Cudnn" in name] == ["CudnnRNNV3", "CudnnRNNBackpropV3"]
    assert not [name for name in names if "While" in name]
    assert None not in graph.structured_outputs
    (operation,) = (operation for operation in graph.get_operations() if operation.type == "CudnnRNNV3")
    (types,) = (attribute.allowed_values for attribute in operation.op_def.attr if attribute.name == "T")
    assert {tf.as_dtype(value).name for value in types.list.type} == set(cudnn.DTYPES)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"compute_dtype": "bfloat16"}, None),
        ({"compute_dtype": "float64"}, None),
        ({"requested": False}, "not asked for: a saved model must run without a GPU"),
        ({"rocm": True, "cuda": False}, "ROCm builds are not supported by this path"),
        ({"cuda": False}, "this TensorFlow is built without CUDA"),
        ({"devices": []}, "no GPU is visible to TensorFlow"),
        ({"compute_dtype": "int8"}, "TensorFlow has no cuDNN operation for int8"),
    ],
)
def test_reasons(change, reason, monkeypatch):
    case = {"requested": True, "compute_dtype": "float32", "cuda": True, "rocm": False, "devices": ["GPU:0"], **change}
    monkeypatch.setattr(
        tf.sysconfig, "get_build_info", lambda: {"is_cuda_build": case["cuda"], "is_rocm_build": case["rocm"]}
    )
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: case["devices"] if kind == "GPU" else ["CPU:0"])
    assert why_not_cudnn(case["requested"], case["compute_dtype"]) == reason


def test_not_asked_for_leaves_the_devices_alone(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: pytest.fail("this initializes the devices"))
    assert why_not_cudnn(False, "float32")
