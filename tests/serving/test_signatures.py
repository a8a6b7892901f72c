"""The signatures beside `translate` and `n_best`: given beginnings, samples, scores; and the options of words."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ensemble import EnsembleNetwork
from preprocessing.special_tokens import END_ID, UNKNOWN_ID
from preprocessing.text import TextConfig, TextProcessor
from serving.translation_options import TranslationOptions
from serving.translator import Translator
from tests.reference import log_softmax
from tests.serving.conftest import ATTENTION, MEMBERS, WORDS, make_model, make_translator

DTYPES = ("mixed_bfloat16", "float32")
TEXTS = ["ein hund", "", "Schön! 😀 漢字", "a" * 20, "x"]


def every(translator, signature, *rows):
    """The answers to the rows together, and that to each row alone."""
    function = getattr(translator, signature)
    specs = function.input_signature
    columns = [
        tf.constant(list(column), spec.dtype, [len(rows)])
        for column, spec in zip(zip(*rows, strict=True), specs, strict=True)
    ]
    together = function(*columns)
    for place in range(len(rows)):
        alone = function(*(column[place : place + 1] for column in columns))
        for name, values in together.items():
            if values.dtype == tf.string:
                assert (values[place] == alone[name][0]).numpy().all()
            else:
                np.testing.assert_allclose(values[place], alone[name][0], atol=1e-4)
    return together


def by_hand(translator, source, target) -> list[float]:
    """The log-probability of each target token and the end, one step at a time."""
    search = translator.search
    memory = search.encode(translator.source.encode(tf.constant([source]))).memory
    state, token, found = search.decoder.initial_state(memory), 2, []
    for following in [*translator.target.encode(tf.constant([target])).to_list()[0], END_ID]:
        logits, state, _ = search.decoder.step(tf.constant([token]), state, memory)
        found.append(log_softmax(logits.numpy()[0].astype("float64"))[following])
        token = following
    return found


@pytest.mark.parametrize("network", [None, *MEMBERS], ids=lambda network: type(network).__name__)
def test_score_is_the_sum_over_single_steps(network):
    translator = make_translator(network)
    rows = [("ein hund", "der hund läuft."), ("", "ein"), ("x", ""), ("Schön 😀", "unbekannt hund")]
    answer = every(translator, "score", *rows)
    for place, row in enumerate(rows):
        expected = by_hand(translator, *row)
        assert float(answer["log_probability"][place]) == pytest.approx(sum(expected), abs=1e-3)
        assert int(answer["tokens"][place]) == len(expected)
        assert float(answer["perplexity"][place]) == pytest.approx(math.exp(-sum(expected) / len(expected)), rel=1e-3)


def only_words(**options) -> Translator:
    """A translator that writes no punctuation, so that its translations are split into what they were made of."""
    translator = make_translator(**options)
    places = [[token] for token, word in enumerate(WORDS) if "\uffed" in word]
    bias = translator.search.decoder.projection_bias
    bias.assign(tf.tensor_scatter_nd_add(bias, places, [-50.0] * len(places)))
    return translator


CALM = dataclasses.replace(ATTENTION, init_scale=0.5)  # larger weights make much of a small rounding


@pytest.mark.parametrize("network", [CALM, MEMBERS[3]], ids=["attention", "transformer"])
def test_the_search_in_bfloat16_is_close_to_float32(network):
    """Every candidate's log-probability, as the search in bfloat16 reports it, against `score` in float32."""
    mixed, exact = (only_words(network=network, dtype=dtype, length_penalty=0.0) for dtype in DTYPES)
    texts, answers = ["ein hund", "Schön! 😀", "abc"], []
    found = mixed.n_best(tf.constant(texts))
    for row, text in enumerate(texts):
        answer = exact.score(tf.constant([text] * 3), found["translations"][row])
        answers.append(answer["log_probability"])
        np.testing.assert_allclose(found["scores"][row], answer["log_probability"], rtol=0.03, atol=0.1)
    assert not np.allclose(found["scores"], answers, atol=1e-4)


