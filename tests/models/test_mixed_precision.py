"""bfloat16 matrix products: close to float32, with weights, states and loss in float32, and able to learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.seq2seq import Seq2Seq
from models.teacher_forcing import TeacherForcing
from tests.models.test_teacher_forcing import make_batch


def make_pair(cell):
    """The same model in float32 and with bfloat16 products."""
    keras.utils.set_random_seed(1)
    plain, mixed = (
        Seq2Seq(
            source_vocabulary_size=11,
            target_vocabulary_size=13,
            embedding_size=16,
            hidden_size=32,
            num_layers=2,
            cell=cell,
            dropout=0.0,
            init_scale=0.5,
            start_id=2,
            dtype=dtype,
        )
        for dtype in ("float32", "mixed_bfloat16")
    )
    mixed.set_weights(plain.get_weights())
    return plain, mixed


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_loss_and_gradients_are_close_and_in_float32(cell):
    batch, results = make_batch([5, 1, 3, 4], [7, 2, 4, 6]), []
    for model in make_pair(cell):
        assert {weight.dtype for weight in model.weights} == {"float32"}
        with tf.GradientTape() as tape:
            memory = model.encoder(batch["source_ids"], batch["source_lengths"])
            nll, tokens = model.cross_entropy(batch, batch["target_ids"], memory)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(nll, model.trainable_variables)]
        assert memory.outputs.dtype == nll.dtype == tf.float32
        assert {gradient.dtype for gradient in gradients} == {tf.float32}
        results.append((float(nll / tokens), [gradient.numpy() for gradient in gradients]))
    (loss, expected), (mixed_loss, mixed) = results
    assert loss != mixed_loss and mixed_loss == pytest.approx(loss, rel=0.02)
    for one, other in zip(expected, mixed, strict=True):
        assert np.linalg.norm(one - other) <= 0.05 * np.linalg.norm(one)


def test_a_bias_gradient_over_many_tokens_loses_nothing():
    plain, mixed = make_pair("lstm")
    lengths = np.full(400, 10)
    batch = make_batch(lengths, lengths)
    gradients = []
    for model in (plain, mixed):
        with tf.GradientTape() as tape:
            memory = model.encoder(batch["source_ids"], batch["source_lengths"])
            nll, _ = model.cross_entropy(batch, batch["target_ids"], memory)
        biases = [weight.value for weight in model.trainable_variables if weight.name == "bias"]
        gradients.append([gradient.numpy() for gradient in tape.gradient(nll, biases)])
    assert len(gradients[0]) == 5  # two layers on either side, and the projection
    for one, other in zip(*gradients, strict=True):
        assert np.linalg.norm(one - other) <= 0.03 * np.linalg.norm(one)


def test_float16_is_refused():
    with pytest.raises(ValueError, match="dtype must be float32, float64 or mixed_bfloat16, got a float16 policy"):
        Seq2Seq(**make_pair("lstm")[0].arguments, dtype="mixed_float16")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_repeated_is_close_to_unroll(cell):
    _, model = make_pair(cell)
    batch = make_batch([5, 2, 1], [6, 6, 6])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    logits = model.decoder.unroll(batch["target_ids"], batch["target_lengths"], memory)
    state = model.decoder.initial_state(memory)
    for t in range(6):
        step_logits, state = model.decoder.step(batch["target_ids"][:, t], state, memory)
        np.testing.assert_allclose(tf.cast(step_logits, tf.float32), tf.cast(logits[:, t], tf.float32), atol=0.05)


def test_it_learns():
    _, model = make_pair("lstm")
    model.compile(keras.optimizers.Adam(0.01, global_clipnorm=1.0), TeacherForcing(start=0.5), coin_seed=1)
    data = tf.data.Dataset.from_tensors(make_batch([5, 1, 3, 4], [7, 2, 4, 6]))
    assert model.evaluate(data, verbose=0, return_dict=True)["perplexity"] > 5
    model.fit(data.repeat(150), epochs=1, verbose=0, shuffle=False)
    assert model.evaluate(data, verbose=0, return_dict=True)["perplexity"] < 1.1
