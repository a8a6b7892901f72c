"""How text becomes ids and ids become text: the one implementation, shared by Beam, evaluation and the SavedModel.

Three pure functions, written with TensorFlow string operations only (so that they run inside a graph), and
`TextProcessor`, which binds them to a vocabulary::

    text ──normalize──▶ normalised text ──tokenize──▶ words or characters ──lookup, segment──▶ ids
                        normalised text ◀─detokenize─────── tokens ◀──────────gather────────── ids

A token is a word, a character, or a subword of one of three kinds: SentencePiece's unigram language model (Kudo 2018,
arXiv:1804.10959) and byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909), both of which write the space before
a word as the mark U+2581, and WordPiece (Schuster and Nakajima 2012), which continues a word with ``##``::

    character   d o n ' t ␣ s t o p .         bpe, unigram   ▁d on ' t ▁stop .
    word        don ￭'￭ t stop ￭.             wordpiece      do ##n ￭ ##' ##￭ t stop ￭.

For normalised text the tokens give back the text exactly, whatever the characters, unless one of them is unknown.

Shapes: B sentences in a batch (may be 0), None tokens in one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import tensorflow as tf

from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID

Unit = Literal["word", "character", "unigram", "bpe", "wordpiece"]
Normalization = Literal["nfkc", "nfc", "none"]

JOINER = "\uffed"
"""Marks the side of a punctuation token on which no space stood. Never part of normalised text."""

SPACE_MARK = "\u2581"
"""How SentencePiece writes a space, in front of each word. Never part of normalised text."""

CONTINUATION = "##"
"""How a WordPiece token begins that continues a word. No token of `tokenize` begins with two number signs."""

SENTENCEPIECE_UNITS = ("unigram", "bpe")
SUBWORD_UNITS = (*SENTENCEPIECE_UNITS, "wordpiece")
"""Units whose vocabularies are learned from counted words, rather than being the most frequent ones."""

_LOOK_ALIKES = {
    JOINER: "\u25a0",  # What NFKC turns a literal U+FFED (a halfwidth black square) into.
    SPACE_MARK: "\u2582",  # From the lower one eighth block to the lower one quarter block.
}

# Controls (among them NUL, tab, newline, U+0085), every Unicode space and line separator, and the byte order mark,
# which the transcoder would otherwise strip from the front of a text, one at each call.
_SPACES = r"[\p{Cc}\p{Z}\x{FEFF}]+"

# Words: letters, marks, digits, the underscore, and the two zero-width (non-)joiners that Persian and the Indic scripts
# write inside words. Anything else but a space is punctuation, one token per character with the marks, variation
# selectors and zero-width joiners that follow it. \x01 stands for an original space while tokens are being separated.
_ATTACHED = r"\p{M}\x{200C}\x{200D}"
_PUNCTUATION = rf"([^\p{{L}}\p{{N}}_{_ATTACHED}\x01][{_ATTACHED}]*)"
_SPACE = "\x01"


# The letters that Turkish, Azerbaijani or Lithuanian lower in their own way (and ASCII I and J).
_LOCALE_DEPENDENT = {
    "\u0130": "i\u0307",
    "\u00cc": "\u00ec",
    "\u00cd": "\u00ed",
    "\u0128": "\u0129",
    "\u012e": "\u012f",
}


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """How one language is turned into tokens.

    Raises:
      ValueError: a field has a value that is not listed.
    """

    unit: Unit = "word"
    """What a token is: a word or punctuation mark, a single Unicode character (a space is one, too), or a subword."""

    normalization: Normalization = "nfkc"
    """Unicode normalisation form. "nfkc" also unifies full-width, ligature and other look-alike forms; Words and
    characters with "none" are all that works without tensorflow_text."""

    lowercase: bool = True
    """Whether upper case is given up."""

    def __post_init__(self) -> None:
        for name, allowed in (("unit", get_args(Unit)), ("normalization", get_args(Normalization))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; received {getattr(self, name)!r}")


def normalize(text: tf.Tensor, config: TextConfig) -> tf.Tensor:
    """Brings text into the one form that is stored, counted and translated. Idempotent.

    Broken UTF-8 becomes U+FFFD, every run of white space and control characters one space; none is left at the ends.

    Args:
      text: any bytes, string (B).
      config: Unicode form and case.

    Returns:
      Valid UTF-8, string (B).
    """
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")
    text = _normalize_unicode(text, config.normalization)
    if config.lowercase:
        # Lower case can open a composition that upper case has not: J + caron has no letter of its own, j + caron has.
        text = _normalize_unicode(_lower(text), config.normalization)
    for mark, look_alike in _LOOK_ALIKES.items():
        text = tf.strings.regex_replace(text, mark, look_alike)
    return tf.strings.strip(tf.strings.regex_replace(text, _SPACES, " "))


def _normalize_unicode(text: tf.Tensor, form: Normalization) -> tf.Tensor:
    if form == "none":
        return text
    import tensorflow_text  # Here, because it is missing on Windows and Intel Macs, where "none" still works.

    return tensorflow_text.normalize_utf8(text, form.upper())


def _lower(text: tf.Tensor) -> tf.Tensor:
    """Lowers without regard to the locale of the process, which `tf.strings.lower` obeys (LANG=tr_TR: I to dotless i).

    Training on one machine and serving on another have to agree, so whatever a locale could change is lowered first.
    """
    text = tf.strings.lower(text)  # ASCII letters only.
    for upper, lower in _LOCALE_DEPENDENT.items():
        text = tf.strings.regex_replace(text, upper, lower)
    return tf.strings.lower(text, encoding="utf-8")


def tokenize(normalized: tf.Tensor, unit: Unit) -> tf.RaggedTensor:
    """Splits normalised text: ``don't stop.`` into ``don ￭'￭ t stop ￭.``, or eleven characters, or two words.

    Those are the tokens themselves where the unit is a word or a character. Subwords are parts of them: WordPiece's of
    the words and punctuation marks, SentencePiece's of whatever stands between two spaces.

    Args:
      normalized: what `normalize` returned, string (B).
      unit: what a token is.

    Returns:
      Words or characters, string (B, None). None for an empty text.
    """
    if unit == "character":
        return tf.strings.unicode_split(normalized, "UTF-8")
    if unit in SENTENCEPIECE_UNITS:
        return tf.strings.split(normalized)
    text = tf.strings.regex_replace(normalized, " ", _SPACE)
    text = tf.strings.join([_SPACE, text, _SPACE])
    text = tf.strings.regex_replace(text, _PUNCTUATION, rf" {JOINER}\1{JOINER} ")
    # No joiner where a space stood, and a single one between two punctuation marks: the left one of the second.
    text = tf.strings.regex_replace(text, f"{_SPACE} {JOINER}", f"{_SPACE} ")
    text = tf.strings.regex_replace(text, f"{JOINER} {_SPACE}", f" {_SPACE}")
    text = tf.strings.regex_replace(text, f"{JOINER}  {JOINER}", f"  {JOINER}")
    return tf.strings.split(tf.strings.regex_replace(text, _SPACE, " "))


def length(normalized: tf.Tensor, unit: Unit) -> tf.Tensor:
    """How long normalised texts are before there is a vocabulary: int64 (B), in characters, else in words."""
    return tokenize(normalized, "character" if unit == "character" else "word").row_lengths()


def detokenize(tokens: tf.RaggedTensor, unit: Unit) -> tf.Tensor:
    """Writes tokens as text; the inverse of splitting, whatever the unit.

    Args:
      tokens: words, characters or subwords, string (B, None).
      unit: what a token is.

    Returns:
      Text, string (B).
    """
    if unit == "character":
        return tf.strings.reduce_join(tokens, axis=-1)
    if unit in SENTENCEPIECE_UNITS:
        text = tf.strings.reduce_join(tokens, axis=-1)
        return tf.strings.strip(tf.strings.regex_replace(text, SPACE_MARK, " "))
    text = tf.strings.reduce_join(tokens, axis=-1, separator=" ")
    if unit == "wordpiece":
        text = tf.strings.regex_replace(text, f" {CONTINUATION}", "")
    return tf.strings.regex_replace(text, f" ?{JOINER} ?", "")


class TextProcessor(tf.Module):
    """Text to ids and back, for one language: string -> ids -> string.

    Everything it needs is in the graph (the vocabulary as constants, SentencePiece's model as an attribute), so a
    SavedModel that holds it as an attribute needs no file beside it. Methods may be called eagerly or inside a
    `tf.function`; the constructor eagerly.

    A literal ``<pad>`` or ``</s>`` in a text is ordinary text: encoding does not know the special tokens.

    Args:
      tokens: the vocabulary in the order of its ids, the special tokens first.
      config: how text becomes tokens.
      sentencepiece: SentencePiece's model, serialised, whose pieces are `tokens`; for its units only.

    Raises:
      ValueError: the vocabulary does not begin with the special tokens, or the model does not suit.
    """

    def __init__(self, tokens: Sequence[str], config: TextConfig, sentencepiece: bytes | None = None) -> None:
        super().__init__(name="text_processor")
        if tuple(tokens[: len(SPECIAL_TOKENS)]) != SPECIAL_TOKENS:
            raise ValueError(
                f"tokens must begin with {SPECIAL_TOKENS}; received {list(tokens[: len(SPECIAL_TOKENS)])}: "
                "take them from preprocessing.vocabulary.read_vocabulary"
            )
        if (sentencepiece is not None) != (config.unit in SENTENCEPIECE_UNITS):
            raise ValueError(
                f"sentencepiece must be a model with units {', '.join(SENTENCEPIECE_UNITS)}, else None; received "
                f"{'None' if sentencepiece is None else 'a model'} with unit {config.unit}"
            )
        self.config = config
        # A tuple: a list attribute of a tf.Module becomes a tracked wrapper, slow for 100,000 tokens.
        self.tokens: tuple[str, ...] = tuple(tokens)
        self.vocabulary_size = len(self.tokens)
        if sentencepiece is not None:
            self._sentencepiece = _sentencepiece_tokenizer(sentencepiece, self.tokens)
            return
        ordinary = self.tokens[len(SPECIAL_TOKENS) :]
        ids = tf.range(len(SPECIAL_TOKENS), self.vocabulary_size, dtype=tf.int64)
        self._ids = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(ordinary, tf.string), ids), default_value=UNKNOWN_ID
        )
        if config.unit == "wordpiece":
            self._wordpiece = _wordpiece_tokenizer(self._ids, longest=max(map(len, ordinary), default=1))

    def normalize(self, text: tf.Tensor) -> tf.Tensor:
        """Brings text into the form that is stored: string (B) -> string (B)."""
        return normalize(text, self.config)

    def tokens_of(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Normalises and splits: string (B) -> string (B, None).

        Words and characters are shown whether the vocabulary knows them or not, unknown parts of words as ``<unk>``.
        """
        if self.config.unit in SUBWORD_UNITS:
            ids = self.encode(text)
            return ids.with_values(tf.gather(tf.constant(self.tokens), ids.values))
        return tokenize(self.normalize(text), self.config.unit)

    def encode(self, text: tf.Tensor) -> tf.RaggedTensor:
        """Normalises, splits and looks up: string (B) -> int64 ids (B, None), without start and end."""
        return self.encode_normalized(self.normalize(text))

    def encode_normalized(self, normalized: tf.Tensor) -> tf.RaggedTensor:
        """The same for text that `normalize` returned: string (B) -> int64 ids (B, None), without start and end."""
        if self.config.unit in SENTENCEPIECE_UNITS:
            return self.encode_words(normalized)
        words = tokenize(normalized, self.config.unit)
        if self.config.unit == "wordpiece":
            return words.with_values(self.encode_words(words.values)).merge_dims(1, 2)
        return self._ids.lookup(words)

    def encode_words(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Subword units: what `tokenize` returned, one by one: string (W) -> int64 ids (W, None)."""
        if self.config.unit == "wordpiece":
            return self._wordpiece.tokenize(words)
        return tf.cast(self._sentencepiece.tokenize(words), tf.int64)

    def decode(self, ids: tf.RaggedTensor, unknown: tf.RaggedTensor | None = None) -> tf.Tensor:
        """Writes ids as text: everything before the first end; no padding, no start; ``<unk>`` for an unknown id.

        Args:
          ids: integers (B, None).
          unknown: what is written in the place of each unknown token, string (B, None) with the rows of `ids`; what it
            says of other tokens does not matter.

        Returns:
          Text, string (B).
        """
        dense = tf.cast(ids, tf.int64).to_tensor(default_value=PADDING_ID)  # --> (B, longest)
        ended = tf.cumsum(tf.cast(dense == END_ID, tf.int32), axis=1) > 0
        is_kept = ~ended & (dense != PADDING_ID) & (dense != START_ID)
        kept = tf.ragged.boolean_mask(dense, is_kept)
        known = (kept.values >= 0) & (kept.values < self.vocabulary_size)
        # The constant is made here, not in the constructor, for a graph to own its copy.
        words = tf.gather(tf.constant(self.tokens), tf.where(known, kept.values, UNKNOWN_ID))
        if unknown is not None:
            words = tf.where(kept.values == UNKNOWN_ID, tf.boolean_mask(unknown.to_tensor(), is_kept), words)
        return detokenize(kept.with_values(words), self.config.unit)


def _sentencepiece_tokenizer(model: bytes, tokens: tuple[str, ...]) -> Any:
    import tensorflow_text  # Here, as in `_normalize_unicode`.

    tokenizer = tensorflow_text.SentencepieceTokenizer(model)
    pieces = [piece.decode() for piece in tokenizer.id_to_string(tf.range(tokenizer.vocab_size())).numpy()]
    if tuple(pieces) != tokens:
        raise ValueError(
            f"sentencepiece must be a model of the {len(tokens)} tokens, in their order; received one of {len(pieces)} "
            "pieces: take both from the same folder"
        )
    return tokenizer


def _wordpiece_tokenizer(ids: tf.lookup.StaticHashTable, longest: int) -> Any:
    import tensorflow_text

    return tensorflow_text.WordpieceTokenizer(
        ids,
        suffix_indicator=CONTINUATION,
        # A word may be as long as a text: where no spaces are written, a clause is one.
        max_bytes_per_word=2**31 - 1,
        max_chars_per_token=longest,
        token_out_type=tf.int64,
        unknown_token=SPECIAL_TOKENS[UNKNOWN_ID],
        # Only the unknown characters are lost, not the word around them.
        split_unknown_characters=True,
    )
