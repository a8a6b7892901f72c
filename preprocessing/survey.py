"""A first look at a person's files: how many pairs, how long, in which letters. Needs neither TensorFlow nor a runner.

All lines are counted; only the beginning is looked at. Words are found by a simple pattern, close to what
`preprocessing.text` does with a whole graph.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from preprocessing.errors import DataError
from preprocessing.filters import encoding_reason
from preprocessing.scripts import main_script, script_of
from preprocessing.wording import counted

if TYPE_CHECKING:  # it loads Beam
    from preprocessing.corpora import PairSource, Row

SAMPLE_BYTES = 8 << 20
"""How much of both sides together is looked at."""

Number = TypeVar("Number", int, float)

_MAX_BROKEN_SHARE = 0.05  # as in ExampleGen's default
_MAX_LINE_BYTES = 1 << 16
_WORD = re.compile(r"\w+|[^\w\s]")


class SideSurvey(NamedTuple):
    """One side of the pairs that were looked at. Lengths are of single texts."""

    mean_words: float
    p99_words: int
    mean_characters: float
    p99_characters: int
    running_words: int
    distinct_words: int
    distinct_characters: int
    script: str | None  # of most letters
    shared_letters: float  # share of the running letters that occur on the other side, too


class Survey(NamedTuple):
    """What a first look tells.

    Attributes:
      pairs: all of them.
      sampled: those that were looked at and are whole.
      source: one side.
      target: the other.
      growth: 99 % of the targets have, beyond 10 characters or words, at most so many for each one of the source; by
        the unit of source and target ("characters" or "words").
    """

    pairs: int
    sampled: int
    source: SideSurvey
    target: SideSurvey
    growth: dict[tuple[str, str], float]


class _Marks(dict[int, str | None]):
    """A table for `str.translate` that leaves out marks, which Python's patterns take for the end of a word."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        self[code] = None if unicodedata.category(character).startswith("M") else character
        return self[code]


_WITHOUT_MARKS = _Marks()


class _Side:
    """Collects the lengths and tokens of one side."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.lengths: dict[str, list[int]] = {"words": [], "characters": []}

    def add(self, text: str) -> None:
        words = _WORD.findall(text.lower().translate(_WITHOUT_MARKS))
        self.words.update(words)
        self.characters.update(text.lower())
        self.lengths["words"].append(len(words))
        self.lengths["characters"].append(len(text))

    def survey(self, other: "_Side") -> SideSurvey:
        letters = {character: count for character, count in self.characters.items() if script_of(character)}
        shared = sum(count for character, count in letters.items() if character in other.characters)
        words, characters = self.lengths["words"], self.lengths["characters"]
        return SideSurvey(
            mean_words=sum(words) / len(words),
            p99_words=_p99(words),
            mean_characters=sum(characters) / len(characters),
            p99_characters=_p99(characters),
            running_words=sum(words),
            distinct_words=len(self.words),
            distinct_characters=len(self.characters),
            script=main_script(letters),
            shared_letters=shared / sum(letters.values()) if letters else 0.0,
        )


def survey(corpus: "PairSource", sample_bytes: int = SAMPLE_BYTES) -> Survey:
    """Looks at a corpus.

    Args:
      corpus: where the pairs come from.
      sample_bytes: how much text is looked at.

    Raises:
      DataError: a file is missing, empty, binary or not UTF-8, or the lines of two files do not match.
    """
    sides, pairs, seen, broken = (_Side(), _Side()), 0, 0, 0
    sampled, first_broken, remedy = 0, "", ""
    shards = corpus.shards()
    for shard in shards:
        for row in shard.rows(_MAX_LINE_BYTES):
            pairs += 1
            if seen >= sample_bytes:
                continue
            seen += len(row.source) + len(row.target) + 1
            sampled += 1
            complaint = _complaint(row)
            if complaint is not None:
                broken += 1
                if not first_broken:
                    first_broken = f"{shard.name} line {row.line}: {complaint}"
                    remedy = _remedy(shard.name)
                continue
            for side, text in zip(sides, (row.source, row.target), strict=True):
                side.add(" ".join(text.decode().split()))
    if not pairs:
        more = f" and {counted(len(shards) - 1, 'more file')} are" if len(shards) > 1 else " is"
        raise DataError(f"{shards[0].name}{more} empty; expected one sentence a line")
    if broken > _MAX_BROKEN_SHARE * sampled or broken == sampled:
        raise DataError(f"{first_broken}; {broken:,} of the first {sampled:,} lines are like this or worse{remedy}")
    source, target = sides
    return Survey(pairs, sampled - broken, source.survey(target), target.survey(source), _growth(source, target))


def _complaint(row: "Row") -> str | None:
    """What is wrong with a row, if anything."""
    if b"\0" in row.source or b"\0" in row.target:
        return "a NUL byte: a binary file, or UTF-16; expected text in UTF-8, convert it"
    if row.reason is not None:
        told = {"malformed_row": "expected two columns, source<TAB>target", "line_too_long": "longer than 65,536 bytes"}
        return told.get(row.reason.value, row.reason.value)
    if encoding_reason(row.source, row.target) is not None:
        return "not UTF-8; convert it, for instance with iconv -t UTF-8"
    return None if row.source.strip() and row.target.strip() else "one side is empty"


def _remedy(path: str) -> str:
    """What to do with a file that is not of plain lines, by its name."""
    ending = re.search(r"\.(csv|jsonl|tmx|po)(\.gz|\.bz2|\.zst)?$", path)
    if ending is None:
        return ""
    return (
        f"; only plain lines are looked at: name the file in a configuration, [[data.corpora]] with {ending[1]} = ..."
    )


def _growth(source: _Side, target: _Side) -> dict[tuple[str, str], float]:
    return {
        (of, to): _p99([(t - 10) / max(1, s) for s, t in zip(source.lengths[of], target.lengths[to], strict=True)])
        for of in source.lengths
        for to in target.lengths
    }


def _p99(values: Sequence[Number]) -> Number:
    """The nearest rank: the smallest value that 99 % do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * 99 // 100) - 1]
