"""Where a configuration is read from: a TOML file or a preset, and `--set` on top of it.

This file knows paths, TOML and the syntax of overrides; which keys exist is the business of `pipeline/config.py`.
"""

import difflib
import fnmatch
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from preprocessing.file_patterns import is_remote

PATH_KEYS = tuple(split + side for split in ("", "validation_", "test_") for side in ("source", "target", "tsv"))
"""Keys of the section `data` that hold paths."""

CORPUS_PATH_KEYS = ("source", "target", "tsv", "csv", "jsonl", "tmx", "po")
"""Keys of its tables `[[data.corpora]]` that do."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A configuration before validation: plain values and where each came from."""

    label: str
    """What messages call it: the path as typed, or `preset NAME`."""
    folder: Path
    """What its relative paths are relative to."""
    values: dict[str, Any]
    """The TOML document with the overrides merged in."""
    overrides: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Key path to the `section.key=value` that set it."""


def presets() -> dict[str, Traversable]:
    """Name to file of every preset, sorted by name."""
    folder = resources.files("pipeline") / "configs"
    files = sorted((item.name, item) for item in folder.iterdir() if item.name.endswith(".toml"))
    return {name.removesuffix(".toml"): item for name, item in files}


def read_reference(reference: str, overrides: Sequence[str]) -> Document:
    """Reads the TOML file or preset that `reference` names and applies `section.key=value` overrides in order.

    Raises:
        UsageError: The reference names nothing readable, the TOML or an override is malformed.
    """
    preset = presets().get(reference)
    if preset is not None:
        label, folder, name = f"preset {reference}", Path.cwd(), reference
        text = preset.read_text(encoding="utf-8")
    else:
        path = Path(reference).expanduser()
        label, folder, name = reference, path.absolute().parent, path.name.removesuffix(".toml")
        text = _read(path, reference)
    values = _extended(_parse(text, label), label)
    values.setdefault("name", name)
    origins: dict[tuple[str, ...], str] = {}
    for override in overrides:
        keys, value = _parse_override(override)
        _assign(values, keys, value, override)
        origins[keys] = override
    return Document(label=label, folder=folder, values=values, overrides=origins)


def resolve_paths(data: Mapping[str, Any], document: Document) -> dict[str, Any]:
    """Makes the paths of the section `data` independent of the current directory and of the file's folder.

    Relative paths stay as they are where `directory` or the download cache is their base; all others become absolute.
    What a person typed after `--set` is relative to the current directory, as in any other command.
    """
    resolved = dict(data)

    def absolute(key: str, path: str) -> str:
        return str(base_of(("data", key), document) / Path(path).expanduser())

    if "directory" in resolved and not is_remote(resolved["directory"]):
        resolved["directory"] = absolute("directory", resolved["directory"])
    fetched = [item["name"] for item in resolved.get("download", ())]

    def independent(key: str, path: str) -> str:
        relative = not path.startswith(("/", "~"))
        if is_remote(path) or (relative and ("directory" in resolved or fnmatch.filter(fetched, path))):
            return path
        return absolute(key, path)

    resolved |= {key: independent(key, resolved[key]) for key in PATH_KEYS if key in resolved}
    resolved["corpora"] = [
        corpus | {key: independent("corpora", corpus[key]) for key in CORPUS_PATH_KEYS if key in corpus}
        for corpus in resolved.get("corpora", ())
    ]
    return resolved


def base_of(keys: tuple[str, ...], document: Document) -> Path:
    """The folder that a relative path starts from."""
    return Path.cwd() if keys in document.overrides else document.folder


def _extended(values: dict[str, Any], label: str) -> dict[str, Any]:
    """A document on top of the preset that its key `extends` names, and that one's, and so on; tables are merged."""
    base = values.pop("extends", None)
    if base is None:
        return values
    preset = presets().get(base) if isinstance(base, str) else None
    if preset is None:
        raise UsageError(f"{label}: extends: expected one of the presets {', '.join(presets())}, got {base!r}")
    return _merged(_extended(_parse(preset.read_text(encoding="utf-8"), f"preset {base}"), f"preset {base}"), values)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], value) if isinstance(value, dict) and isinstance(below.get(name), dict) else value
        for name, value in above.items()
    }
    return {**below, **both}


def _read(path: Path, reference: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = list(presets())
        near = difflib.get_close_matches(reference, names, n=1)
        hint = f"did you mean the preset {near[0]}? " if near else ""
        raise UsageError(
            f"{reference}: expected a TOML file or a preset, found neither; {hint}presets: {', '.join(names)}"
        ) from None
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{reference}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from None
    except OSError as error:
        raise UsageError(f"{reference}: cannot read the configuration: {error.strerror}") from None


def _parse(text: str, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{label}: not valid TOML: {error}") from None


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """Splits `section.key=value`; what is not TOML (a bare word, a path) is a string."""
    dotted, equals, text = override.partition("=")
    keys = tuple(part.strip() for part in dotted.split("."))
    if not override.isprintable():  # a line break would smuggle in more keys, and messages are one line
        raise UsageError(f"--set {override!r}: expected one line of printable text")
    if not equals or not all(keys):
        raise UsageError(f"--set {override}: expected section.key=value, such as training.epochs=3")
    try:
        return keys, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, text.strip()


def _assign(values: dict[str, Any], keys: tuple[str, ...], value: Any, override: str) -> None:
    table = values
    for depth, key in enumerate(keys[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise UsageError(f"--set {override}: {'.'.join(keys[:depth])} is a value, not a section; it has no keys")
    table[keys[-1]] = value
