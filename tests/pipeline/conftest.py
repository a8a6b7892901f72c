"""A small corpus of our own, preprocessed for real: digit words and their figures, in reverse order."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Config
from pipeline.preprocess import generate, statistics, transform

WORDS = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")


def write_corpus(folder: Path, pairs: int = 400, seed: int = 0) -> None:
    generator = np.random.default_rng(seed)
    numbers = sorted({tuple(generator.integers(0, 10, generator.integers(1, 7)).tolist()) for _ in range(pairs)})
    (folder / "words.txt").write_text("".join(" ".join(WORDS[n] for n in row) + ".\n" for row in numbers))
    (folder / "figures.txt").write_text("".join(" ".join(str(n) for n in row[::-1]) + "\n" for row in numbers))


def small_config(folder: Path, **sections) -> Config:
    values = {
        "name": "figures",
        "data": {"source": str(folder / "words.txt"), "target": str(folder / "figures.txt"), "shards": 2},
        "model": {"embedding_size": 8, "hidden_size": 12, "num_layers": 1, "dropout": 0.1},
        "training": {"epochs": 2, "batch_size": 16},
        "search": {"beam_size": 3},
    }
    for name, options in sections.items():
        values[name] = {**values.get(name, {}), **options}
    return Config.model_validate(values)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="session")
def config(corpus) -> Config:
    return small_config(corpus)


@pytest.fixture(scope="session")
def transform_dir(config, tmp_path_factory) -> Path:
    """Records and vocabularies of the small corpus."""
    folder = tmp_path_factory.mktemp("preprocessed")
    for name in ("examples", "records", "statistics"):
        (folder / name).mkdir()
    generate(config, folder / "examples", [])
    transform(config, folder / "examples", folder / "records", [])
    statistics(folder / "examples", folder / "records", folder / "statistics", [])
    assert json.loads((folder / "statistics" / "statistics.json").read_text())
    return folder / "records"


@pytest.fixture(scope="session")
def trainer_dir(config, transform_dir, tmp_path_factory) -> Path:
    """A model after two short epochs."""
    from pipeline.train import train

    folder = tmp_path_factory.mktemp("trained")
    train(config, transform_dir, folder)
    return folder
