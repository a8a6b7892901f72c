"""Text to ids and back: round trips for any Unicode, equal in every way of running."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import JOINER, TextConfig, TextProcessor, detokenize, normalize, tokenize

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
NASTY = [
    b"",
    b" ",
    b"\x00",
    b"a\x00b\x01c\x7f",
    "one\u2028two\u2029three\u0085four\u00a0five\u3000six".encode(),
    f"{FAMILY} \u2764\ufe0f\u2764\ufe0f \U0001f44d\U0001f3fd!".encode(),
    "漢字とカナ、「引用」。".encode(),
    "e\u0301 \u0301x ,\u0301 q\u0323\u0307".encode(),
    "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 क्\u200dष".encode(),
    "\ufeff\ufeffbom \ufffe\uffff \ue000".encode(),
    f"{JOINER} a{JOINER}b {JOINER}{JOINER}".encode(),
    b"\xff\xfe broken \xed\xa0\x80 \xc0\xaf \xf0\x9f",
    "İSTANBUL ΟΔΟΣ ΟΔΟΣ. J\u030c \ufb01 \u1e9e ŉ".encode(),
    b"<pad> <unk> <s> </s> _under_score don't",
    b"... \"'( )'\" -a- b--c",
]
CONFIGS = [
    TextConfig(unit=unit, normalization=form) for unit in ("word", "character") for form in ("nfkc", "nfc", "none")
]

any_text = st.one_of(
    st.text().map(str.encode),
    st.binary(),
    st.text(alphabet=f" \t\u00a0ab'.,-!Ii\u0130\u0301\u030c\u0307{FAMILY}\ufe0f{JOINER}\ufeff_9漢\u03a3").map(
        str.encode
    ),
)


def lists(ragged):
    return [[token.decode() for token in row] for row in ragged.to_list()]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(any_text, max_size=5))
def test_round_trip_and_idempotence(config, texts):
    check_round_trip(texts, config)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_round_trip_of_nasty_texts(config, lowercase):
    check_round_trip(NASTY, TextConfig(unit=config.unit, normalization=config.normalization, lowercase=lowercase))


def check_round_trip(texts, config):
    normalized = normalize(tf.constant(texts, tf.string), config)
    assert normalize(normalized, config).numpy().tolist() == normalized.numpy().tolist()
    tokens = tokenize(normalized, config.unit)
    assert detokenize(tokens, config.unit).numpy().tolist() == normalized.numpy().tolist()
    for text, row in zip(normalized.numpy(), tokens.to_list(), strict=True):
        assert bool(text) == bool(row)
        assert JOINER not in text.decode()
        assert text == text.strip() and b"  " not in text
        assert b"" not in row
        assert not {*SPECIAL_TOKENS} & {token.decode() for token in row}


@pytest.mark.parametrize("form", ["nfkc", "nfc"])
def test_every_code_point_survives(form):
    # Planes 2 to 13 hold ideographs or nothing, 15 and 16 private characters: one of each tells for all.
    planes = [*range(0x20000), *range(0x20000, 0xE0000, 0x1001), *range(0xE0000, 0xE0200), 0xF0000, 0x10FFFF]
    points = [chr(point) for point in planes if not 0xD800 <= point < 0xE000]
    texts = tf.constant([f"a{point}.{point}b" for point in points])
    check = TextConfig(normalization=form)
    normalized = normalize(texts, check)
    assert bool(tf.reduce_all(normalize(normalized, check) == normalized))
    assert bool(tf.reduce_all(detokenize(tokenize(normalized, "word"), "word") == normalized))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't stop.", ["don", f"{JOINER}'{JOINER}", "t", "stop", f"{JOINER}."]),
        ("a . b", ["a", ".", "b"]),
        ("(x)", [f"({JOINER}", "x", f"{JOINER})"]),
        ("wait...", ["wait", f"{JOINER}.", f"{JOINER}.", f"{JOINER}."]),
        ("a\u00a0\tb", ["a", "b"]),
        ("snake_case 3.5", ["snake_case", "3", f"{JOINER}.{JOINER}", "5"]),
        ("cafe\u0301 ok", ["café", "ok"]),
        ("\u2764\ufe0fx", [f"\u2764\ufe0f{JOINER}", "x"]),
        (FAMILY, ["\U0001f468\u200d", f"{JOINER}\U0001f469\u200d", f"{JOINER}\U0001f467"]),
        ("", []),
    ],
)
def test_word_tokens(text, tokens):
    config = TextConfig()
    assert lists(tokenize(normalize(tf.constant([text]), config), "word")) == [tokens]


def test_character_tokens_include_the_space():
    assert lists(tokenize(tf.constant(["a b", "漢"]), "character")) == [["a", " ", "b"], ["漢"]]


def processor(unit="word", normalization="nfkc"):
    ordinary = ["a", "b", f"{JOINER}.", f"{JOINER}'{JOINER}"] if unit == "word" else ["a", "b", " ", "."]
    return TextProcessor([*SPECIAL_TOKENS, *ordinary], TextConfig(unit=unit, normalization=normalization))


def test_encode_looks_up_and_knows_no_special_token():
    processed = processor()
    assert processed.vocabulary_size == 8
    assert processed.encode(tf.constant(["A b.", "c", "<pad>", ""])).to_list() == [
        [4, 5, 6],
        [UNKNOWN_ID],
        [UNKNOWN_ID] * 3,
        [],
    ]
    assert processed.encode(tf.constant(["a"])).dtype == tf.int64


@pytest.mark.parametrize("unit", ["word", "character"])
def test_nothing_after_the_first_end_leaks(unit):
    ids = tf.ragged.constant(
        [[START_ID, 4, 6, END_ID, 5, END_ID, 4], [PADDING_ID, END_ID], [], [5, PADDING_ID, UNKNOWN_ID, 99, -1]],
        dtype=tf.int32,
    )
    expected = {"word": ["a.", "", "", "b <unk> <unk> <unk>"], "character": ["a ", "", "", "b<unk><unk><unk>"]}[unit]
    assert [text.decode() for text in processor(unit).decode(ids).numpy()] == expected


@pytest.mark.parametrize("unit", ["word", "character"])
def test_decode_undoes_encode(unit):
    assert processor(unit).decode(processor(unit).encode(tf.constant(["B a.", "b"]))).numpy().tolist() == [
        b"b a.",
        b"b",
    ]


def test_an_empty_batch():
    processed = processor()
    ids = processed.encode(tf.constant([], tf.string))
    assert ids.to_list() == []
    assert processed.decode(ids).shape == (0,)
    assert processed.tokens_of(tf.constant([], tf.string)).to_list() == []


@pytest.mark.parametrize("unit", ["word", "character"])
def test_eager_graph_and_saved_model_agree(unit, tmp_path):
    module = tf.Module()
    module.processor = processor(unit)
    text = tf.TensorSpec([None], tf.string)
    module.encode = tf.function(module.processor.encode, input_signature=[text])
    module.echo = tf.function(
        lambda texts: module.processor.decode(module.processor.encode(texts)), input_signature=[text]
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for batch in (NASTY, [], [b"a b. a'b"]):
        texts = tf.constant(batch, tf.string)
        ids = module.processor.encode(texts)
        shown = module.processor.decode(ids).numpy().tolist()
        for other in (module, loaded):
            assert other.encode(texts).to_list() == ids.to_list()
            assert other.echo(texts).numpy().tolist() == shown


def test_a_vocabulary_without_specials_is_refused():
    with pytest.raises(ValueError, match="must begin with"):
        TextProcessor(["a", "b"], TextConfig())


def test_a_wrong_config_is_refused():
    with pytest.raises(
        ValueError, match="unit must be one of word, character, unigram, bpe, wordpiece; received 'syllable'"
    ):
        TextConfig(unit="syllable")
    with pytest.raises(ValueError, match="normalization"):
        TextConfig(normalization="nfd")


def in_fresh_process(code, **environment):
    settings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **environment}
    done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_normalization_tensorflow_text_is_not_needed():
    in_fresh_process(
        "import sys; sys.modules['tensorflow_text'] = None\n"
        "import tensorflow as tf\n"
        "from preprocessing.special_tokens import SPECIAL_TOKENS\n"
        "from preprocessing.text import TextConfig, TextProcessor\n"
        "for unit in ('word', 'character'):\n"
        "    module = TextProcessor([*SPECIAL_TOKENS, 'a'], TextConfig(unit=unit, normalization='none'))\n"
        "    assert module.decode(module.encode(tf.constant(['A']))).numpy().tolist() == [b'a']\n"
    )


def test_lower_case_does_not_depend_on_the_locale():
    # The two have rules of their own for different letters: equal results mean that neither is obeyed.
    code = (
        "import hashlib, tensorflow as tf\n"
        "from preprocessing.text import TextConfig, normalize\n"
        "points = [chr(point) for point in range(32, 0x20000) if not 0xD800 <= point < 0xE000]\n"
        "marked = [letter + mark for letter in 'IJ\u012e\u00cc\u0130' for mark in '\u0300\u0301\u0303\u0307']\n"
        "lowered = normalize(tf.constant(points + marked), TextConfig(normalization='none')).numpy()\n"
        "print(hashlib.sha256(b'\\n'.join(lowered)).hexdigest())\n"
    )
    results = {in_fresh_process(code, LC_ALL=name, LANG=name) for name in ("tr_TR.UTF-8", "lt_LT.UTF-8")}
    assert len(results) == 1
