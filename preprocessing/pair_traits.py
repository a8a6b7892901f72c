"""What a look at one pair tells: whether it seems untranslated, whether its numbers agree, how its lengths compare.

Pure functions on normalised text; what is usual is for the whole corpus to say, see `preprocessing.statistics`.
"""

import math
import re
import unicodedata

from rapidfuzz.distance import Indel

SIMILAR = 0.9
"""Similarity of source and target from which on a pair looks untranslated: 2 common / (source + target) characters,
common being those of the longest common subsequence."""

RATIO_STEPS = 8
"""Buckets of length ratios from one to twice as long."""

_WIDEST = 6 * RATIO_STEPS  # 64 times as long; what is beyond counts as that
_EXACT_LENGTHS = 16
_NUMBER = re.compile(r"\d+")


def looks_untranslated(source: str, target: str) -> bool:
    """Whether the target is the source, or nearly so, without regard to case; never of a text without letters."""
    if not any(map(str.isalpha, source)):
        return False
    source, target = source.casefold(), target.casefold()
    return source == target or Indel.normalized_similarity(source, target, score_cutoff=SIMILAR) > 0.0


def numbers_of(text: str) -> list[str]:
    """The runs of digits, of any script, in ASCII."""
    return [
        digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)
        for digits in _NUMBER.findall(text)
    ]


def numbers_differ(source: str, target: str) -> bool | None:
    """Whether either side has a number that the other lacks; `None` where a side has none, or spells them out.

    Leading zeros do not count (07:30 and 7:30), nor does it matter how digits are grouped (1,000 and 1000).
    """
    left, right = numbers_of(source), numbers_of(target)
    if not left or not right:
        return None
    values = [{number.lstrip("0") for number in numbers} for numbers in (left, right)]
    return values[0] != values[1] and "".join(left) != "".join(right)


def ratio_bucket(source_length: int, target_length: int) -> int:
    """The bucket of target length / source length, both at least 1: eighths of octaves, 0 for equal lengths."""
    bucket = math.floor(RATIO_STEPS * math.log2(target_length / source_length) + 0.5)
    return max(-_WIDEST, min(bucket, _WIDEST))


def ratio_of(bucket: int) -> float:
    """The ratio in the middle of a bucket: ``ratio_of(RATIO_STEPS) == 2``."""
    return float(2.0 ** (bucket / RATIO_STEPS))


def length_bucket(length: int) -> int:
    """The smallest length of the bucket that a length falls into: each its own up to 16, then four an octave."""
    shift = max(0, length.bit_length() - 3) if length >= _EXACT_LENGTHS else 0
    return length >> shift << shift
