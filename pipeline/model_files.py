"""From configuration to model, and to disk and back, with a guard that model and vocabularies belong together."""

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from models.ensemble import EnsembleNetwork
from models.networks import NETWORKS
from models.seq2seq import Seq2Seq
from models.shortlist import ShortlistTable
from pipeline.artifacts import hash_file, write_whole
from pipeline.config import Config
from pipeline.quiet import filtered_stderr
from pipeline.text_config import TextSection
from preprocessing.errors import DataError
from preprocessing.segmentation_table import SampledEncoder, segmentation_file
from preprocessing.shortlist import read_shortlist
from preprocessing.special_tokens import START_ID
from preprocessing.text import TextConfig, TextProcessor
from preprocessing.vocabulary import SIDES, read_processor, read_vocabulary, vocabulary_file, vocabulary_files
from serving.translation_options import TranslationOptions
from serving.translator import Translator

MODEL_FILE = "model.keras"
VOCABULARIES_FILE = "vocabularies.json"

Precision = Literal["float32", "bfloat16", "float16"]


def text_processor(config: Config, transform_dir: Path, side: str) -> TextProcessor:
    """A side's text processing, with its vocabulary in `transform_dir`."""
    section: TextSection = getattr(config, side)
    with filtered_stderr():
        return read_processor(transform_dir, side, TextConfig(**section.text_options()))


def sampled_encoders(config: Config, transform_dir: Path) -> dict[str, SampledEncoder]:
    """Encoders of the sides whose words are segmented at random in training."""
    return {
        side: SampledEncoder(segmentation_file(transform_dir, side), text_processor(config, transform_dir, side))
        for side in SIDES
        if getattr(config, side).samples
    }


def build_model(config: Config, transform_dir: Path, precision: Precision = "float32", cudnn: bool = False) -> Seq2Seq:
    """A new model for the vocabularies in `transform_dir`.

    Args:
        config: the section `model`.
        transform_dir: where the vocabularies are.
        precision: type of the matrix products.
        cudnn: whether it may use cuDNN, for training alone.

    Raises:
        DataError: the embeddings of both sides are to be one, but the vocabularies are not.
    """
    source, target = (read_vocabulary(vocabulary_file(transform_dir, side)) for side in SIDES)
    if config.model.tied == "all" and source != target:
        raise DataError(
            f'model.tied: expected "none" or "target" unless both sides have the same vocabulary, got "all" with '
            f"different ones in {transform_dir}"
        )
    options = config.model.model_dump()
    options["init_scale"] = options["init_scale"] or None
    return Seq2Seq(
        source_vocabulary_size=len(source),
        target_vocabulary_size=len(target),
        start_id=START_ID,
        network=NETWORKS[options.pop("architecture")](**options),
        dtype=_policy(precision),
        cudnn=cudnn,
    )


def _policy(precision: Precision) -> str:
    return "float32" if precision == "float32" else f"mixed_{precision}"


def save_model(model: Seq2Seq, directory: Path, transform_dir: Path) -> None:
    """Write `model.keras` and the fingerprints of its vocabularies; each file appears whole.

    The same weights give the same bytes.
    """
    fingerprints = vocabulary_hashes(transform_dir)
    write_whole(directory / VOCABULARIES_FILE, json.dumps(fingerprints, indent=2) + "\n")
    aside = directory / f".partial-{os.getpid()}-{MODEL_FILE}"
    keras.saving.save_model(model, aside, include_optimizer=False)
    _forget_time(aside)
    aside.rename(directory / MODEL_FILE)


def _forget_time(path: Path) -> None:
    """Writes a Keras archive again without the times of saving, within it and in its directory."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(parts["metadata.json"])
    del metadata["date_saved"]
    parts["metadata.json"] = json.dumps(metadata).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def vocabulary_hashes(transform_dir: Path) -> dict[str, str]:
    """Name to SHA-256 of the files that say which token an id is."""
    return {path.name: hash_file(path) for path in map(Path, vocabulary_files(transform_dir))}


def load_model(trainer_dir: Path, transform_dir: Path, precision: Precision = "float32") -> Seq2Seq:
    """Read a model back that the Trainer or the Ensembler wrote, whatever precision that trained in.

    Raises:
        DataError: the vocabularies in `transform_dir` are not those that the model was trained on.
    """
    trained_on = json.loads((trainer_dir / VOCABULARIES_FILE).read_text(encoding="utf-8"))
    found = vocabulary_hashes(transform_dir)
    for name in sorted({*trained_on, *found}):
        expected, got = (known.get(name, "none")[:12] for known in (trained_on, found))
        if expected != got:
            raise DataError(
                f"{transform_dir / name}: expected the vocabulary with SHA-256 {expected}… "
                f"that {trainer_dir / MODEL_FILE} was trained on, got {got}…; train again on this vocabulary"
            )
    loaded: Seq2Seq = keras.saving.load_model(trainer_dir / MODEL_FILE, compile=False)
    if loaded.dtype_policy.name == _policy(precision):
        return loaded
    model = Seq2Seq(**loaded.arguments, dtype=_policy(precision))
    model.set_weights(loaded.get_weights())
    return model


def join_models(trainer_dirs: Sequence[Path], transform_dir: Path, output_dir: Path) -> dict[str, float]:
    """Make one model of several trained ones, and write it as the Trainer writes its own.

    Returns:
        The numbers of members and of weights.
    """
    members = [load_model(directory, transform_dir) for directory in trainer_dirs]
    arguments = {name: value for name, value in members[0].arguments.items() if name != "network"}
    network = EnsembleNetwork(members=tuple(member.arguments["network"] for member in members))
    joined = Seq2Seq(**arguments, network=network)
    for member, encoder, decoder in zip(members, joined.encoder.members, joined.decoder.members, strict=True):
        encoder.set_weights(member.encoder.get_weights())
        decoder.set_weights(member.decoder.get_weights())
    save_model(joined, output_dir, transform_dir)
    return {"members": len(members), "parameters": joined.count_params()}


def build_translator(
    config: Config,
    model: Seq2Seq,
    transform_dir: Path,
    shortlist_dir: Path | None = None,
    frozen: bool = False,
    **search: Any,
) -> Translator:
    """A translator of `model`.

    Args:
        config: the sections `source`, `target` and `search`.
        model: the network.
        transform_dir: where the vocabularies are.
        shortlist_dir: where the shortlist is; without it the whole vocabulary is searched.
        frozen: whether the model's weights will not change; see `Translator`.
        **search: overrides fields of the configured search; `max_tokens=0` is for texts that no server is asked for.
    """
    options = config.search.model_dump(exclude={"shortlist", "shortlist_frequent"})
    return Translator(
        model,
        text_processor(config, transform_dir, "source"),
        text_processor(config, transform_dir, "target"),
        TranslationOptions(**{**options, **search}),
        None if shortlist_dir is None else ShortlistTable(*read_shortlist(str(shortlist_dir))),
        frozen,
    )
