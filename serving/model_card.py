"""Where a version says what stands behind it: `assets.extra/model_card.json`, which servers leave alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CARD_FILE = Path("assets.extra", "model_card.json")


def write_card(version: Path, card: Mapping[str, Any]) -> None:
    """Write the card of the version in this folder."""
    (version / CARD_FILE).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_card(version: Path) -> dict[str, Any] | None:
    """The card of the version in this folder, if it has one."""
    try:
        card: dict[str, Any] = json.loads((version / CARD_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return card
