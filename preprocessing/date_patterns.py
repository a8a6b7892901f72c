"""How dates are written, by locale, and which of the ways leave no doubt about the day.

A pattern is used when its text determines the date:

* the year has four digits and stands apart from other digits, and day and month are there;
* the month is a name, or, in numbers, the year comes first and the month before the day (1994-05-03, 1994/5/3), or the
  day comes first and dots divide (3.5.1994). No locale contradicts these; 03/05/1994 and 03-05-1994 are March in one
  place and May in another, and are left out, as are two-digit years;
* no other pattern of the chosen locales gives the same text, after lower-casing, for another day, as "3. listopad 1994"
  would in Czech (November) and Croatian (October). Where it does, *all* sides of the contradiction are left out.
"""

import datetime
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from babel import Locale
from babel.dates import DateTimeFormat, parse_pattern

_STYLES = ("full", "long", "medium", "short")
_SKELETONS = ("yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd", "yMMMMEEEEd", "yMd", "yMEd")
# Common beside CLDR's own, wherever the year is not written first.
_DAY_FIRST = ("d MMMM y", "d MMM y", "EEEE, d MMMM y", "EEEE, d MMM y", "EEE, d MMM y")

_LITERAL, _MONTH, _DAY, _WEEKDAY, _YEAR = range(5)
_KINDS = {"M": _MONTH, "L": _MONTH, "d": _DAY, "E": _WEEKDAY, "c": _WEEKDAY, "y": _YEAR}
_FIELD = re.compile(r"%\((\w+)\)s")
_FOUR_DIGITS = re.compile(r"(?<!\d)\d{4}(?!\d)")
_LEAP_YEAR = 2000


class Pattern(NamedTuple):
    """One way of writing a date in one locale, compiled: writing takes a microsecond where Babel takes forty.

    Attributes:
      locale: CLDR locale, such as "de".
      pattern: CLDR date pattern, such as "EEEE, d. MMMM y".
      parts: what to write one after the other: the kind of a field, and its texts by month, day or weekday from 0.
        A literal has one text, the year none.
    """

    locale: str
    pattern: str
    parts: tuple[tuple[int, tuple[str, ...]], ...]

    def write(self, day: datetime.date) -> str:
        """Writes a date as `babel.dates.format_date` does."""
        return self.text(day.year, day.month, day.day, day.weekday())

    def text(self, year: int, month: int, day: int, weekday: int) -> str:
        """Writes year, month and day from 1, and weekday from Monday = 0, whether or not they belong together."""
        index = (0, month - 1, day - 1, weekday)
        return "".join([texts[index[kind]] if texts else str(year) for kind, texts in self.parts])


@cache
def patterns_of(locale: str) -> tuple[Pattern, ...]:
    """Lists the distinct patterns of a locale whose text determines the date, in a fixed order.

    Raises:
      babel.UnknownLocaleError, ValueError: there is no such locale.
    """
    known = Locale.parse(locale)
    patterns = [known.date_formats[style].pattern for style in _STYLES]
    patterns += [known.datetime_skeletons[name].pattern for name in _SKELETONS if name in known.datetime_skeletons]
    if not patterns[1].startswith("y"):
        patterns += _DAY_FIRST
    compiled = [_compile(known, locale, pattern) for pattern in patterns]
    usable = [pattern for pattern in compiled if pattern is not None and _determines_date(pattern)]
    # "E" and "EEE" are two spellings of one pattern, and would count twice.
    return tuple({pattern.parts: pattern for pattern in reversed(usable)}.values())[::-1]


@lru_cache(maxsize=16)
def contradictions(locales: Sequence[str]) -> frozenset[tuple[str, str, int, int]]:
    """Finds what must not be written: (locale, pattern, month, day) whose text means another day elsewhere.

    The year is written out in every text, so one leap year with every weekday stands for all years. Texts are compared
    after NFKC, case folding and joining white space, which is at least as coarse as any normalisation of ours.
    """
    meaning: dict[str, tuple[int, int]] = {}
    doubtful = set()
    for text, _, day in _every_text(locales):
        if meaning.setdefault(text, day) != day:
            doubtful.add(text)
    if not doubtful:
        return frozenset()
    return frozenset((*pattern[:2], *day) for text, pattern, day in _every_text(locales) if text in doubtful)


def _every_text(locales: Sequence[str]) -> Iterator[tuple[str, Pattern, tuple[int, int]]]:
    first = datetime.date(_LEAP_YEAR, 1, 1)
    days = [first + datetime.timedelta(days=offset) for offset in range(366)]
    for pattern in (pattern for locale in locales for pattern in patterns_of(locale)):
        weekdays = range(7) if any(kind == _WEEKDAY for kind, _ in pattern.parts) else range(1)
        for day in days:
            for weekday in weekdays:
                text = pattern.text(_LEAP_YEAR, day.month, day.day, weekday)
                yield _fold(text), pattern, (day.month, day.day)


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _compile(known: Locale, locale: str, pattern: str) -> Pattern | None:
    """Looks up the texts of every field; None for a field that is no part of a plain date, such as an era."""
    parts: list[tuple[int, tuple[str, ...]]] = []
    # re.split gives literals at even places and field names at odd ones.
    for place, piece in enumerate(_FIELD.split(str(parse_pattern(pattern).format))):
        if place % 2 == 0:
            parts.append((_LITERAL, (piece.replace("%%", "%"),)))
            continue
        kind = _KINDS.get(piece[0])
        if kind is None or piece in ("yy", "MMMMM", "LLLLL", "EEEEE", "ccccc"):
            return None
        parts.append((kind, _texts(known, kind, piece)))
    return Pattern(locale, pattern, tuple(parts))


def _texts(known: Locale, kind: int, field: str) -> tuple[str, ...]:
    if kind == _YEAR:
        return ()
    if kind == _MONTH:
        days = [datetime.date(_LEAP_YEAR, month, 1) for month in range(1, 13)]
    else:
        # January 2001 has 31 days and begins on a Monday.
        days = [datetime.date(2001, 1, day) for day in range(1, 32 if kind == _DAY else 8)]
    return tuple(str(DateTimeFormat(day, known)[field]) for day in days)


def _determines_date(pattern: Pattern) -> bool:
    fields = [kind for kind, _ in pattern.parts if kind in (_YEAR, _MONTH, _DAY)]
    if sorted(fields) != sorted((_YEAR, _MONTH, _DAY)):
        return False
    if _FOUR_DIGITS.findall(pattern.text(_LEAP_YEAR, 12, 31, 0)) != [str(_LEAP_YEAR)]:
        return False
    months = next(texts for kind, texts in pattern.parts if kind == _MONTH)
    if not any(text.isdigit() for text in months) or fields == [_YEAR, _MONTH, _DAY]:
        return True
    after_day = pattern.parts[[kind for kind, _ in pattern.parts].index(_DAY) + 1][1]
    return fields == [_DAY, _MONTH, _YEAR] and after_day[0].startswith(".")
