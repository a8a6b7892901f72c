"""Drawn segmentations in a file, and looked up in a graph."""

from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf

from preprocessing.errors import DataError
from preprocessing.learning import VocabularyOptions, write_vocabularies
from preprocessing.segmentation_table import (
    SampledEncoder,
    segmentation_file,
    segmentation_line,
    write_segmentations,
)
from preprocessing.subword_sampling import WordSampler
from preprocessing.text import TextConfig
from preprocessing.vocabulary import read_bytes, read_processor, sentencepiece_file

WORDS = [("garten", 9), ("gartenhaus", 7), ("haus", 5), ("hausgarten", 4), ("漢字", 3)]
TEXTS = ["garten haus", "", "neugarten hausgarten q", "漢字", "garten"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    options = VocabularyOptions(text=TextConfig(unit="bpe"), max_size=50)
    write_vocabularies(WORDS, str(folder), ("source",), options)
    sampler = WordSampler(read_bytes(sentencepiece_file(folder, "source")), 0.3, 0.0)
    lines = [segmentation_line(word, sampler.draw(word, 16)) for word, _ in WORDS]
    write_segmentations(segmentation_file(folder, "source"), lines)
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    processor = read_processor(folder, "source", TextConfig(unit="bpe"))
    return SampledEncoder(segmentation_file(folder, "source"), processor)


def drawn_ids(folder):
    """Word to its segmentations, by reading the file as its docstring describes it."""
    table = {}
    for line in Path(segmentation_file(folder, "source")).read_text(encoding="utf-8").splitlines():
        word, *columns = line.split("\t")
        numbers = [tuple(map(int, column.split())) for column in columns]
        table[word] = {ids: count for count, *ids in numbers for ids in [tuple(ids)]}
    return table


def test_lines_stand_in_the_order_of_their_bytes(folder):
    lines = Path(segmentation_file(folder, "source")).read_bytes().splitlines()
    assert lines == sorted(lines) and len(lines) == len(WORDS)


def test_every_word_is_one_of_its_drawn_segmentations(folder, encoder):
    table = drawn_ids(folder)
    for seed in range(20):
        ids = encoder.encode(tf.constant(TEXTS), tf.constant([7, seed], tf.int64)).to_list()
        assert ids[1] == []
        assert tuple(ids[4]) in table["garten"] and tuple(ids[3]) in table["漢字"]
        assert tuple(ids[0]) in {a + b for a in table["garten"] for b in table["haus"]}
        usual = [encoder.processor.encode_normalized(tf.constant([word])).to_list()[0] for word in ("neugarten", "q")]
        middle = ids[2][len(usual[0]) : len(ids[2]) - len(usual[1])]
        assert [*usual[0], *middle, *usual[1]] == ids[2] and tuple(middle) in table["hausgarten"]


def test_segmentations_come_as_often_as_they_were_drawn(folder, encoder):
    ids = encoder.encode(tf.constant(["gartenhaus"] * 16_000), tf.constant([1, 2], tf.int64)).to_list()
    found = Counter(map(tuple, ids))
    expected = drawn_ids(folder)["gartenhaus"]
    assert len(expected) > 2
    for segmentation, count in expected.items():
        assert found[segmentation] / 1000 == pytest.approx(count, abs=0.5)


def test_only_the_seed_decides(encoder):
    texts = tf.constant(TEXTS * 8)
    spec = [tf.TensorSpec([None], tf.string), tf.TensorSpec([2], tf.int64)]
    graph = tf.function(encoder.encode, input_signature=spec, autograph=False)
    seeds = [tf.constant(seed, tf.int64) for seed in ([1, 2], [1, 3], [2, 2])]
    results = [encoder.encode(texts, seed).to_list() for seed in seeds]
    assert results[0] != results[1] and results[0] != results[2] and results[1] != results[2]
    assert [graph(texts, seed).to_list() for seed in seeds] == results


def test_segmentations_write_the_text(encoder):
    ids = encoder.encode(tf.constant(TEXTS), tf.constant([5, 5], tf.int64))
    assert [text.decode() for text in encoder.processor.decode(ids).numpy()][:2] == TEXTS[:2]
    assert encoder.encode(tf.constant([], tf.string), tf.constant([5, 5], tf.int64)).to_list() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "same number of draws"),
        ("a\t3 5\nb\tx 5\n", "line 2: expected a word"),
        ("a\t3 5\nb\t2 5\n", "same number of draws for all words"),
        ("a\t3 5\nb\n", "same number of draws for all words"),
    ],
)
def test_a_malformed_file_is_named(encoder, tmp_path, content, message):
    path = tmp_path / "source.segmentations.tsv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        SampledEncoder(str(path), encoder.processor)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match="cannot be read"):
        SampledEncoder(str(tmp_path / "absent"), encoder.processor)
