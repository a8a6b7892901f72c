"""A small untrained translator: its translations are nonsense, but the same nonsense everywhere."""

from pathlib import Path

import keras
import pytest

from models.networks import Network, RecurrentNetwork, TransformerNetwork
from models.seq2seq import Seq2Seq
from models.shortlist import ShortlistTable
from preprocessing.special_tokens import SPECIAL_TOKENS, START_ID
from preprocessing.text import TextConfig, TextProcessor
from serving.export import export
from serving.translation_options import TranslationOptions
from serving.translator import Translator

CHARACTERS = [*SPECIAL_TOKENS, *"abcdefghijklmnopqrstuvwxyzäöüß ,.!?0123456789", "é", "😀", "漢", "字"]
WORDS = [*SPECIAL_TOKENS, "hund", "ein", "läuft", "\uffed.", "der", "schön", "\uffed'\uffed", "s", "漢字", "😀"]


SMALL = {"embedding_size": 8, "hidden_size": 8, "num_layers": 1, "init_scale": 1.5}
ATTENTION = RecurrentNetwork(
    **{**SMALL, "num_layers": 2},
    cell="gru",
    encoder_hidden_size=16,
    bidirectional=True,
    bridge="dense",
    attention="general",
    output_size=8,
    layer_norm=True,
    tied="target",
)
MEMBERS = (
    RecurrentNetwork(**SMALL, cell="gru", bidirectional=True, bridge="dense", attention="additive"),
    RecurrentNetwork(**SMALL, attention="dot", input_feeding=True, output_size=6, reverse_source=True),
    RecurrentNetwork(**SMALL, context="every_step", context_from="max"),
    TransformerNetwork(hidden_size=8, num_layers=2, heads=2, feed_forward_size=16, init_scale=1.0),
)
"""One of each kind of decoder."""


def make_model(
    network: Network | None = None, source_vocabulary_size: int = len(CHARACTERS), dtype: str = "float32"
) -> Seq2Seq:
    keras.utils.set_random_seed(3)
    return Seq2Seq(
        source_vocabulary_size=source_vocabulary_size,
        target_vocabulary_size=len(WORDS),
        start_id=START_ID,
        dtype=dtype,
        network=network
        or RecurrentNetwork(
            embedding_size=8,
            hidden_size=16,
            num_layers=2,
            cell="lstm",
            dropout=0.0,
            init_scale=1.5,
        ),
    )


def make_translator(
    network: Network | None = None,
    dtype: str = "float32",
    shortlist: ShortlistTable | None = None,
    frozen: bool = True,
    **search,
) -> Translator:
    source = TextProcessor(CHARACTERS, TextConfig(unit="character"))
    target = TextProcessor(WORDS, TextConfig())
    options = {"beam_size": 4, "n_best": 3, "max_length_factor": 0.5, "max_length_constant": 5, **search}
    return Translator(
        make_model(network, dtype=dtype), source, target, TranslationOptions(**options), shortlist, frozen
    )


EXAMPLES = [("ein hund.", "der hund läuft."), ("schön", "schön"), ("der hund's 漢字", "ein hund's 漢字")]


def export_demo(translator: Translator, base: Path) -> Path:
    return export(translator, base, EXAMPLES, {"name": base.name, "metrics": {"bleu": 12.5}})


@pytest.fixture(scope="session")
def translator() -> Translator:
    return make_translator()
