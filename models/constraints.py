"""Tokens that may not follow because of what a hypothesis already holds: repeated n-grams and banned phrases.

Legend: R hypotheses, L columns of their tokens, P pairs of a hypothesis and a token.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from models.search_options import SearchOptions

_ANY = -1


def forbidden_pairs(written: tf.Tensor, length: tf.Tensor, options: SearchOptions) -> tf.Tensor:
    """All pairs `[P, 2]` int32 of row and token that the options forbid.

    Args:
        written: `[R, L]`, whose first `length` columns are the hypotheses so far.
        length: scalar.
        options: its `no_repeat_ngram` and `banned`.
    """
    pairs = []
    if options.no_repeat_ngram:
        pairs.append(repeated_ngrams(written, length, options.no_repeat_ngram))
    if options.banned_phrases:
        pairs.append(completed_phrases(written, length, options.banned_phrases))
    return tf.concat(pairs, axis=0)


def repeated_ngrams(written: tf.Tensor, length: tf.Tensor, size: int) -> tf.Tensor:
    """The tokens that would complete an n-gram for a second time: `[P, 2]` int32 pairs of row and token.

    Args:
        written: as of `forbidden_pairs`.
        length: as of `forbidden_pairs`.
        size: tokens of an n-gram.
    """
    starts = tf.range(tf.maximum(length - size + 1, 0))  # of the n-grams that the hypotheses hold: [W]
    same = tf.ones([tf.shape(written)[0], tf.size(starts)], tf.bool)
    for offset in range(size - 1):
        last = tf.gather(written, tf.maximum(length - size + 1 + offset, 0), axis=1)  # --> [R]
        same &= tf.gather(written, starts + offset, axis=1) == last[:, tf.newaxis]
    places = tf.cast(tf.where(same), tf.int32)
    tokens = tf.gather_nd(written, places + tf.constant([0, size - 1]))
    return tf.stack([places[:, 0], tokens], axis=1)


def completed_phrases(written: tf.Tensor, length: tf.Tensor, phrases: Sequence[Sequence[int]]) -> tf.Tensor:
    """The tokens that would complete one of the phrases: `[P, 2]` int32 pairs of row and token.

    Args:
        written: as of `forbidden_pairs`.
        length: as of `forbidden_pairs`.
        phrases: token ids, each of at least two.
    """
    longest = max(map(len, phrases)) - 1
    contexts = np.full([len(phrases), longest], _ANY, np.int32)
    for row, phrase in enumerate(phrases):
        contexts[row, longest + 1 - len(phrase) :] = phrase[:-1]
    # Columns before the first one hold no token, and so match only where any does.
    recent = tf.pad(written, [[0, 0], [longest, 0]], constant_values=_ANY - 1)[:, length : length + longest]
    same = (recent[:, tf.newaxis] == contexts) | (contexts == _ANY)  # --> [R, phrases, longest]
    places = tf.cast(tf.where(tf.reduce_all(same, axis=2)), tf.int32)
    last = tf.constant([phrase[-1] for phrase in phrases])
    return tf.stack([places[:, 0], tf.gather(last, places[:, 1])], axis=1)
