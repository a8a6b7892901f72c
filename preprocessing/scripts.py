"""Which scripts a text is written in (Unicode Standard Annex 24): Latin, Cyrillic, Han and so on, letter by letter."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

from fontTools import unicodedata

_SHARED = {"Zyyy", "Zinh", "Zzzz"}
"""Characters of no script of their own: digits, punctuation, marks, what Unicode does not know."""

_WRITTEN_TOGETHER = {"Hiragana": "Han", "Katakana": "Han", "Bopomofo": "Han"}
"""Scripts that one text mixes, under the name of one of them: a Japanese line may have more of either."""


@lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str | None:
    """The script of a letter, by its English name; `None` for what is no letter, or of no script of its own."""
    if not character.isalpha():
        return None
    code: str = unicodedata.script(character)
    return None if code in _SHARED else str(unicodedata.script_name(code))


def count_scripts(characters: Mapping[str, int]) -> Counter[str]:
    """Letters by script, of characters by their number."""
    counts: Counter[str] = Counter()
    for character, count in characters.items():
        if (script := script_of(character)) is not None:
            counts[script] += count
    return counts


def main_script(characters: Mapping[str, int]) -> str | None:
    """The script of most letters, the first by name of several; `None` without letters.

    Han, Hiragana, Katakana and Bopomofo count as one, Han.
    """
    together: Counter[str] = Counter()
    for script, count in count_scripts(characters).items():
        together[_WRITTEN_TOGETHER.get(script, script)] += count
    return min(together, key=lambda script: (-together[script], script), default=None)
