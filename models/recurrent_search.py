"""The recurrent decoder's steps as a search wants them; see `models.decoder.SearchSteps`.

A beam has some five hypotheses of a sentence and runs them for as many steps as a translation has tokens, so that what
depends on the sentence alone, on the past alone, or on the token alone is worth computing once:

- the state's share of all gates, `h U`, before it is known which tokens the hypothesis is extended by;
- the token's share of the first layer's gates, for hypotheses of different sentences often end alike, and those of one
  sentence, too;
- the context's share of the features. With weights a over encoder outputs v, `(sum a_s v_s) W = sum a_s (v_s W)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from models.attention import Attention, attend_rows
from models.cells import product
from models.decoder import SearchSteps
from models.stack import RecurrentStack
from models.states import Advance, Nothing, RecurrentState, SourceMemory, take_rows


class BegunLayer(NamedTuple):
    """What a layer's step takes beside its input; see `models.recurrence.StepParts`."""

    share: tf.Tensor  # [R, G H] the hidden state's share of the pre-activations
    kept: tf.Tensor  # [R, H] the cell of an LSTM, the hidden state of a GRU


class BegunState(NamedTuple):
    """What a step takes that does not know its token yet."""

    layers: tuple[BegunLayer, ...]  # one a layer
    fed: tf.Tensor | Nothing  # as of `RecurrentState`


def search_steps(
    stack: RecurrentStack,
    attention: Attention | None,
    output_kernel: tf.Tensor | None,
    lookup: Callable[[tf.Tensor], tf.Tensor],
    prepare: Callable[[SourceMemory], Any],
    *,
    dtype: str,
    product_dtype: str,
) -> SearchSteps:
    """Steps of a decoder that looks at the source, if at all, from its new state: Sutskever's and Luong's.

    Args:
        stack: the layers.
        attention: what it looks at the source with.
        output_kernel: `[H + M, F]`, of the new hidden state and the context, in the products' type; `None` where the
            features are the two side by side.
        lookup: token ids to embeddings.
        prepare: a memory to that of `attention`.
        dtype: type of features and states.
        product_dtype: type of matrix products.

    Returns:
        The steps, with equal features as the decoder's own.
    """
    parts = stack.step_parts()
    attend = None if attention is None else attention.attender()
    from_hidden, from_context = output_kernel, None
    if output_kernel is not None and attention is not None:
        from_hidden, from_context = output_kernel[: stack.output_size], output_kernel[stack.output_size :]

    def prepare_contexts(memory: SourceMemory) -> Any:
        prepared = prepare(memory)
        if from_context is None:
            return prepared
        values = prepared.values
        shares = product(tf.reshape(values, [-1, values.shape[2]]), from_context)
        shape = tf.concat([tf.shape(values)[:2], [from_context.shape[1]]], axis=0)
        return prepared._replace(values=tf.reshape(shares, shape))  # --> [B, S, F]

    def begin(state: RecurrentState, rows: tf.Tensor | None) -> BegunState:
        distinct, places = (None, None) if rows is None else tf.unique(rows)
        layers = []
        for part, layer in zip(parts, state.layers, strict=True):
            # Cast before it is gathered: so it was for the step's own products, and TensorFlow casts it once for all.
            share = part.share(take_rows(tf.cast(layer.hidden, product_dtype), distinct))
            layers.append(BegunLayer(take_rows(share, places), take_rows(layer[-1], rows)))
        return BegunState(tuple(layers), take_rows(state.fed, rows))

    def project_tokens(token_ids: tf.Tensor, fed: tf.Tensor | Nothing) -> tf.Tensor:
        """The inputs' share of the first layer's pre-activations."""
        if not isinstance(fed, tuple):
            return parts[0].project(tf.concat([tf.cast(lookup(token_ids), dtype), fed], axis=1))
        distinct, places = tf.unique(token_ids)
        return tf.gather(parts[0].project(tf.cast(lookup(distinct), dtype)), places)

    def advance(token_ids: tf.Tensor, begun: BegunState, memory: Any) -> Advance:
        layers = [parts[0].finish(project_tokens(token_ids, begun.fed), *begun.layers[0])]
        for part, layer in zip(parts[1:], begun.layers[1:], strict=True):
            layers.append(part.finish(part.project(layers[-1].hidden), *layer))
        hidden = layers[-1].hidden
        features = hidden if from_hidden is None else product(hidden, from_hidden)
        weights: tf.Tensor | Nothing = ()
        if attend is not None:
            context, weights = attend_rows(attend, hidden, memory)
            # Its share of the features, or itself.
            is_share = from_context is not None
            features = features + context if is_share else tf.concat([features, tf.cast(context, dtype)], axis=1)
        if from_hidden is not None:
            features = tf.tanh(tf.cast(features, dtype))
        return Advance(
            features, RecurrentState(tuple(layers), () if isinstance(begun.fed, tuple) else features), weights
        )

    return SearchSteps(prepare_contexts, begin, advance)
