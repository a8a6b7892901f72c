"""Schedules against their formulas, coins against their chances, and roll-out plus unroll against the classic loop."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.decoder import DecoderSteps
from models.networks import RecurrentNetwork, TransformerNetwork
from models.seq2seq import Seq2Seq
from models.states import Advance, RecurrentState, SourceMemory
from models.teacher_forcing import TeacherForcing, draw_coins, parallel_roll_out, roll_out, shift_right

FORMULAS = {
    "constant": lambda i, k: 1.0,
    "linear": lambda i, k: max(0.0, 1.0 - i / k),
    "exponential": lambda i, k: math.exp(-i / k),
    "inverse_sigmoid": lambda i, k: k / (k + math.exp(min(i / k, 700.0))),
}


@pytest.mark.parametrize("schedule", sorted(FORMULAS))
@given(
    start=st.floats(0, 1),
    end=st.floats(0, 1),
    steps=st.integers(1, 100_000),
    iteration=st.integers(0, 10_000_000),
)
def test_schedules_equal_their_formulas(schedule, start, end, steps, iteration):
    forcing = TeacherForcing(schedule=schedule, start=start, end=end, steps=steps)
    expected = end + (start - end) * FORMULAS[schedule](iteration, steps)
    ratio = float(forcing.ratio(tf.constant(iteration, tf.int64)))
    assert ratio == pytest.approx(expected, abs=1e-4)
    assert 0.0 <= ratio <= 1.0 + 1e-6


def test_a_trace_follows_the_iteration():
    forcing = TeacherForcing(schedule="linear", start=1.0, end=0.0, steps=10)
    iteration = tf.Variable(0, dtype=tf.int64)
    ratio = tf.function(lambda: forcing.ratio(iteration))
    values = []
    for _ in range(3):
        values.append(float(ratio()))
        iteration.assign_add(5)
    assert values == pytest.approx([1.0, 0.5, 0.0])
    assert ratio.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("start", 1.5, "start must be a ratio between 0 and 1, got 1.5"),
        ("steps", 0, "steps must be a positive number of iterations, got 0"),
        ("schedule", "cubic", "schedule must be one of .*, got 'cubic'"),
        ("coin", "euro", "coin must be 'batch' or 'token', got 'euro'"),
        ("roll_out", "fast", "roll_out must be 'exact' or 'parallel', got 'fast'"),
    ],
)
def test_refused_values(field, value, message):
    with pytest.raises(ValueError, match=message):
        TeacherForcing(**{field: value})


@pytest.mark.parametrize("kind", ["batch", "token"])
def test_coins_fall_with_their_chance_and_repeat_with_their_seed(kind):
    shape, draws = tf.constant([8, 50]), []
    for seed in range(100):
        coins = draw_coins(tf.constant(0.3), shape, kind, tf.constant([7, seed])).numpy()
        np.testing.assert_array_equal(coins, draw_coins(tf.constant(0.3), shape, kind, tf.constant([7, seed])))
        assert coins[:, 0].all()
        if kind == "batch":
            assert (coins == coins[:1]).all()
        draws.append(coins[:1, 1:])
    count = np.concatenate(draws).size
    assert np.mean(draws) == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / count))


@pytest.mark.parametrize("kind", ["batch", "token"])
def test_extreme_ratios(kind):
    shape, seed = tf.constant([4, 9]), tf.constant([0, 0])
    assert draw_coins(tf.constant(1.0), shape, kind, seed).numpy().all()
    assert not draw_coins(tf.constant(0.0), shape, kind, seed).numpy()[:, 1:].any()


def make_model(
    cell: str = "lstm", layers: int = 2, dropout: float = 0.0, network=None, source_size: int = 11, **options
) -> Seq2Seq:
    keras.utils.set_random_seed(5)
    return Seq2Seq(
        source_vocabulary_size=source_size,
        target_vocabulary_size=13,
        start_id=2,
        **options,
        network=network
        or RecurrentNetwork(
            embedding_size=6,
            hidden_size=8,
            num_layers=layers,
            cell=cell,
            init_scale=0.8,
            dropout=dropout,
        ),
    )


def make_batch(source_lengths, target_lengths, seed=0):
    generator = np.random.default_rng(seed)
    batch = {}
    for side, lengths, size in (("source", source_lengths, 11), ("target", target_lengths, 13)):
        ids = generator.integers(4, size, (len(lengths), max(lengths)))
        for row, length in enumerate(lengths):
            ids[row, length - 1] = 3
            ids[row, length:] = 0
        batch[f"{side}_ids"] = tf.constant(ids, tf.int32)
        batch[f"{side}_lengths"] = tf.constant(lengths, tf.int32)
    return batch


def classic_loop(model: Seq2Seq, batch, gold):
    """The tutorial's training loop, one decoder step at a time; returns its inputs and logits."""
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    state = model.decoder.initial_state(memory)
    gold_inputs = shift_right(batch["target_ids"], model.start_id)
    token_ids, inputs, outputs = gold_inputs[:, 0], [], []
    for t in range(gold_inputs.shape[1]):
        inputs.append(token_ids)
        logits, state, _ = model.decoder.step(token_ids, state, memory)
        outputs.append(logits)
        if t + 1 < gold_inputs.shape[1]:
            own = tf.argmax(logits, axis=-1, output_type=tf.int32)
            token_ids = tf.where(gold[:, t + 1], gold_inputs[:, t + 1], own)
    return tf.stack(inputs, axis=1), tf.stack(outputs, axis=1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", ["batch", "token"])
@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-13), ("float32", 1e-5)])
def test_roll_out_and_unroll_equal_the_classic_loop(cell, kind, ratio, dtype, atol):
    check_against_the_classic_loop(make_model(cell, dtype=dtype), kind, ratio, atol)


