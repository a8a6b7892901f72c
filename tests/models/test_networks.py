"""What holds for every network: both faces agree, padding and beams change nothing, it can be saved, and it learns."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.ensemble import EnsembleNetwork
from models.networks import RecurrentNetwork, TransformerNetwork
from models.seq2seq import Seq2Seq
from models.states import take_rows
from models.teacher_forcing import TeacherForcing, draw_coins
from tests.models.fresh_process import check_saved
from tests.models.test_teacher_forcing import check_against_the_classic_loop, make_batch, make_model


def recurrent(**options) -> RecurrentNetwork:
    sizes = {"embedding_size": 6, "hidden_size": 8, "num_layers": 2, "cell": "gru", "init_scale": 0.8}
    return RecurrentNetwork(**{**sizes, **options})


def transformer(**options) -> TransformerNetwork:
    # Of about Glorot's size: with larger ones the gradient is so steep that bfloat16's rounding moves it by a tenth.
    sizes = {"hidden_size": 8, "num_layers": 2, "heads": 2, "feed_forward_size": 12, "init_scale": 0.3}
    return TransformerNetwork(**{**sizes, **options})


BOTH_WAYS = {"bidirectional": True, "bridge": "dense", "encoder_hidden_size": 5}
NETWORKS = {
    "lstm": recurrent(cell="lstm"),
    "context": recurrent(context="every_step"),
    "context_max": recurrent(cell="lstm", context="every_step", context_from="max", output_size=6, tied="target"),
    "dot": recurrent(cell="lstm", attention="dot"),
    "general": recurrent(attention="general", output_size=6, tied="all", layer_norm=True, **BOTH_WAYS),
    "additive": recurrent(attention="additive", **BOTH_WAYS),
    "additive_lstm": recurrent(cell="lstm", attention="additive", num_layers=1, output_size=6, layer_norm=True),
    "general_feeding": recurrent(
        cell="lstm", attention="general", input_feeding=True, output_size=5, layer_norm=True, reverse_source=True
    ),
    "transformer": transformer(encoder_layers=1),
    "transformer_tied": transformer(heads=4, num_layers=1, activation="gelu", tied="target"),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def make(name: str, **options) -> Seq2Seq:
    return make_model(network=NETWORKS[name], source_size=13, **options)


def memory_of(model, batch):
    return model.encoder(batch["source_ids"], batch["source_lengths"])


@every_network
def test_step_repeated_equals_unroll_eagerly_and_in_a_graph(name):
    model, batch = make(name, dtype="float64"), make_batch([5, 2, 1], [6, 3, 4])

    def unroll():
        return model.decoder.unroll(batch["target_ids"], batch["target_lengths"], memory_of(model, batch))

    logits, attention = unroll()
    graph = tf.function(unroll, autograph=False)()
    for one, other in zip(tf.nest.flatten(graph), tf.nest.flatten((logits, attention)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
    memory = memory_of(model, batch)
    state = model.decoder.initial_state(memory)
    assert (attention != ()) == model.decoder.has_attention
    for t in range(6):
        step = model.decoder.step(batch["target_ids"][:, t], state, memory)
        state, inside = step.state, batch["target_lengths"].numpy() > t
        np.testing.assert_allclose(step.logits.numpy()[inside], logits.numpy()[inside, t], rtol=0, atol=1e-13)
        if model.decoder.has_attention:
            weights = step.attention.numpy()
            np.testing.assert_allclose(weights[inside], attention.numpy()[inside, t], rtol=0, atol=1e-13)
            np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
            real = np.arange(5) < batch["source_lengths"].numpy()[:, np.newaxis]
            assert (weights[~real] == 0).all() and (weights[real] > 0).all()


@every_network
def test_roll_out_and_unroll_equal_the_classic_loop(name):
    check_against_the_classic_loop(make(name, dtype="float64"), "token", 0.5, 1e-13)


@every_network
def test_padding_and_the_other_rows_change_nothing(name):
    model, batch = make(name, dtype="float64"), make_batch([5, 2, 3], [3, 6, 1])
    gold = draw_coins(tf.constant(0.5), tf.constant([3, 6]), "token", tf.constant([0, 1]))

    def run(batch, gold):
        with tf.GradientTape() as tape:
            memory = memory_of(model, batch)
            nll, _ = model.cross_entropy(batch, model.decoder_inputs(batch, memory, gold), memory)
        return [nll, *(tf.convert_to_tensor(g) for g in tape.gradient(nll, model.trainable_variables))]

    def padded(values):
        return tf.pad(values, [[0, 0], [0, 20]])

    together = run(batch, gold)
    versions = [run({key: padded(v) if key.endswith("_ids") else v for key, v in batch.items()}, padded(gold))]
    alone = [run({key: v[row : row + 1] for key, v in batch.items()}, gold[row : row + 1]) for row in range(3)]
    versions.append([tf.add_n(parts) for parts in zip(*alone, strict=True)])
    for version in versions:
        for one, other in zip(version, together, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@every_network
def test_every_weight_gets_a_gradient(name):
    model, batch = make(name), make_batch([5, 2, 1], [6, 3, 4])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(batch) ** 2)
    for weight, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None and float(tf.reduce_sum(tf.abs(gradient))) > 0, weight.path


@every_network
def test_bfloat16_products_are_close_to_float32(name):
    batch, results = make_batch([5, 1, 3, 4], [7, 2, 4, 6]), []
    plain, mixed = make(name), make(name, dtype="mixed_bfloat16")
    mixed.set_weights(plain.get_weights())
    for model in (plain, mixed):
        with tf.GradientTape() as tape:
            memory = memory_of(model, batch)
            nll, _ = model.cross_entropy(batch, batch["target_ids"], memory)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(nll, model.trainable_variables)]
        assert {value.dtype for value in (nll, memory.outputs, *gradients)} == {tf.float32}
        results.append((float(nll), np.concatenate([gradient.numpy().ravel() for gradient in gradients])))
    (loss, gradient), (mixed_loss, mixed_gradient) = results
    assert loss != mixed_loss and mixed_loss == pytest.approx(loss, rel=0.02)
    assert np.linalg.norm(mixed_gradient - gradient) <= 0.05 * np.linalg.norm(gradient)
    memory = memory_of(mixed, batch)
    state = mixed.decoder.initial_state(memory)
    logits = mixed.decoder.unroll(batch["target_ids"], tf.fill([4], 7), memory).logits
    for t in range(7):
        step_logits, state, _ = mixed.decoder.step(batch["target_ids"][:, t], state, memory)
        np.testing.assert_allclose(step_logits, logits[:, t], atol=0.1)


@every_network
def test_rows_of_a_beam_share_their_sentence(name):
    model = make(name, dtype="float64")
    batch, beam = make_batch([5, 2, 3], [4, 4, 4]), 3
    tiled = {key: tf.repeat(values, beam, axis=0) for key, values in batch.items()}
    memory, steps = memory_of(model, batch), model.decoder.stepper()
    shared = model.decoder.prepare(memory)
    apart = model.decoder.prepare(memory_of(model, tiled))
    states = [
        tf.nest.map_structure(lambda values: tf.repeat(values, beam, axis=0), model.decoder.initial_state(memory)),
        model.decoder.initial_state(memory_of(model, tiled)),
    ]
    for t in range(4):
        token_ids = tf.constant(np.random.default_rng(t).integers(4, 13, 9), tf.int32)
        one = steps.step(token_ids, states[0], shared)
        other = steps.step(token_ids, states[1], apart)
        states = [one.state, other.state]
        for value, expected in zip(tf.nest.flatten(one), tf.nest.flatten(other), strict=True):
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-13)


@every_network
def test_a_searchs_steps_are_the_decoders(name):
    """Whichever rows go on, some of them twice and others not, and however many."""
    model, generator = make(name, dtype="float64"), np.random.default_rng(2)
    batch = make_batch([5, 2, 3], [4, 4, 4])
    memory, steps, search = memory_of(model, batch), model.decoder.stepper(), model.decoder.search_stepper()
    prepared, searched = model.decoder.prepare(memory), search.prepare(memory)
    state = model.decoder.initial_state(memory)
    begun = search.begin(state, None)
    for beam in (4, 2, 3):
        token_ids = tf.constant(generator.integers(4, 13, tf.nest.flatten(state)[0].shape[0]), tf.int32)
        one, other = steps.advance(token_ids, state, prepared), search.advance(token_ids, begun, searched)
        for value, expected in zip(tf.nest.flatten(other), tf.nest.flatten(one), strict=True):
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)
        each = len(token_ids) // 3
        rows = tf.constant(np.repeat(np.arange(3) * each, beam) + generator.integers(0, each, 3 * beam), tf.int32)
        state, begun = take_rows(one.state, rows), search.begin(other.state, rows)


@pytest.mark.parametrize("name", ["dot", "general"])
def test_a_search_computes_once_what_hypotheses_share(name, monkeypatch):
    """Of two layers: the first one's inputs for each token, the states for each parent."""
    model, counts = make(name), {"project": [], "share": []}
    stack = model.decoder.stack
    parts = stack.step_parts()

    def counted(part):
        def count(kind, function):
            return lambda values: (counts[kind].append(values.shape[0]), function(values))[1]

        return part._replace(project=count("project", part.project), share=count("share", part.share))

    monkeypatch.setattr(type(stack), "step_parts", lambda _: [counted(part) for part in parts])
    memory, search = memory_of(model, make_batch([5, 2], [4, 4])), model.decoder.search_stepper()
    begun = search.begin(model.decoder.initial_state(memory), None)
    state = search.advance(tf.constant([4, 4]), begun, search.prepare(memory)).state
    begun = search.begin(state, tf.constant([0, 0, 0, 1, 1, 1]))
    state = search.advance(tf.constant([5, 6, 5, 6, 7, 5]), begun, search.prepare(memory)).state
    search.begin(state, tf.constant([0, 1, 1, 3, 3, 3]))
    assert counts == {"project": [1, 2, 3, 6], "share": [2, 2, 2, 2, 3, 3]}


