"""Which split a pair belongs to, such that no source sentence is in two splits."""

import hashlib
from collections.abc import Iterable, Iterator

from preprocessing.corpora import Split
from preprocessing.filters import Reason
from preprocessing.reading import Pair

_RANK: dict[tuple[Split | None, bool], int] = {
    ("test", True): 0,
    ("validation", True): 1,
    ("test", False): 2,
    ("validation", False): 3,
}
"""Of a split, and whether it was given; the training split comes last."""


def split_by_hash(source: bytes, validation_fraction: float, test_fraction: float, salt: str) -> Split:
    """Chooses a split by SHA-256 of the salt and the normalised source.

    The choice depends on nothing else, so it stays when the corpus grows or is read in another order; and as the target
    plays no part, a sentence with several translations is in one split with all of them.
    """
    digest = hashlib.sha256(salt.encode() + b"\0" + source).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    if place < test_fraction:
        return "test"
    return "validation" if place < test_fraction + validation_fraction else "train"


def settle(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Reason | None]]:
    """Settles which of all pairs with one source stay: test comes before validation before train.

    But a given test or validation split comes before one that was chosen by hash: it is what is to be measured.

    Args:
      pairs: all pairs with the same `duplicates.source_key`, their splits chosen; iterated twice, in any order.

    Yields:
      Each pair, with the reason to drop it or None.
    """
    kept = min(pairs, key=lambda pair: _RANK.get((pair.split, pair.given), len(_RANK))).split
    for pair in pairs:
        yield pair, None if pair.split == kept else Reason.SOURCE_IN_OTHER_SPLIT
