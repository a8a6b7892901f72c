"""Files of vocabularies: kept as they are, and refused when broken."""

import pytest

from preprocessing.errors import DataError
from preprocessing.learning import VocabularyOptions, learn_sentencepiece
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import TextConfig
from preprocessing.vocabulary import read_processor, read_vocabulary, sentencepiece_file, write_vocabulary

HEAD = "".join(f"{token}\t0\n" for token in SPECIAL_TOKENS)


def test_a_file_survives(tmp_path):
    path = str(tmp_path / "v.tsv")
    write_vocabulary(path, [("a", 9), (" ", 5), ("漢", 2), ("\U0001f468", 3), ("\uffed.", 0)])
    assert read_vocabulary(path) == [*SPECIAL_TOKENS, "a", " ", "漢", "\U0001f468", "\uffed."]
    assert (tmp_path / "v.tsv").read_text().startswith(HEAD + "a\t9\n \t5\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected token<TAB>count"),
        (HEAD + "a 3\n", "line 5: expected token<TAB>count, found 'a 3'"),
        (HEAD + "a\tmany\n", "line 5"),
        (HEAD + "\t3\n", "line 5"),
        (HEAD + "a\t3\n\nb\t2\n", "line 6"),
        (HEAD + "a\t3\nb\t2\na\t1\n", "line 7: token 'a' stands there twice"),
        (HEAD + "a\t3\n<pad>\t1\n", "line 6: token '<pad>' stands there twice"),
        ("a\t3\nb\t2\nc\t2\nd\t1\ne\t1\n", "expected the first lines to be"),
        (HEAD, "expected at least one token besides"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, content, message):
    path = tmp_path / "v.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_vocabulary(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path):
    (tmp_path / "v.tsv").write_bytes(HEAD.encode() + b"\xff\t3\n")
    with pytest.raises(DataError, match=r"v\.tsv: expected UTF-8"):
        read_vocabulary(str(tmp_path / "v.tsv"))
    with pytest.raises(DataError, match=r"w\.tsv.*cannot be read"):
        read_vocabulary(str(tmp_path / "w.tsv"))


@pytest.mark.parametrize("counts", [[], [("<s>", 3)], [("", 1)], [("a\tb", 1)]])
def test_what_no_file_can_hold_is_not_written(tmp_path, counts):
    with pytest.raises(DataError, match=r"v\.tsv"):
        write_vocabulary(str(tmp_path / "v.tsv"), counts)
    assert not list(tmp_path.iterdir())


def test_a_subword_vocabulary_needs_its_model(tmp_path):
    write_vocabulary(str(tmp_path / "source.vocabulary.tsv"), [("\u2581a", 3)])
    with pytest.raises(DataError, match=r"source\.sentencepiece\.model: the vocabulary cannot be read; run Transform"):
        read_processor(tmp_path, "source", TextConfig(unit="bpe"))
    with open(sentencepiece_file(tmp_path, "source"), "wb") as file:
        file.write(learn_sentencepiece([("ab", 3)], VocabularyOptions(text=TextConfig(unit="bpe"), max_size=9)))
    with pytest.raises(DataError, match=r"source\.vocabulary\.tsv and its SentencePiece model do not belong together"):
        read_processor(tmp_path, "source", TextConfig(unit="bpe"))
