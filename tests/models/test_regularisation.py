"""Dropout in its forms, label smoothing in the training step, and embeddings tied to the projection."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dropout import drop, drop_packed, drop_words
from models.networks import RecurrentNetwork
from models.optimizers import FusedAdam
from models.packing import pack_lengths, unpack
from models.seq2seq import Seq2Seq
from models.teacher_forcing import shift_right
from tests.models.test_teacher_forcing import make_batch

SEED = tf.constant([3, 4])


def make(dtype: str = "float64", **options) -> Seq2Seq:
    keras.utils.set_random_seed(5)
    sizes = {"embedding_size": 8, "hidden_size": 8, "num_layers": 2, "init_scale": 0.8}
    return Seq2Seq(
        source_vocabulary_size=13,
        target_vocabulary_size=13,
        start_id=2,
        dtype=dtype,
        network=RecurrentNetwork(**{**sizes, **options}),
    )


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), max_size=5), rate=st.sampled_from([0.2, 0.5]), seed=st.integers(0, 99))
def test_variational_dropout_has_one_mask_a_sentence(lengths, rate, seed):
    packing = pack_lengths(tf.constant(lengths, tf.int32), 6)
    ones = tf.ones([sum(lengths), 40], tf.float64)
    dropped = unpack(drop_packed(ones, rate, tf.constant([1, seed]), packing, variational=True), packing).numpy()
    masks = [row[:length] for row, length in zip(dropped, lengths, strict=True) if length]
    for mask in masks:
        assert (mask == mask[0]).all() and {0.0} < set(mask[0]) <= {0.0, 1.0 / (1.0 - rate)}
    assert all((one[0] != other[0]).any() for one, other in itertools.pairwise(masks))


def test_plain_dropout_has_a_mask_a_step():
    packing, ones = pack_lengths(tf.constant([3, 2]), 3), tf.ones([5, 40])
    dropped = drop_packed(ones, 0.5, SEED, packing)
    np.testing.assert_array_equal(dropped, drop(ones, 0.5, SEED))
    assert len(np.unique(dropped, axis=0)) == 5


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_word_dropout_drops_whole_vectors(rate):
    vectors = np.random.default_rng(0).normal(size=(100, 50, 4)) + 10.0
    dropped = tf.function(drop_words)(tf.constant(vectors), rate, SEED).numpy()
    kept = dropped[..., 0] != 0.0
    np.testing.assert_allclose(dropped, np.where(kept[..., np.newaxis], vectors / (1.0 - rate), 0.0))
    assert np.mean(kept) == pytest.approx(1.0 - rate, abs=4 * np.sqrt(rate * (1.0 - rate) / kept.size))


@pytest.mark.parametrize("function", [drop, drop_words])
def test_without_rate_or_seed_nothing_is_dropped(function):
    values = tf.ones([3, 4])
    assert function(values, 0.0, SEED) is values and function(values, 0.5, None) is values
    packing = pack_lengths(tf.constant([2, 1]), 2)
    assert drop_packed(values, 0.5, None, packing, variational=True) is values


def test_where_words_are_dropped_the_network_does_not_see_them():
    """Nearly all words of both sides are dropped, so other words make no difference; without a seed they do."""
    model = make(word_dropout=0.999, reverse_source=True)
    one, other = make_batch([5, 1, 3], [7, 2, 4], seed=0), make_batch([5, 1, 3], [7, 2, 4], seed=1)
    for seed, alike in ((SEED, True), (None, False)):
        found = []
        for batch in (one, other):
            memory = model.encoder(batch["source_ids"], batch["source_lengths"], seed)
            unrolled = model.decoder.unroll_features(batch["target_ids"], batch["target_lengths"], memory, seed)
            found.append([memory.outputs, unrolled.features])
        for pair in zip(*found, strict=True):
            assert np.array_equal(*pair) == alike


@pytest.mark.parametrize("variational", [False, True])
def test_output_dropout_drops_features(variational):
    model, batch = make(output_dropout=0.5, variational_dropout=variational), make_batch([5, 4], [7, 6])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"], SEED)
    arguments = (batch["target_ids"], batch["target_lengths"], memory)
    plain = model.decoder.unroll_features(*arguments).features.numpy()
    dropped = model.decoder.unroll_features(*arguments, SEED).features.numpy()
    gone = (dropped == 0.0)[:, :6]
    np.testing.assert_allclose(dropped[:, :6], np.where(gone, 0.0, 2.0 * plain[:, :6]), atol=1e-14)
    assert 0.2 < gone.mean() < 0.8 and (gone == gone[:, :1]).all() == variational


def test_masks_are_a_function_of_seed_and_iteration():
    rates = {"dropout": 0.3, "output_dropout": 0.2, "word_dropout": 0.1, "variational_dropout": True}
    model = make("float32", **rates, layer_norm=True, bidirectional=True, bridge="dense")
    batch = make_batch([5, 2, 1], [6, 3, 4])
    model.compile(keras.optimizers.SGD(0.0), seed=1)  # the weights stay, so only masks can make a difference
    step = tf.function(model.train_step)
    losses = [float(step(batch)["loss"]) for _ in range(3)]
    assert len(set(losses)) == 3
    model.optimizer.iterations.assign(0)
    assert [float(step(batch)["loss"]) for _ in range(3)] == losses
    assert not any(variable.path.endswith("seed_generator_state") for variable in model.variables)


@pytest.mark.parametrize("eagerly", [True, False])
def test_training_follows_the_smoothed_loss_and_reports_the_plain_one(eagerly):
    batch, plain, smoothing = make_batch([5, 2, 1], [6, 3, 4]), make(), 0.2
    with tf.GradientTape() as tape:
        targets = tf.one_hot(batch["target_ids"], 13, dtype=tf.float64) * (1.0 - smoothing) + smoothing / 13
        logits = plain(batch)
        real = tf.sequence_mask(batch["target_lengths"], dtype=tf.float64)
        smoothed = tf.reduce_sum(real * tf.nn.softmax_cross_entropy_with_logits(targets, logits)) / 13.0  # tokens
        nll = tf.reduce_sum(real * tf.nn.sparse_softmax_cross_entropy_with_logits(batch["target_ids"], logits)) / 13.0
    gradients = tape.gradient(smoothed, plain.trainable_variables)
    model = make()
    model.compile(keras.optimizers.SGD(1.0), label_smoothing=smoothing)
    before = model.get_weights()
    logs = model.train_step(batch) if eagerly else tf.function(model.train_step)(batch)
    assert float(logs["loss"]) == pytest.approx(float(nll), rel=1e-12) and abs(float(smoothed - nll)) > 0.01
    assert float(logs["perplexity"]) == pytest.approx(np.exp(float(nll)), rel=1e-12)
    for weight, old, new, gradient in zip(model.weights, before, model.get_weights(), gradients, strict=True):
        np.testing.assert_allclose(old - new, tf.convert_to_tensor(gradient), rtol=0, atol=1e-12, err_msg=weight.path)
    model.set_weights(before)
    figures = model.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    assert figures["perplexity"] == pytest.approx(np.exp(float(nll)), rel=1e-12)


@pytest.mark.parametrize("label_smoothing", [1.0, -0.1])
def test_a_label_smoothing_that_is_no_share_is_refused(label_smoothing):
    with pytest.raises(ValueError, match=f"label_smoothing must be a share .*, got {label_smoothing}"):
        make().compile(FusedAdam(), label_smoothing=label_smoothing)


@pytest.mark.parametrize("tied", ["target", "all"])
def test_the_gradient_of_tied_embeddings_is_the_sum_of_their_uses(tied):
    batch, model, apart = make_batch([5, 2, 1], [6, 3, 4]), make(tied=tied), make()
    shared = model.decoder.embedding.embeddings
    apart.encoder.stack.set_weights(model.encoder.stack.get_weights())
    apart.decoder.stack.set_weights(model.decoder.stack.get_weights())
    apart.decoder.projection_bias.assign(model.decoder.projection_bias)
    apart.decoder.projection_kernel.assign(shared)
    uses = [apart.decoder.embedding.embeddings]
    if tied == "all":
        uses.append(apart.encoder.embedding.embeddings)
    else:
        apart.encoder.embedding.set_weights(model.encoder.embedding.get_weights())
    for use in uses:
        use.assign(tf.transpose(shared))

    def gradients(model, variables):
        with tf.GradientTape() as tape:
            memory = model.encoder(batch["source_ids"], batch["source_lengths"])
            inputs = shift_right(batch["target_ids"], 2)
            nll, _ = model.cross_entropy(batch, inputs, memory)
        return nll, [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(nll, variables)]

    nll, (found,) = gradients(model, [shared.value])
    expected, (projection, *lookups) = gradients(
        apart, [apart.decoder.projection_kernel.value, *(use.value for use in uses)]
    )
    assert float(nll) == pytest.approx(float(expected), rel=1e-12)
    assert all(np.abs(use).max() > 1e-3 for use in (projection, *lookups))
    np.testing.assert_allclose(found, projection + sum(use.T for use in lookups), rtol=0, atol=1e-12)
    assert len(model.weights) == len(apart.weights) - 1 - (tied == "all")
