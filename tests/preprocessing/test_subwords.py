"""Subwords of a nasty corpus: the same ids from Beam, Python, the exported graph and the libraries themselves."""

import json
import subprocess
import sys

import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.examples import from_example, record_files
from preprocessing.learning import VocabularyOptions
from preprocessing.records import read_records
from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import CONTINUATION, SPACE_MARK, TextConfig, TextProcessor, detokenize, normalize, tokenize
from preprocessing.transform import TransformOptions, transform
from preprocessing.vocabulary import read_bytes, read_processor, sentencepiece_file
from tests.preprocessing.test_text import NASTY, any_text
from tests.preprocessing.test_transform import write_corpus

SUBWORDS = ("unigram", "bpe", "wordpiece")
MORE = [
    f"{SPACE_MARK} a{SPACE_MARK}b {SPACE_MARK}{SPACE_MARK} \u2585 \u2582".encode(),
    b"## #a a## a ##a ###",
    "\u00a0no\u00a0break\u202fspace\u2060 \u200b".encode(),
    "\U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd\U0001f44d👩‍💻 \u2764\ufe0f".encode(),
    "e\u0301\u0323 \u0915\u094d\u0937\u093f \uff46\uff55ll \ufb01 ½ 中文没有空格的句子。".encode(),
    b"a" * 300,
    " ".join(["word"] * 200).encode(),
]
UNSEEN = ["ŋ ħ 鬱 \U0001f9ff", "aŋb ŋŋ", "wörd \u0e01\u0e33", "\U0001f9ff\U0001f9ff\U0001f9ff a"]
TEXTS = [*NASTY, *MORE, *(text.encode() for text in UNSEEN), b"plain words, some of them playing. word"]

CLIENT = """
import json, os, sys
import tensorflow as tf
import tensorflow_text
os.chdir("/")
question = json.load(open(sys.argv[1]))
texts = [bytes.fromhex(text) for text in question["texts"]]
answers = {}
for unit, model in question["models"].items():
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], model).signature_def["serving_default"]
        fetches = {name: info.name for name, info in signature.outputs.items()}
        answer = session.run(fetches, {signature.inputs["text"].name: texts})
    answers[unit] = {"ids": answer["ids"].tolist(), "text": [text.hex() for text in answer["text"].tolist()]}
ours = {"models", "preprocessing", "serving", "pipeline", "sentencepiece"}
json.dump({"answers": answers, "banned": sorted(ours & set(sys.modules))}, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module", params=SUBWORDS)
def unit(request):
    return request.param


def transformed(unit, root):
    """What Transform makes of the nasty corpus, normalised as ExampleGen does it."""
    config = TextConfig(unit=unit)
    seen = [
        *NASTY,
        *MORE,
        *[f"{a}{b} {c}".encode() for a in ("play", "word", "some") for b in ("ing", "s") for c in "ab"],
    ]
    train, test = ([text.decode() for text in normalize(tf.constant(texts), config).numpy()] for texts in (seen, TEXTS))
    corpus = {"train": list(zip(train, train[::-1], strict=True)) * 2, "test": list(zip(test, test, strict=True))}
    examples = write_corpus(root / "examples", corpus)
    options = VocabularyOptions(text=config, max_size=500)
    transform(examples, str(root / "out"), TransformOptions(source=options, target=options, joint=True))
    return root / "out"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {unit: transformed(unit, tmp_path_factory.mktemp(unit)) for unit in SUBWORDS}


@pytest.fixture(scope="module")
def folder(unit, folders):
    return folders[unit]


@pytest.fixture(scope="module")
def processor(folder, unit):
    return read_processor(folder, "source", TextConfig(unit=unit))


@pytest.fixture(scope="module")
def ids(processor):
    return processor.encode(tf.constant(TEXTS)).to_list()


def longest_match(word, tokens):
    """WordPiece: greedily the longest token, unknown characters alone."""
    found, start = [], 0
    while start < len(word):
        prefix = CONTINUATION if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in tokens:
                break
        found.append(tokens.get(prefix + word[start:end], UNKNOWN_ID))
        start = end
    return found


def check_with_the_library(normalized, ids, processor, folder):
    """Against pip's SentencePiece, or for WordPiece against the few lines above."""
    if processor.config.unit == "wordpiece":
        tokens = {token: number for number, token in enumerate(processor.tokens)}
        words = tokenize(tf.constant(normalized, tf.string), "wordpiece").to_list()
        assert ids == [[n for word in row for n in longest_match(word.decode(), tokens)] for row in words]
        return
    pieces = sentencepiece.SentencePieceProcessor(model_proto=read_bytes(sentencepiece_file(folder, "source")))
    for text, row in zip(normalized, ids, strict=True):
        found = pieces.encode(text)
        if processor.config.unit == "unigram" and row != found and UNKNOWN_ID not in row:
            # Which of equally likely segmentations is the best one depends on rounding, and so on the version.
            assert pieces.decode(row) == text
            scores = [sum(map(pieces.get_score, numbers)) for numbers in (row, found)]
            assert scores[0] == pytest.approx(scores[1], rel=1e-5)
        else:
            assert row == found


