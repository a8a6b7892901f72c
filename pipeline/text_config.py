"""The sections `[source]`, `[target]` and `[vocabulary]`: from text to tokens."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.config_section import Count, Section, Share


class TextSection(Section):
    """How one side's text becomes tokens, and which tokens the vocabulary keeps."""

    unit: Literal["word", "character", "unigram", "bpe", "wordpiece"] = "word"
    """What a token is: a word or punctuation mark, a Unicode character, or a subword learned from the training split:
    SentencePiece's unigram or bpe, which also suit languages written without spaces, or WordPiece's."""
    normalization: Literal["nfkc", "nfc", "none"] = "nfkc"
    """Unicode normalisation form."""
    lowercase: bool = True
    """Whether text is lowercased."""
    min_count: Count = 2
    """Occurrences in the training split below which a word or character is unknown; subwords are learned from words
    that occur so often."""
    max_vocabulary: int = Field(default=30_000, ge=1)
    """Largest number of tokens in the vocabulary besides the four special ones: the most frequent words or characters,
    or as many subwords as are learned."""
    character_coverage: float = Field(default=1.0, gt=0.0, le=1.0)
    """Subword units: share of the training split's characters that the vocabulary covers; the rarest characters beyond
    it are unknown. A little below 1 saves room in languages of thousands of characters."""
    bpe_dropout: Share = 0.0
    """Unit bpe: probability with which a merge of two subwords is left out, anew in each epoch of training (0.1 is
    usual); never in validation, evaluation and serving."""
    sampling_alpha: float = Field(default=0.0, ge=0.0)
    """Unit unigram: segmentations are drawn with their probability to this power, anew in each epoch of training (0.2
    to 0.5 are usual, smaller ones vary more); 0 = the best one always, as in validation, evaluation and serving."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key, default, units in (
            ("character_coverage", 1.0, ("unigram", "bpe", "wordpiece")),
            ("bpe_dropout", 0.0, ("bpe",)),
            ("sampling_alpha", 0.0, ("unigram",)),
        ):
            value = getattr(self, key)
            if value != default and self.unit not in units:
                raise ValueError(f'{key}: expected {default} with unit = "{self.unit}", got {value}')
        return self

    @property
    def samples(self) -> bool:
        """Whether training segments words at random."""
        return self.bpe_dropout > 0.0 or self.sampling_alpha > 0.0

    def text_options(self) -> dict[str, Any]:
        """How text is normalised and split, without the vocabulary: the fields of `preprocessing.text.TextConfig`."""
        return self.model_dump(include={"unit", "normalization", "lowercase"})


class VocabularySection(Section):
    """What the vocabularies of both sides have in common."""

    joint: bool = False
    """Whether both sides share one vocabulary, made from the texts of both, so that a token has the same id on either
    side; needs equal sections `source` and `target`."""
    max_words: Count = 500_000
    """Subword units: distinct words, the most frequent ones, that are held in memory, to learn from and to draw
    segmentations of (about 1 kB each for those)."""
    segmentations: Count = 32
    """Segmentations drawn of each word for `bpe_dropout` and `sampling_alpha`; training takes one of them each time."""
