"""Subword vocabularies: learned from counted words, so that the corpus is never in one process.

SentencePiece learns its unigram language model (Kudo 2018) and byte pair encoding (Sennrich et al. 2016), TF Text's
learner a WordPiece vocabulary. Both see what `text.tokenize` returned, with its counts, and change nothing in it: all
normalisation is ours. The same counts in the same order give the same vocabulary.
"""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sentencepiece
import tensorflow as tf

from preprocessing.counting import by_frequency
from preprocessing.errors import DataError
from preprocessing.records import write_whole
from preprocessing.special_tokens import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID
from preprocessing.text import CONTINUATION, SENTENCEPIECE_UNITS, SPACE_MARK, SUBWORD_UNITS, TextConfig, TextProcessor
from preprocessing.vocabulary import TokenCount, sentencepiece_file, vocabulary_file, write_vocabulary

THREADS = 4
"""Of SentencePiece's unigram learner. It adds floats up per thread, so another number gives slightly other scores."""

LONGEST_WORD = 4192
"""Bytes; SentencePiece learns nothing from longer ones. Where no spaces are written, a clause is a word."""

LONGEST_WORDPIECE_WORD = 50
"""Characters; WordPiece learns nothing from longer words, which its learner needs quadratic time for."""


@dataclass(frozen=True, kw_only=True)
class VocabularyOptions:
    """How the vocabulary of a side is made.

    Raises:
      ValueError: a number is out of its range, or does not suit the unit.
    """

    text: TextConfig
    """How the language is turned into words, characters or subwords."""

    min_count: int = 1
    """How often a token has to be seen in training to get an id of its own; of subword units, how often a word has to
    be seen to be learned from."""

    max_size: int | None = None
    """How many tokens get an id at most, the special ones not counted; `None` is all, for words and characters only."""

    character_coverage: float = 1.0
    """Subword units: the share of the characters of the words learned from that the vocabulary covers; the rarest
    characters beyond it are unknown."""

    bpe_dropout: float = 0.0
    """Unit bpe: the probability with which each merge is left out in training; see `subword_sampling.BpeDropout`."""

    sampling_alpha: float = 0.0
    """Unit unigram: the exponent of the segmentations' probabilities in training, 0 for the best segmentation always;
    see `subword_sampling.UnigramSampling`."""

    def __post_init__(self) -> None:
        for name in ("min_count", "max_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; received {value}")
        if self.max_size is None and self.text.unit in SUBWORD_UNITS:
            raise ValueError(f"max_size must be a number with unit {self.text.unit}; received None")
        if not 0 < self.character_coverage <= 1:
            raise ValueError(f"character_coverage must be above 0 and at most 1; received {self.character_coverage}")
        if not 0 <= self.bpe_dropout <= 1 or (self.bpe_dropout and self.text.unit != "bpe"):
            raise ValueError(
                f"bpe_dropout must be between 0 and 1, and 0 unless the unit is bpe; received {self.bpe_dropout} "
                f"with unit {self.text.unit}"
            )
        if self.sampling_alpha < 0 or (self.sampling_alpha and self.text.unit != "unigram"):
            raise ValueError(
                f"sampling_alpha must be at least 0, and 0 unless the unit is unigram; received {self.sampling_alpha} "
                f"with unit {self.text.unit}"
            )

    @property
    def samples(self) -> bool:
        """Whether words are segmented at random in training."""
        return self.bpe_dropout > 0 or self.sampling_alpha > 0


def write_vocabularies(
    counts: Sequence[TokenCount], directory: str, sides: Sequence[str], options: VocabularyOptions
) -> None:
    """Learns a vocabulary, where the unit is a subword, and writes its files for each of the sides that share it.

    Args:
      counts: from the most to the least frequent, the words or characters of the vocabulary, or what to learn from.
      directory: where the files appear.
      sides: whose vocabulary it is.
      options: how it is made.

    Raises:
      DataError: nothing can be learned from the words, or a file cannot be written.
    """
    model = None
    if options.text.unit in SUBWORD_UNITS:
        words = [entry for entry in counts if entry[1] >= options.min_count]
        try:
            counts, model = _learn(words, options) if words else ([], None)
        except DataError as error:
            raise DataError(f"{vocabulary_file(directory, sides[0])}: {error}") from error
    for side in sides:
        if model is not None:
            _write(sentencepiece_file(directory, side), model)
        write_vocabulary(vocabulary_file(directory, side), counts)


def _write(path: str, content: bytes) -> None:
    write_whole(path, lambda file: file.write(content))


