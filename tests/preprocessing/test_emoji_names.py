import emoji
import pytest

from preprocessing.emoji_names import EmojiNames
from preprocessing.errors import DataError


def test_pairs_are_distinct_words_in_fixed_order() -> None:
    names = EmojiNames("en", "de")
    found = list(names.rows(1000))
    assert list(names.rows(1000)) == found
    assert [row.line for row in found] == list(range(1, len(found) + 1))
    pairs = {(row.source.decode(), row.target.decode()) for row in found}
    assert len(pairs) == len(found) > 3500
    assert ("grinning face", "grinsendes gesicht") in pairs
    assert not any("_" in text or ":" in text or text != text.strip() for pair in pairs for text in pair)


@pytest.mark.parametrize("language", emoji.LANGUAGES)
def test_every_language_has_names(language: str) -> None:
    other = "en" if language != "en" else "de"
    assert len(list(EmojiNames(language, other).rows(1000))) > 3000


def test_bad_languages() -> None:
    with pytest.raises(
        DataError, match="no language 'xx'; choose from ar, de, en, es, fa, fr, id, it, ja, ko, pt, ru, tr, zh"
    ):
        EmojiNames("en", "xx")
    with pytest.raises(DataError, match="choose two languages"):
        EmojiNames("en", "en")
