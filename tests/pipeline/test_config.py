import tomllib
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.config import Config, dump, load
from pipeline.config_files import presets
from pipeline.config_section import Section
from pipeline.data_config import DataConfig
from pipeline.errors import UsageError
from pipeline.model_config import RecurrentConfig, TransformerConfig


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(reference, *overrides):
    with pytest.raises(UsageError) as caught:
        load(reference, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def sections(model=Config):
    yield model
    for field in model.model_fields.values():
        kinds = [get_args(kind)[0] for kind in get_args(field.annotation) if len(get_args(kind)) == 2]
        for section in (field.annotation, *kinds):
            if isinstance(section, type) and issubclass(section, BaseModel):
                yield from sections(section)


def test_five_lines_are_enough(tmp_path):
    (tmp_path / "de.txt").touch()
    config = load(write(tmp_path, '[data]\nsource = "de.txt"\ntarget = "en.txt"\n'))
    assert config.name == "mine"
    assert config.data.source == str(tmp_path / "de.txt")
    assert (config.model.hidden_size, config.model.num_layers, config.training.batch_size) == (512, 2, 128)


@pytest.mark.parametrize("preset", presets())
def test_presets_load_and_round_trip(preset, tmp_path):
    config = load(preset)
    assert config.name == preset
    assert load(write(tmp_path, dump(config), "other.toml")) == config


def test_dump_round_trips_paths_and_every_section(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    text = '[data]\ntsv = "a.tsv"\ntest_tsv = "/b.tsv"\n[training.teacher_forcing]\nschedule = "linear"\nend = 0\n'
    config = load(write(tmp_path / "here", text), ["search.beam_size=3", 'name="x y"'])
    assert config.data.tsv == str(tmp_path / "here" / "a.tsv")
    assert load(write(tmp_path / "there", dump(config))) == config
    assert tomllib.loads(dump(config))["search"]["n_best"] == 3


def test_a_file_extends_a_preset(tmp_path):
    text = 'extends = "dates"\n[training]\nepochs = 1\n[data.dates]\ncount = 5\n'
    config, base = load(write(tmp_path, text)), load("dates")
    training = base.training.model_copy(update={"epochs": 1})
    data = base.data.model_copy(update={"dates": base.data.dates.model_copy(update={"count": 5})})
    assert config == base.model_copy(update={"name": config.name, "training": training, "data": data})
    message = refusal(write(tmp_path, 'extends = "date"\n'))
    assert "extends: expected one of the presets dates," in message and message.endswith("got 'date'")


def test_every_field_has_a_docstring():
    assert {RecurrentConfig, TransformerConfig} <= set(sections())
    for section in {*sections(), DataConfig, Section}:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_frozen():
    with pytest.raises(ValidationError):
        load("dates").model.hidden_size = 3


def test_overrides_are_toml_or_words():
    config = load(
        "dates", ["training.epochs=3", "model.cell=gru", "training.learning_rate=1", "source.lowercase=false"]
    )
    assert (config.training.epochs, config.model.cell, config.source.lowercase) == (3, "gru", False)
    assert config.training.learning_rate == 1.0 and isinstance(config.training.learning_rate, float)
    assert load("dates", ["model.cell='gru'", "model.cell=lstm"]).model.cell == "lstm"


def test_a_line_break_in_an_override_is_no_second_key():
    assert "expected one line" in refusal("dates", "training.epochs=3\nmodel = 4")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epoch=3", ["training.epoch: unknown key", "did you mean training.epochs?"]),
        ("search.max_length=3", ["did you mean search.max_length_factor?"]),
        ("search.max_len=3", ["did you mean search.max_tokens?"]),
        ("hidden_size=3", ["unknown key", "did you mean model.hidden_size?"]),
        ("trainig.epochs=3", ["trainig: unknown key", "did you mean training?"]),
        ("zzz=3", ["zzz: unknown key", "known keys here: name, data"]),
        ("training.epochs=ten", ["training.epochs", "expected a whole number", 'got "ten"']),
        ("training.epochs=2.0", ["expected a whole number", "got 2.0"]),
        ("training.epochs=true", ["expected a whole number", "got true"]),
        ("training.epochs=0", ["expected greater than or equal to 1", "got 0"]),
        ("training.learning_rate=nan", ["training.learning_rate", "finite"]),
        ("model.cell=rnn", ["expected 'lstm' or 'gru'", 'got "rnn"']),
        ("source.lowercase=1", ["expected true or false", "got 1"]),
        ("data.directory=3", ["expected a string", "got 3"]),
        ("evaluation.metrics=['bleu', 'wer']", ["evaluation.metrics.1: expected 'bleu', 'chrf'", 'got "wer"']),
        ("evaluation.metrics=[]", ["evaluation.metrics", "at least 1 item"]),
        ("evaluation.metrics='bleu'", ["evaluation.metrics: expected an array", 'got "bleu"']),
        ("training.selection=wer", ["'free_running_perplexity', 'bleu'", "'word_error_rate'", 'got "wer"']),
        ("model=3", ["model: expected a section", "got 3"]),
        ("model.architecture=cnn", [": model.architecture: expected 'recurrent' or 'transformer', got \"cnn\""]),
        ("model.architecture=3", [": model.architecture: expected 'recurrent' or 'transformer', got 3"]),
        (
            "model.heads=3",
            [': model.heads: unknown key; it belongs to architecture = "transformer", here it is "recurrent"'],
        ),
        ("model.head=3", ["model.head: unknown key; did you mean model.heads?"]),
        ("data.download=3", ["data.download: expected an array", "got 3"]),
        ("data.download=[{name='x', url='y', sha='z'}]", ["data.download.0.sha256: missing", "(and 1 more)"]),
        ("data.dates.last_year=1900", ["data.dates.last_year: expected at least first_year (1950), got 1900"]),
        ("filters.drop_duplicates=true", ["filters.drop_duplicates: expected 'none', 'exact' or 'near'", "got true"]),
        ("filters.max_length_ratio=0.5", ["filters.max_length_ratio", "0 (no limit) or at least 1"]),
        ("data.validation_fraction=0.96", ["data.test_fraction", "below 1"]),
        ("data.tsv=x.tsv", ["data: expected one of", "got tsv and builtin"]),
        ("data.source=x", ["data.target: expected beside source, got nothing"]),
        ("data.test_target=x", ["data.test_source: expected beside test_target, got nothing"]),
        ("ensemble.seeds=[1, 1]", ["ensemble.seeds: expected different seeds", "[1, 1]"]),
        ("name=a/b", ["name: expected the name of a folder", "'a/b'"]),
        ("name=..", ["name: expected the name of a folder"]),
        ("name.x=3", ["name is a value, not a section"]),
        ("epochs", ["expected section.key=value"]),
        ("=3", ["expected section.key=value"]),
    ],
)
def test_mistakes_are_named(override, words):
    message = refusal("dates", override)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("corpora", "told"),
    [
        ("{}", "data.corpora.0: expected one of source and target, tsv, csv, jsonl, tmx or po, got none"),
        ("{tsv='a'}, {tvs='b'}", "data.corpora.1.tvs: unknown key; did you mean data.corpora.1.tsv?"),
        ("{tsv='a', csv='b'}", "data.corpora.0.csv: expected one origin of a corpus, got tsv beside it; remove one"),
        ("{source='a'}", "data.corpora.0.target: expected beside source, got nothing; add it"),
        ("{tsv='a', target='b'}", "data.corpora.0.source: expected beside target, got nothing; add it"),
        ("{tsv='a', keys=['x', 'y']}", "data.corpora.0.keys: expected only with jsonl, got it with tsv; remove it"),
        ("{tmx='a'}", "data.corpora.0.languages: expected the codes of two languages, source and target"),
        ("{tmx='a', languages=['de', 'de']}", "data.corpora.0.languages: expected the codes of two languages"),
        ("{csv='a', columns=['de']}", "data.corpora.0.columns: expected two columns, source and target, by name or"),
        ("{csv='a', columns=[true, 1]}", "data.corpora.0.columns: expected two columns"),
        ("{csv='a', columns=[0, 1]}", "data.corpora.0.columns: expected columns to be numbered from 1"),
        ("{csv='a', columns=[1, 1]}", "data.corpora.0.columns: expected two different columns, source and target"),
        ("{csv='a', columns=['x', 'x']}", "data.corpora.0.columns: expected two different columns, source and target"),
        ("{jsonl='a', keys=['a', 'a']}", "data.corpora.0.keys: expected two different keys, source and target"),
        ("{csv='a', columns=['x', 1], header=false}", "data.corpora.0.header: expected true where columns are named"),
        (
            "{csv='a', delimiter='||'}",
            "data.corpora.0.delimiter: expected one character that is no quote or line end, got '||'",
        ),
        ("{tsv='a', weight=0}", "data.corpora.0.weight: expected greater than 0, got 0"),
        ("{tsv='a', weight=2, split='test'}", 'data.corpora.0.weight: expected 1 with split = "test"'),
        (
            "{tsv='a', domain='two words'}",
            "data.corpora.0.domain: expected at most 40 letters, digits and ._+-, got 'two words'",
        ),
        ("{tsv='a', split='dev'}", "data.corpora.0.split: expected 'train', 'validation' or 'test', got \"dev\""),
        ("3", "data.corpora.0: expected a section, got 3"),
        ("{tsv='a', split='test'}", "data: expected one of source and target, tsv, or builtin"),
        ("{tsv='a', split='train'}", 'data.corpora: expected one with split = "validation", or one without split'),
    ],
)
def test_corpora_that_cannot_be(corpora, told, tmp_path):
    path = write(tmp_path, f"[data]\ncorpora = [{corpora}]\n")
    assert refusal(path).startswith(f"{path}: {told}")


