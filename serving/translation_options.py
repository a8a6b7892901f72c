"""What a translator looks for, in terms of text; `models.search_options` says it in terms of ids."""

import dataclasses
from typing import Literal

import tensorflow as tf

from models.search_options import SearchOptions
from preprocessing.special_tokens import PADDING_ID, START_ID, UNKNOWN_ID
from preprocessing.text import JOINER, TextProcessor


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationOptions(SearchOptions):
    """Options that are constants of the exported graph.

    Raises:
        ValueError: a value out of its range.
    """

    beam_size: int = 5
    n_best: int = 5
    length_penalty: float = 1.0
    max_length_factor: float = 2.0
    """A translation has at most `max_length_factor * source tokens + max_length_constant` tokens."""
    max_length_constant: int = 10
    """See `max_length_factor`."""
    allow_unknown: bool = False
    """Whether a translation may hold the unknown token."""
    replace_unknown: bool = False
    """Whether the source word that it looked at most stands for an unknown word; needs attention, words on both sides,
    and `allow_unknown`."""
    max_tokens: int = 512
    """Tokens of a text that are read; 0 = all."""
    overlong: Literal["truncate", "refuse"] = "truncate"
    """What becomes of longer texts."""
    banned_words: tuple[str, ...] = ()
    """Words or phrases that no translation holds: their tokens in their usual segmentation, one after the other. A
    given prefix may hold them, and so may a source word that stands for an unknown one."""

    def __post_init__(self) -> None:
        """See base class."""
        super().__post_init__()
        for name in ("max_tokens", "max_length_factor", "max_length_constant"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.overlong not in ("truncate", "refuse"):
            raise ValueError(f"overlong must be truncate or refuse, got {self.overlong!r}")
        if self.replace_unknown and not self.allow_unknown:
            raise ValueError("allow_unknown must be true with replace_unknown, got false")

    def in_ids(self, target: TextProcessor) -> "TranslationOptions":
        """The same with all that the search must know of the vocabulary.

        Raises:
            ValueError: a banned word that the vocabulary does not hold, so that it cannot be told from others.
        """
        never = (PADDING_ID, START_ID) if self.allow_unknown else (PADDING_ID, START_ID, UNKNOWN_ID)
        phrases = target.encode(tf.constant(self.banned_words, tf.string)).to_list()
        variants = {token: number for number, token in enumerate(target.tokens)}
        banned: list[tuple[int, ...]] = []
        for word, ids in zip(self.banned_words, phrases, strict=True):
            joined = [variants[token] for token in _joined(word) if token in variants and target.config.unit == "word"]
            banned += [(token,) for token in joined]
            if not joined and (not ids or UNKNOWN_ID in ids):
                raise ValueError(f"banned_words must hold words of the target vocabulary, got {word!r}")
            if UNKNOWN_ID not in ids:
                banned.append(tuple(ids))
        return dataclasses.replace(self, never=never, banned=tuple(banned), alignment=self.replace_unknown)


def _joined(word: str) -> tuple[str, str, str]:
    """How a punctuation mark is written that stands at another word."""
    return JOINER + word, word + JOINER, JOINER + word + JOINER
