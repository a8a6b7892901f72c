"""Lines in, lines out, from a trained model and from its SavedModel."""

import io

import pytest
import tensorflow as tf

from pipeline.errors import UsageError
from pipeline.model_files import build_translator, load_model
from pipeline.translate import load_saved_model, trained_translator, translate_lines, translate_texts
from preprocessing.errors import DataError
from serving.export import export

LINES = "eins zwei.\n\nneun neun drei\r\na\u2028b\nlast without newline"


@pytest.fixture(scope="module")
def translator(config, transform_dir, trainer_dir):
    return trained_translator(config, transform_dir, trainer_dir, n_best=None)


@pytest.fixture(scope="module")
def saved(config, transform_dir, trainer_dir, tmp_path_factory):
    base = tmp_path_factory.mktemp("exported") / config.name
    exported = build_translator(config, load_model(trainer_dir, transform_dir), transform_dir, max_tokens=4)
    export(exported, base, [("eins", "one")], {})
    return base


def translated(signatures, content: bytes, n_best=None, batch_size=2) -> list[str]:
    sink = io.StringIO()
    translate_lines(signatures, io.BytesIO(content), sink, n_best, batch_size)
    lines = sink.getvalue().split("\n")
    assert lines.pop() == ""
    return lines


def test_one_line_out_for_each_line_in(translator):
    lines = translated(translator.signatures(), LINES.encode())
    expected = translate_texts(
        translator.translate, ["eins zwei.", "", "neun neun drei", "a b", "last without newline"], 8
    )
    assert lines == expected and lines[1] == ""
    assert translated(translator.signatures(), b"") == []


def test_a_saved_model_answers_alike(translator, saved):
    for folder in (saved, saved / "1"):
        owner = load_saved_model(folder)
        for n_best in (None, 2):
            ours, theirs = (
                translated(signatures, LINES.encode(), n_best)
                for signatures in (translator.signatures(), owner.signatures)
            )
            assert ours == theirs


def test_lines_longer_than_the_model_reads_are_counted(saved, translator, caplog):
    owner, long = load_saved_model(saved), b"eins zwei drei vier neun\neins\n"
    for n_best in (None, 2):
        caplog.clear()
        translated(owner.signatures, long, n_best)
        assert "1 line longer than the model reads" in caplog.text and "search.max_tokens" in caplog.text
    caplog.clear()
    translated(translator.signatures(), long)
    assert caplog.text == ""  # no server, no limit


def test_n_best_lines_are_numbered_and_sorted(translator, config, transform_dir, trainer_dir):
    lines = [line.split(" ||| ") for line in translated(translator.signatures(), LINES.encode(), n_best=3)]
    assert [int(number) for number, _, _ in lines] == [n for n in range(5) for _ in range(3)]
    for start in range(0, 15, 3):
        scores = [float(score) for _, _, score in lines[start : start + 3]]
        assert scores == sorted(scores, reverse=True)
    wide = trained_translator(config, transform_dir, trainer_dir, n_best=7)
    assert len(translated(wide.signatures(), b"eins\n", n_best=7)) == 7


def test_more_translations_than_exported_are_refused(saved):
    owner = load_saved_model(saved)
    with pytest.raises(UsageError, match="exported with 3 translations per text, got 4"):
        translated(owner.signatures, b"eins\n", n_best=4)


def test_no_saved_model_is_one_line(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match=r"--model: .*: expected the folder of a SavedModel"):
            load_saved_model(folder)


def test_broken_lines_are_counted(translator, caplog):
    with caplog.at_level("WARNING", logger="heliograph"):
        assert len(translated(translator.signatures(), b"eins\n\xff\xfe\nzwei \xed\xa0\x80\n\xef\xbf\xbd\n")) == 4
    assert "2 lines with invalid UTF-8" in caplog.text


def test_a_line_of_a_megabyte_is_one_line_of_complaint(translator):
    content = b"eins\n" + b"x" * 1_000_000 + b"\nzwei\n"
    with pytest.raises(DataError, match="line 2: expected at most 65,536 bytes, got more"):
        translated(translator.signatures(), content, batch_size=1)


def test_a_foreign_saved_model_is_refused(tmp_path):
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([None])], autograph=False)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.double})
    with pytest.raises(UsageError, match="has no signature n_best; was it exported by heliograph"):
        load_saved_model(tmp_path)