@pytest.mark.parametrize(
    "network",
    [NETWORKS["lstm"], NETWORKS["general"], EnsembleNetwork(members=(NETWORKS["lstm"], NETWORKS["transformer"]))],
    ids=["own kernel", "tied", "ensemble"],
)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (0,)])
def test_a_projection_to_columns_that_are_no_token(network, shape):
    decoder = make_model(network=network, source_size=13).decoder
    features = tf.constant(np.random.default_rng(0).normal(size=(*shape, decoder.feature_size)).astype("float32"))
    expected, found = decoder.projector()(features), decoder.projector(multiple=8)(features)
    assert expected.shape == (*shape, 13) and found.shape == (*shape, 16)
    np.testing.assert_allclose(found[..., :13], expected, atol=1e-6)
    assert np.isneginf(found[..., 13:]).all()


@every_network
def test_no_row_at_all(name):
    model = make(name)
    batch = {key: values[:0] for key, values in make_batch([5, 2], [3, 4]).items()}

    def run():
        memory, steps = memory_of(model, batch), model.decoder.stepper()
        step = steps.step(tf.zeros([0], tf.int32), model.decoder.initial_state(memory), model.decoder.prepare(memory))
        with tf.GradientTape() as tape:
            nll, _ = model.cross_entropy(batch, batch["target_ids"], memory_of(model, batch))
        gradients = tape.gradient(nll, model.trainable_variables)
        return step.logits, nll, [tf.convert_to_tensor(gradient) for gradient in gradients]

    for graph in (False, True):
        logits, nll, gradients = tf.function(run, autograph=False)() if graph else run()
        assert logits.shape == [0, 13] and float(nll) == 0.0
        assert not any(np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("name", ["general", "additive", "transformer"])
def test_micro_batches_make_the_same_update(name):
    batch, results = make_batch([5, 2, 1], [6, 3, 4]), []
    for parts in (1, 4):  # four parts of three rows: one is empty
        model = make(name, dtype="float64")
        model.compile(keras.optimizers.SGD(0.1), TeacherForcing(start=0.5), 3, 0.5, parts)
        norm = float(tf.function(model.train_step, autograph=False)(batch)["gradient_norm"])
        results.append([norm, *model.get_weights()])
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@every_network
def test_dropout_follows_from_its_seed(name):
    model = make_model(network=dataclasses.replace(NETWORKS[name], dropout=0.5), source_size=13)
    batch = make_batch([5, 2, 1], [6, 3, 4])
    memory = memory_of(model, batch)
    losses = [
        float(model.cross_entropy(batch, batch["target_ids"], memory, None if seed is None else tf.constant(seed))[0])
        for seed in ([1, 2], [1, 2], [1, 3], None)
    ]
    assert losses[0] == losses[1] and len(set(losses)) == 3


@every_network
def test_configuration_round_trip(name):
    model = make(name)
    twin = Seq2Seq.from_config(json.loads(json.dumps(model.get_config(), default=keras.saving.serialize_keras_object)))
    assert [weight.path for weight in twin.weights] == [weight.path for weight in model.weights]
    assert [weight.shape for weight in twin.weights] == [weight.shape for weight in model.weights]
    for part in ("encoder", "decoder"):
        layer = getattr(model, part)
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_saved_models_give_the_same_logits_in_a_fresh_process(tmp_path):
    batch = make_batch([5, 2, 1], [6, 3, 4])
    ensemble = EnsembleNetwork(members=(NETWORKS["general"], NETWORKS["transformer"]))
    models = {name: make_model(network=net, source_size=13) for name, net in {**NETWORKS, "ensemble": ensemble}.items()}
    check_saved(models, batch, tmp_path)
