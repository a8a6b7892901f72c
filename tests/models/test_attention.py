"""Attention against NumPy, and decoders that must use it to copy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.attention import Attention, by_sentence
from models.cells import GRUState
from models.embedding import TokenEmbedding
from models.networks import RecurrentNetwork
from models.recurrent_decoder import RecurrentDecoder, source_vector
from models.states import SourceMemory
from tests import reference
from tests.models.learned import exactly_learned

KINDS = ("dot", "general", "additive")


def make(kind: str, query_size: int = 4, memory_size: int = 4, seed: int = 0, dtype: str = "float64") -> Attention:
    layer = Attention(kind, query_size, memory_size, dtype=dtype)
    layer.build()
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(("kind", "memory_size"), [("dot", 4), ("general", 4), ("general", 6), ("additive", 6)])
@settings(max_examples=8, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), queries=st.integers(1, 4), seed=st.integers(0, 99))
def test_it_equals_the_numpy_formula(kind, memory_size, graph, lengths, queries, seed):
    layer, generator = make(kind, 4, memory_size, seed), np.random.default_rng(seed)
    outputs = generator.normal(size=(len(lengths), max(lengths), memory_size))
    queries = generator.normal(size=(len(lengths), queries, 4))

    def run():
        memory = layer.prepare(tf.constant(outputs), tf.constant(lengths))
        return layer.attender()(tf.constant(queries), memory)

    context, weights = (tf.function(run) if graph else run)()
    expected_context, expected_weights = reference.attention(kind, queries, outputs, lengths, layer.get_weights())
    np.testing.assert_allclose(weights, expected_weights, atol=1e-12)
    np.testing.assert_allclose(context, expected_context, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_equals_differences(kind):
    layer, generator = make(kind), np.random.default_rng(1)
    values = [tf.constant(generator.normal(size=(2, 2, 4))), tf.constant(generator.normal(size=(2, 3, 4)))]
    values += [weight.value for weight in layer.trainable_variables]
    mix, lengths = generator.normal(size=(2, 2, 4)), tf.constant([3, 2])

    def loss(queries, outputs, *weights):
        for variable, value in zip(layer.trainable_variables, weights, strict=True):
            variable.assign(value)
        return tf.reduce_sum(layer.attender()(queries, layer.prepare(outputs, lengths)).context * mix)

    with tf.GradientTape() as tape:
        tape.watch(values[:2])
        total = tf.reduce_sum(layer.attender()(values[0], layer.prepare(values[1], lengths)).context * mix)
    gradients = tape.gradient(total, [*values[:2], *layer.trainable_variables])
    values = [tf.identity(value) for value in values]
    for place, gradient in enumerate(gradients):
        direction = generator.normal(size=gradient.shape)
        ends = [loss(*(v + s * 1e-6 * direction if n == place else v for n, v in enumerate(values))) for s in (1, -1)]
        slope = float(ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx(float(tf.reduce_sum(gradient * direction)), abs=1e-7)


def test_softmax_is_taken_in_float32_under_a_mixed_policy():
    layer = make("general", dtype="mixed_bfloat16")
    memory = layer.prepare(tf.random.normal([2, 3, 4]), tf.constant([3, 2]))
    context, weights = layer.attender()(tf.random.normal([2, 5, 4]), memory)
    assert memory.keys.dtype == memory.values.dtype == context.dtype == tf.bfloat16 and weights.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), 1.0, atol=1e-6)


def test_rows_by_sentence():
    np.testing.assert_array_equal(by_sentence(tf.range(6), tf.constant(2)), [[0, 1, 2], [3, 4, 5]])
    assert by_sentence(tf.zeros([0, 7]), tf.constant(0)).shape == [0, 1, 7]


@pytest.mark.parametrize("pooling", ["final", "max", "mean"])
def test_the_vector_of_the_source(pooling):
    outputs = -np.abs(np.random.default_rng(0).normal(size=(3, 4, 5)))  # below the zeros of the padding
    lengths, final = [4, 1, 2], np.arange(15.0).reshape(3, 5)
    memory = SourceMemory(tf.constant(outputs), tf.constant(lengths), (GRUState(tf.constant(final)),))
    rows = [outputs[row, :length] for row, length in enumerate(lengths)]
    expected = {"final": final, "max": [r.max(0) for r in rows], "mean": [r.mean(0) for r in rows]}[pooling]
    np.testing.assert_allclose(source_vector(memory, pooling), expected)


@pytest.mark.parametrize(
    "options", [{"attention": "general"}, {"attention": "additive"}, {"context": "every_step", "context_from": "max"}]
)
def test_encoder_outputs_of_another_size(options):
    """As those of a bidirectional encoder, which are twice as long."""
    sizes = {"memory_size": 10, "hidden_size": 5, "num_layers": 1, "cell": "gru", "init_scale": 0.8}
    decoder = RecurrentDecoder(TokenEmbedding(9, 3), **sizes, **options)
    decoder.build()
    memory = SourceMemory(tf.random.normal([2, 4, 10]), tf.constant([4, 2]), (GRUState(tf.random.normal([2, 5])),))
    token_ids, state = tf.constant([[2, 5, 6], [2, 7, 8]]), decoder.initial_state(memory)
    logits, attention = decoder.unroll(token_ids, tf.constant([3, 3]), memory)
    for t in range(3):
        step = decoder.step(token_ids[:, t], state, memory)
        state = step.state
        np.testing.assert_allclose(step.logits, logits[:, t], atol=1e-5)
        if decoder.has_attention:
            np.testing.assert_allclose(step.attention, attention[:, t], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": "dot"}, "memory_size must be query_size for dot products, got 10 and 5"),
        ({"attention": "local"}, "attention must be one of .*'additive', 'dot', 'general', 'none'.*, got 'local'"),
        ({"attention": "general", "context": "every_step"}, "context must be 'initial' with attention.*'every_step'"),
        ({"context_from": "max"}, "context_from must be 'final' unless context is 'every_step', got 'max'"),
        ({"attention": "additive", "input_feeding": True}, "attention must be 'dot' or 'general' .*, got 'additive'"),
        ({"attention": "general", "input_feeding": True}, "output_size must be positive with input_feeding.*, got 0"),
        ({"output_size": -1}, "output_size must be a number of units, or 0, got -1"),
    ],
)
def test_options_that_do_not_fit_together(options, message):
    with pytest.raises(ValueError, match=message):
        RecurrentDecoder(TokenEmbedding(9, 3), memory_size=10, hidden_size=5, num_layers=1, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "dot"},
        {"attention": "general"},
        {"attention": "additive"},
        {"attention": "general", "input_feeding": True, "output_size": 64},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_copying_is_learned(options):
    sizes = {"embedding_size": 32, "hidden_size": 64, "num_layers": 1, "cell": "gru"}
    assert exactly_learned(RecurrentNetwork(**sizes, **options), backwards=False, steps=400, longest=6) >= 0.99


def test_reversing_is_learned_with_the_context_at_every_step():
    network = RecurrentNetwork(embedding_size=32, hidden_size=96, num_layers=1, cell="gru", context="every_step")
    assert exactly_learned(network, backwards=True, steps=500, longest=4) >= 0.99
