"""`heliograph init`: whatever the files, the configuration is valid; and a model can be trained with it."""

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import cli
from pipeline.config import load
from pipeline.init_config import toml
from pipeline.recommend import caution, recommend, unit_of
from preprocessing.survey import SideSurvey, Survey
from tests.pipeline.conftest import write_corpus

SIDES = st.builds(
    SideSurvey,
    mean_words=st.floats(1, 60),
    p99_words=st.integers(1, 400),
    mean_characters=st.floats(1, 300),
    p99_characters=st.integers(1, 2000),
    running_words=st.integers(1, 10**9),
    distinct_words=st.integers(1, 10**6),
    distinct_characters=st.integers(1, 6000),
    script=st.sampled_from(["Latin", "Han", None]),
    shared_letters=st.floats(0, 1),
)
UNITS = [(of, to) for of in ("words", "characters") for to in ("words", "characters")]
SURVEYS = st.builds(
    Survey,
    pairs=st.one_of(st.integers(1, 30_000), st.integers(1, 10**9)),
    sampled=st.integers(1, 1000),
    source=SIDES,
    target=SIDES,
    growth=st.fixed_dictionaries(dict.fromkeys(UNITS, st.floats(-10, 50))),
)


@settings(deadline=None)
@given(SURVEYS, st.sampled_from([["a.de", "b.en"], ['odd "name"\\.tsv']]))
def test_every_corpus_gets_a_valid_configuration(tmp_path_factory, found, files):
    path = tmp_path_factory.getbasetemp() / "init.toml"
    text = toml(files, found, recommend(found))
    path.write_text(text, encoding="utf-8")
    config = load(str(path))
    names = ("source", "target") if len(files) == 2 else ("tsv",)
    assert [Path(getattr(config.data, name)).name for name in names] == files
    written = tomllib.loads(text)
    assert written["training"]["epochs"] == config.training.epochs >= 3
    assert all(len(line) < 130 for line in text.splitlines())
    assert config.training.warmup_updates(1) == 0  # the shortest training has room for it
    for side in (config.source, config.target):
        assert side.unit != "bpe" or side.max_vocabulary >= 2_000
    assert config.filters.max_source_tokens >= min(found.source.p99_words, found.source.p99_characters)


def survey_of(pairs, **target):
    side = SideSurvey(12.0, 26, 70.0, 150, 12 * pairs, 18_000, 70, "Latin", 0.99)
    return Survey(pairs, pairs, side, side._replace(**target), dict.fromkeys(UNITS, 1.0))


def chosen(found):
    return {(name, item.key): item.value for name, part in recommend(found).items() for item in part}


def test_the_sizes_of_multi30k_are_those_that_were_measured(tmp_path):
    mine, preset = chosen(survey_of(29_000)), load("multi30k-de-en-transformer")
    for key in ("architecture", "hidden_size", "num_layers", "heads", "feed_forward_size", "dropout", "tied"):
        assert mine["model", key] == getattr(preset.model, key)
    assert mine["source", "unit"] == "bpe" and mine["vocabulary", "joint"] is True
    assert abs(mine["training", "epochs"] - preset.training.epochs) <= 2


def test_more_data_more_weights():
    sizes = [chosen(survey_of(pairs))["model", "hidden_size"] for pairs in (29_000, 290_000, 2_900_000)]
    assert sizes == sorted(set(sizes))
    assert chosen(survey_of(3_000))["model", "architecture"] == "recurrent"


def test_a_joint_vocabulary_has_one_sides_options(tmp_path):
    found = survey_of(29_000, distinct_characters=1_500)
    mine = chosen(found)
    assert mine["source", "character_coverage"] == mine["target", "character_coverage"] < 1
    assert mine["source", "max_vocabulary"] == mine["target", "max_vocabulary"] == 4_000
    path = tmp_path / "init.toml"
    path.write_text(toml(["a.de", "b.en"], found, recommend(found)), encoding="utf-8")
    assert load(str(path)).vocabulary.joint


