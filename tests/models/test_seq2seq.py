"""The model as a whole: perplexities, training, saving, and a task that has to be learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.networks import RecurrentNetwork
from models.optimizers import FusedAdam
from models.seq2seq import Seq2Seq
from models.sequences import pad, with_end
from models.teacher_forcing import TeacherForcing, shift_right
from tests.models.fresh_process import check_saved
from tests.models.learned import exactly_learned
from tests.models.test_teacher_forcing import make_batch, make_model
from tests.reference import log_softmax


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_repeated_equals_unroll(cell):
    model, batch = make_model(cell), make_batch([5, 2, 1], [6, 3, 4])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    logits = model.decoder.unroll(batch["target_ids"], batch["target_lengths"], memory).logits
    state = model.decoder.initial_state(memory)
    for t in range(6):
        step_logits, state, _ = model.decoder.step(batch["target_ids"][:, t], state, memory)
        inside = batch["target_lengths"].numpy() > t
        np.testing.assert_allclose(step_logits.numpy()[inside], logits.numpy()[inside, t], atol=1e-6)


def test_both_perplexities_equal_a_plain_computation_whatever_the_batches():
    model = make_model("lstm")
    model.compile(keras.optimizers.Adam())
    batch = make_batch([5, 2, 1, 4], [6, 3, 4, 1])
    totals = {"perplexity": np.zeros(4), "free_running_perplexity": np.zeros(4)}
    for row in range(4):
        memory = model.encoder(batch["source_ids"][row : row + 1], batch["source_lengths"][row : row + 1])
        for name in totals:
            state, token = model.decoder.initial_state(memory), 2
            for t in range(int(batch["target_lengths"][row])):
                logits, state, _ = model.decoder.step(tf.constant([token]), state, memory)
                gold = int(batch["target_ids"][row, t])
                totals[name][row] -= log_softmax(logits.numpy()[0].astype("float64"))[gold]
                token = gold if name == "perplexity" else int(np.argmax(logits))
    expected = {name: np.exp(total.sum() / 14) for name, total in totals.items()}
    for found in (model.pair_nll(batch), tf.function(model.pair_nll)(batch)):
        for name, nll in zip(totals, found, strict=True):
            np.testing.assert_allclose(nll, totals[name], rtol=1e-5)
    pairs = tf.data.Dataset.from_tensor_slices(batch)
    for size in (1, 3, 4):
        figures = model.evaluate(pairs.batch(size), verbose=0, return_dict=True)
        for name, value in expected.items():
            assert figures[name] == pytest.approx(value, rel=1e-5)


def test_a_training_step_is_the_same_eagerly_and_in_a_graph():
    weights = []
    for eagerly in (True, False):
        model, batch = make_model("lstm"), make_batch([5, 2, 1], [6, 3, 4])
        model.compile(keras.optimizers.Adam(0.1), TeacherForcing(start=0.5), seed=3, clip_norm=1.0, run_eagerly=eagerly)
        history = model.fit(tf.data.Dataset.from_tensors(batch).repeat(3), epochs=1, verbose=0, shuffle=False).history
        assert history["teacher_forcing"] == [0.5]
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_falling_ratio_needs_no_second_trace():
    model, batch = make_model("gru"), make_batch([5, 2, 1], [6, 3, 4])
    model.compile(keras.optimizers.Adam(), TeacherForcing(schedule="linear", start=1.0, end=0.0, steps=4))
    traces, plain_step = [], model.train_step

    def counted(batch):
        traces.append(1)
        return plain_step(batch)

    model.train_step = counted
    ratios = [
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0, shuffle=False).history["teacher_forcing"][0]
        for _ in range(5)
    ]
    assert ratios == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    assert len(traces) <= 2  # Keras itself may call the step once more to build


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_saved_model_gives_the_same_logits_in_a_fresh_process(cell, tmp_path):
    model, batch = make_model(cell), make_batch([5, 2, 1], [6, 3, 4])
    model.compile(keras.optimizers.Adam(), TeacherForcing(schedule="linear", start=0.9, end=0.1))
    model.fit(tf.data.Dataset.from_tensors(batch), verbose=0, shuffle=False)
    check_saved({"model": model}, batch, tmp_path)


def test_configuration_round_trip():
    model = make_model("gru")
    twin = Seq2Seq.from_config(model.get_config())
    assert [w.shape for w in twin.weights] == [w.shape for w in model.weights]
    for layer in (model.encoder, model.decoder, model.encoder.stack, model.encoder.stack.layers[0]):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_every_weight_gets_a_gradient():
    model, batch = make_model("lstm"), make_batch([5, 2, 1], [6, 3, 4])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(batch) ** 2)
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None and float(tf.reduce_sum(tf.abs(gradient))) > 0, weight.path


def test_with_end_and_pad():
    ids, lengths = pad(with_end(tf.ragged.constant([[5, 6], [], [7]], dtype=tf.int64), 3), 0)
    np.testing.assert_array_equal(ids, [[5, 6, 3], [3, 0, 0], [7, 3, 0]])
    np.testing.assert_array_equal(lengths, [3, 1, 2])
    ids, lengths = pad(with_end(tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int64), [0]), 3), 0)
    assert ids.shape[0] == 0 and lengths.shape == [0]


def test_reversing_digits_is_learned_with_any_optimizer():
    network = RecurrentNetwork(
        embedding_size=32, hidden_size=128, num_layers=1, cell="lstm", dropout=0.0, init_scale=None
    )
    adam = keras.optimizers.Adam
    assert exactly_learned(network, True, 1500, peak=5e-3, count=20_000, optimizer=adam) >= 0.99


@pytest.mark.parametrize("kind", [keras.optimizers.Adam, FusedAdam])
def test_repeated_tokens_add_up_before_clipping(kind):
    model, batch = make_model("lstm"), make_batch([6, 6], [6, 6])  # ids repeat: 12 tokens of 7 kinds
    model.compile(kind(0.1), clip_norm=0.01)
    plain = make_model("lstm")
    plain.set_weights(model.get_weights())
    with tf.GradientTape() as tape:
        memory = plain.encoder(batch["source_ids"], batch["source_lengths"])
        nll, tokens = plain.cross_entropy(batch, shift_right(batch["target_ids"], 2), memory)
        loss = nll / tokens
    gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, plain.trainable_variables)]
    optimizer = keras.optimizers.Adam(0.1, global_clipnorm=0.01)
    optimizer.apply_gradients(zip(gradients, plain.trainable_variables, strict=True))
    model.train_step(batch)
    # Adam's first step is nearly the gradient's sign; the moments show its size.
    norm = np.sqrt(sum(float(tf.reduce_sum(tf.convert_to_tensor(m) ** 2)) for m in model.optimizer._momentums)) / 0.1
    assert norm == pytest.approx(0.01, rel=1e-3)
    for one, other in zip(model.optimizer._momentums, optimizer._momentums, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


@pytest.mark.parametrize("eagerly", [True, False])
@pytest.mark.parametrize("coin", ["batch", "token"])
def test_micro_batches_make_the_same_update(coin, eagerly):
    batch = make_batch([5, 2, 1, 6, 3], [6, 3, 4, 1, 7])
    results = []
    for parts in (1, 2, 3, 7):  # seven parts of five rows: some are empty
        model = make_model("gru", dtype="float64")
        model.compile(
            keras.optimizers.SGD(0.1), TeacherForcing(start=0.5, coin=coin), 3, 0.5, parts, run_eagerly=eagerly
        )
        step = model.train_step if eagerly else tf.function(model.train_step)
        logs = [{name: float(value) for name, value in step(batch).items()} for _ in range(2)]
        assert logs[0]["gradient_norm"] > 0.5 and logs[0]["tokens"] == 21
        assert logs[0]["padding"] == pytest.approx(1 - (17 + 21) / (5 * 6 + 5 * 7))
        results.append((logs, model.get_weights()))
    for logs, weights in results[1:]:
        for one, other in zip(logs, results[0][0], strict=True):
            assert one == pytest.approx(other, rel=1e-12)
        for one, other in zip(weights, results[0][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_dropout_is_a_function_of_seed_and_iteration():
    batch, weights = make_batch([5, 2, 1], [6, 3, 4]), []
    for seed in (1, 1, 2):
        model = make_model("lstm", dropout=0.5)
        model.compile(FusedAdam(0.01), seed=seed)
        step = tf.function(model.train_step)
        losses = [float(step(batch)["loss"]) for _ in range(2)]
        assert losses[0] != losses[1]
        weights.append(model.get_weights())
    assert not any(variable.path.endswith("seed_generator_state") for variable in model.variables)
    for one, other, another in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
        assert (one != another).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm must be a positive norm or None, got 0.0"),
        ({"micro_batches": 0}, "micro_batches must be a positive number of parts, got 0"),
    ],
)
def test_mistakes_in_compile_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_model("lstm").compile(FusedAdam(), **options)


def test_without_a_gpu_every_layer_says_why_it_does_not_use_cudnn():
    asked = Seq2Seq(**make_model("lstm").arguments, cudnn=True).kernels()
    assert list(asked) == ["encoder/lstm_0", "encoder/lstm_1", "decoder/lstm_0", "decoder/lstm_1"]
    assert set(asked.values()) == {"no GPU is visible to TensorFlow"}
    assert all("not asked for" in reason for reason in make_model("lstm").kernels().values())


def test_cudnn_is_forgotten_when_a_model_is_saved():
    model = Seq2Seq(**make_model("lstm").arguments, cudnn=True)
    twin = Seq2Seq.from_config(model.get_config())
    assert all("not asked for" in reason for reason in twin.kernels().values())
