"""bfloat16 and float16 matrix products: close to float32, with weights, states and loss in float32; loss scaling."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.networks import RecurrentNetwork
from models.optimizers import FusedAdam
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
            start_id=2,
            dtype=dtype,
            network=RecurrentNetwork(
                embedding_size=16,
                hidden_size=32,
                num_layers=2,
                cell=cell,
                dropout=0.0,
                init_scale=0.5,
            ),
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
        biases = [weight.value for weight in model.trainable_variables if weight.name.endswith("bias")]
        gradients.append([gradient.numpy() for gradient in tape.gradient(nll, biases)])
    assert len(gradients[0]) == 5  # two layers on either side, and the projection
    for one, other in zip(*gradients, strict=True):
        assert np.linalg.norm(one - other) <= 0.03 * np.linalg.norm(one)


def float16_model(scale):
    plain, _ = make_pair("lstm")
    model = Seq2Seq(**plain.arguments, dtype="mixed_float16")
    model.set_weights(plain.get_weights())
    model.compile(FusedAdam(0.01), clip_norm=0.3)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.optimizer.dynamic_scale.assign(scale)
    return model


def test_the_loss_scale_changes_neither_norm_nor_update():
    batch, results = make_batch([5, 1, 3, 4], [7, 2, 4, 6]), []
    for scale in (2.0, 1024.0):
        model = float16_model(scale)
        norm = float(tf.function(model.train_step)(batch)["gradient_norm"])
        results.append([np.array(norm), *(variable.numpy() for variable in model.optimizer.inner_optimizer._momentums)])
    plain, _ = make_pair("lstm")
    plain.compile(FusedAdam(0.01), clip_norm=0.3)
    expected = float(plain.train_step(batch)["gradient_norm"])
    assert expected > 0.3  # so that it clips
    assert [float(result[0]) for result in results] == pytest.approx([expected, expected], rel=0.01)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


def test_an_overflow_in_float16_skips_the_update_and_halves_the_scale():
    batch, model = make_batch([5, 1, 3, 4], [7, 2, 4, 6]), float16_model(2.0**30)
    before = model.get_weights()
    step = tf.function(model.train_step)
    logs = step(batch)
    assert not np.isfinite(float(logs["gradient_norm"])) and np.isfinite(float(logs["loss"]))
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(model.optimizer.dynamic_scale) == 2.0**29 and int(model.optimizer.iterations) == 0
    model.optimizer.dynamic_scale.assign(16.0)
    step(batch)
    assert int(model.optimizer.iterations) == 1
    assert any((one != other).any() for one, other in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_repeated_is_close_to_unroll(cell):
    _, model = make_pair(cell)
    batch = make_batch([5, 2, 1], [6, 6, 6])
    memory = model.encoder(batch["source_ids"], batch["source_lengths"])
    logits = model.decoder.unroll(batch["target_ids"], batch["target_lengths"], memory).logits
    state = model.decoder.initial_state(memory)
    for t in range(6):
        step_logits, state, _ = model.decoder.step(batch["target_ids"][:, t], state, memory)
        np.testing.assert_allclose(tf.cast(step_logits, tf.float32), tf.cast(logits[:, t], tf.float32), atol=0.05)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_it_learns(dtype):
    model = Seq2Seq(**make_pair("lstm")[0].arguments, dtype=dtype)
    model.compile(FusedAdam(0.01), TeacherForcing(start=0.5), seed=1, clip_norm=1.0)
    data = tf.data.Dataset.from_tensors(make_batch([5, 1, 3, 4], [7, 2, 4, 6]))
    assert model.evaluate(data, verbose=0, return_dict=True)["perplexity"] > 5
    model.fit(data.repeat(150), epochs=1, verbose=0, shuffle=False)
    assert model.evaluate(data, verbose=0, return_dict=True)["perplexity"] < 1.1
