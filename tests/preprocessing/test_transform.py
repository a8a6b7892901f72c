"""Transform: the right ids, and the same bytes whoever did the work."""

import os
from pathlib import Path

import pytest

from preprocessing.errors import DataError
from preprocessing.examples import from_example, record_files, to_example
from preprocessing.learning import VocabularyOptions
from preprocessing.records import read_records, write_records
from preprocessing.special_tokens import SPECIAL_TOKENS
from preprocessing.text import TextConfig
from preprocessing.transform import TransformOptions, transform
from preprocessing.vocabulary import SIDES, read_vocabulary, vocabulary_file

OPTIONS = TransformOptions(
    source=VocabularyOptions(text=TextConfig(), min_count=2, max_size=50),
    target=VocabularyOptions(text=TextConfig(unit="character")),
)
CORPUS = {
    "train": [(f"wort{line % 60} und wort{line % 7} .", f"word{line % 60}!") for line in range(400)],
    "validation": [(f"wort{line} niegesehen", "ẑ word") for line in range(11)],
    "test": [("", "x")],
}


def write_corpus(directory, corpus, shards=3):
    """Stores a corpus as ExampleGen would."""
    directory.mkdir()
    for split, pairs in corpus.items():
        records = [to_example(source, target, key=f"{split}.de:{line}") for line, (source, target) in enumerate(pairs)]
        files = shards if split == "train" else 1
        for shard in range(files):
            name = f"{split}-{shard:05d}-of-{files:05d}.tfrecord.gz"
            write_records(str(directory / name), records[shard::files])
    return str(directory)


