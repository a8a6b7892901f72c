"""The values that pass between encoder, decoder and search. State is never kept on a layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from models.cells import CellState

Nothing = tuple[()]
"""What stands where a network has no such tensor: a nest without leaves, which `tf.nest` passes over."""


class SourceMemory(NamedTuple):
    """What the encoder knows of a batch of source sentences."""

    outputs: tf.Tensor  # [B, S, H] the top layer's outputs, one for each source token; 2H if it is bidirectional
    lengths: tf.Tensor  # [B] int32, real source tokens
    final_states: tuple[CellState, ...]  # one a recurrent layer, [B, H] a field, after each sentence's last token; in
    # a bidirectional layer [B, 2H], behind it what the backward direction ends with, after the first token


class Advance(NamedTuple):
    """A decoder step before the projection to the vocabulary; R rows."""

    features: tf.Tensor  # [R, F]
    state: Any  # the decoder's state after the step
    attention: tf.Tensor | Nothing = ()  # [R, S] float, weights over the source tokens; `()` without attention


class Step(NamedTuple):
    """A decoder step; R rows."""

    logits: tf.Tensor  # [R, V] of the token that follows
    state: Any  # the decoder's state after the step
    attention: tf.Tensor | Nothing = ()  # [R, S] as in `Advance`


class Unrolled(NamedTuple):
    """Whole target sequences before the projection to the vocabulary."""

    features: tf.Tensor  # [B, T, F]; those of the padding mean nothing
    attention: tf.Tensor | Nothing = ()  # [B, T, S] as in `Advance`


class Logits(NamedTuple):
    """Whole target sequences."""

    logits: tf.Tensor  # [B, T, V] at position t those of the token that follows input t
    attention: tf.Tensor | Nothing = ()  # [B, T, S] as in `Advance`


class RecurrentState(NamedTuple):
    """Everything a recurrent decoder needs to go on: no more and no less than its next step."""

    layers: tuple[CellState, ...]  # one a layer
    fed: tf.Tensor | Nothing = ()  # [R, F] the last step's features, under input feeding


StepFunction = Callable[[tf.Tensor, Any, Any], Step]
"""Token ids `[R]`, what a `Begin` made of states, and a memory to a `Step` with the states that follow.

Rows of one sentence lie together and share its memory.
"""
Begin = Callable[[Any, tf.Tensor | None], Any]
"""States and which of their rows go on, `None` for all as they are, to what the next step takes for its states.

Rows may repeat. The result is a nest of tensors with a row for each.
"""


def take_rows(values: Any, rows: tf.Tensor | None) -> Any:
    """Of every tensor of a nest some rows `[R]`, in this order; all as they are for `None`."""
    return values if rows is None else tf.nest.map_structure(lambda value: tf.gather(value, rows), values)
