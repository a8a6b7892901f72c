import pytest

from pipeline import preprocess
from pipeline.config import load
from pipeline.data_config import DataConfig
from pipeline.data_files import cache_folder
from preprocessing.corpora import FilePairs, Tsv
from preprocessing.dates import Dates
from preprocessing.emoji_names import EmojiNames


def test_sources_and_splits():
    sources = preprocess.pair_sources
    assert sources(DataConfig(source="/a.de", target="/a.en")) == [FilePairs("/a.de", "/a.en")]
    assert sources(DataConfig(tsv="/a.tsv", directory="/d", test_tsv="t.tsv")) == [
        Tsv("/a.tsv"),
        Tsv("/d/t.tsv", "test"),
    ]
    given = DataConfig(tsv="/a", validation_tsv="/v", test_source="/t.de", test_target="/t.en")
    assert sources(given) == [Tsv("/a", "train"), Tsv("/v", "validation"), FilePairs("/t.de", "/t.en", "test")]
    assert sources(DataConfig(builtin="emoji")) == [EmojiNames("en", "de")]
    assert sources(load("dates", ["data.dates.count=7", "data.dates.last_year=1999"]).data) == [
        Dates(count=7, seed=1, years=(1950, 1999))
    ]


@pytest.mark.parametrize(
    ("overrides", "fractions"),
    [((), (0.05, 0.2)), (("data.test_tsv=/t",), (0.05, 0.0)), (("data.test_tsv=/t", "data.validation_tsv=/v"), (0, 0))],
)
def test_options_of_generate(monkeypatch, tmp_path, overrides, fractions):
    seen = []

    def generate_examples(sources, options, output, beam_args):
        seen.append((options, output, beam_args))
        return {
            "read": 8,
            "repeated": 1,
            "kept": {"train": 5, "validation": 1, "test": 1},
            "dropped": {"duplicate": {"count": 2}},
        }

    monkeypatch.setattr(preprocess, "generate_examples", generate_examples)
    config = load("dates", ["data.test_fraction=0.2", "filters.max_length_ratio=2", *overrides])
    metrics = preprocess.generate(config, tmp_path, ["--x"])
    assert metrics == {"read": 8, "repeated": 1, "train": 5, "validation": 1, "test": 1, "dropped": 2}
    options, output, beam_args = seen[0]
    assert (options.validation_fraction, options.test_fraction) == fractions
    assert (options.source_text.unit, options.filters.max_length_ratio, options.filters.max_source_length) == (
        "character",
        2.0,
        100,
    )
    assert (output, beam_args) == (str(tmp_path), ["--x"])


def test_downloads_only_without_a_directory(monkeypatch, tmp_path):
    fetched = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(preprocess, "fetch_files", lambda files, folder: fetched.append((len(files), folder)))
    nothing = {"read": 0, "repeated": 0, "kept": {}, "dropped": {}}
    monkeypatch.setattr(preprocess, "generate_examples", lambda *arguments: nothing)
    preprocess.generate(load("multi30k-de-en-tutorial", ["data.directory=/d"]), tmp_path, ())
    assert fetched == []
    config = load("multi30k-de-en-tutorial")
    preprocess.generate(config, tmp_path, ())
    assert fetched == [(6, str(cache_folder(config.data)))]
