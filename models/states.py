"""The values that pass between encoder, decoder and search. State is never kept on a layer."""

from typing import NamedTuple

import tensorflow as tf

from models.cells import CellState


class SourceMemory(NamedTuple):
    """What the encoder knows of a batch of source sentences."""

    outputs: tf.Tensor  # [B, S, H] the top layer's outputs, one for each source token
    lengths: tf.Tensor  # [B] int32, real source tokens
    final_states: tuple[CellState, ...]  # one a layer, after each sentence's last token


class DecoderState(NamedTuple):
    """Everything a decoder needs to go on: no more and no less than its next `step`."""

    layers: tuple[CellState, ...]  # one a layer
