"""What differs between two executions of a component, in words such as `training.epochs 10 -> 20`."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "(absent)"

_LONGEST = 48  # characters of a value


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, as `model.hidden_size` and its value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shown(value: Any) -> str:
    """A value of a configuration as a person writes it, in one line of bounded length."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split()) or json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def value_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`KEY OLD -> NEW` of each leaf that differs, in the order of the keys."""
    before, after = dict(flat(old)), dict(flat(new))
    changed = []
    for key in dict.fromkeys([*after, *before]):
        if key not in before or key not in after or before[key] != after[key]:
            values = (shown(side[key]) if key in side else ABSENT for side in (before, after))
            changed.append(f"{key} {' -> '.join(values)}")
    return changed


def file_changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What became of files, by their role and name, such as `source[0] train.de`: changed, added, removed."""
    groups = {
        "changed": [key for key in new if key in old and old[key] != new[key]],
        "added": [key for key in new if key not in old],
        "removed": [key for key in old if key not in new],
    }
    return [f"files {what}: {', '.join(map(_name, keys))}" for what, keys in groups.items() if keys]


def _name(key: str) -> str:
    return key.partition(" ")[2] or key
