"""What a translator looks for, in terms of text; `models.search_options` says it in terms of ids."""

import dataclasses
from typing import Literal

import tensorflow as tf

from models.search_options import SearchOptions
from preprocessing.special_tokens import PADDING_ID, START_ID, UNKNOWN_ID
from preprocessing.text import TextProcessor


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
    """Words or phrases that no translation holds: their tokens, one after the other."""

    def __post_init__(self) -> None:
        """See base class."""
        super().__post_init__()
        if self.max_tokens < 0:
            raise ValueError(f"max_tokens must not be negative, got {self.max_tokens}")
        if self.replace_unknown and not self.allow_unknown:
            raise ValueError("allow_unknown must be true with replace_unknown, got false")

    def in_ids(self, target: TextProcessor) -> "TranslationOptions":
        """The same with all that the search must know of the vocabulary.

        Raises:
            ValueError: a banned word that the vocabulary does not hold, so that it cannot be told from others.
        """
        never = (PADDING_ID, START_ID) if self.allow_unknown else (PADDING_ID, START_ID, UNKNOWN_ID)
        phrases = target.encode(tf.constant(self.banned_words, tf.string)).to_list()
        for word, ids in zip(self.banned_words, phrases, strict=True):
            if not ids or UNKNOWN_ID in ids:
                raise ValueError(f"banned_words must hold words of the target vocabulary, got {word!r}")
        banned = tuple(tuple(ids) for ids in phrases)
        return dataclasses.replace(self, never=never, banned=banned, alignment=self.replace_unknown)
