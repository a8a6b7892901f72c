"""Slow, readable oracles in NumPy and plain Python."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def lstm(inputs, lengths, kernel, recurrent_kernel, bias, hidden, cell):
    """One LSTM layer, row by row and step by step: outputs [B, T, H], zero in the padding, and final (hidden, cell)."""
    outputs = np.zeros((*inputs.shape[:2], hidden.shape[1]))
    hidden, cell = hidden.copy(), cell.copy()
    for row in range(inputs.shape[0]):
        for t in range(inputs.shape[1]):
            if t < lengths[row]:
                gates = inputs[row, t] @ kernel + hidden[row] @ recurrent_kernel + bias
                i, f, g, o = np.split(gates, 4)
                cell[row] = sigmoid(f) * cell[row] + sigmoid(i) * np.tanh(g)
                outputs[row, t] = hidden[row] = sigmoid(o) * np.tanh(cell[row])
    return outputs, (hidden, cell)


def gru(inputs, lengths, kernel, recurrent_kernel, bias, hidden):
    """One GRU layer with the reset gate after the product: outputs [B, T, H] and the final (hidden,)."""
    outputs = np.zeros((*inputs.shape[:2], hidden.shape[1]))
    hidden = hidden.copy()
    for row in range(inputs.shape[0]):
        for t in range(inputs.shape[1]):
            if t < lengths[row]:
                x_z, x_r, x_n = np.split(inputs[row, t] @ kernel + bias[0], 3)
                h_z, h_r, h_n = np.split(hidden[row] @ recurrent_kernel + bias[1], 3)
                z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
                outputs[row, t] = hidden[row] = z * hidden[row] + (1 - z) * np.tanh(x_n + r * h_n)
    return outputs, (hidden,)


def layer_norm(x, gain, bias):
    return gain * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) + bias


def multi_head(queries, keys, values, heads, visible):
    """Contexts [Q, H] and mean weights [Q, S], head by head and query by query; query q sees keys below visible[q]."""
    size = queries.shape[1] // heads
    contexts, weights = np.zeros_like(queries), np.zeros((len(queries), len(keys)))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for q, count in enumerate(visible):
            scores = keys[:count, part] @ queries[q, part] / np.sqrt(size)
            share = np.exp(log_softmax(scores))
            contexts[q, part] = share @ values[:count, part]
            weights[q, :count] += share / heads
    return contexts, weights


def transformer_positions(length, size):
    table = np.zeros((length, size))
    for t in range(length):
        for i in range(size // 2):
            angle = t / 10_000 ** (2 * i / size)
            table[t, i], table[t, size // 2 + i] = np.sin(angle), np.cos(angle)
    return table


def transformer_stack(vectors, blocks, norm, heads, memory=None):
    """Pre-norm Transformer over one sentence [T, H]: outputs, and the last block's weights over the memory [S, H].

    A block is a list of weights: norm, input map and output map of self-attention; in a decoder, which has a memory and
    sees no later token, norm, query map, memory map and output map of cross-attention; norm and two maps.
    """
    x, weights = vectors + transformer_positions(*vectors.shape), None
    length = len(x)
    for block in blocks:
        values = iter(block)

        def take(count, values=values):
            return [next(values) for _ in range(count)]

        normal = layer_norm(x, *take(2))
        kernel, bias, out, out_bias = take(4)
        q, k, v = np.split(normal @ kernel + bias, 3, axis=1)
        visible = [length] * length if memory is None else range(1, length + 1)
        x = x + multi_head(q, k, v, heads, visible)[0] @ out + out_bias
        if memory is not None:
            normal = layer_norm(x, *take(2))
            query, query_bias, kernel, bias, out, out_bias = take(6)
            k, v = np.split(memory @ kernel + bias, 2, axis=1)
            contexts, weights = multi_head(normal @ query + query_bias, k, v, heads, [len(memory)] * length)
            x = x + contexts @ out + out_bias
        normal = layer_norm(x, *take(2))
        inner, inner_bias, outer, outer_bias = take(4)
        x = x + np.maximum(normal @ inner + inner_bias, 0.0) @ outer + outer_bias
    return layer_norm(x, *norm), weights


def attention(kind, queries, outputs, lengths, weights):
    """Contexts [B, K, M] and weights [B, K, S], query by query; `weights` in the order of the layer."""
    contexts, shares = (
        np.zeros((*queries.shape[:2], outputs.shape[2])),
        np.zeros((*queries.shape[:2], outputs.shape[1])),
    )
    for row, length in enumerate(lengths):
        for k, query in enumerate(queries[row]):
            scores = []
            for output in outputs[row, :length]:
                if kind == "dot":
                    scores.append(query @ output)
                elif kind == "general":
                    scores.append(query @ (output @ weights[0]))
                else:
                    key_kernel, key_bias, query_kernel, vector = weights
                    scores.append(vector @ np.tanh(query @ query_kernel + output @ key_kernel + key_bias))
            shares[row, k, :length] = np.exp(log_softmax(np.array(scores)))
            contexts[row, k] = shares[row, k] @ outputs[row]
    return contexts, shares
