"""Encoders to choose from: both directions, the source reversed, the bridge to a decoder of another size."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.bidirectional import Bidirectional
from models.bridge import DenseBridge
from models.networks import RecurrentNetwork
from models.packing import pack, pack_lengths, unpack
from models.recurrence import CELLS
from models.seq2seq import Seq2Seq
from models.stack import RecurrentStack
from models.teacher_forcing import TeacherForcing, draw_coins, shift_right
from tests import reference
from tests.models.decoding import search
from tests.models.fresh_process import check_saved
from tests.models.learned import exactly_learned
from tests.models.test_teacher_forcing import classic_loop, make_batch

NETWORKS = {
    "bidirectional_lstm": {
        "cell": "lstm",
        "bidirectional": True,
        "bridge": "dense",
        "encoder_hidden_size": 5,
        "encoder_layers": 2,
        "num_layers": 1,
        "layer_norm": True,
    },
    "bidirectional_gru": {"cell": "gru", "bidirectional": True, "bridge": "dense", "reverse_source": True},
    "reversed_lstm": {"cell": "lstm", "reverse_source": True, "layer_norm": True},
    "tied_gru": {"cell": "gru", "tied": "all", "bridge": "dense", "encoder_layers": 1, "layer_norm": True},
}


def network(name: str, **options) -> RecurrentNetwork:
    sizes = {"embedding_size": 8, "hidden_size": 8, "num_layers": 2, "init_scale": 0.8}
    return RecurrentNetwork(**{**sizes, **NETWORKS[name], **options})


def make(name: str, dtype: str = "float32", **options) -> Seq2Seq:
    keras.utils.set_random_seed(5)
    return Seq2Seq(
        source_vocabulary_size=13,
        target_vocabulary_size=13,
        start_id=2,
        dtype=dtype,
        network=network(name, **options),
    )


def encode(model: Seq2Seq, batch):
    return model.encoder(batch["source_ids"], batch["source_lengths"])


def gradients_of(model: Seq2Seq, batch, inputs):
    """Loss in nats under decoder inputs, and its gradients."""
    with tf.GradientTape() as tape:
        nll, _ = model.cross_entropy(batch, inputs, encode(model, batch))
    return nll, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(nll, model.trainable_variables)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-12), ("float32", 1e-5)])
def test_both_directions_equal_those_of_keras(cell, dtype, atol):
    layer = Bidirectional(cell, 5, dtype=dtype)
    layer.build((None, None, 3))
    inner = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    peer = keras.layers.Bidirectional(inner(5, return_sequences=True, return_state=True, dtype=dtype), dtype=dtype)
    peer.build((None, None, 3))
    generator = np.random.default_rng(0)
    layer.set_weights([generator.normal(size=weight.shape) for weight in layer.get_weights()])
    peer.set_weights(layer.get_weights())
    inputs, lengths = tf.constant(generator.normal(size=(4, 6, 3)), dtype), tf.constant([4, 6, 1, 5])
    mask = tf.sequence_mask(lengths, 6)

    def ours():
        packing = pack_lengths(lengths, 6)
        outputs, final = layer.unroll(pack(inputs, packing), packing, layer.zero_state(4))
        return unpack(outputs, packing), final

    def theirs():
        outputs, *final = peer(inputs, mask=mask)
        fields = len(final) // 2
        return outputs, [tf.concat([final[n], final[fields + n]], axis=-1) for n in range(fields)]

    results = []
    for run, weights in ((tf.function(ours), layer.trainable_variables), (theirs, peer.trainable_variables)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, final = run()
            real = tf.where(mask[:, :, tf.newaxis], outputs, tf.zeros_like(outputs))
            loss = tf.reduce_sum(tf.sin(real)) + tf.add_n([tf.reduce_sum(field**2) for field in final])
        results.append([real, *final, *tape.gradient(loss, [inputs, *weights])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_normalised_stack_equals_the_numpy_loop(cell):
    stack = RecurrentStack(3, 5, 2, cell, layer_norm=True, bidirectional=True, dtype="float64")
    stack.build()
    generator = np.random.default_rng(1)
    stack.set_weights([generator.normal(size=weight.shape) for weight in stack.get_weights()])
    lengths = [4, 1, 6]
    inputs = generator.normal(size=(3, 6, 3))
    packing = pack_lengths(tf.constant(lengths), 6)
    outputs, final = stack.unroll(pack(tf.constant(inputs), packing), packing, stack.zero_states(3))

    def backward(values):
        return np.stack([np.concatenate([v[:n][::-1], v[n:]]) for v, n in zip(values, lengths, strict=True)])

    values, zeros = inputs, [np.zeros((3, 5)) for _ in CELLS[cell].state_type._fields]
    for layer, norm, state in zip(stack.layers, stack.norms, final, strict=True):
        gain, bias = norm.get_weights()
        centred = values - values.mean(axis=-1, keepdims=True)
        values = gain * centred / np.sqrt(values.var(axis=-1, keepdims=True) + 1e-5) + bias
        ahead, final_ahead = getattr(reference, cell)(values, lengths, *layer.forward.get_weights(), *zeros)
        back, final_back = getattr(reference, cell)(backward(values), lengths, *layer.backward.get_weights(), *zeros)
        for field, *expected in zip(state, final_ahead, final_back, strict=True):
            np.testing.assert_allclose(field, np.concatenate(expected, axis=-1), atol=1e-12)
        values = np.concatenate([ahead, backward(back)], axis=-1)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(unpack(outputs, packing)[row, :length], values[row, :length], atol=1e-12)


def test_statistics_of_normalisation_stay_in_float32():
    stack = RecurrentStack(64, 5, 1, "lstm", layer_norm=True, dtype="mixed_bfloat16")
    stack.build()
    values = 100.0 + np.random.default_rng(0).normal(size=(4, 64)).astype("float32")  # in bfloat16 all about the same
    (normalise,) = stack._normalisers()
    expected = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    np.testing.assert_allclose(normalise(tf.constant(values)), expected, atol=1e-3)


def test_a_reversed_source_is_what_a_plain_encoder_makes_of_reversed_words():
    reversing, batch = make("reversed_lstm", "float64"), make_batch([5, 1, 3, 2], [2, 2, 2, 2])
    plain = make("reversed_lstm", "float64", reverse_source=False)
    plain.set_weights(reversing.get_weights())
    ids = batch["source_ids"].numpy()
    order = [[*reversed(range(n - 1)), *range(n - 1, 5)] for n in batch["source_lengths"].numpy()]
    expected = plain.encoder(tf.constant(np.take_along_axis(ids, np.array(order), axis=1)), batch["source_lengths"])
    found = encode(reversing, batch)
    for state, wanted in zip(found.final_states, expected.final_states, strict=True):
        for one, other in zip(state, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-14)
    outputs = np.take_along_axis(expected.outputs.numpy(), np.array(order)[:, :, np.newaxis], axis=1)
    np.testing.assert_allclose(found.outputs, outputs, atol=1e-14)
    assert np.abs(found.outputs - encode(plain, batch).outputs).max() > 0.01


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_bridge_equals_its_formula(cell):
    model = make("bidirectional_lstm", "float64", cell=cell, num_layers=3)
    assert isinstance(model.decoder.bridge, DenseBridge)
    memory = encode(model, make_batch([5, 1, 3], [2, 2, 2]))
    kernel, bias = model.decoder.bridge.get_weights()
    joined = np.concatenate([field for state in memory.final_states for field in state], axis=-1)
    assert joined.shape[1] == model.encoder.stack.state_size == 2 * 2 * 5 * len(memory.final_states[0])
    values = np.tanh(joined @ kernel + bias)
    start = model.decoder.initial_state(memory).layers
    assert len(start) == 3
    found = [field for state in start for field in state]
    for field, expected in zip(found, np.split(values, len(found), axis=-1), strict=True):
        np.testing.assert_allclose(field, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bidirectional": True}, "got 'copy' with 2 of 8, bidirectional"),
        ({"encoder_hidden_size": 6}, "bridge must be 'dense' unless .* 2 layers of 8 units, got 'copy' with 2 of 6"),
        ({"encoder_layers": 3}, "got 'copy' with 3 of 8"),
        ({"bridge": "stone"}, "bridge must be 'copy' or 'dense', got 'stone'"),
        ({"tied": "target", "embedding_size": 6}, "of size 8, to be tied to the projection, got .* size 6"),
        ({"word_dropout": 1.0}, "word_dropout must be a share of at least 0 and below 1, got 1.0"),
        ({"output_dropout": -0.1}, "output_dropout must be a share of at least 0 and below 1, got -0.1"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make("reversed_lstm", **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_roll_out_and_unroll_equal_the_classic_loop(name):
    model, batch = make(name, "float64"), make_batch([5, 1, 3], [7, 2, 4])
    gold = draw_coins(tf.constant(0.4), tf.shape(batch["target_ids"]), "token", tf.constant([1, 2]))
    real = tf.sequence_mask(batch["target_lengths"])
    with tf.GradientTape() as tape:
        expected_inputs, logits = classic_loop(model, batch, gold)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["target_ids"], logits)
        expected = tf.reduce_sum(tf.where(real, nll, tf.zeros_like(nll)))
    expected_gradients = tape.gradient(expected, model.trainable_variables)

    @tf.function
    def ours():
        inputs = model.decoder_inputs(batch, encode(model, batch), gold)
        return inputs, *gradients_of(model, batch, inputs)

    inputs, value, gradients = ours()
    np.testing.assert_array_equal(inputs, np.where(real, expected_inputs, shift_right(batch["target_ids"], 2)))
    assert float(value) == pytest.approx(float(expected), rel=1e-13)
    for weight, gradient, wanted in zip(model.trainable_variables, gradients, expected_gradients, strict=True):
        wanted = tf.convert_to_tensor(wanted)
        assert float(tf.norm(wanted)) > 1e-3, weight.path  # every weight has a part in it
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-12, err_msg=weight.path)


@pytest.mark.parametrize("name", NETWORKS)
def test_neither_padding_nor_the_other_rows_matter(name):
    model, batch = make(name, "float64"), make_batch([5, 2, 1], [3, 6, 4])
    padded = {key: tf.pad(value, [[0, 0], [0, 7]]) if key.endswith("_ids") else value for key, value in batch.items()}
    logits, padded_logits = model(batch), model(padded)
    for row, length in enumerate(batch["target_lengths"].numpy()):
        alone = model({key: value[row : row + 1] for key, value in batch.items()})
        for other in (alone[0], padded_logits[row]):
            np.testing.assert_allclose(logits[row, :length], other[:length], rtol=0, atol=1e-13)
    assert model({key: value[:0] for key, value in batch.items()}).shape == [0, 6, 13]


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_products_are_close_to_float32(name):
    batch, results = make_batch([5, 1, 3, 4], [7, 2, 4, 6]), []
    plain, mixed = (make(name, dtype, init_scale=0.4) for dtype in ("float32", "mixed_bfloat16"))
    for model in (plain, mixed):
        memory = encode(model, batch)
        state = model.decoder.initial_state(memory)
        assert {field.dtype for field in tf.nest.flatten([memory.outputs, memory.final_states, state])} == {tf.float32}
        results.append(gradients_of(model, batch, batch["target_ids"]))
    (nll, expected), (mixed_nll, gradients) = results
    assert nll.dtype == mixed_nll.dtype == tf.float32
    assert float(nll) != float(mixed_nll) and float(mixed_nll) == pytest.approx(float(nll), rel=0.02)
    for weight, one, other in zip(plain.trainable_variables, expected, gradients, strict=True):
        assert np.linalg.norm(one - other) <= 0.08 * np.linalg.norm(one), weight.path


@pytest.mark.parametrize("name", NETWORKS)
def test_configurations_round_trip(name):
    model = make(name, word_dropout=0.1, output_dropout=0.2, variational_dropout=True)
    twin = Seq2Seq.from_config(model.get_config())
    assert [(w.path, w.shape) for w in twin.weights] == [(w.path, w.shape) for w in model.weights]
    layers = [model.encoder, model.decoder, model.encoder.stack, *model.encoder.stack.layers, model.decoder.bridge]
    for layer in filter(None, layers):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_saved_models_give_the_same_logits_in_a_fresh_process(tmp_path):
    check_saved({name: make(name) for name in NETWORKS}, make_batch([5, 2, 1], [6, 3, 4]), tmp_path)


@pytest.mark.parametrize("name", NETWORKS)
def test_tied_embeddings_are_one_matrix_also_when_loaded(name, tmp_path):
    keras.saving.save_model(make(name), tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    source, target = model.encoder.embedding, model.decoder.embedding
    assert (source is target and model.decoder._kernel() is source.embeddings) == ("tied" in name)


def test_micro_batches_make_the_same_update_eagerly_and_in_a_graph():
    batch, results = make_batch([5, 2, 1, 6, 3], [6, 3, 4, 1, 7]), []
    for parts, eagerly in ((1, True), (3, False)):
        model = make("bidirectional_gru", "float64")
        forcing = TeacherForcing(start=0.5, coin="token")
        model.compile(keras.optimizers.SGD(0.1), forcing, 3, 0.5, parts, label_smoothing=0.1)
        step = model.train_step if eagerly else tf.function(model.train_step)
        logs = {key: float(value) for key, value in step(batch).items()}
        results.append((logs, model.get_weights()))
    (logs, weights), (other_logs, other_weights) = results
    assert logs == pytest.approx(other_logs, rel=1e-12)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["bidirectional_lstm", "reversed_lstm", "tied_gru"])
def test_a_beam_scores_as_unrolling_its_hypotheses_does(name):
    model, batch = make(name, "float64"), make_batch([5, 1, 3], [2, 2, 2])
    result = tf.function(lambda: search(model, encode(model, batch), batch["source_lengths"] + 2, 3))()
    memory = encode(model, batch)
    for rank in range(3):
        ids, lengths = result.ids[:, rank], result.lengths[:, rank]
        targets = tf.concat([ids, tf.zeros_like(ids[:, :1])], axis=1)
        targets = tf.where(tf.range(tf.shape(targets)[1]) == lengths[:, tf.newaxis], 3, targets)  # the end token
        logits = model.decoder.unroll(shift_right(targets, 2), lengths + 1, memory).logits
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        total = tf.reduce_sum(nll * tf.sequence_mask(lengths + 1, tf.shape(nll)[1], nll.dtype), axis=1)
        np.testing.assert_allclose(-total, result.log_probabilities[:, rank], rtol=1e-5)


def test_every_direction_says_which_kernel_it_uses():
    model = make("bidirectional_lstm")
    names = ["encoder/lstm_0_forward", "encoder/lstm_0_backward", "encoder/lstm_1_forward", "encoder/lstm_1_backward"]
    assert list(model.kernels()) == [*names, "decoder/lstm_0"]
    asked = Seq2Seq(**model.arguments, cudnn=True)
    assert set(asked.kernels().values()) == {"no GPU is visible to TensorFlow"}


@pytest.mark.parametrize(
    ("options", "backwards"),
    [
        ({"bidirectional": True, "bridge": "dense", "encoder_hidden_size": 64}, True),
        ({"reverse_source": True}, False),
    ],
)
def test_it_learns(options, backwards):
    network = RecurrentNetwork(cell="gru", embedding_size=32, hidden_size=128, num_layers=1, **options)
    # After 500 steps one processor has 0.99 and more, another, which rounds otherwise, 0.987; after 900 it has 0.999.
    assert exactly_learned(network, backwards, 900, longest=5, count=20_000) >= 0.99
