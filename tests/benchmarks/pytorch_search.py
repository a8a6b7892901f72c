"""The LSTM of the decoding benchmark in PyTorch, with Heliograph's weights, and a beam search as one writes it there.

The loop of most PyTorch code, written with care: one decoder step for all hypotheses of a batch at a time, encoder
outputs and keys repeated for each hypothesis, log-softmax over the vocabulary, the best of K V continuations, the state
reordered; sentences with K finished hypotheses leave the batch. Tokens in, tokens out.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from tests.benchmarks.decoding_worker import Translate, take_turns

MAX_LENGTH_FACTOR, MAX_LENGTH_CONSTANT = 2.0, 10  # the defaults of Heliograph's search
NEVER = (PADDING_ID, UNKNOWN_ID, START_ID)


class Network(nn.Module):
    """Bidirectional LSTM encoder, dense bridge, LSTM decoder, Luong's general attention, tanh layer.

    Args:
        weights: Heliograph's, by path.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.source_embedding, self.target_embedding = (
            nn.Embedding.from_pretrained(torch.from_numpy(weights[f"{part}_embedding/embeddings"]))
            for part in ("encoder/source", "decoder/target")
        )
        self.encoder, self.decoder = _lstm(weights, "encoder", True), _lstm(weights, "decoder", False)
        self.bridge = _linear(weights["decoder/bridge/kernel"], weights["decoder/bridge/bias"])
        self.keys = _linear(weights["decoder/attention/key_kernel"])
        self.combination = _linear(weights["decoder/output_kernel"])
        self.projection = _linear(weights["decoder/projection_kernel"], weights["decoder/projection_bias"])

    def encode(self, source: torch.Tensor, lengths: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Ids `[B, S]` to the decoder's start (hidden and cell `[L, B, H]`), keys and outputs `[B, S, ...]`."""
        packed = pack_padded_sequence(self.source_embedding(source), lengths, batch_first=True, enforce_sorted=False)
        outputs, final = self.encoder(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        layers = self.encoder.num_layers
        # By layer, then hidden and cell, then direction, as Heliograph's bridge reads them.
        parts = [field[2 * layer + direction] for layer in range(layers) for field in final for direction in range(2)]
        start = torch.tanh(self.bridge(torch.cat(parts, dim=1))).chunk(2 * self.decoder.num_layers, dim=1)
        return (torch.stack(start[::2]), torch.stack(start[1::2])), self.keys(outputs), outputs

    def step(self, ids: torch.Tensor, state: Any, memory: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, Any]:
        """Ids `[R]` to logits `[R, V]` and the new state; the memory is `[R, S, ...]`."""
        keys, values, padding = memory
        hidden, state = self.decoder(self.target_embedding(ids)[:, None], state)  # --> [R, 1, H]
        scores = torch.bmm(hidden, keys.transpose(1, 2)).masked_fill(padding[:, None], float("-inf"))
        context = torch.bmm(scores.softmax(dim=2), values)
        features = torch.tanh(self.combination(torch.cat([hidden, context], dim=2)))
        return self.projection(features[:, 0]), state


def _linear(kernel: np.ndarray, bias: np.ndarray | None = None) -> nn.Linear:
    layer = nn.Linear(*kernel.shape, bias=bias is not None)
    layer.weight.data = torch.from_numpy(kernel.T.copy())
    if bias is not None:
        layer.bias.data = torch.from_numpy(bias)
    return layer


def _lstm(weights: dict[str, np.ndarray], side: str, bidirectional: bool) -> nn.LSTM:
    """A stack; the gates have the same order on both sides, and PyTorch a second bias that is left at 0."""
    endings = ("_forward", "_backward") if bidirectional else ("",)
    layers = len({path for path in weights if path.startswith(f"{side}/stack/") and "/bias" in path}) // len(endings)

    def of(layer: int, ending: str, name: str) -> torch.Tensor:
        folder = f"{side}/stack/lstm_{layer}" + (f"/lstm_{layer}{ending}" if ending else "")
        return torch.from_numpy(weights[f"{folder}/{name}"].T.copy())

    inputs, units = of(0, endings[0], "kernel").shape[1], of(0, endings[0], "recurrent_kernel").shape[1]
    stack = nn.LSTM(inputs, units, layers, batch_first=True, bidirectional=bidirectional)
    for layer in range(layers):
        for ending, suffix in zip(endings, ("", "_reverse"), strict=False):
            getattr(stack, f"weight_ih_l{layer}{suffix}").data = of(layer, ending, "kernel")
            getattr(stack, f"weight_hh_l{layer}{suffix}").data = of(layer, ending, "recurrent_kernel")
            getattr(stack, f"bias_ih_l{layer}{suffix}").data = of(layer, ending, "bias")
            getattr(stack, f"bias_hh_l{layer}{suffix}").data.zero_()
    stack.flatten_parameters()
    return stack


@torch.inference_mode()
def search(network: Network, sources: list[list[int]], beam_size: int) -> list[list[int]]:
    """The best hypothesis of each source, both without end tokens.

    A score is the log-probability over `(5 + length) / 6`, the length with its end token.
    """
    lengths = torch.tensor([len(source) + 1 for source in sources])
    padded = pad_sequence([torch.tensor([*source, END_ID]) for source in sources], batch_first=True)
    state, keys, values = network.encode(padded, lengths)
    padding = torch.arange(padded.shape[1]) >= lengths[:, None]
    state = tuple(field.repeat_interleave(beam_size, dim=1) for field in state)
    memory = tuple(part.repeat_interleave(beam_size, dim=0) for part in (keys, values, padding))
    limits = (MAX_LENGTH_FACTOR * (lengths - 1)).long() + MAX_LENGTH_CONSTANT
    numbers = torch.arange(len(sources))  # of the sentences that are still searched, A of them
    live = torch.full((len(sources), beam_size), float("-inf"))
    live[:, 0] = 0.0  # one empty hypothesis each; the others are copies of it
    ids = torch.full((len(sources) * beam_size,), START_ID)
    written = torch.empty(len(ids), 0, dtype=torch.long)
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in sources]
    for length in range(int(limits.max()) + 1):
        logits, state = network.step(ids, state, memory)
        scores = logits.log_softmax(dim=1).view(*live.shape, -1) + live[:, :, None]  # --> [A, K, V]
        scores[:, :, NEVER] = float("-inf")
        full = length >= limits[numbers]
        if full.any():  # only the end may follow
            ends_here = scores[full, :, END_ID]
            scores[full] = float("-inf")
            scores[full, :, END_ID] = ends_here
        size = scores.shape[2]
        # 2K, for even if K of them end, K others go on.
        best, places = scores.flatten(1).topk(2 * beam_size)
        slots, tokens = places // size, places % size
        ends = tokens == END_ID
        ending = ends[:, :beam_size] & best[:, :beam_size].isfinite()
        for row, rank in ending.nonzero().tolist():
            hypothesis = written[row * beam_size + int(slots[row, rank])].tolist()
            finished[int(numbers[row])].append((float(best[row, rank]) * 6.0 / (6.0 + length), hypothesis))
        live, ranks = best.masked_fill(ends, float("-inf")).topk(beam_size)
        going_on = [row for row, number in enumerate(numbers.tolist()) if len(finished[number]) < beam_size]
        kept = torch.tensor([row for row in going_on if not full[row]], dtype=torch.long)
        if not len(kept):
            break
        here = kept[:, None] * beam_size
        rows = (here + slots.gather(1, ranks)[kept]).flatten()  # --> [A K]
        ids = tokens.gather(1, ranks)[kept].flatten()
        written = torch.cat([written[rows], ids[:, None]], dim=1)
        state = tuple(field[:, rows] for field in state)
        if len(kept) < len(numbers):
            same = (here + torch.arange(beam_size)).flatten()
            memory = tuple(part[same] for part in memory)
        live, numbers = live[kept], numbers[kept]
    return [max(hypotheses)[1] for hypotheses in finished]


def load(job: dict[str, Any]) -> dict[int, Translate]:
    """The model of `job["weights"]` and `job["vocabularies"]`, for each of `job["beams"]`."""
    torch.set_num_threads(job["threads"])
    with np.load(job["weights"]) as file:
        network = Network(dict(file)).eval()
    source_ids = {token: number for number, token in enumerate(job["vocabularies"]["source"])}
    for special in SPECIAL_TOKENS:  # spelled out in a text they are ordinary words
        del source_ids[special]
    target = job["vocabularies"]["target"]

    def translator(beam: int) -> Translate:
        def translate(sentences: list[str]) -> list[str]:
            sources = [[source_ids.get(token, UNKNOWN_ID) for token in one.split(" ")] for one in sentences]
            return [" ".join(target[number] for number in ids) for ids in search(network, sources, beam)]

        return translate

    return {beam: translator(beam) for beam in job["beams"]}


if __name__ == "__main__":
    take_turns(load)