def test_other_letters_are_no_joint_vocabulary():
    assert ("vocabulary", "joint") not in chosen(survey_of(29_000, shared_letters=0.1))


def test_long_translations_have_room():
    found = survey_of(29_000)._replace(growth=dict.fromkeys(UNITS, 3.2))
    assert chosen(found)["search", "max_length_factor"] == 4.0


def test_words_of_letters_to_symbols():
    short = SideSurvey(1.1, 1, 7.0, 14, 109_000, 90_000, 30, "Latin", 0.9)
    phones = SideSurvey(6.3, 12, 14.0, 30, 624_000, 39, 20, "Latin", 0.9)
    mine = chosen(Survey(99_000, 99_000, short, phones, dict.fromkeys(UNITS, 1.0)))
    assert (mine["source", "unit"], mine["target", "unit"]) == ("character", "word")
    assert mine["training", "selection"] == "word_error_rate"
    assert mine["model", "hidden_size"] == load("g2p-cmudict").model.hidden_size


def test_few_words_are_an_inventory_only_if_no_more_are_to_come():
    """A phrase book of 60 sentences has 200 words, and the next sentence has new ones."""
    phrases = SideSurvey(6.0, 12, 30.0, 60, 360, 200, 40, "Latin", 0.9)
    mine = chosen(Survey(60, 60, phrases, phrases._replace(mean_characters=14.0), dict.fromkeys(UNITS, 1.0)))
    assert (mine["source", "unit"], mine["target", "unit"]) == ("bpe", "character")
    phones = phrases._replace(distinct_words=39, running_words=50 * 39)
    for side, unit in ((phones, "symbols"), (phones._replace(running_words=50 * 39 - 1), "bpe")):
        assert unit_of(side) == unit


@pytest.mark.parametrize(("pairs", "warned"), [(1, True), (999, True), (1_000, False)])
def test_what_can_only_be_learned_by_heart_is_said(pairs, warned):
    found = survey_of(pairs)
    text = toml(["a", "b"], found, recommend(found))
    assert ("can only be learned by heart" in text) is warned is (caution(pairs) is not None)
    assert pairs > 1 or "1 pair can only" in text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path, pairs=300)
    return tmp_path


def test_two_files_to_a_model_in_two_commands(folder, capsys):
    assert cli.main(["init", "words.txt", "figures.txt"]) == 0
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 4 and "heliograph run my.toml" in err and "pairs; source: " in err
    assert "pairs can only be learned by heart" in err
    (folder / "my.toml").write_text(out)
    assert load("my.toml").data.source == str(folder / "words.txt")
    # A page, and a model that is blessed and pushed; smaller than recommended, for the time.
    smaller = {
        "model.hidden_size": 16,
        "model.encoder_hidden_size": 8,
        "training.epochs": 1,
    }
    overrides = [f"--set={key}={value}" for key, value in smaller.items()]
    assert cli.main(["run", "my.toml", *overrides]) == 0
    report = capsys.readouterr().out
    for line in ("^blessed: ", "^Published    published/my/1$", "^Report       runs/my/report.html$"):
        assert re.search(line, report, re.MULTILINE), report
    assert (folder / "runs" / "my" / "report.html").is_file() and (folder / "published/my/1/saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("files", "code", "message"),
    [
        (["words.txt", "short.txt"], 1, "short.txt has 1;"),
        (["absent.tsv"], 1, "absent.tsv: no such file"),
        (["words.txt"], 1, "words.txt line 1: expected two columns"),
        (["a", "b", "c"], 2, "expected SOURCE and TARGET, or one file of two columns, got 3 files"),
        ([], 2, "FILE"),
    ],
)
def test_mistakes_are_one_line_and_no_configuration(folder, capsys, files, code, message):
    (folder / "short.txt").write_text("eins\n")
    assert cli.main(["init", *files]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("heliograph: error: ") and message in err and err.count("\n") == 1