def check_against_the_classic_loop(model, kind, ratio, atol):
    """Inputs, loss and every gradient."""
    batch = make_batch([5, 1, 3], [7, 2, 4])
    gold = draw_coins(tf.constant(ratio), tf.shape(batch["target_ids"]), kind, tf.constant([1, 2]))

    real = tf.sequence_mask(batch["target_lengths"])
    with tf.GradientTape() as tape:
        expected_inputs, logits = classic_loop(model, batch, gold)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["target_ids"], logits)
        expected = tf.reduce_sum(tf.where(real, nll, tf.zeros_like(nll))) / tf.reduce_sum(tf.cast(real, nll.dtype))
    expected_gradients = tape.gradient(expected, model.trainable_variables)

    @tf.function
    def ours():
        with tf.GradientTape() as tape:
            memory = model.encoder(batch["source_ids"], batch["source_lengths"])
            inputs = model.decoder_inputs(batch, memory, gold)
            nll, tokens = model.cross_entropy(batch, inputs, memory)
            value = nll / tokens
        return inputs, value, tape.gradient(value, model.trainable_variables)

    inputs, value, gradients = ours()
    gold_inputs = shift_right(batch["target_ids"], 2)
    np.testing.assert_array_equal(inputs, np.where(real, expected_inputs, gold_inputs))
    assert value.dtype == model.variable_dtype and float(value) == pytest.approx(float(expected), abs=atol)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        found, wanted = (tf.convert_to_tensor(values) for values in (gradient, expected_gradient))
        assert float(tf.norm(wanted)) > 1e-4
        np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)
    if ratio == 1.0:
        np.testing.assert_array_equal(inputs, gold_inputs)
    if ratio == 0.0:
        assert (inputs.numpy()[0, 1:] != gold_inputs.numpy()[0, 1:]).any()  # it is not the reference that it repeats


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("coin", ["batch", "token"])
def test_twenty_columns_of_padding_change_no_update(cell, coin):
    batch, results = make_batch([5, 2, 4], [3, 6, 5]), []
    padded = {
        name: tf.pad(value, [[0, 0], [0, 20]]) if name.endswith("_ids") else value for name, value in batch.items()
    }
    for version in (batch, padded):
        model = make_model(cell, dtype="float64")
        model.compile(keras.optimizers.SGD(1.0), TeacherForcing(start=0.5, coin=coin), seed=2)
        logs = tf.function(model.train_step)(version)
        results.append([logs["loss"], logs["gradient_norm"], *model.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99), cell=st.sampled_from(["lstm", "gru"]))
