"""Writes a translator as a version of a servable that TF Serving picks up."""

import os
import shutil
from pathlib import Path

import tensorflow as tf

from serving.translator import Translator


def export(translator: Translator, base_dir: Path) -> Path:
    """Save the next version `BASE_DIR/<integer>/`.

    TF Serving polls for folders whose names are integers, so the version is written under another name and appears
    whole, by one rename.

    Args:
        translator: what to save, with its current weights.
        base_dir: the servable's folder; its name is the model's name. It is created if need be.

    Returns:
        The new version's folder.
    """
    base_dir.mkdir(parents=True, exist_ok=True)
    version = max((int(child.name) for child in base_dir.iterdir() if child.name.isdigit()), default=0) + 1
    aside = base_dir / f".{version}.{os.getpid()}.partial"
    try:
        # Custom gradients are of no use to a server.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(translator, str(aside), signatures=translator.signatures(), options=options)
        final = base_dir / str(version)
        aside.rename(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return final
