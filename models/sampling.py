"""Drawing the next token at random: temperature, top-k, top-p, with a seed of its own for each sentence.

Legend: R sentences, V vocabulary.
"""

import tensorflow as tf

from models.candidates import Candidates, Limits, Scored, allowed_logits
from models.search_options import Sampling

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def uniform(seeds: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
    """Numbers in [0, 1), float32 `[R]`, a function of a row's seed and the step alone.

    TensorFlow's stateless generators take one seed for a whole tensor, so that a row's number would depend on its place
    in the batch. This is SplitMix64 (Steele et al. 2014), seeded by its own hash of the seed; 24 of its bits.

    Args:
        seeds: `[R]` int64.
        step: scalar int.
    """
    state = _mix(tf.bitcast(seeds, tf.uint64)) + tf.cast(step + 1, tf.uint64) * tf.constant(_GOLDEN, tf.uint64)
    bits = tf.bitwise.right_shift(_mix(state), tf.constant(40, tf.uint64))
    return tf.cast(tf.bitcast(bits, tf.int64), tf.float32) * 2.0**-24


def _mix(value: tf.Tensor) -> tf.Tensor:
    for shift, factor in _MIX:
        shifted = tf.bitwise.right_shift(value, tf.constant(shift, tf.uint64))
        value = tf.bitwise.bitwise_xor(value, shifted) * tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(value, tf.bitwise.right_shift(value, tf.constant(31, tf.uint64)))


def draw(logits: tf.Tensor, numbers: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """A token `[R]` for each row, by inverting the distribution function of what its options leave.

    Logits are divided by the temperature; then the `top_k` most likely tokens are kept; then of these the fewest whose
    probabilities, most likely first, reach `top_p` of theirs. The most likely token is always kept.

    Args:
        logits: `[R, V]`, -inf for tokens that may not be drawn.
        numbers: `[R]`, in [0, 1).
        sampling: its seeds are not used.
    """
    # Below the largest one, so that no temperature makes them infinite.
    below = logits - tf.reduce_max(logits, axis=1, keepdims=True)
    scaled, tokens = tf.math.top_k(below / sampling.temperature[:, tf.newaxis], logits.shape[1])  # all, sorted
    ranks = tf.range(logits.shape[1])
    within = (sampling.top_k[:, tf.newaxis] <= 0) | (ranks < sampling.top_k[:, tf.newaxis])
    probabilities = tf.nn.softmax(tf.where(within, scaled, float("-inf")))
    before = tf.cumsum(probabilities, axis=1, exclusive=True)
    # Rounding may bring the sum to 1 before the last token.
    enough = (before >= sampling.top_p[:, tf.newaxis]) & (sampling.top_p[:, tf.newaxis] < 1.0)
    kept = tf.where(~enough | (ranks == 0), probabilities, 0.0)
    reached = tf.cumsum(kept, axis=1)
    # The first token whose distribution function exceeds the number; rounding must not lead beyond the last one.
    place = tf.reduce_sum(tf.cast(reached <= numbers[:, tf.newaxis] * reached[:, -1:], tf.int32), axis=1)
    last = tf.math.count_nonzero(kept, axis=1, dtype=tf.int32) - 1
    return tf.gather(tokens, tf.minimum(place, last), batch_dims=1)


def drawn_candidate(known: Scored, live: tf.Tensor, step: tf.Tensor, sampling: Sampling, limits: Limits) -> Candidates:
    """One extension of each sentence's only hypothesis, with its log-probability under the model as it is.

    Args:
        known: of the R sentences' hypotheses.
        live: `[R, 1]`, log-probabilities of the hypotheses.
        step: scalar, tokens so far.
        sampling: how to draw, `[R]` each.
        limits: what may not follow.
    """
    allowed = allowed_logits(known.logits, limits)
    tokens = draw(allowed, uniform(sampling.seeds, step), sampling)[:, tf.newaxis]
    # Not of the logits: where nothing may follow, what was drawn may not either.
    extended = live + tf.gather(allowed, tokens, batch_dims=1) - known.normalizer[:, tf.newaxis]
    return Candidates(extended, tf.zeros_like(tokens), tokens)
