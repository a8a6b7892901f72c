import datetime
import re
import unicodedata

import babel.dates
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocessing.corpora import Row
from preprocessing.date_patterns import contradictions, patterns_of
from preprocessing.dates import LOCALES, Dates
from preprocessing.errors import DataError


def rows(dates: Dates) -> list[Row]:
    return [row for shard in dates.shards() for row in shard.rows(1000)]


def fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@settings(deadline=None)  # The first use of a locale loads it.
@given(st.sampled_from(LOCALES), st.integers(0), st.dates(datetime.date(1000, 1, 1)))
def test_patterns_write_what_babel_writes(locale: str, choice: int, day: datetime.date) -> None:
    pattern = patterns_of(locale)[choice % len(patterns_of(locale))]
    assert pattern.write(day) == babel.dates.format_date(day, format=pattern.pattern, locale=locale)


def test_enough_languages_and_patterns() -> None:
    assert len(LOCALES) >= 16
    assert all(len(patterns_of(locale)) >= 5 for locale in LOCALES)


@pytest.mark.parametrize("locale", LOCALES)
def test_no_pattern_leaves_a_doubt(locale: str) -> None:
    for pattern in patterns_of(locale):
        text = pattern.write(datetime.date(1994, 5, 3))
        assert re.findall(r"\d{3,}", text) == ["1994"], "the year is written out"
        assert not re.search(r"\d[/-]\d\d?[/-]\d{4}", text), "neither 03/05/1994 nor 03-05-1994"
        assert not re.search(r"\d[./-]\d\d?[./-]\d\d$", text.replace("1994", "")), "no two-digit year"


def test_contradictions_are_found_on_both_sides() -> None:
    november, october = datetime.date(1994, 11, 3), datetime.date(1994, 10, 3)
    czech = next(pattern for pattern in patterns_of("pl") if pattern.pattern == "d MMM y")
    croatian = next(pattern for pattern in patterns_of("hr") if pattern.pattern == "d MMM y")
    assert fold(czech.write(november)) == fold(croatian.write(october)) == "3 lis 1994"
    excluded = contradictions(("pl", "hr"))
    assert {("pl", "d MMM y", 11, 3), ("hr", "d MMM y", 10, 3)} <= excluded
    assert ("pl", "d MMM y", 10, 3) not in excluded
    answers: dict[str, set[bytes]] = {}
    for row in rows(Dates(count=3000, locales=("pl", "hr"), years=(1994, 1995))):
        answers.setdefault(fold(row.source.decode()), set()).add(row.target)
    assert all(len(targets) == 1 for targets in answers.values())


def test_sample_is_distinct_consistent_and_spread() -> None:
    found = rows(Dates(count=20_000, seed=3))
    assert [row.line for row in found] == list(range(1, 20_001))
    assert len({row.source for row in found}) == 20_000
    answers = {}
    for row in found:
        datetime.date.fromisoformat(row.target.decode())
        assert answers.setdefault(fold(row.source.decode()), row.target) == row.target
        assert row.target[:4] in row.source
    years = [int(row.target[:4]) for row in found]
    assert min(years) == 1950
    assert max(years) == 2049
    months = [years.count(year) for year in range(1950, 2050)]
    assert max(months) < 2 * min(months)
    japanese = sum("年" in row.source.decode() or re.match(rb"\d{4}/", row.source) is not None for row in found)
    assert abs(japanese / 20_000 - 1 / len(LOCALES)) < 0.01, "every locale has its share"


def test_same_seed_same_pairs() -> None:
    assert rows(Dates(count=500)) == rows(Dates(count=500))
    assert rows(Dates(count=500)) != rows(Dates(count=500, seed=2))
    # The days do not depend on Babel's words: a change of the generator would silently change everybody's splits.
    days = [row.target for row in rows(Dates(count=3, locales=("en",)))]
    assert days == [b"2040-09-07", b"2046-09-18", b"2028-04-05"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"years": (99, 2000)}, "four-digit years"),
        ({"years": (2001, 2000)}, "four-digit years"),
        ({"locales": ()}, "locales is empty"),
        ({"locales": ("en", "xx")}, "no locale 'xx'"),
        ({"locales": ("not a locale",)}, "no locale 'not a locale'"),
    ],
)
def test_bad_values(values: dict[str, object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        Dates(**values)


def test_more_than_there_are() -> None:
    with pytest.raises(DataError, match="count 5000 is more than these years and locales have"):
        rows(Dates(count=5000, years=(2000, 2000), locales=("ja",)))