def _learn(words: Sequence[TokenCount], options: VocabularyOptions) -> tuple[list[TokenCount], bytes | None]:
    """Subwords in the order of their ids, each with its count in `words`, and SentencePiece's model."""
    if options.text.unit in SENTENCEPIECE_UNITS:
        model = learn_sentencepiece(words, options)
        pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        tokens = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
        return count_subwords(TextProcessor(tokens, options.text, model), words), model
    tokens = [*SPECIAL_TOKENS, *learn_wordpieces(words, options)]
    return by_frequency(count_subwords(TextProcessor(tokens, options.text), words)), None


def learn_sentencepiece(words: Sequence[TokenCount], options: VocabularyOptions) -> bytes:
    """Learns a SentencePiece model, serialised, whose ids are ours.

    Only options that SentencePiece 0.1.96 knows, too: TF Text and TF Serving read the model with that one.

    Raises:
      DataError: the vocabulary has no room for the characters, or there is nothing to learn from.
    """
    marked = [(SPACE_MARK + word, count) for word, count in words]
    _check_size(len(alphabet(marked, options.character_coverage)), options)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([f"{word}\t{count}" for word, count in words]),
            input_format="tsv",
            model_writer=model,
            model_type=options.text.unit,
            vocab_size=len(SPECIAL_TOKENS) + (options.max_size or 0),
            hard_vocab_limit=False,  # a small corpus gives a smaller vocabulary
            character_coverage=options.character_coverage,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=LONGEST_WORD,
            num_threads=THREADS,
            pad_id=PADDING_ID,
            unk_id=UNKNOWN_ID,
            bos_id=START_ID,
            eos_id=END_ID,
            pad_piece=SPECIAL_TOKENS[PADDING_ID],
            unk_piece=SPECIAL_TOKENS[UNKNOWN_ID],
            bos_piece=SPECIAL_TOKENS[START_ID],
            eos_piece=SPECIAL_TOKENS[END_ID],
            minloglevel=2,
        )
    except RuntimeError as error:
        raise DataError(f"SentencePiece cannot learn from the {len(words)} words ({error}); give more text") from error
    return model.getvalue()


def learn_wordpieces(words: Sequence[TokenCount], options: VocabularyOptions) -> list[str]:
    """Learns a WordPiece vocabulary, in no particular order.

    Raises:
      DataError: the vocabulary has no room for the characters.
    """
    from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

    size = options.max_size or 0
    short = [entry for entry in words if len(entry[0]) <= LONGEST_WORDPIECE_WORD]
    characters = alphabet(short, options.character_coverage)
    _check_size(2 * len(characters), options)  # each at the beginning of a word, and within one
    learned = learner.learn(
        short,
        vocab_size=size,
        reserved_tokens=[],
        lower_thresh=1,
        max_token_length=LONGEST_WORDPIECE_WORD,
        max_unique_chars=len(characters),
        joiner=CONTINUATION,
    )
    # The learner comes only close to the size, from either side. What it lists last is the least frequent.
    single = [token for token in learned if len(token.removeprefix(CONTINUATION)) == 1]
    longer = [token for token in learned if len(token.removeprefix(CONTINUATION)) > 1]
    return [*single, *longer[: size - len(single)]]


def alphabet(words: Sequence[TokenCount], coverage: float) -> list[str]:
    """The most frequent characters that make up this share of all."""
    counts: Counter[str] = Counter()
    for word, count in words:
        for character in word:
            counts[character] += count
    kept: list[str] = []
    covered, total = 0, counts.total()
    for character, count in by_frequency(counts.items()):
        if covered >= coverage * total:
            break
        kept.append(character)
        covered += count
    return kept


def _check_size(needed: int, options: VocabularyOptions) -> None:
    if needed > (options.max_size or 0):
        raise DataError(
            f"expected room for the {needed} tokens of a single character, got a vocabulary of {options.max_size}; "
            "enlarge max_vocabulary, or lower character_coverage or raise min_count to leave out rare characters"
        )


def count_subwords(processor: TextProcessor, words: Sequence[TokenCount]) -> list[TokenCount]:
    """How often each token but the special ones occurs in the words, in the order of the ids."""
    ids = processor.encode_words(tf.constant([word for word, _ in words], tf.string))
    weights = np.repeat(np.array([count for _, count in words], np.int64), ids.row_lengths().numpy())
    totals = np.zeros(processor.vocabulary_size, np.int64)
    np.add.at(totals, ids.values.numpy(), weights)
    first = len(SPECIAL_TOKENS)
    return list(zip(processor.tokens[first:], totals[first:].tolist(), strict=True))
