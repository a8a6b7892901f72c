"""Writes a translator as a version of a servable that TF Serving picks up."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2

from serving.aside import folder_aside
from serving.model_card import write_card
from serving.predictions import warmup_logs, write_warmup
from serving.translator import Translator


def versions_of(base_dir: Path) -> list[Path]:
    """The versions of a servable, the newest last; TF Serving takes the highest number for the newest."""
    return sorted((child for child in base_dir.glob("*/") if child.name.isdecimal()), key=lambda child: int(child.name))


def newest_version(directory: Path) -> Path:
    """A version's folder: `directory` itself, or the newest version in it.

    Raises:
        FileNotFoundError: it is neither.
    """
    if (directory / "saved_model.pb").is_file():
        return directory
    versions = versions_of(directory)
    if not versions:
        raise FileNotFoundError(
            f"{directory}: expected the folder of a SavedModel or of its versions, which are named by numbers"
        )
    return versions[-1]


def rename_to_next(aside: Path, base_dir: Path) -> Path:
    """Make a whole folder the next version of a servable, and return that version's folder."""
    while True:
        # Also of files, which are no versions but would be in the way.
        number = max((int(child.name) for child in base_dir.iterdir() if child.name.isdecimal()), default=0) + 1
        final = base_dir / str(number)
        try:
            aside.rename(final)
        except OSError:
            if not final.exists():
                raise
            continue  # another process has just taken that number
        return final


def export(
    translator: Translator, base_dir: Path, examples: Sequence[tuple[str, str]], card: Mapping[str, Any]
) -> Path:
    """Save the next version `BASE_DIR/<integer>/`.

    TF Serving polls for folders whose names are integers, so the version is written under another name and appears
    whole, by one rename.

    Args:
        translator: what to save, with its current weights.
        base_dir: the servable's folder; its name is the model's name. It is created if need be.
        examples: real pairs of source and target, of which the warm-up requests are made.
        card: what stands behind the model, for `assets.extra/model_card.json`.

    Returns:
        The new version's folder.
    """
    base_dir.mkdir(parents=True, exist_ok=True)
    with folder_aside(base_dir) as folder:
        aside = folder / "version"
        # Custom gradients are of no use to a server.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(translator, str(aside), signatures=translator.signatures(), options=options)
        _name_by_content(aside / "fingerprint.pb")
        write_warmup(warmup_logs(translator, base_dir.name, examples), aside)
        write_card(aside, card)
        return rename_to_next(aside, base_dir)


def _name_by_content(path: Path) -> None:
    """Replaces the random identifier of a SavedModel's fingerprint by one that follows from its hashes."""
    fingerprint = fingerprint_pb2.FingerprintDef.FromString(path.read_bytes())
    fingerprint.uuid = ""
    fingerprint.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, fingerprint.SerializeToString(deterministic=True).hex()))
    path.write_bytes(fingerprint.SerializeToString(deterministic=True))
