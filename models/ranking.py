"""By what finished hypotheses are compared (Wu et al. 2016, equation 14).

`score = log P(y) / length_penalty(|y|) + coverage_penalty`
"""

import tensorflow as tf

from models.search_options import Normalization

LEAST_COVERAGE = 1e-9
"""A source token that was looked at even less counts as this much, so that the penalty is finite."""


def length_penalty(length: tf.Tensor, alpha: float, normalization: Normalization = "gnmt") -> tf.Tensor:
    """What a log-probability is divided by, float32, of hypotheses of `length` tokens with their end token.

    "gnmt" is `((5 + length) / 6) ** alpha`, "tokens" `length ** alpha`, with alpha 1 the mean of the tokens'
    log-probabilities. Both grow with the length.
    """
    tokens = tf.cast(length, tf.float32)
    return tf.pow((5.0 + tokens) / 6.0 if normalization == "gnmt" else tokens, alpha)


def coverage_penalty(coverage: tf.Tensor, source_lengths: tf.Tensor, beta: float) -> tf.Tensor:
    """`beta * sum over source tokens of log(min(coverage, 1))`: at most 0, lower for sources that were passed over.

    Args:
        coverage: `[B, K, S]`, the sum of each source token's attention weights over the steps of a hypothesis.
        source_lengths: `[B]`, real source tokens.
        beta: factor, not negative.

    Returns:
        `[B, K]` float32.
    """
    real = tf.sequence_mask(source_lengths, tf.shape(coverage)[2])[:, tf.newaxis]
    covered = tf.math.log(tf.clip_by_value(tf.cast(coverage, tf.float32), LEAST_COVERAGE, 1.0))
    return beta * tf.reduce_sum(tf.where(real, covered, 0.0), axis=2)