def test_the_search_reports_what_score_says():
    translator = only_words(length_penalty=0.0)
    texts = ["ein hund", "Schön! 😀", "abc"]
    found = translator.n_best(tf.constant(texts))
    for row, text in enumerate(texts):
        answer = translator.score(tf.constant([text] * 3), found["translations"][row])
        np.testing.assert_allclose(answer["log_probability"], found["scores"][row], atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(prefix=st.lists(st.sampled_from(["hund", "ein", "der", "漢字", "😀"]), max_size=4).map(" ".join))
def test_a_completion_begins_as_it_must(translator, prefix):
    answer = every(translator, "complete", *[(text, prefix) for text in TEXTS])
    for text, translation in zip(TEXTS, answer["translation"].numpy(), strict=True):
        assert translation.decode().startswith(prefix if text else "")


def test_a_completion_of_nothing_is_the_translation(translator):
    texts = tf.constant(TEXTS)
    completed = translator.complete(texts, tf.fill([len(TEXTS)], ""))["translation"]
    assert (completed == translator.translate(texts)["translation"]).numpy().all()


def test_unknown_words_of_a_beginning_stay(translator):
    answer = every(translator, "complete", ("ein hund", "der Bär."), ("x", "ein"), ("xyz", "漢字 漢"))
    assert answer["translation"][0].numpy().decode().startswith("der bär.")
    assert answer["translation"][2].numpy().decode().startswith("漢字 漢")


def test_a_beginning_longer_than_the_longest_translation():
    translator = make_translator(max_length_factor=0.0, max_length_constant=2)
    answer = translator.complete(tf.constant(["x"]), tf.constant(["ein hund läuft der hund"]))
    assert answer["translation"].numpy().tolist() == ["ein hund läuft der hund".encode()]


def test_one_seed_one_answer():
    translator = only_words()
    rows = [(text, seed, 1.0, 0, 1.0) for seed, text in enumerate(TEXTS * 4)]
    answer = every(translator, "sample", *rows)
    assert len(set(answer["translation"].numpy())) > len(TEXTS)
    for (text, *_), translation, found in zip(rows, answer["translation"], answer["log_probability"], strict=True):
        if text:
            scored = translator.score(tf.constant([text]), translation[tf.newaxis])["log_probability"][0]
            assert float(found) == pytest.approx(float(scored), abs=1e-3)


def test_a_cold_sample_is_greedy(translator):
    narrow = make_translator(beam_size=1, n_best=1)
    greedy = narrow.translate(tf.constant(TEXTS))["translation"]
    for options in ((1e-3, 0, 1.0), (1.0, 1, 1.0), (1.0, 0, 0.0)):
        answer = every(translator, "sample", *[(text, 7, *options) for text in TEXTS])
        assert (answer["translation"] == greedy).numpy().all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x", 1, 0.0, 0, 1.0)], "temperature must be positive"),
        ([("x", 1, 1.0, -1, 1.0)], "top_k must not be negative"),
        ([("x", 1, 1.0, 0, -0.5)], "top_p must not be negative"),
        ([("x", 1, 1.0, 0, 90.0)], "top_p must be at most 1"),
        ([("x", 1, np.inf, 0, 1.0)], "temperature must be finite"),
    ],
)
def test_samples_refuse_what_is_no_option(translator, rows, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        every(translator, "sample", *rows)


def test_requests_of_unequal_sizes_are_refused(translator):
    with pytest.raises(tf.errors.InvalidArgumentError, match="prefix: expected one for each text"):
        translator.complete(tf.constant(["x", "y"]), tf.constant(["ein"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="target: expected one for each text"):
        translator.score(tf.constant(["x"]), tf.constant(["ein", "der"]))


def test_empty_batches(translator):
    nothing = {tf.string: [], tf.int64: [], tf.int32: [], tf.float32: []}
    for name in ("complete", "sample", "score"):
        function = getattr(translator, name)
        answer = function(*(tf.constant(nothing[spec.dtype], spec.dtype) for spec in function.input_signature))
        assert all(values.shape == [0] for values in answer.values())


def test_banned_words_and_phrases_do_not_occur():
    texts = tf.constant([chr(97 + place) * (place + 1) for place in range(20)])
    free = make_translator()
    assert any(b"hund" in text for text in free.n_best(texts)["translations"].numpy().ravel())
    translator = make_translator(banned_words=("Hund", "der ein"))
    for text in translator.n_best(texts)["translations"].numpy().ravel():
        assert "hund" not in text.decode().split() and "der ein" not in text.decode()
    # A mark of punctuation is banned however it is joined to its neighbours.
    assert any(b"'" in text for text in free.n_best(texts)["translations"].numpy().ravel())
    without = make_translator(banned_words=("'", "."))
    assert not any(b"'" in text or b"." in text for text in without.n_best(texts)["translations"].numpy().ravel())
    with pytest.raises(ValueError, match="banned_words must hold words of the target vocabulary, got 'katze'"):
        make_translator(banned_words=("katze",))


def test_an_unknown_word_is_replaced_by_the_word_that_it_looked_at():
    model, words = make_model(ATTENTION, len(WORDS)), TextProcessor(WORDS, TextConfig())
    bias = model.decoder.projection_bias
    bias.assign(tf.tensor_scatter_nd_add(bias, [[UNKNOWN_ID]], [4.0]))
    plain, replacing = (
        Translator(
            model,
            words,
            words,
            TranslationOptions(beam_size=3, n_best=1, allow_unknown=True, replace_unknown=replace),
        )
        for replace in (False, True)
    )
    texts = ["zwei Hunde, ein hund", "Xaver", ""]
    looked = plain.attention(tf.constant(texts))
    found = replacing.translate(tf.constant(texts))["translation"].numpy()
    replaced = 0
    for row, text in enumerate(texts):
        words = plain.source.tokens_of(tf.constant([text])).to_list()[0]
        expected = []
        for token, weights in zip(looked["target_tokens"][row].numpy(), looked["weights"][row].numpy(), strict=True):
            if token == b"<unk>":
                replaced += 1
                expected.append(words[min(int(np.argmax(weights)), len(words) - 1)].decode())
            elif token and token != b"</s>":
                expected.append(token.decode())
        assert found[row].decode() == " ".join(expected).replace(" \uffed", "").replace("\uffed ", "")
    assert replaced > 2


@pytest.mark.parametrize("network", [None, ATTENTION], ids=["plain", "attention"])
def test_no_more_is_read_than_the_longest_text(network):
    translator = make_translator(network, max_tokens=8)
    whole = make_translator(network)
    short, long = "a b c de", "a b c def gh ij"
    for name, rows in (("n_best", [(short,), (long,)]), ("sample", [(short, 3, 1.0, 0, 1.0), (long, 3, 1.0, 0, 1.0)])):
        answer = every(translator, name, *rows)
        expected = every(whole, name, rows[0], rows[0])
        assert answer["truncated"].numpy().tolist() == [False, True]
        assert not expected["truncated"].numpy().any()
        for key in answer.keys() - {"truncated"}:
            assert (answer[key] == expected[key]).numpy().all()
    completed = translator.complete(tf.constant([short, short]), tf.constant(["ein", "ein " * 9]))
    assert completed["truncated"].numpy().tolist() == [False, True]
    assert completed["translation"].numpy()[1].decode().startswith(" ".join(["ein"] * 8))
    scored = translator.score(tf.constant([short, short]), tf.constant(["ein", "ein hund " * 8]))
    assert scored["tokens"].numpy().tolist() == [2, 9] and scored["truncated"].numpy().tolist() == [False, True]
    if network is not None:
        shown = translator.attention(tf.constant([short, long]))
        assert shown["weights"].shape[2] == 9 and shown["truncated"].numpy().tolist() == [False, True]


def test_a_text_that_is_too_long_is_refused_if_so_configured():
    translator = make_translator(max_tokens=8, overlong="refuse")
    assert translator.n_best(tf.constant(["a b c d "]))["truncated"].numpy().tolist() == [False]
    for call in (translator.translate, translator.n_best):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"more tokens than 8, .* a larger search\.max_tokens"):
            call(tf.constant(["x", "a b c d ef"]))


def test_options_that_do_not_suit_the_model():
    with pytest.raises(ValueError, match="must not ask for coverage_penalty or replace_unknown of a model without"):
        make_translator(coverage_penalty=0.2)
    with pytest.raises(ValueError, match="replace_unknown must be false unless both sides are words"):
        make_translator(ATTENTION, allow_unknown=True, replace_unknown=True)
    with pytest.raises(ValueError, match="allow_unknown must be true with replace_unknown"):
        TranslationOptions(replace_unknown=True)
    for name, value in (
        ("max_length_constant", -1),
        ("max_tokens", -1),
        ("overlong", "x"),
        ("length_normalization", "x"),
    ):
        with pytest.raises(ValueError, match=f"{name} must"):
            TranslationOptions(**{name: value})


@pytest.mark.parametrize("network", [*MEMBERS, ATTENTION, EnsembleNetwork(members=MEMBERS[1:])], ids=repr)
def test_any_network_searches_a_text_alike_in_any_batch(network):
    """With options that keep something for each hypothesis, and texts of very different lengths."""
    options = {"no_repeat_ngram": 2, "min_length": 2, "max_length_factor": 1.0}
    if network is not MEMBERS[2]:
        options["coverage_penalty"] = 0.3
    translator = make_translator(network, **options)
    texts = ["x", "ein hund läuft schön der hund", "ab", "", "abc def"]
    every(translator, "n_best", *[(text,) for text in texts])
    every(translator, "complete", *[(text, "hund" if len(text) > 2 else "") for text in texts])
    every(translator, "sample", *[(text, 5, 1.5, 0, 0.95) for text in texts])


def test_the_scores_are_what_the_options_say():
    """Length, coverage and log-probability of each answer, computed step by step."""
    translator = make_translator(
        ATTENTION, coverage_penalty=0.4, length_normalization="tokens", length_penalty=0.7, min_length=3
    )
    search, text = translator.search, "ein hund"
    encoded = search.encode(translator.source.encode(tf.constant([text])))
    memory, result = encoded.memory, search.hypotheses(encoded, translator.options)
    answer = translator.n_best(tf.constant([text]))
    for place in range(3):
        ids = result.ids[0, place, : int(result.lengths[0, place])].numpy().tolist()
        assert len(ids) >= 3
        state, token, total, coverage = search.decoder.initial_state(memory), 2, 0.0, 0.0
        for following in [*ids, END_ID]:
            logits, state, weights = search.decoder.step(tf.constant([token]), state, memory)
            total += log_softmax(logits.numpy()[0].astype("float64"))[following]
            coverage, token = coverage + weights.numpy()[0], following
        missing = 0.4 * np.log(np.clip(coverage, 1e-9, 1.0)).sum()
        expected = total / (len(ids) + 1) ** 0.7 + missing
        assert float(answer["scores"][0, place]) == pytest.approx(expected, abs=1e-3)
