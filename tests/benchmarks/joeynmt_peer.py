"""JoeyNMT 2.3 in the decoding benchmark, run by an interpreter that has it; see `tests.benchmarks.decoding`.

Tokens in, tokens out. It reads a model as `joeynmt train` leaves it, and translates as its hub interface does.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from joeynmt.hub_interface import TranslatorHubInterface, _from_pretrained

from tests.benchmarks.decoding_worker import Translate, take_turns


def load(job: dict[str, Any]) -> dict[int, Translate]:
    """The model in the folder `job["model"]`, for each of `job["beams"]`."""
    torch.set_num_threads(job["threads"])
    folder = Path(job["model"])
    logging.disable(logging.INFO)  # it writes several lines for each request
    model = TranslatorHubInterface(*_from_pretrained(folder))

    def translator(beam: int) -> Translate:
        return lambda sentences: model.translate(sentences, beam_size=beam, beam_alpha=1.0, generate_unk=False)

    return {beam: translator(beam) for beam in job["beams"]}


if __name__ == "__main__":
    take_turns(load)
