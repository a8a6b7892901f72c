"""Which pairs are kept: every reason to drop one has a name, and is counted under it.

The functions look at one pair and are pure; what costs time, normalising and tokenising, is done before them on whole
batches. Lengths are in characters where the unit is a character, else in words: there are no subwords yet.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

Duplicates = Literal["none", "exact", "near"]
"""Which repetitions of a training pair are dropped: none, those equal after normalisation, or also those that differ in
no letter; see `duplicates.near_form`."""


class Reason(StrEnum):
    """Why a pair is dropped. The first that applies, in this order, is the one counted."""

    LINE_TOO_LONG = "line_too_long"
    """A line has more bytes than the reader accepts."""
    MALFORMED_ROW = "malformed_row"
    """A row of a table has not the columns, or a line of JSON not the keys, that it should have."""
    MISSING_LANGUAGE = "missing_language"
    """TMX: a unit has no text in one of the two languages."""
    OBSOLETE = "obsolete"
    """Gettext: the program no longer has this message."""
    FUZZY = "fuzzy"
    """Gettext: the translation is a guess that nobody has confirmed."""
    UNTRANSLATED = "untranslated"
    """Gettext: the message has no translation yet."""
    INVALID_UTF8 = "invalid_utf8"
    """A side is not UTF-8."""
    NUL_BYTE = "nul_byte"
    """A side has a NUL byte: binary data, or UTF-16."""
    EMPTY_SOURCE = "empty_source"
    """Nothing is left of the source after normalisation."""
    EMPTY_TARGET = "empty_target"
    """Nothing is left of the target after normalisation."""
    SOURCE_TOO_LONG = "source_too_long"
    """Not in a given evaluation split: the source is longer than `FilterOptions.max_source_length`."""
    TARGET_TOO_LONG = "target_too_long"
    """Not in a given evaluation split: the target is longer than `FilterOptions.max_target_length`."""
    LENGTH_RATIO = "length_ratio"
    """Not in a given evaluation split: one side is over `FilterOptions.max_length_ratio` times as long as the other."""
    SOURCE_IN_OTHER_SPLIT = "source_in_other_split"
    """The same source, or a near copy of it, is in a split that comes first: test before validation before train."""
    DUPLICATE = "duplicate"
    """Training split only, with `FilterOptions.drop_duplicates`: the same pair stands earlier."""
    NEAR_DUPLICATE = "near_duplicate"
    """Training split only, with `FilterOptions.drop_duplicates` "near": one with the same letters stands earlier."""
    WEIGHT = "weight"
    """Training split only: not chosen from a corpus whose weight is below 1."""


DATA_ERRORS = frozenset(
    {
        Reason.LINE_TOO_LONG,
        Reason.MALFORMED_ROW,
        Reason.INVALID_UTF8,
        Reason.NUL_BYTE,
        Reason.EMPTY_SOURCE,
        Reason.EMPTY_TARGET,
    }
)
"""The reasons that speak of broken data rather than of a choice; too many of them stop the run."""


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """What is dropped; given validation and test splits keep every readable pair with two non-empty sides.

    Attributes:
      max_source_length: longest source, in words or characters; None for no limit.
      max_target_length: longest target, in words or characters; None for no limit.
      max_length_ratio: the longer side's length divided by the shorter's may not exceed this; None for no limit.
      drop_duplicates: of which pairs only the first is kept. "near" also keeps near copies of a source in one split.
    """

    max_source_length: int | None = 512
    max_target_length: int | None = 512
    max_length_ratio: float | None = None
    drop_duplicates: Duplicates = "none"

    def __post_init__(self) -> None:
        """Checks the limits."""
        if self.drop_duplicates not in get_args(Duplicates):
            raise ValueError(
                f"drop_duplicates must be one of {', '.join(get_args(Duplicates))}, got {self.drop_duplicates!r}"
            )
        for name in ("max_source_length", "max_target_length", "max_length_ratio"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise ValueError(f"{name} must be at least 1 or None, got {value!r}; None switches the filter off")

    @property
    def needs_lengths(self) -> bool:
        """Whether any filter looks at lengths."""
        return any(
            limit is not None for limit in (self.max_source_length, self.max_target_length, self.max_length_ratio)
        )


def encoding_reason(source: bytes, target: bytes) -> Reason | None:
    """Judges a pair as it was read, before normalisation replaces what is broken."""
    try:
        source.decode("utf-8")
        target.decode("utf-8")
    except UnicodeDecodeError:
        return Reason.INVALID_UTF8
    return Reason.NUL_BYTE if b"\0" in source or b"\0" in target else None


def empty_reason(source: bytes, target: bytes) -> Reason | None:
    """Judges a normalised pair: each side needs at least one character."""
    if not source:
        return Reason.EMPTY_SOURCE
    return None if target else Reason.EMPTY_TARGET


def length_reason(source_length: int, target_length: int, options: FilterOptions) -> Reason | None:
    """Judges the lengths of a pair, in words or characters; both are at least 1."""
    if options.max_source_length is not None and source_length > options.max_source_length:
        return Reason.SOURCE_TOO_LONG
    if options.max_target_length is not None and target_length > options.max_target_length:
        return Reason.TARGET_TOO_LONG
    longer, shorter = max(source_length, target_length), min(source_length, target_length)
    if options.max_length_ratio is not None and longer > options.max_length_ratio * shorter:
        return Reason.LENGTH_RATIO
    return None
