"""The Transformer against NumPy, its causality, its cache, and its token-wise parts against TensorFlow's gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.multi_head import attend, causal_mask, join_heads, places, split_heads
from models.networks import TransformerNetwork
from models.packing import pack, pack_lengths
from models.seq2seq import Seq2Seq
from models.token_wise import affine, layer_norm
from models.transformer import sinusoids
from tests import reference
from tests.models.learned import exactly_learned
from tests.models.test_teacher_forcing import make_batch, make_model


def transformer(**options) -> TransformerNetwork:
    sizes = {"hidden_size": 8, "num_layers": 2, "heads": 2, "feed_forward_size": 12, "init_scale": 0.8}
    return TransformerNetwork(**{**sizes, **options})


def make(dtype="float64", **options) -> Seq2Seq:
    model, generator = make_model(network=transformer(**options), dtype=dtype), np.random.default_rng(0)
    for weight in model.weights:  # norms, too, are to be anything but the identity
        if "norm" in weight.path:
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


def block_weights(block) -> list[np.ndarray]:
    cross = []
    if hasattr(block, "cross_attention"):
        part = block.cross_attention
        cross = [block.cross_attention_norm, part.query_map, part.memory_map, part.output_map]
    own, feed = block.attention, block.feed_forward
    layers = [block.attention_norm, own.input_map, own.output_map, *cross]
    layers += [block.feed_forward_norm, feed.inner, feed.outer]
    return [weight.numpy() for layer in layers for weight in layer.weights]


@pytest.mark.parametrize("tied", ["none", "target"])
def test_whole_sequences_equal_a_plain_computation(tied):
    model, batch = make(encoder_layers=1, tied=tied), make_batch([5, 1, 3], [7, 2, 4])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    logits, attention = model.decoder.unroll(batch["target_ids"], batch["target_lengths"], memory)
    source, target = (part.embedding.embeddings.numpy() for part in (model.encoder, model.decoder))
    rows = target.T if tied == "target" else target
    kernel = target if tied == "target" else model.decoder.projection_kernel.numpy()
    parts = [
        ([block_weights(block) for block in part.blocks], [weight.numpy() for weight in part.norm.weights], 2)
        for part in (model.encoder, model.decoder)
    ]
    for row in range(3):
        source_ids = batch["source_ids"][row, : int(batch["source_lengths"][row])].numpy()
        target_ids = batch["target_ids"][row, : int(batch["target_lengths"][row])].numpy()
        outputs, _ = reference.transformer_stack(source[source_ids] * np.sqrt(8), *parts[0])
        np.testing.assert_allclose(memory.outputs[row, : len(source_ids)], outputs, rtol=0, atol=1e-12)
        assert not memory.outputs[row, len(source_ids) :].numpy().any()
        features, weights = reference.transformer_stack(rows[target_ids] * np.sqrt(8), *parts[1], outputs)
        expected = features @ kernel + model.decoder.projection_bias.numpy()
        np.testing.assert_allclose(logits[row, : len(target_ids)], expected, rtol=0, atol=1e-12)
        found = attention[row, : len(target_ids)].numpy()
        np.testing.assert_allclose(found[:, : len(source_ids)], weights, rtol=0, atol=1e-13)
        assert not found[:, len(source_ids) :].any()


@settings(max_examples=10, deadline=None)
@given(changed=st.integers(0, 5), seed=st.integers(0, 99))
def test_a_later_input_changes_no_earlier_logit(changed, seed):
    model, batch = CAUSAL, make_batch([5, 2], [6, 6], seed)
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    ids = batch["target_ids"].numpy()
    other = ids.copy()
    other[0, changed] = (ids[0, changed] + 1) % 13
    before, after = (model.decoder.unroll(tf.constant(each), [6, 6], memory).logits.numpy() for each in (ids, other))
    np.testing.assert_array_equal(after[0, :changed], before[0, :changed])
    np.testing.assert_array_equal(after[1], before[1])
    assert (after[0, changed:] != before[0, changed:]).any(axis=1).all()


CAUSAL = make()


def test_each_source_token_reaches_every_logit_and_its_order_matters():
    model, batch = make(), make_batch([5], [4])
    ids = batch["source_ids"].numpy()

    def logits(ids):
        return model.decoder.unroll(
            batch["target_ids"], [4], model.encoder(tf.constant(ids), tf.constant([5]))
        ).logits.numpy()

    for column in range(5):
        other = ids.copy()
        other[0, column] = (ids[0, column] + 1) % 11
        assert (logits(other) != logits(ids)).all()
    assert np.abs(logits(ids[:, ::-1]) - logits(ids)).max() > 1e-3


def test_the_cache_grows_by_a_step_and_keeps_what_it_has():
    model, batch = make("float32"), make_batch([5, 2, 1], [4, 4, 4])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    state = model.decoder.initial_state(memory)
    for t in range(4):
        before = state
        _, state, _ = model.decoder.step(batch["target_ids"][:, t], state, memory)
        for old, new in zip(tf.nest.flatten(before), tf.nest.flatten(state), strict=True):
            assert old.shape == [3, 2, t, 4] and new.shape == [3, 2, t + 1, 4]
            np.testing.assert_array_equal(new[:, :, :t], old)


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), max_size=5), extra=st.integers(0, 2), parts=st.integers(1, 3))
def test_heads_are_split_and_joined_with_their_gradients(lengths, extra, parts):
    columns, heads, size = max(lengths, default=0) + extra, 2, 3
    packing = pack_lengths(tf.constant(lengths, tf.int32), tf.constant(columns))
    place, generator = places(packing), np.random.default_rng(0)
    padded = tf.constant(generator.normal(size=(len(lengths), columns, parts * heads * size)))
    values = pack(padded, packing)
    upstream = tf.constant(generator.normal(size=(sum(lengths), heads * size)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        split = split_heads(values, place, parts, heads)
        joined = [join_heads(part, place) for part in split]
        total = tf.add_n([tf.reduce_sum(part * upstream * weight) for weight, part in enumerate(joined, start=1)])
    expected = tf.transpose(tf.reshape(padded, [len(lengths), columns, parts, heads, size]), [2, 0, 3, 1, 4])
    real = np.arange(columns) < np.array(lengths, int).reshape(-1, 1)
    for found, wanted in zip(split, tf.unstack(expected), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(np.where(real[:, None, :, None], found - wanted, 0.0), 0.0)
    np.testing.assert_array_equal(tf.concat(joined, axis=1), values)
    np.testing.assert_allclose(
        tape.gradient(total, values), np.concatenate([upstream * weight for weight in range(1, parts + 1)], axis=1)
    )
    for part, grad in zip(split, tape.gradient(total, split), strict=True):
        assert part.shape == grad.shape
        assert not np.where(real[:, None, :, None], 0.0, grad).any()  # nothing comes from the padding


def test_positions_are_the_formula():
    np.testing.assert_allclose(
        sinusoids(tf.range(50), 6, "float64"), reference.transformer_positions(50, 6), atol=1e-12
    )


def test_affine_and_layer_norm_have_the_gradients_of_plain_tensorflow():
    generator = np.random.default_rng(0)
    values, kernel = (tf.constant(generator.normal(size=shape)) for shape in ((7, 5), (5, 4)))
    bias, gain, shift = (tf.constant(generator.normal(size=[size])) for size in (4, 5, 5))

    def plain_norm(x, gain, bias):
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return gain * (x - mean) / tf.sqrt(variance + 1e-5) + bias

    for ours, plain, arguments in (
        (affine, lambda x, kernel, bias: x @ kernel + bias, (values, kernel, bias)),
        (lambda *each: layer_norm(*each, "float64"), plain_norm, (values * 3 + 1, gain, shift)),
    ):
        results = []
        for function in (ours, plain):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                result = function(*arguments)
                total = tf.reduce_sum(tf.sin(result))
            results.append([result, *tape.gradient(total, arguments)])
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_masked_key_has_no_weight_at_all(dtype):
    queries = tf.cast(tf.random.normal([2, 2, 4, 3]), dtype)
    memory = (queries, queries)
    softmax_type = "float64" if dtype == "float64" else "float32"
    _, weights = attend(
        queries, type("Memory", (), {"keys": memory[0], "values": memory[1]}), causal_mask(4, softmax_type)
    )
    assert weights.dtype == softmax_type
    upper = np.triu(np.ones([4, 4], bool), 1)
    assert (weights.numpy()[..., upper] == 0).all() and (weights.numpy()[..., ~upper] > 0).all()


def test_a_bias_gradient_over_many_tokens_loses_nothing_in_bfloat16():
    models = [make(dtype) for dtype in ("float32", "mixed_bfloat16")]
    models[1].set_weights(models[0].get_weights())
    batch, gradients = make_batch(np.full(400, 10), np.full(400, 10)), []
    for model in models:
        with tf.GradientTape() as tape:
            memory = model.encoder(batch["source_ids"], batch["source_lengths"])
            nll, _ = model.cross_entropy(batch, batch["target_ids"], memory)
        biases = [weight.value for weight in model.trainable_variables if weight.name.endswith("bias")]
        gradients.append([gradient.numpy() for gradient in tape.gradient(nll, biases)])
    assert len(gradients[0]) == 2 * (4 + 2) + 1 + 2 * (7 + 3) + 1 + 1
    for one, other in zip(*gradients, strict=True):
        assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 7}, "hidden_size must be a positive even number, .* got 7"),
        ({"heads": 3}, "heads must be a divisor of hidden_size 8, got 3"),
        ({"heads": 0}, "heads must be a divisor of hidden_size 8, got 0"),
        ({"num_layers": 0}, "num_layers must be a positive number, got 0"),
        ({"encoder_layers": 0}, "num_layers must be a positive number, got 0"),
        ({"activation": "tanh"}, r"activation must be one of \['gelu', 'relu'\], got 'tanh'"),
        ({"attention_dropout": 1.0}, "attention_dropout must be a share of at least 0 and below 1, got 1.0"),
        ({"word_dropout": -0.1}, "word_dropout must be a share of at least 0 and below 1, got -0.1"),
        ({"tied": "all"}, "tied must be 'none' or 'target' unless both sides share a vocabulary"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(ValueError, match=message):
        make_model(network=transformer(**options))


def test_embeddings_of_all_three_uses_are_one_and_start_with_the_size_of_a_projection():
    network = transformer(hidden_size=64, tied="all", init_scale=None)
    model = Seq2Seq(source_vocabulary_size=500, target_vocabulary_size=500, start_id=2, network=network)
    tables = [weight for weight in model.weights if 500 in weight.shape and len(weight.shape) == 2]
    assert [tuple(weight.shape) for weight in tables] == [(64, 500)]
    assert float(tf.math.reduce_std(tables[0].value)) == pytest.approx(1 / 8, rel=0.02)
    vectors = model.encoder.embedding.lookup()(tf.range(500))
    assert float(tf.math.reduce_std(vectors)) == pytest.approx(1.0, rel=0.02)
    logits = model(make_batch([5, 2, 1], [6, 3, 4]))
    assert 0.3 < float(tf.math.reduce_std(logits)) < 3.0


@pytest.mark.parametrize("rate", ["dropout", "attention_dropout", "word_dropout"])
def test_each_dropout_is_of_its_own_seed_and_off_without_one(rate):
    model, batch = make(**{rate: 0.5}), make_batch([5, 2, 1], [6, 3, 4])
    plain = make()
    keras.utils.set_random_seed(5)
    plain.set_weights(model.get_weights())
    losses = []
    for each, seed in ((model, [1, 2]), (model, [1, 2]), (model, [1, 3]), (model, None), (plain, [1, 2])):
        seed = None if seed is None else tf.constant(seed)
        memory = each.encoder(batch["source_ids"], batch["source_lengths"], seed)
        losses.append(float(each.cross_entropy(batch, batch["target_ids"], memory, seed)[0]))
    assert losses[0] == losses[1] and losses[3] == losses[4] and len(set(losses)) == 3


@pytest.mark.parametrize(("backwards", "roll_out"), [(True, "exact"), (False, "parallel")])
def test_copying_and_reversing_are_learned(backwards, roll_out):
    network = TransformerNetwork(hidden_size=64, num_layers=1, heads=4, feed_forward_size=128)
    assert exactly_learned(network, backwards, 300, peak=5e-3, roll_out=roll_out) >= 0.99
