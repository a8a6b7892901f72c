"""`translations.tsv`: what the Evaluator's search made of the test split. Light: no TensorFlow."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts import write_whole

TRANSLATIONS_FILE = "translations.tsv"


class Translation(NamedTuple):
    """A source of the test split, what it was translated to, and everything that it may be translated to."""

    source: str
    best: str
    """By the configured beam."""
    greedy: str
    references: tuple[str, ...]


def write_translations(directory: Path, rows: Iterable[Translation]) -> None:
    """Writes one line for each row: source, best, greedy, references. Normalised text has neither tab nor line end."""
    lines = ("\t".join((row.source, row.best, row.greedy, *row.references)) for row in rows)
    write_whole(directory / TRANSLATIONS_FILE, "".join(f"{line}\n" for line in lines))


def read_translations(path: Path) -> list[Translation]:
    """Reads what `write_translations` wrote; an empty list of an empty file.

    Args:
        path: of the file.
    """
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # splitlines() knows more ends of lines
    return [
        Translation(source, best, greedy, tuple(references))
        for source, best, greedy, *references in (line.split("\t") for line in lines)
    ]


def spread(rows: Sequence[Translation], count: int) -> Sequence[Translation]:
    """So many of them, at most, from all over the split."""
    return rows[:: max(1, len(rows) // count)][:count] if count else []
