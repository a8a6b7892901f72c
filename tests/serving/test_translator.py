"""Strings in, strings out: agreement with a translator built by hand, and independence from the batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import TextConfig, TextProcessor
from serving.translation_options import TranslationOptions
from serving.translator import Translator
from tests.reference import log_softmax
from tests.serving.conftest import WORDS, make_translator


def greedy(translator: Translator, text: str) -> tuple[list[int], float]:
    """The model's own ids, one step at a time, without any of the search's code."""
    encoder, decoder = translator.search.encoder, translator.search.decoder
    ids = [*translator.source.encode(tf.constant([text])).to_list()[0], END_ID]
    memory = encoder(tf.constant([ids]), tf.constant([len(ids)]))
    state, token, found, total = decoder.initial_state(memory), START_ID, [], 0.0
    limit = int(translator.options.max_length_factor * (len(ids) - 1)) + translator.options.max_length_constant
    while True:
        logits, state, _ = decoder.step(tf.constant([token]), state, memory)
        log_probabilities = log_softmax(logits.numpy()[0].astype("float64"))
        allowed = log_probabilities.copy()
        allowed[[PADDING_ID, START_ID, UNKNOWN_ID]] = -np.inf
        token = END_ID if len(found) == limit else int(np.argmax(allowed))
        total += log_probabilities[token]
        if token == END_ID:
            return found, total
        found.append(token)


@pytest.mark.parametrize("text", ["ein hund", "x", "Schön! 😀 漢字", "a" * 40])
def test_greedy_translation_equals_a_plain_loop(text):
    translator = make_translator(beam_size=1, n_best=1, length_penalty=0.0)
    ids, total = greedy(translator, text)
    expected = translator.target.decode(tf.ragged.constant([ids], tf.int64))[0]
    answer = translator.n_best(tf.constant([text]))
    assert translator.translate(tf.constant([text]))["translation"][0] == expected
    assert answer["translations"][0, 0] == expected
    assert float(answer["scores"][0, 0]) == pytest.approx(total, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_a_text_is_translated_alike_in_any_batch(translator, texts):
    together = translator.n_best(tf.constant(texts))
    best = translator.translate(tf.constant(texts))["translation"]
    for row, text in enumerate(texts):
        alone = translator.n_best(tf.constant([text]))
        assert (together["translations"][row] == alone["translations"][0]).numpy().all()
        np.testing.assert_allclose(together["scores"][row], alone["scores"][0], atol=1e-4)
        assert best[row] == together["translations"][row, 0]


def test_shapes_and_empty_texts(translator):
    answer = translator.n_best(tf.constant(["", " \u00a0\t\x00\n", "hund"]))
    assert answer["translations"].shape == [3, 3]
    assert (answer["translations"][:2] == "").numpy().all() and (answer["scores"][:2] == 0).numpy().all()
    assert (np.diff(answer["scores"][2]) <= 0).all()
    none = translator.n_best(tf.zeros([0], tf.string))
    assert none["translations"].shape == [0, 3] and none["scores"].shape == [0, 3]
    assert translator.translate(tf.zeros([0], tf.string))["translation"].shape == [0]


def test_answers_are_valid_utf8_for_broken_input(translator):
    broken = [b"\xff\xfehund", b"\xed\xa0\x80", "e\u0301\u202e".encode(), b"\x00", "\U0010ffff".encode()]
    for translation in translator.translate(tf.constant(broken))["translation"].numpy():
        translation.decode()


def test_the_unknown_word_appears_only_if_allowed():
    texts = tf.constant([chr(97 + index) * (index + 1) for index in range(20)])
    allowing, banning = make_translator(allow_unknown=True), make_translator()
    for each in (allowing, banning):
        bias = each.search.decoder.projection_bias
        bias.assign(tf.tensor_scatter_nd_add(bias, [[UNKNOWN_ID], [PADDING_ID], [START_ID]], [3.0, 9.0, 9.0]))
    allowed, banned = (each.n_best(texts)["translations"].numpy() for each in (allowing, banning))
    assert any(b"<unk>" in translation for translation in allowed.ravel())
    assert not any(b"<unk>" in translation for translation in banned.ravel())
    assert not any(special.encode() in t for t in allowed.ravel() for special in SPECIAL_TOKENS if special != "<unk>")


def test_a_vocabulary_of_another_size_is_refused(translator):
    other = TextProcessor(WORDS[:-1], TextConfig())

    model = SimpleNamespace(
        encoder=translator.search.encoder,
        decoder=translator.search.decoder,
        arguments={"source_vocabulary_size": translator.source.vocabulary_size, "target_vocabulary_size": len(WORDS)},
    )
    with pytest.raises(ValueError, match=r"target must have the 14 tokens that the model was trained on, got .* of 13"):
        Translator(model, translator.source, other, TranslationOptions())
