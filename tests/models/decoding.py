"""The search, with the token ids and the options that all tests of networks share."""

from typing import Any

import tensorflow as tf

from models.beam_search import BeamSearchResult, beam_search
from models.search_options import SearchOptions, SpecialIds
from models.seq2seq import Seq2Seq


def search(model: Seq2Seq, memory: Any, max_lengths: tf.Tensor, beam_size: int = 1) -> BeamSearchResult:
    """All live hypotheses' best, by log-probability."""
    steps = model.decoder.search_stepper()
    return beam_search(
        steps.step(model.decoder.projector()),
        model.decoder.initial_state(memory),
        steps.prepare(memory),
        max_lengths=max_lengths,
        special=SpecialIds(start=2, end=3, padding=0),
        options=SearchOptions(beam_size=beam_size, n_best=beam_size),
        begin=steps.begin,
    )
