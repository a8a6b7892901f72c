"""LSTM and GRU over whole sequences in cuDNN: one operation for all steps, where the loop has several a step.

The counterpart of `recurrence.run_cell` for training on an NVIDIA GPU. TensorFlow brings the operation `CudnnRNNV3` and
its gradient, for GPUs only; a graph that holds it can neither run on nor be loaded for a machine without one, and XLA
cannot compile it. `why_not_cudnn` says whether it is used.

This has not been executed: the machines it was written and tested on have no GPU. The tests check instead that Keras,
whose cuDNN layers are used on GPUs, gives the operation the same arguments; that cuDNN's documented equations, read
from the same flat parameters, are those of `cells`, values and gradients; and that the graph and its gradient can be
traced. What is left to a GPU: speed, memory, and that cuDNN computes what it documents.

Legend: B batch, T padded length, N packed steps, I input size, H hidden size, G number of gates.
"""

from typing import TYPE_CHECKING, Literal

import tensorflow as tf

from models.cells import CellState
from models.packing import Packing, pack, unpack

if TYPE_CHECKING:  # `recurrence` imports this module
    from models.recurrence import CellWeights

# cuDNN's order of the gates, as places in ours: the GRU's z, r, n becomes r, z, n; the LSTM's i, f, g, o stays.
GATES: dict[str, tuple[int, ...]] = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}

DTYPES = ("bfloat16", "float16", "float32", "float64")  # for which TensorFlow registers the operation


def run_cudnn(
    cell: Literal["lstm", "gru"],
    inputs: tf.Tensor,
    packing: Packing,
    state: CellState,
    weights: "CellWeights",
    product_dtype: str,
) -> tuple[tf.Tensor, CellState]:
    """Run a cell over packed sequences in cuDNN; differentiable with respect to inputs, state and weights.

    Every row needs at least one step: cuDNN fails on an empty sequence (jax-ml/jax#17966). Callers see to it, since
    every row has at least its end token. A batch without rows is allowed: at an epoch's end one of several GPUs
    may get none.

    Args:
        cell: whose equations.
        inputs: packed `[N, I]`.
        packing: where the N steps belong.
        state: the state before the first step, rows in the batch's order.
        weights: the layer's weights.
        product_dtype: type of all that cuDNN sees, also of states and activations, which `run_cell` keeps in the type
            of `state`. TensorFlow computes bfloat16 in float32 and only rounds arguments and results.

    Returns:
        Hidden states, packed `[N, H]`, and the state after each row's last step, rows in the batch's order; both in the
        type of `state`.
    """
    rows, state_dtype = packing.shape[0], state[0].dtype
    # Without rows, one of zeros and length 1 stands in, because cuDNN takes no empty batch.
    shape = tf.maximum(packing.shape, 1)
    added = shape[0] - rows
    lengths = tf.pad(packing.lengths, [[0, added]], constant_values=1)
    initial = [tf.pad(tf.cast(field, product_dtype), [[0, added], [0, 0]])[:, tf.newaxis] for field in state]
    outputs, *final = tf.raw_ops.CudnnRNNV3(
        input=unpack(tf.cast(inputs, product_dtype), packing._replace(shape=shape)),  # [B, T, I]
        input_h=initial[0],  # [B, 1, H], one layer
        input_c=initial[1] if cell == "lstm" else 0,
        params=cudnn_parameters(cell, weights.cast(product_dtype)),
        sequence_lengths=lengths,
        rnn_mode=cell,
        is_training=True,  # keeps what the gradient needs
        # As Keras. Time-major would be a risk too: TensorFlow keeps a descriptor for each T, and made for a batch that
        # fills T it would say "no padding" to later ones (cudnn_rnn_ops.cc: ShouldUsePaddedIO, GetCachedRnnDescriptor).
        time_major=False,
    )
    fields = (tf.cast(field[:rows, 0], state_dtype) for field in final[: len(state)])
    return tf.cast(pack(outputs, packing), state_dtype), type(state)(*fields)


def cudnn_parameters(cell: Literal["lstm", "gru"], weights: "CellWeights") -> tf.Tensor:
    """All weights as cuDNN wants them, `[G H (I + H + 2)]`, in the type of `weights`.

    First the gates' input matrices `[H, I]`, then their recurrent matrices `[H, H]`, their input biases and their
    recurrent biases, each gate after gate in cuDNN's order (cuDNN: `cudnnGetRNNWeightParams`; Keras:
    `_standardize_cudnn_weights`). That is the transposed kernels of Keras, row by row.
    """
    biases = [weights.input_bias, weights.recurrent_bias]
    if cell == "lstm":
        # cuDNN adds both biases and the LSTM has one. It goes where Keras puts it; the other's zeros are not trained.
        biases = [tf.zeros_like(weights.input_bias), weights.input_bias]
    parts = []
    for values in (weights.kernel, weights.recurrent_kernel, *biases):
        gates = tf.split(tf.transpose(values), len(GATES[cell]))
        parts += [tf.reshape(gates[gate], [-1]) for gate in GATES[cell]]
    return tf.concat(parts, axis=0)


def why_not_cudnn(requested: bool, compute_dtype: str) -> str | None:
    """Why `run_cudnn` is not to be used, in a few words; `None` if it is.

    Args:
        requested: whether the caller wants it. If not, TensorFlow's devices are not asked for, which would initialize
            them.
        compute_dtype: type of the matrix products.
    """
    if not requested:
        return "not asked for: a saved model must run without a GPU"
    build = tf.sysconfig.get_build_info()
    if build["is_rocm_build"]:
        return "ROCm builds are not supported by this path"  # MIOpen orders the gates differently
    if not build["is_cuda_build"]:
        return "this TensorFlow is built without CUDA"
    # Logical devices: only these are usable. A GPU without its libraries, or too old, is none.
    if not tf.config.list_logical_devices("GPU"):
        return "no GPU is visible to TensorFlow"
    if compute_dtype not in DTYPES:
        return f"TensorFlow has no cuDNN operation for {compute_dtype}"
    return None
