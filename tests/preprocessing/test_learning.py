"""Subword vocabularies: learned from the counts, always the same way, within their limits."""

import dataclasses

import pytest
import sentencepiece

from preprocessing.errors import DataError
from preprocessing.learning import (
    VocabularyOptions,
    alphabet,
    count_subwords,
    learn_sentencepiece,
    learn_wordpieces,
    write_vocabularies,
)
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import CONTINUATION, SPACE_MARK, TextConfig, TextProcessor
from preprocessing.vocabulary import read_vocabulary, vocabulary_file

STEMS = ("wald", "garten", "haus", "brücke", "straßen", "kind", "漢字", "hunde")
WORDS = [(f"{a}{b}", 5 + 7 * i * j % 40) for i, a in enumerate(STEMS) for j, b in enumerate((*STEMS, "", "e", "."))]
SUBWORDS = ("unigram", "bpe", "wordpiece")


def options(unit, size=90, **others):
    return VocabularyOptions(text=TextConfig(unit=unit), max_size=size, **others)


def written(folder, unit, words=WORDS, **others):
    folder.mkdir()
    write_vocabularies(words, str(folder), ("source", "target"), options(unit, **others))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("unit", SUBWORDS)
def test_the_same_words_give_the_same_bytes_on_both_sides(unit, tmp_path):
    files = written(tmp_path / "a", unit)
    assert files == written(tmp_path / "b", unit)
    assert len(files) == (2 if unit == "wordpiece" else 4)
    for name in files:
        assert files[name] == files[name.replace("source", "target")]


@pytest.mark.parametrize("unit", SUBWORDS)
def test_a_vocabulary_holds_all_characters_and_not_more_than_asked_for(unit, tmp_path):
    written(tmp_path / "v", unit)
    tokens = read_vocabulary(vocabulary_file(tmp_path / "v", "source"))
    assert 30 < len(tokens) - len(SPECIAL_TOKENS) <= 90
    characters = {character for word, _ in WORDS for character in word}
    assert characters <= set(tokens)
    if unit == "wordpiece":
        assert {CONTINUATION + character for character in characters} <= set(tokens)
        assert max(map(len, tokens)) > len(CONTINUATION) + 1
    else:
        assert SPACE_MARK in tokens and any(len(token) > 2 for token in tokens[len(SPECIAL_TOKENS) :])


def test_counts_weigh():
    words = [("abab", 1), ("xyxy", 1000)]
    model = learn_sentencepiece(words, options("bpe", size=20))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert pieces.encode("xyxy", out_type=str) == [SPACE_MARK + "xyxy"]
    assert pieces.id_to_piece(len(SPECIAL_TOKENS)) == "xy"


def test_only_special_tokens_are_no_text():
    words = [("<s>", 9), ("</s>", 9), ("<unk>", 9), ("<", 1), (">", 1), ("s/unk", 1)]
    model = learn_sentencepiece(words, options("bpe", size=40))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert [pieces.id_to_piece(number) for number in range(4)] == list(SPECIAL_TOKENS)
    assert min(pieces.encode("<s> </s> <unk>")) >= len(SPECIAL_TOKENS)


@pytest.mark.parametrize("unit", SUBWORDS)
def test_rare_words_and_rare_characters_are_left_out(unit, tmp_path):
    words = [*WORDS, ("q", 4), ("漢x漢", 3)]
    written(tmp_path / "all", unit, words)
    assert {"q", "x"} <= set(read_vocabulary(vocabulary_file(tmp_path / "all", "source")))
    written(tmp_path / "frequent", unit, words, min_count=5)
    assert not {"q", "x"} & set(read_vocabulary(vocabulary_file(tmp_path / "frequent", "source")))
    written(tmp_path / "covered", unit, words, character_coverage=0.99)
    tokens = set(read_vocabulary(vocabulary_file(tmp_path / "covered", "source")))
    assert not {"q", "x"} & tokens and "a" in tokens


def test_the_alphabet_is_the_most_frequent_characters():
    words = [("aab", 4), ("c", 3)]  # 8 a, 4 b, 3 c
    assert alphabet(words, 1.0) == ["a", "b", "c"]
    assert alphabet(words, 12 / 15) == ["a", "b"]
    assert alphabet(words, 0.5) == ["a"]


@pytest.mark.parametrize(("unit", "room"), [("unigram", 22), ("bpe", 22), ("wordpiece", 42)])
def test_too_small_a_vocabulary_is_one_clear_line(unit, room, tmp_path):
    with pytest.raises(
        DataError, match=rf"source\.vocabulary\.tsv: expected room for the {room} tokens .* got a vocabulary of 20"
    ) as caught:
        written(tmp_path / "v", unit, size=20)
    assert "\n" not in str(caught.value) and not list((tmp_path / "v").iterdir())


@pytest.mark.parametrize("unit", SUBWORDS)
@pytest.mark.parametrize("words", [[], [("rare", 4)]])
def test_nothing_to_learn_from_is_one_clear_line(unit, words, tmp_path):
    with pytest.raises(DataError, match=r"source\.vocabulary\.tsv: expected at least one token.*minimum count"):
        written(tmp_path / "v", unit, words, min_count=5)


def test_what_sentencepiece_cannot_do_is_one_clear_line():
    # It reserves U+2585 for itself, and skips words that hold it.
    with pytest.raises(DataError, match="SentencePiece cannot learn from the 1 words"):
        learn_sentencepiece([("\u2585", 3)], options("bpe"))


def test_counts_are_those_of_the_pieces_in_the_words():
    model = learn_sentencepiece(WORDS, options("unigram"))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokens = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
    expected = dict.fromkeys(tokens[len(SPECIAL_TOKENS) :], 0)
    for word, count in WORDS:
        for piece in pieces.encode(word, out_type=str):
            expected[piece] += count
    counted = count_subwords(TextProcessor(tokens, TextConfig(unit="unigram"), model), WORDS)
    assert counted == list(expected.items())


def test_long_words_do_not_stop_the_learner():
    words = [*WORDS, ("z" * 3000, 2)]
    assert "z" not in learn_wordpieces(words, options("wordpiece"))
    learn_sentencepiece(words, options("bpe"))


@pytest.mark.parametrize(
    ("unit", "changes", "message"),
    [
        ("word", {"min_count": 0}, "min_count must be at least 1; received 0"),
        ("word", {"max_size": 0}, "max_size must be at least 1; received 0"),
        ("bpe", {"max_size": None}, "max_size must be a number with unit bpe; received None"),
        ("bpe", {"character_coverage": 0.0}, "character_coverage must be above 0"),
        ("unigram", {"bpe_dropout": 0.1}, "bpe_dropout must be .* unless the unit is bpe; received 0.1 with unit uni"),
        ("bpe", {"bpe_dropout": 1.1}, "bpe_dropout must be between 0 and 1"),
        ("bpe", {"sampling_alpha": 0.1}, "sampling_alpha must be .* unless the unit is unigram"),
    ],
)
def test_options_that_do_not_suit_are_refused(unit, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(options(unit), **changes)
