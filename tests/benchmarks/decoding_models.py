"""The models that the decoding benchmark compares: trained once, and kept in its folder."""

import dataclasses
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PRESET = "multi30k-de-en-tutorial"
FILES = {"train": "train", "dev": "val", "test": "test_2016_flickr"}  # of Multi30k, before the language
BATCH, LEARNING_RATE, DROPOUT = 64, 1e-3, 0.2  # of everybody's training; two epochs are some 900 updates
HEADS = 4
NETWORKS = {
    # As JoeyNMT has it: attention after the recurrence, and a tanh layer before the projection.
    "lstm": {
        "embedding_size": 256,
        "hidden_size": 512,
        "num_layers": 2,
        "encoder_hidden_size": 256,
        "bidirectional": True,
        "bridge": "dense",
        "attention": "general",
        "output_size": 512,
    },
    "transformer": {
        "architecture": "transformer",
        "hidden_size": 256,
        "feed_forward_size": 1024,
        "num_layers": 3,
        "heads": HEADS,
    },
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A SavedModel of Heliograph's, and what it was made of."""

    settings: tuple[str, ...]
    """All that differs from the preset."""
    version: Path
    """The folder of the SavedModel."""
    transform_dir: Path
    """The vocabularies."""
    trainer_dir: Path
    """The Keras model."""
    shortlist_dir: Path | None
    """The shortlist, if there is one."""


def read_lines(data: Path, split: str, language: str) -> list[str]:
    """The lines of a file of Multi30k."""
    with gzip.open(data / f"{FILES[split]}.{language}.gz", "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def export(root: Path, data: Path, model: str, epochs: int, search: tuple[str, ...]) -> Exported:
    """What `heliograph export` makes, or has made before, of one network with some options of search and serving."""
    values: dict[str, Any] = {f"model.{key}": value for key, value in NETWORKS[model].items()}
    values |= {"model.dropout": DROPOUT, "model.init_scale": 0.0, "data.directory": str(data)}
    training = {"epochs": epochs, "batch_size": BATCH, "learning_rate": LEARNING_RATE, "seed": 1}
    training |= {"precision": "bfloat16", "teacher_forcing.start": 1.0, "teacher_forcing.end": 1.0}
    values |= {f"training.{key}": value for key, value in training.items()}
    settings = (*(f"{key}={json.dumps(value)}" for key, value in values.items()), *search)
    command = [sys.executable, "-m", "pipeline", "export", PRESET, "--root", str(root)]
    command += [part for setting in settings for part in ("--set", setting)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    if result.returncode:
        raise SystemExit("heliograph export has failed; see its error above")
    artifact = Path(result.stdout.splitlines()[-1])
    inputs = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    folders = {name: root / name / entry["id"] for name, entry in inputs.items()}
    return Exported(
        settings,
        artifact / PRESET / "1",
        folders["Transform"],
        folders["Trainer"],
        folders.get("ShortlistGen"),
    )


def train_joeynmt(python: str, tokens: Path, folder: Path, epochs: int) -> Path:
    """Train JoeyNMT's model of the same sizes, unless that has been done, and return its folder.

    Args:
        python: an interpreter that has JoeyNMT.
        tokens: the folder of `tests.benchmarks.decoding_reference.write_tokens`.
        folder: where the model is kept, and what it was made of.
        epochs: passes over the data.
    """
    model_dir, config_file, note = folder / "model", folder / "config.yaml", folder / "made_of.json"
    config = _joeynmt_config(tokens, model_dir, epochs)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(tokens.iterdir())}
    made_of = json.dumps({"config": config, "tokens": hashes}, indent=2)
    if note.is_file() and note.read_text(encoding="utf-8") == made_of:
        return model_dir
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config_file.write_text(json.dumps(config, indent=2), encoding="utf-8")  # all JSON is YAML
    print("training JoeyNMT's model", flush=True)
    command = [python, "-m", "joeynmt", "train", str(config_file), "--skip-test"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        raise SystemExit(f"{result.stdout}\nJoeyNMT's training failed; see above")
    note.write_text(made_of, encoding="utf-8")  # written last: without it the model does not count
    return model_dir


def _joeynmt_config(tokens: Path, model_dir: Path, epochs: int) -> dict[str, Any]:
    sides = {
        side: {"lang": language, "level": "word", "max_length": 100, "voc_file": str(tokens / f"vocabulary.{language}")}
        for side, language in (("src", "de"), ("trg", "en"))
    }
    lstm = NETWORKS["lstm"]
    shared = {
        "rnn_type": "lstm",
        "num_layers": lstm["num_layers"],
        "dropout": DROPOUT,
        "embeddings": {"embedding_dim": lstm["embedding_size"], "scale": False, "dropout": DROPOUT},
    }
    return {
        "name": "decoding",
        "model_dir": str(model_dir),
        "use_cuda": False,
        "random_seed": 1,
        "data": {**{split: str(tokens / split) for split in ("train", "dev")}, "dataset_type": "plain", **sides},
        "testing": {"beam_size": 5, "beam_alpha": 1.0},
        "training": {
            "optimizer": "adam",
            "learning_rate": LEARNING_RATE,
            # A constant rate: its default, "plateau", does not start under torch 2.13.
            "scheduling": "exponential",
            "decrease_factor": 1.0,
            "clip_grad_norm": 1.0,
            "batch_size": BATCH,
            "epochs": epochs,
            "logging_freq": 100,
            "validation_freq": 1_000_000,  # never; the last weights are kept
        },
        "model": {
            "encoder": {
                "type": "recurrent",
                "hidden_size": lstm["encoder_hidden_size"],
                "bidirectional": lstm["bidirectional"],
                **shared,
            },
            "decoder": {
                "type": "recurrent",
                "hidden_size": lstm["hidden_size"],
                "attention": "luong",
                "input_feeding": False,
                "init_hidden": "bridge",
                **shared,
            },
        },
    }
