"""The built-in corpus of dates: how people write a day in eighteen languages, and the same day in ISO 8601.

    "Donnerstag, 5. Mai 1994"  ->  "1994-05-05"        "1994年5月5日"  ->  "1994-05-05"

Month and weekday names and patterns come from the Unicode CLDR through Babel (CLDR data: Copyright Unicode, Inc.,
Unicode License v3, https://www.unicode.org/license.txt).

The answer is always determined by the text alone; see `preprocessing.date_patterns` for the rule.
"""

import datetime
import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from babel import UnknownLocaleError

from preprocessing.corpora import Corpus, Row, Split
from preprocessing.date_patterns import contradictions, patterns_of
from preprocessing.errors import DataError

LOCALES = (
    *("en", "de", "fr", "es", "it", "nl", "pt", "pl", "cs"),
    *("sv", "da", "fi", "tr", "ru", "uk", "el", "hu", "ja"),
)
"""The languages of the corpus unless others are asked for."""

_PAIRS_PER_SHARD = 20_000
_PATIENCE = 30


@dataclass(frozen=True, kw_only=True)
class Dates(Corpus):
    """A seeded sample of dates, uniform over locale, then over the locale's patterns, and over days.

    The same values give the same pairs for one version of Babel. All pairs are distinct.

    Attributes:
      count: number of pairs.
      seed: another seed is another sample.
      years: first and last year, both included; four digits.
      locales: CLDR locales Babel knows, such as "en" or "pt_PT", with a Gregorian calendar.
      split: where the pairs go; None divides them by hash.
    """

    count: int = 40_000
    seed: int = 1
    years: tuple[int, int] = (1950, 2049)
    locales: tuple[str, ...] = LOCALES
    split: Split | None = None

    def __post_init__(self) -> None:
        """Checks the numbers and the locales."""
        super().__post_init__()
        first, last = self.years
        if self.count < 1:
            raise DataError(f"dates: count must be at least 1, got {self.count}")
        if not 1000 <= first <= last <= 9999:
            raise DataError(f"dates: years must be two four-digit years, first <= last, got {first} to {last}")
        if not self.locales:
            raise DataError('dates: locales is empty; name at least one, such as "en"')
        for locale in self.locales:
            try:
                usable = patterns_of(locale)
            except (UnknownLocaleError, ValueError) as error:
                raise DataError(
                    f'dates: Babel knows no locale {locale!r}; use one such as "en", "de" or "pt_PT"'
                ) from error
            if not usable:
                raise DataError(f"dates: locale {locale!r} writes no date whose answer is certain; leave it out")

    def shards(self) -> Sequence["DateShard"]:
        """Divides the sample; how depends on the values of this source only, never on workers."""
        shards = min(-(-self.count // _PAIRS_PER_SHARD), len(self.days))
        return [DateShard(self, index, shards) for index in range(shards)]

    @property
    def days(self) -> range:
        """Every day of the years, as proleptic Gregorian ordinals."""
        first, last = self.years
        return range(datetime.date(first, 1, 1).toordinal(), datetime.date(last, 12, 31).toordinal() + 1)


@dataclass(frozen=True)
class DateShard:
    """Shard `index` of `shards`: its own days (every `shards`-th), drawn from with its own generator.

    As a text determines its day, no two shards can write the same text, and each looks for doubles by itself.
    """

    dates: Dates
    index: int
    shards: int

    name = "dates"

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the pairs; see `preprocessing.corpora.Shard.rows`."""
        start, stop = (self.dates.count * index // self.shards for index in (self.index, self.index + 1))
        seen: set[str] = set()
        for text, day in self._draws(limit=_PATIENCE * (stop - start) + 1000):
            if len(seen) == stop - start:
                return
            if text not in seen:
                seen.add(text)
                yield Row(start + len(seen), text.encode(), day.isoformat().encode())
        if len(seen) < stop - start:
            raise DataError(
                f"dates: count {self.dates.count} is more than these years and locales have distinct dates;"
                " lower count, widen years or add locales"
            )

    def _draws(self, limit: int) -> Iterator[tuple[str, datetime.date]]:
        """Yields up to `limit` random dates as text; the same text may come twice."""
        seed = hashlib.sha256(f"dates {self.dates.seed} {self.index}".encode()).digest()
        # random() is the one method whose sequence Python promises to keep between versions.
        generator = random.Random(int.from_bytes(seed)).random
        days = self.dates.days[self.index :: self.shards]
        choices = [patterns_of(locale) for locale in self.dates.locales]
        excluded = contradictions(self.dates.locales)
        for _ in range(limit):
            patterns = choices[int(generator() * len(choices))]
            pattern = patterns[int(generator() * len(patterns))]
            day = datetime.date.fromordinal(days[int(generator() * len(days))])
            if (*pattern[:2], day.month, day.day) not in excluded:
                yield pattern.write(day), day
