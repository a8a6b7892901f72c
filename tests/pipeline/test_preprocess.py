import pytest

from pipeline import preprocess
from pipeline.config import load
from pipeline.data_config import DataConfig
from pipeline.data_files import cache_folder
from preprocessing.corpora import FilePairs, Tsv
from preprocessing.csv_files import Csv
from preprocessing.dates import Dates
from preprocessing.emoji_names import EmojiNames
from preprocessing.json_lines import JsonLines
from preprocessing.po_files import Po
from preprocessing.tmx import Tmx


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


def test_corpora():
    data = DataConfig.model_validate(
        {
            "tsv": "/a",
            "validation_source": "/v.de",
            "validation_target": "/v.en",
            "directory": "/d",
            "corpora": [
                {"source": "b.de", "target": "b.en", "weight": 0.5},
                {"csv": "c", "columns": ["de", "en"], "domain": "law", "split": "test"},
                {"csv": "c", "header": True, "delimiter": ";"},
                {"jsonl": "j"},
                {"jsonl": "j", "keys": ["t.de", "t.en"]},
                {"tmx": "t", "languages": ["de", "en"], "split": "validation"},
                {"po": "p"},
                {"po": "p", "reverse": True, "split": "train"},
                {"tsv": "/e"},
            ],
        }
    )
    assert preprocess.pair_sources(data) == [
        Tsv("/a", "train"),
        FilePairs("/d/b.de", "/d/b.en", "train", weight=0.5),
        Csv("/d/c", ("de", "en"), split="test", domain="law"),
        Csv("/d/c", header=True, delimiter=";", split="train"),
        JsonLines("/d/j", split="train"),
        JsonLines("/d/j", ("t.de", "t.en"), "train"),
        Tmx("/d/t", ("de", "en"), "validation"),
        Po("/d/p", split="train"),
        Po("/d/p", True, "train"),
        Tsv("/e", "train"),
        FilePairs("/v.de", "/v.en", "validation"),
    ]
    assert [source.split for source in preprocess.pair_sources(load("dates", ["data.corpora=[{po='x'}]"]).data)] == [
        None
    ] * 2


@pytest.mark.parametrize(
    ("overrides", "fractions"),
    [
        ((), (0.05, 0.2)),
        (("data.test_tsv=/t",), (0.05, 0.0)),
        (("data.corpora=[{po='/p', split='validation'}]",), (0.0, 0.2)),
        (("data.test_tsv=/t", "data.validation_tsv=/v"), (0, 0)),
    ],
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
    metrics = preprocess.generate(config, tmp_path, ["--direct_num_workers=1"])
    assert metrics == {"read": 8, "repeated": 1, "train": 5, "validation": 1, "test": 1, "dropped": 2}
    options, output, beam_args = seen[0]
    assert (options.validation_fraction, options.test_fraction) == fractions
    assert (options.source_text.unit, options.filters.max_length_ratio, options.filters.max_source_length) == (
        "character",
        2.0,
        100,
    )
    assert (output, beam_args) == (str(tmp_path), ["--direct_num_workers=1"])


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