def test_many_corpora(tmp_path):
    text = """
[[data.corpora]]
csv = "a.csv"
columns = ["de", 2]
delimiter = ";"
weight = 2
domain = "law"

[[data.corpora]]
source = "/s"
target = "t"

[[data.corpora]]
tmx = "b.tmx"
languages = ["de", "en"]
split = "test"

[[data.download]]
name = "b.tmx"
url = "http://localhost/b.tmx"
sha256 = "%s"
""" % ("0" * 64)
    config = load(write(tmp_path, text))
    table, files, memory = config.data.corpora
    assert (table.csv, table.columns, table.weight, table.domain) == (f"{tmp_path}/a.csv", ("de", 2), 2.0, "law")
    assert (files.source, files.target, memory.tmx) == ("/s", f"{tmp_path}/t", "b.tmx")
    assert (table.origin, files.origin, memory.origin) == ("csv", "source", "tmx")
    assert config.data.given_splits == {"test"}
    assert load(write(tmp_path, dump(config), "other.toml")) == config.model_copy(update={"name": "mine"})
    assert load("dates", ["data.corpora=[{po='x.po'}]", "data.test_tsv='t'"]).data.given_splits == {"test"}


def test_mistakes_in_a_file_name_the_file(tmp_path):
    path = write(tmp_path, '[data]\nbuiltin = "dates"\n[model]\nlayers = 2\n')
    assert refusal(path) == f"{path}: model.layers: unknown key; did you mean model.num_layers?"
    assert refusal(path, "training.epochs=x").startswith(f"{path}: model.layers")
    nothing = write(tmp_path, "", "empty.toml")
    assert refusal(nothing) == f"{nothing}: data: missing; add it (Where sentence pairs come from)"


