"""The classic tutorial's network and training loops in PyTorch, as peers for speed.

*loop* is the tutorial's own: one decoder step at a time, a coin per step, the gradient through the whole loop.
*fused* has no coin (ratio 1): PyTorch's LSTM or GRU over the whole sequence, one projection.
Both pad their batches, as the tutorial does; the loss ignores padding.
*packed* is fused, but computes no padding, and has PyTorch's fused Adam: as fast as we know how to make it.
"""

import random

import numpy as np
import torch
from torch import nn

from preprocessing.special_tokens import PADDING_ID, START_ID

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Encoder(nn.Module):
    """Embedding, dropout, stacked recurrent layers; returns the final states."""

    def __init__(self, vocabulary_size: int, embedding: int, hidden: int, layers: int, dropout: float, cell: str):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.rnn = CELLS[cell](embedding, hidden, layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source, lengths=None):  # [S, B]
        embedded = self.dropout(self.embedding(source))
        return self.rnn(embedded if lengths is None else pack(embedded, lengths))[1]


class Decoder(nn.Module):
    """The same layers from given states, and the projection to the vocabulary."""

    def __init__(self, vocabulary_size: int, embedding: int, hidden: int, layers: int, dropout: float, cell: str):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding)
        self.rnn = CELLS[cell](embedding, hidden, layers, dropout=dropout)
        self.projection = nn.Linear(hidden, vocabulary_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs, state):  # [T, B] or, for one step, [1, B]
        outputs, state = self.rnn(self.dropout(self.embedding(inputs)), state)
        return self.projection(outputs), state

    def packed(self, inputs, lengths, state):  # [T, B] to [N, V]
        outputs, _ = self.rnn(pack(self.dropout(self.embedding(inputs)), lengths), state)
        return self.projection(outputs.data)


def pack(values, lengths):
    return nn.utils.rnn.pack_padded_sequence(values, lengths, enforce_sorted=False)


class Peer:
    """A network with its optimizer; `step` is one update.

    Args:
        sizes: source and target vocabulary sizes, embedding size, hidden size, number of layers.
        dropout: share that training drops.
        cell: `"lstm"` or `"gru"`.
        kind: `"loop"`, `"fused"` or `"packed"`.
        ratio: chance of the gold token, for the loop.
        bfloat16: whether PyTorch's autocast chooses bfloat16 where it finds that right.
    """

    def __init__(self, sizes, dropout: float, cell: str, kind: str, ratio: float, bfloat16: bool):
        source_size, target_size, embedding, hidden, layers = sizes
        torch.manual_seed(1)
        self.coins = random.Random(1)
        self.encoder = Encoder(source_size, embedding, hidden, layers, dropout, cell)
        self.decoder = Decoder(target_size, embedding, hidden, layers, dropout, cell)
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        for parameter in self.parameters:
            nn.init.uniform_(parameter.data, -0.08, 0.08)
        self.optimizer = torch.optim.Adam(self.parameters, fused=kind == "packed")
        self.criterion = nn.CrossEntropyLoss(ignore_index=PADDING_ID)
        self.kind, self.ratio, self.bfloat16 = kind, ratio, bfloat16

    def step(self, batch: dict[str, np.ndarray]) -> float:
        """One update with a batch as Heliograph has it; returns the loss."""
        source, target = (
            torch.from_numpy(np.ascontiguousarray(batch[f"{side}_ids"].T)).long() for side in ("source", "target")
        )
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            if self.kind == "packed":
                lengths = torch.from_numpy(batch["target_lengths"]).long()
                state = self.encoder(source, torch.from_numpy(batch["source_lengths"]).long())
                logits = self.decoder.packed(shift_right(target), lengths, state)
                target = pack(target, lengths).data
            else:
                state = self.encoder(source)
                logits = (
                    self._loop(target, state) if self.kind == "loop" else self.decoder(shift_right(target), state)[0]
                )
        loss = self.criterion(logits.float().view(-1, logits.shape[-1]), target.reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.item()

    def _loop(self, target, state):
        inputs = torch.full_like(target[:1], START_ID)
        outputs = []
        for t in range(target.shape[0]):
            logits, state = self.decoder(inputs, state)
            outputs.append(logits)
            inputs = target[t : t + 1] if self.coins.random() < self.ratio else logits.argmax(-1)
        return torch.cat(outputs)


def shift_right(target):
    return torch.cat([torch.full_like(target[:1], START_ID), target[:-1]])
