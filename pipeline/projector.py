"""The token embeddings for TensorBoard's projector, which shows them as points in space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from models.seq2seq import Seq2Seq
from pipeline.artifacts import write_whole
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

SHOWN = 5000
"""Tokens of a side that are shown, the most frequent ones: a browser draws no more with ease."""


def write_projector(model: Seq2Seq, transform_dir: Path, directory: Path) -> None:
    """Write both sides' embeddings as encoder and decoder see them.

    Args:
        model: the trained model.
        transform_dir: its vocabularies.
        directory: a folder with event files, which TensorBoard then lists under `projector`.
    """
    config = projector.ProjectorConfig()
    for side, network in zip(SIDES, (model.encoder, model.decoder), strict=True):
        tokens = read_vocabulary(vocabulary_file(transform_dir, side))[:SHOWN]
        vectors = network.embedding.lookup()(tf.range(len(tokens))).numpy()
        shown = config.embeddings.add()
        shown.tensor_name = side
        shown.tensor_path = f"{side}.embedding.tsv"
        shown.metadata_path = f"{side}.tokens.tsv"
        write_whole(directory / shown.tensor_path, _table(vectors))
        write_whole(directory / shown.metadata_path, _lines(tokens))
    projector.visualize_embeddings(str(directory), config)


def _table(vectors: np.ndarray) -> str:
    return _lines(["\t".join(f"{value:.5g}" for value in row) for row in vectors.tolist()])


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
