"""Where a version says what stands behind it: `assets.extra/model_card.json`, which servers leave alone."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.errors import DataError

FROZEN_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"
"""TensorFlow's switch: of each product that is computed with its bias, oneDNN reorders the kernel once for all calls.

So there a kernel has to be a weight, which holds for what `serving.export` writes; its cards say so by `KERNELS`.
"""
KERNELS = "kernels_are_weights"
CARD_FILE = Path("assets.extra", "model_card.json")


def write_card(version: Path, card: Mapping[str, Any]) -> None:
    """Write the card of the version in this folder."""
    card = {**card, KERNELS: True}
    (version / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def check_frozen_weights(version: Path) -> None:
    """Under `FROZEN_WEIGHTS`, refuse a version that may not be run so.

    Raises:
        DataError: its card does not say `KERNELS`.
    """
    is_set = os.environ.get(FROZEN_WEIGHTS, "0").lower() not in ("0", "false")
    if is_set and not (read_card(version) or {}).get(KERNELS):
        raise DataError(
            f"{version}: expected a model card with {KERNELS}, for {FROZEN_WEIGHTS} is set: with another model answers "
            "could be wrong; export the model again, or serve it without --frozen-weights"
        )


def read_card(version: Path) -> dict[str, Any] | None:
    """The card of the version in this folder, if it has one.

    Raises:
        DataError: there is one that cannot be read.
    """
    try:
        card = json.loads((version / CARD_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise _damaged(version, str(error)) from None
    if not isinstance(card, dict):
        raise _damaged(version, f"a JSON {type(card).__name__}")
    return card


def _damaged(version: Path, found: str) -> DataError:
    return DataError(
        f"{version / CARD_FILE}: expected a model card, found something else ({found}); roll back to another version, "
        f"or delete {version}"
    )
