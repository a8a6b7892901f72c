"""Which split a pair belongs to, such that no source sentence is in two splits."""

import hashlib
from collections.abc import Iterable, Iterator

from preprocessing.corpora import Split
from preprocessing.filters import Reason
from preprocessing.reading import Pair

_RANK: dict[Split | None, int] = {"test": 0, "validation": 1, "train": 2}


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


def settle(pairs: Iterable[Pair], drop_duplicates: bool) -> Iterator[tuple[Pair, Reason | None]]:
    """Settles which of all pairs with one normalised source are kept.

    Test comes before validation before train: the source stays in the first split that has it. Of equal pairs in the
    training split only the one with the smallest key is kept, if `drop_duplicates` is set.

    Args:
      pairs: all pairs with the same source, normalised, their splits chosen; iterated twice, in any order.
      drop_duplicates: whether a pair may stand only once in the training split.

    Yields:
      Each pair, with the reason to drop it or None.
    """
    first_rank = max(_RANK.values())
    first_keys: dict[bytes, str] = {}
    for pair in pairs:
        first_rank = min(first_rank, _RANK[pair.split])
        if drop_duplicates:
            digest = hashlib.sha256(pair.target).digest()
            first_keys[digest] = min(pair.key, first_keys.get(digest, pair.key))
    for pair in pairs:
        if _RANK[pair.split] > first_rank:
            yield pair, Reason.SOURCE_IN_OTHER_SPLIT
        elif drop_duplicates and pair.split == "train" and pair.key != first_keys[hashlib.sha256(pair.target).digest()]:
            yield pair, Reason.DUPLICATE
        else:
            yield pair, None