def test_unreadable_references(tmp_path):
    assert "did you mean the preset dates?" in refusal("dats")
    assert "emoji-en-de" in refusal(str(tmp_path / "no.toml"))
    assert "Is a directory" in refusal(str(tmp_path))
    broken = write(tmp_path, "[data\n")
    assert f"{broken}: not valid TOML" in refusal(broken)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    assert "expected UTF-8 text, got byte 0xe9" in refusal(str(tmp_path / "latin.toml"))


def test_bases_of_relative_paths(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    text = '[data]\ndirectory = "corpus"\nsource = "a.de"\ntarget = "/abs/a.en"\n'
    data = load(write(tmp_path, text)).data
    assert (data.directory, data.source, data.target) == (str(tmp_path / "corpus"), "a.de", "/abs/a.en")
    assert load(write(tmp_path, text), ["data.directory=d"]).data.directory == str(work / "d")
    serving = write(tmp_path, text + '[serving]\npush_to = "srv"\n')
    assert load(serving).serving.push_to == str(tmp_path / "srv")
    assert load(serving, ["serving.push_to=s"]).serving.push_to == str(work / "s")

    item = f'[[data.download]]\nname = "a.de"\nurl = "http://localhost/a.de"\nsha256 = "{"0" * 64}"\n'
    data = load(write(tmp_path, f'[data]\nsource = "a.d?"\ntarget = "own.en"\n{item}')).data
    assert (data.source, data.target) == ("a.d?", str(tmp_path / "own.en"))
    assert load("dates", ["data.test_tsv=t.tsv"]).data.test_tsv == str(work / "t.tsv")
