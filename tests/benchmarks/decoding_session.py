"""Heliograph in the decoding benchmark: an exported SavedModel through a Session, as TF Serving runs it."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.quiet import filtered_stderr, load_tensorflow
from tests.benchmarks.decoding_worker import Translate, take_turns


def load(job: dict[str, Any]) -> dict[int, Translate]:
    """The SavedModels of `job["models"]`, by beam size."""
    load_tensorflow()
    return {int(beam): _session(Path(path), job["threads"]) for beam, path in job["models"].items()}


def _session(path: Path, threads: int) -> Translate:
    from serving.server.servable import DEFAULT_SIGNATURE, Servable

    with filtered_stderr():
        servable = Servable(path, threads, threads)

    def translate(sentences: list[str]) -> list[str]:
        answer = servable.run(DEFAULT_SIGNATURE, {"text": np.array(sentences, object)}, ("translation",))
        return [found.decode() for found in answer["translation"]]

    return translate


if __name__ == "__main__":
    take_turns(load)
