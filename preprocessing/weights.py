"""How often a pair stands in an epoch: corpora that matter more are repeated, others thinned out."""

import hashlib
from collections.abc import Iterator

from preprocessing.reading import Pair


def copies_of(pair: Pair) -> int:
    """How often a pair is written: of weight 2.5 twice, and half of the pairs once more.

    Which ones is chosen by SHA-256 of the pair's texts, so that it stays when the corpus grows. Only training pairs are
    weighted.
    """
    if pair.split != "train":
        return 1
    whole = int(pair.weight)
    digest = hashlib.sha256(b"weight\0" + pair.source + b"\0" + pair.target).digest()
    return whole + (int.from_bytes(digest[:8]) / 2**64 < pair.weight - whole)


def repeat(pair: Pair, copies: int) -> Iterator[Pair]:
    """Yields a pair so many times, each with a key of its own: "00000-a.de:000000017", "00000-a.de:000000017#2"."""
    for number in range(1, copies + 1):
        yield pair if number == 1 else pair._replace(key=f"{pair.key}#{number}")


def is_copy(key: str) -> bool:
    """Whether a record is not the first of those that `repeat` made."""
    return "#" in key.rpartition(":")[2]