def test_padding_changes_nothing(seed, cell):
    extra = 20
    model, batch = make_model(cell), make_batch([5, 2], [3, 6], seed)
    padded = {
        name: tf.pad(value, [[0, 0], [0, extra]]) if name.endswith("_ids") else value for name, value in batch.items()
    }
    gold = draw_coins(tf.constant(0.5), tf.constant([2, 6]), "token", tf.constant([0, seed]))
    results = []
    for version, coins in ((batch, gold), (padded, tf.pad(gold, [[0, 0], [0, extra]]))):
        with tf.GradientTape() as tape:
            memory = model.encoder(version["source_ids"], version["source_lengths"])
            inputs = model.decoder_inputs(version, memory, coins)
            logits = model.decoder.unroll(inputs, version["target_lengths"], memory).logits
            nll, tokens = model.cross_entropy(version, inputs, memory)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(nll, model.trainable_variables)]
        results.append(
            [logits[:, :6] * tf.sequence_mask([3, 6], dtype=tf.float32)[:, :, tf.newaxis], nll, tokens, *gradients]
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_rows_keep_their_memory_and_leave_when_they_are_done():
    """A decoder that answers with its own row's memory, under rows of unsorted lengths."""
    generator = np.random.default_rng(0)
    memory = generator.normal(size=(4, 6, 9)).astype("float32")  # at step t row b predicts argmax(memory[b, t])
    gold_inputs, gold = generator.integers(4, 9, (4, 6)), generator.random((4, 6)) < 0.5
    lengths, rows = [2, 6, 1, 4], []

    def advance(token_ids, state, memory):
        rows.append(len(token_ids))
        assert len(memory.lengths) == len(token_ids) == len(state.layers)
        steps = state.layers
        features = tf.gather(memory.outputs, tf.cast(steps, tf.int32), batch_dims=1)
        return Advance(features, RecurrentState(steps + 1))

    projected = []

    def project(features):
        projected.append(len(features))
        return features

    source = SourceMemory(tf.constant(memory), tf.constant(lengths), ())
    inputs = roll_out(
        DecoderSteps(advance, project),
        RecurrentState(tf.zeros([4])),
        source,
        tf.constant(gold_inputs, tf.int32),
        tf.constant(gold),
        tf.constant(lengths),
    ).numpy()
    expected = gold_inputs.copy()
    own = [(row, t) for row in range(4) for t in range(1, lengths[row]) if not gold[row, t]]
    for row, t in own:
        expected[row, t] = memory[row, t - 1].argmax()
    np.testing.assert_array_equal(inputs, expected)
    last = [max((t for r, t in own if r == row), default=0) for row in range(4)]
    assert rows == [sum(t > step for t in last) for step in range(max(last))]
    assert sum(projected) == len(own) > 2


TRANSFORMER = TransformerNetwork(hidden_size=8, num_layers=1, heads=2, feed_forward_size=12, init_scale=0.8)


@pytest.mark.parametrize("network", [None, TRANSFORMER])
@pytest.mark.parametrize("kind", ["batch", "token"])
def test_a_parallel_roll_out_feeds_what_is_predicted_after_gold_inputs(network, kind):
    model, batch = make_model(network=network), make_batch([5, 1, 3], [7, 2, 4])
    gold = draw_coins(tf.constant(0.3), tf.shape(batch["target_ids"]), kind, tf.constant([1, 3])).numpy()
    _, logits = classic_loop(model, batch, tf.ones_like(gold))
    expected = shift_right(batch["target_ids"], 2).numpy()
    own = [(row, t) for row, length in enumerate([7, 2, 4]) for t in range(1, length) if not gold[row, t]]
    for row, t in own:
        expected[row, t] = logits[row, t - 1].numpy().argmax()
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])

    def ours():
        return model.decoder_inputs(batch, memory, tf.constant(gold), "parallel")

    for inputs in (ours(), tf.function(ours, autograph=False)()):
        np.testing.assert_array_equal(inputs, expected)
    assert len(own) > 3 and (expected != shift_right(batch["target_ids"], 2)).numpy().any()


def test_a_parallel_roll_out_equals_the_exact_one_where_no_prediction_follows_another():
    model, batch = make_model(network=TRANSFORMER), make_batch([5, 1, 3], [7, 2, 4])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    once = tf.constant(np.arange(7) != np.array([[3], [1], [2]]))
    exact, parallel = (model.decoder_inputs(batch, memory, once, how) for how in ("exact", "parallel"))
    np.testing.assert_array_equal(exact, parallel)
    never = tf.zeros([3, 7], tf.bool)
    exact, parallel = (model.decoder_inputs(batch, memory, never, how) for how in ("exact", "parallel"))
    assert (exact != parallel).numpy().any()  # else the test above says nothing


def test_a_parallel_roll_out_computes_only_what_decides_an_input():
    passes, rows = tf.Variable(0), tf.Variable(0)
    gold_inputs = tf.constant(np.random.default_rng(0).integers(4, 9, (3, 5)), tf.int32)
    lengths = tf.constant([5, 2, 4])

    def unroll():
        passes.assign_add(1)
        return tf.ones([3, 5, 6])

    def project(features):
        rows.assign_add(tf.shape(features)[0])
        return features

    run = tf.function(lambda gold: parallel_roll_out(unroll, project, gold_inputs, gold, lengths), autograph=False)
    only_padding = tf.constant(np.arange(5) < np.array([[5], [2], [4]])) | (tf.range(5) == 0)
    for gold in (tf.ones([3, 5], tf.bool), only_padding):
        np.testing.assert_array_equal(run(gold), gold_inputs)
        assert int(passes) == int(rows) == 0
    run(tf.zeros([3, 5], tf.bool))
    assert int(passes) == 1 and int(rows) == 4 + 1 + 3


@pytest.mark.parametrize("how", ["exact", "parallel"])
def test_a_step_is_trained_on_the_chosen_inputs_and_tested_on_exact_ones(how):
    model, batch = make_model(network=TRANSFORMER), make_batch([5, 1, 3], [7, 2, 4])
    model.compile(keras.optimizers.SGD(0.0), TeacherForcing(start=0.2, coin="token", roll_out=how), seed=3)
    asked, plain = [], model.decoder_inputs

    def watched(batch, memory, gold, how="exact"):
        asked.append(how)
        return plain(batch, memory, gold, how)

    model.decoder_inputs = watched
    loss = float(model.train_step(batch)["loss"])
    gold = draw_coins(tf.constant(0.2), tf.constant([3, 7]), "token", tf.constant([3, 0]))
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    nll, tokens = model.cross_entropy(batch, plain(batch, memory, gold, how), memory)
    assert loss == pytest.approx(float(nll / tokens), rel=1e-6)
    model.test_step(batch)
    assert asked == [how, "exact"]
