"""Where a version says what stands behind it: `assets.extra/model_card.json`, which servers leave alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.errors import DataError

CARD_FILE = Path("assets.extra", "model_card.json")


def write_card(version: Path, card: Mapping[str, Any]) -> None:
    """Write the card of the version in this folder."""
    (version / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


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