def content(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


@pytest.fixture(scope="module")
def transformed(tmp_path_factory):
    """The directories of examples and of what transform made of them, and what it returned."""
    root = tmp_path_factory.mktemp("transform")
    examples = write_corpus(root / "examples", CORPUS)
    return examples, str(root / "out"), transform(examples, str(root / "out"), OPTIONS)


def test_ids_follow_from_the_vocabularies(transformed):
    examples, output, returned = transformed
    source = read_vocabulary(vocabulary_file(output, "source"))
    target = read_vocabulary(vocabulary_file(output, "target"))
    assert source[: len(SPECIAL_TOKENS) + 2] == [*SPECIAL_TOKENS, ".", "und"]
    assert len(source) == len(SPECIAL_TOKENS) + 50
    assert returned["source_vocabulary_size"] == len(source)
    assert returned["target_vocabulary_size"] == len(target)
    assert returned["records_written_train"] == 400
    assert returned["pairs_read"] == 412  # those of training too, though they are read twice
    for split in CORPUS:
        for path in record_files(examples, split):
            encoded = [from_example(record) for record in read_records(os.path.join(output, os.path.basename(path)))]
            plain = [from_example(record) for record in read_records(path)]
            assert [record[:3] for record in encoded] == [record[:3] for record in plain], "same file, same place"
            for record in encoded:
                words = record.source.split()
                assert record.source_ids == [source.index(word) if word in source else 1 for word in words]
                assert record.target_ids == [target.index(c) if c in target else 1 for c in record.target]
    assert sorted(os.listdir(output)) == sorted(
        [*os.listdir(examples), "source.vocabulary.tsv", "target.vocabulary.tsv"]
    )


@pytest.mark.parametrize("mode", ["multi_processing", "multi_threading"])
def test_several_workers_give_the_same_bytes(transformed, tmp_path, mode):
    examples, output, _ = transformed
    workers = [f"--direct_running_mode={mode}", "--direct_num_workers=2"]
    transform(examples, str(tmp_path / "out"), OPTIONS, workers)
    assert content(str(tmp_path / "out")) == content(output)


def test_other_files_of_the_same_pairs_give_the_same_vocabularies(transformed, tmp_path):
    _, output, _ = transformed
    examples = write_corpus(tmp_path / "examples", {**CORPUS, "train": CORPUS["train"][::-1]}, shards=5)
    transform(examples, str(tmp_path / "out"), OPTIONS)
    for side in SIDES:
        name = vocabulary_file("", side)
        assert content(tmp_path / "out")[name] == content(output)[name]


SUBWORDS = TransformOptions(
    source=VocabularyOptions(text=TextConfig(unit="unigram"), max_size=60, sampling_alpha=0.3),
    target=VocabularyOptions(text=TextConfig(unit="bpe"), min_count=2, max_size=40, bpe_dropout=0.2),
    segmentations=8,
)


def test_subwords_and_their_segmentations_are_the_same_whoever_did_the_work(tmp_path):
    examples = write_corpus(tmp_path / "examples", CORPUS)
    transform(examples, str(tmp_path / "out"), SUBWORDS)
    expected = content(tmp_path / "out")
    for side in ("source", "target"):
        assert {f"{side}.vocabulary.tsv", f"{side}.sentencepiece.model", f"{side}.segmentations.tsv"} <= expected.keys()
    workers = ["--direct_running_mode=multi_threading", "--direct_num_workers=4"]
    transform(examples, str(tmp_path / "again"), SUBWORDS, workers)
    assert content(tmp_path / "again") == expected
    # Segmentations are drawn of every word of the training split, of those too rare to learn from, too.
    words = {word for _, target in CORPUS["train"] for word in target.lower().split()}
    lines = expected["target.segmentations.tsv"].decode().splitlines()
    assert {line.partition("\t")[0] for line in lines} == words
    assert {sum(int(drawn.split()[0]) for drawn in line.split("\t")[1:]) for line in lines} == {8}


def test_a_joint_vocabulary_has_the_same_ids_on_both_sides(tmp_path):
    corpus = {"train": [("nur links", "gleich"), ("gleich", "just right")] * 4, "test": [("gleich", "gleich")]}
    examples = write_corpus(tmp_path / "examples", corpus)
    for unit in ("word", "wordpiece"):
        options = VocabularyOptions(text=TextConfig(unit=unit), max_size=60)
        output = str(tmp_path / unit)
        returned = transform(examples, output, TransformOptions(source=options, target=options, joint=True))
        files = content(output)
        assert files["source.vocabulary.tsv"] == files["target.vocabulary.tsv"]
        assert returned["source_vocabulary_size"] == returned["target_vocabulary_size"]
        tokens = read_vocabulary(vocabulary_file(output, "source"))
        assert {"gleich", "nur", "right"} <= {*tokens} or unit == "wordpiece"
        if unit == "word":
            assert "gleich\t8\n" in files["source.vocabulary.tsv"].decode()
        (record,) = map(from_example, read_records(record_files(output, "test")[0]))
        assert record.source_ids == record.target_ids


def test_only_the_most_frequent_words_are_held(tmp_path):
    corpus = {"train": [("oft oft oft selten", "x y")] * 3}
    examples = write_corpus(tmp_path / "examples", corpus)
    options = VocabularyOptions(text=TextConfig(unit="bpe"), max_size=20, bpe_dropout=0.1)
    transform(examples, str(tmp_path / "out"), TransformOptions(source=options, target=options, max_words=1))
    assert content(tmp_path / "out")["source.segmentations.tsv"].decode().split("\t")[0] == "oft"
    assert "s" not in read_vocabulary(vocabulary_file(tmp_path / "out", "source"))


def test_no_ordinary_token_is_a_clear_error(tmp_path):
    examples = write_corpus(tmp_path / "examples", {"train": [("a", "b")]})
    options = TransformOptions(
        source=VocabularyOptions(text=TextConfig(), min_count=2), target=VocabularyOptions(text=TextConfig())
    )
    with pytest.raises(DataError, match=r"source\.vocabulary\.tsv.*minimum count") as caught:
        transform(examples, str(tmp_path / "out"), options)
    assert "\n" not in str(caught.value)


def test_without_training_records_nothing_starts(tmp_path):
    examples = write_corpus(tmp_path / "examples", {"test": [("a", "b")]})
    with pytest.raises(DataError, match="'train'"):
        transform(examples, str(tmp_path / "out"), OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["max_words", "segmentations"])
def test_options_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1; received 0"):
        TransformOptions(source=OPTIONS.source, target=OPTIONS.source, **{name: 0})


def test_a_joint_vocabulary_has_one_set_of_options():
    with pytest.raises(ValueError, match="joint must be False where source and target differ"):
        TransformOptions(source=OPTIONS.source, target=OPTIONS.target, joint=True)
