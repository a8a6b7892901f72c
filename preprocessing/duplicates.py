"""Which pairs are the same, or nearly: the form that texts are compared in, and which of equal pairs is kept."""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator

from preprocessing.filters import Duplicates, Reason
from preprocessing.reading import Pair

# Punctuation, separators, control and format characters, and digits. Marks and symbols stay: in many scripts marks are
# vowels, and an emoji may be all that a sentence says.
_LEFT_OUT = ("P", "Z", "Cc", "Cf", "Nd", "No")


class _Letters(dict[int, int | None]):
    """For `str.translate`: leaves out what does not make another sentence; filled as characters occur."""

    def __missing__(self, point: int) -> int | None:
        self[point] = None if unicodedata.category(chr(point)).startswith(_LEFT_OUT) else point
        return self[point]


_LETTERS = _Letters()


def near_form(text: bytes) -> bytes:
    """What is left of a text where case, width, punctuation, digits and white space make no difference.

    "Kapitel 1: Der Hund!" and "kapitel 12, der Hund" are both "kapitelderhund". A text without a letter is compared as
    it is, but for width: "3.14" is not "2.72".
    """
    folded = _composed(_composed(text.decode()).casefold())
    # What is left may be a letter and an accent that stood alone.
    return _composed(folded.translate(_LETTERS) or folded).encode()


def _composed(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def source_key(pair: Pair, duplicates: Duplicates) -> bytes:
    """The same for pairs whose sources have to be in one split: equal ones, with "near" nearly equal ones."""
    return hashlib.sha256(near_form(pair.source) if duplicates == "near" else pair.source).digest()


def pair_key(pair: Pair, duplicates: Duplicates) -> bytes:
    """The same for pairs of which only one is kept."""
    target = near_form(pair.target) if duplicates == "near" else pair.target
    return source_key(pair, duplicates) + hashlib.sha256(target).digest()


def keep_first(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Reason | None]]:
    """Keeps of pairs with one `pair_key` the one whose key is smallest, if they are of the training split.

    Args:
      pairs: normalised, all in one split; iterated twice, in any order.

    Yields:
      Each pair, with the reason to drop it or None.
    """
    first = min(pairs, key=lambda pair: pair.key)
    for pair in pairs:
        if pair.split != "train" or pair.key == first.key:
            yield pair, None
        elif (pair.source, pair.target) == (first.source, first.target):
            yield pair, Reason.DUPLICATE
        else:
            yield pair, Reason.NEAR_DUPLICATE
