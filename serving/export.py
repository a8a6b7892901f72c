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
from serving.versions import rename_to_next


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
    translator.trace()
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
