"""The built-in corpus of emoji names: what one emoji is called in two languages.

    "grinning face"  ->  "grinsendes gesicht"

The names are the short names of the Unicode CLDR, as the package `emoji` carries them.
CLDR data: Copyright Unicode, Inc.; Unicode License v3, https://www.unicode.org/license.txt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import emoji

from preprocessing.corpora import Corpus, Row, Split
from preprocessing.errors import DataError


@dataclass(frozen=True)
class EmojiNames(Corpus):
    """The names of all fully qualified emoji, each pair of names once, in the order of the Unicode emoji list.

    Attributes:
      source: language of the source, such as "en".
      target: language of the target, such as "de".
      split: where the pairs go; None divides them by hash.
    """

    source: str
    target: str
    split: Split | None = None

    def __post_init__(self) -> None:
        """Checks the languages."""
        super().__post_init__()
        for side in (self.source, self.target):
            if side not in emoji.LANGUAGES:
                raise DataError(f"emoji names: no language {side!r}; choose from {', '.join(sorted(emoji.LANGUAGES))}")
        if self.source == self.target:
            raise DataError(f"emoji names: source and target are both {self.source!r}; choose two languages")

    @property
    def name(self) -> str:
        """What a person knows the corpus by."""
        return f"emoji-{self.source}-{self.target}"

    def shards(self) -> Sequence["EmojiNames"]:
        """The whole corpus is one shard."""
        return [self]

    def rows(self, max_line_bytes: int) -> Iterator[Row]:
        """Yields the pairs; see `preprocessing.corpora.Shard.rows`."""
        for language in (self.source, self.target):
            emoji.config.load_language(language)
        qualified = [names for names in emoji.EMOJI_DATA.values() if names["status"] == emoji.STATUS["fully_qualified"]]
        named = [names for names in qualified if self.source in names and self.target in names]
        pairs = dict.fromkeys((_words(names[self.source]), _words(names[self.target])) for names in named)
        for line, (source, target) in enumerate(pairs, start=1):
            yield Row(line, source.encode(), target.encode())


def _words(short_name: str) -> str:
    """Turns ":grinning_face:" into "grinning face"."""
    return short_name.strip(":").replace("_", " ")
