"""Slow, readable oracles in NumPy and plain Python."""

import itertools
from collections.abc import Callable, Sequence

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


def exhaustive_search(
    next_log_probabilities: Callable[[Sequence[int]], np.ndarray],
    vocabulary_size: int,
    end_id: int,
    max_length: int,
    alpha: float,
    banned_ids: Sequence[int] = (),
) -> list[tuple[float, float, tuple[int, ...]]]:
    """Every sequence of at most `max_length` tokens: (score, log-probability, tokens), best first."""
    words = [token for token in range(vocabulary_size) if token != end_id and token not in banned_ids]
    found = []
    for length in range(max_length + 1):
        for tokens in itertools.product(words, repeat=length):
            total = 0.0
            for position, token in enumerate((*tokens, end_id)):
                total += next_log_probabilities(tokens[:position])[token]
            found.append((total / ((5 + length + 1) / 6) ** alpha, total, tokens))
    return sorted(found, key=lambda item: -item[0])
