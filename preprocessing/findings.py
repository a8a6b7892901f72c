"""Counts of pairs that stand out, each with a few examples that do not depend on who found them first."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from preprocessing.examples import Record

EXAMPLES = 5
"""How many examples of each kind are kept: those with the smallest keys."""

_SHOWN_CHARACTERS = 80

Kind = tuple[str | int, ...]
"""What was found, such as ``("untranslated",)`` or ``("script", "target", "Latin")``."""


class Example(NamedTuple):
    """A pair to show: the record's key and both sides, shortened."""

    key: str
    source: str
    target: str


class Finding(NamedTuple):
    """How often something was found, and the first examples, in the order of their keys."""

    pairs: int
    examples: list[Example]


Findings = dict[Kind, Finding]


def example_of(record: Record) -> Example:
    """What is shown of a pair."""
    return Example(record.key, shorten(record.source), shorten(record.target))


def note(findings: Findings, kind: Kind, record: Record) -> None:
    """Counts a pair under a kind, and keeps it as an example if it is one of the first."""
    found = findings.get(kind)
    if found is None:
        findings[kind] = Finding(1, [example_of(record)])
    elif len(found.examples) < EXAMPLES or record.key < found.examples[-1].key:
        findings[kind] = Finding(found.pairs + 1, first_examples([*found.examples, example_of(record)]))
    else:
        findings[kind] = Finding(found.pairs + 1, found.examples)


def add_findings(total: Findings, more: Findings) -> None:
    """Adds the counts of `more` to `total`; the order of adding does not show."""
    for kind, finding in more.items():
        total[kind] = sum_of([total[kind], finding]) if kind in total else finding


def sum_of(findings: Iterable[Finding]) -> Finding:
    """Several kinds as one."""
    listed = list(findings)
    examples = [example for finding in listed for example in finding.examples]
    return Finding(sum(finding.pairs for finding in listed), first_examples(examples))


def first_examples(examples: Iterable[Example]) -> list[Example]:
    """Those with the smallest keys."""
    return sorted(examples)[:EXAMPLES]


def described(finding: Finding, of: int) -> dict[str, Any]:
    """A finding as JSON: ``{"count": 3, "of": 100, "share": 0.03, "examples": [...]}``."""
    return {
        "count": finding.pairs,
        "of": of,
        "share": finding.pairs / of if of else 0.0,
        "examples": [
            dict(zip(("file", "line"), place(example.key), strict=True))
            | {"source": example.source, "target": example.target}
            for example in finding.examples
        ],
    }


def with_paths(findings: Findings, files: Sequence[str]) -> Findings:
    """The same findings with the paths of files in the keys of their examples, whose order stays as it is.

    Args:
      findings: those of keys such as ``00002-a.de:000000017``, which becomes ``00002-law/a.de:000000017``.
      files: the path to each number.

    Raises:
      ValueError: a key is of another file than the one of its number.
    """
    return {
        kind: Finding(
            finding.pairs, [example._replace(key=_with_path(example.key, files)) for example in finding.examples]
        )
        for kind, finding in findings.items()
    }


def _with_path(key: str, files: Sequence[str]) -> str:
    file, _, line = key.rpartition(":")
    number, _, name = file.partition("-")
    path = files[int(number)] if number.isdecimal() and int(number) < len(files) else ""
    if path.rsplit("/", 1)[-1] != name or not name:
        raise ValueError(f"files must name those of the records' keys, got none for {key}")
    return f"{number}-{path}:{line}"


def place(key: str) -> tuple[str, int]:
    """File and line that a record's key names: ``00002-train.de.gz:000000017`` is line 17 of train.de.gz."""
    file, _, line = key.rpartition(":")
    line = line.partition("#")[0]  # of a copy, see `preprocessing.weights`
    number, dash, name = file.partition("-")
    return (name if dash and number.isdigit() else file), int(line) if line.isdecimal() else 0


def shorten(text: str) -> str:
    """At most 80 characters."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