def test_beam_and_python_agree(folder, ids):
    records = [from_example(record) for record in read_records(record_files(str(folder), "test")[0])]
    assert [record.source_ids for record in records] == [record.target_ids for record in records] == ids


def test_the_library_agrees(folder, processor, ids):
    texts = [text.decode() for text in processor.normalize(tf.constant(TEXTS)).numpy()]
    check_with_the_library(texts, ids, processor, folder)
    assert any(UNKNOWN_ID in row for row in ids) and sum(UNKNOWN_ID not in row for row in ids) > 15


def test_a_clean_process_agrees_through_a_session(folders, tmp_path):
    models, expected = {}, {}
    for unit, folder in folders.items():
        module = tf.Module()
        module.processor = read_processor(folder, "source", TextConfig(unit=unit))

        def serve(text, processor=module.processor):
            encoded = processor.encode(text)
            return {"ids": encoded.to_tensor(-1), "text": processor.decode(encoded)}

        signature = tf.function(serve, input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        models[unit] = str(tmp_path / unit)
        tf.saved_model.save(module, models[unit], signatures={"serving_default": signature})
        expected[unit] = module.processor.encode(tf.constant(TEXTS))
    (tmp_path / "in.json").write_text(json.dumps({"texts": [text.hex() for text in TEXTS], "models": models}))
    command = [sys.executable, "-c", CLIENT, str(tmp_path / "in.json"), str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["banned"] == [] and result["answers"].keys() == folders.keys()
    for unit, answer in result["answers"].items():
        assert [[number for number in row if number != -1] for row in answer["ids"]] == expected[unit].to_list()
        shown = read_processor(folders[unit], "source", TextConfig(unit=unit)).decode(expected[unit])
        assert [bytes.fromhex(text) for text in answer["text"]] == shown.numpy().tolist()


def check_round_trip(texts, processor):
    normalized = processor.normalize(tf.constant(texts, tf.string))
    encoded = processor.encode_normalized(normalized)
    for text, row, back in zip(normalized.numpy(), encoded.to_list(), processor.decode(encoded).numpy(), strict=True):
        back.decode()
        assert bool(text) == bool(row)
        if UNKNOWN_ID not in row:
            assert back == text
    tokens = tokenize(normalized, processor.config.unit)
    if processor.config.unit == "wordpiece":  # whatever the vocabulary
        assert detokenize(tokens, "wordpiece").numpy().tolist() == normalized.numpy().tolist()


def test_known_text_comes_back(processor):
    check_round_trip(TEXTS, processor)
    check_round_trip([], processor)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(any_text, max_size=5))
def test_any_known_text_comes_back_and_the_library_agrees(folder, processor, texts):
    check_round_trip(texts, processor)
    if texts:
        normalized = [text.decode() for text in processor.normalize(tf.constant(texts, tf.string)).numpy()]
        ids = processor.encode_normalized(tf.constant(normalized)).to_list()
        check_with_the_library(normalized, ids, processor, folder)


def test_batches_and_graphs_change_nothing(processor, ids):
    graph = tf.function(processor.encode, input_signature=[tf.TensorSpec([None], tf.string)])
    assert graph(tf.constant(TEXTS)).to_list() == ids
    assert [graph(tf.constant([text])).to_list()[0] for text in TEXTS] == ids
    assert graph(tf.constant([], tf.string)).to_list() == []


def test_tokens_are_those_of_the_ids(processor, ids):
    tokens = processor.tokens_of(tf.constant(TEXTS)).to_list()
    assert [[token.decode() for token in row] for row in tokens] == [[processor.tokens[n] for n in row] for row in ids]


def test_nothing_after_the_first_end_leaks(processor):
    first, second = processor.encode(tf.constant(["playing words", "some"])).to_list()
    rows = [[START_ID, *first, END_ID, *second, END_ID], [PADDING_ID, END_ID, *first], [], [*second, 10**6, -1]]
    shown = processor.decode(tf.ragged.constant(rows, dtype=tf.int64)).numpy().tolist()
    assert shown[:3] == [b"playing words", b"", b""] and shown[3].startswith(b"some") and shown[3].count(b"<unk>") == 2


def test_any_ids_are_valid_text(processor):
    generator = tf.random.Generator.from_seed(1)
    ids = generator.uniform([200, 12], -2, processor.vocabulary_size + 2, dtype=tf.int64)
    for text in processor.decode(tf.RaggedTensor.from_tensor(ids)).numpy():
        assert text.decode() == text.decode().strip()


@pytest.mark.parametrize(("kind", "model"), [("bpe", None), ("word", b"model")])
def test_a_model_and_its_unit_come_together(kind, model):
    with pytest.raises(ValueError, match="sentencepiece must be a model with units unigram, bpe, else None; received"):
        TextProcessor(SPECIAL_TOKENS, TextConfig(unit=kind), model)
