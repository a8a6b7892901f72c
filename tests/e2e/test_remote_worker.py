"""Code reaches a worker on another machine: one that has the built wheel, and never sees the checkout."""

import importlib.util
import operator
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import apache_beam as beam
import pytest

from preprocessing.beam_run import run
from preprocessing.dates import Dates
from preprocessing.errors import DataError
from preprocessing.generate import GenerateOptions, generate_examples
from preprocessing.learning import VocabularyOptions
from preprocessing.statistics import statistics
from preprocessing.text import TextConfig
from preprocessing.transform import TransformOptions, transform

ROOT = Path(__file__).parents[2]

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"

# As `python -m apache_beam.runners.worker.worker_pool_main`, but for a port of its own choice, and threads: that starts
# a process for each pipeline.
WORKER_POOL = """
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
address, server = BeamFnExternalWorkerPoolServicer.start()
print(address, flush=True)
server.wait_for_termination()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The content of the wheel, in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"  # a build leaves things beside them
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    for name in ("models", "pipeline", "preprocessing", "serving"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=sources, check=True, capture_output=True)
    (wheel,) = folder.glob("heliograph-*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "installed")
    shutil.rmtree(sources)
    return folder / "installed"


@pytest.fixture(scope="module")
def remote(installed, tmp_path_factory) -> list[str]:
    """Beam options for a pool of workers in another process, and another folder."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER_POOL],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    address = worker.stdout.readline().strip()
    yield [
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--environment_type=EXTERNAL",
        f"--environment_config={address}",
    ]
    worker.kill()
    worker.communicate()


def preprocess(folder: Path, beam_args: list[str]) -> dict[str, bytes]:
    """What the three steps write, by path."""
    characters = TextConfig(unit="character")
    examples, records, described = (folder / name for name in ("examples", "records", "statistics"))
    described.mkdir(parents=True)
    generate = GenerateOptions(source_text=characters, target_text=characters, shards=2)
    counts = generate_examples([Dates(count=300)], generate, str(examples), beam_args)
    vocabulary = VocabularyOptions(text=characters)
    transform(str(examples), str(records), TransformOptions(source=vocabulary, target=vocabulary), beam_args)
    statistics(str(records), counts, str(described), beam_args)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_remote_worker_writes_the_same_bytes(remote, tmp_path):
    expected = preprocess(tmp_path / "here", [])
    assert len(expected) == 12
    assert preprocess(tmp_path / "there", remote) == expected


def test_its_modules_are_those_of_the_wheel(remote, installed, tmp_path):
    """A module that is imported already tells where from."""
    modules = ["preprocessing.generate", "preprocessing.judge", "preprocessing.transform", "preprocessing.grouping"]
    pattern = str(tmp_path / "origins")

    def ask(pipeline):
        specs = pipeline | beam.Create(modules) | beam.Map(importlib.util.find_spec)
        return specs | beam.Map(operator.attrgetter("origin")) | beam.io.WriteToText(pattern)

    run(ask, remote)
    origins = "".join(path.read_text() for path in tmp_path.iterdir()).split()
    assert sorted(origins) == sorted(str(installed / f"{module.replace('.', '/')}.py") for module in modules)


def test_its_error_arrives_as_one_line(remote, tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord.gz").write_bytes(b"not gzip")
    options = VocabularyOptions(text=TextConfig())
    with pytest.raises(DataError, match=r"train-00000.*: not a readable gzipped TFRecord file") as caught:
        transform(str(tmp_path), str(tmp_path / "out"), TransformOptions(source=options, target=options), remote)
    assert "\n" not in str(caught.value)
