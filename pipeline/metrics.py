"""Scores of translations against one or several references, under the names that the field has for them.

A source text that stands in several pairs is one item with several references, such as a word with several
pronunciations; every score counts it once and sees all of them.

What a score may be compared with depends on how the text was treated before. Three such tracks are common:

    LC      lowercased plain text (sacrebleu -lc), the usual way to report Multi30k
    CASED   plain text as it is (sacrebleu's default), the way of WMT and of general-purpose systems
    TUT     lowercased tokens, BLEU unsmoothed, the way of the classic tutorial (whose tokens are spaCy's, not ours)

References are the records' normalised texts. On Multi30k that is the same BLEU as against the raw files.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from pipeline.scores import Score, Track, ratio
from pipeline.text_config import TextSection
from preprocessing.text import JOINER, tokenize

References = Sequence[Sequence[str]]
"""The references of each item, at least one."""


class Item(NamedTuple):
    """A source text and everything that it may be translated to."""

    source: str
    references: tuple[str, ...]


def group_by_source(pairs: Iterable[tuple[str, str]]) -> list[Item]:
    """One item for each source text, in the order of their first pairs; its different references in order, too."""
    found: dict[str, dict[str, None]] = {}
    for source, reference in pairs:
        found.setdefault(source, {})[reference] = None
    return [Item(source, tuple(references)) for source, references in found.items()]


def score(
    names: Iterable[str], translations: Sequence[str], references: References, target: TextSection
) -> dict[str, Score]:
    """Scores by name.

    Args:
        names: which scores, as `evaluation.metrics` names them.
        translations: the best translation of each item, detokenised; at least one.
        references: the references of each item.
        target: how the references were normalised, and their unit.

    Raises:
        ValueError: there are more or fewer translations than items.
    """
    if len(translations) != len(references):
        raise ValueError(f"translations: expected one for each of {len(references)} items, got {len(translations)}")
    return {name: _SCORES[name](translations, references, target) for name in names}


def bleu(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """BLEU of plain text (Papineni et al. 2002; Post 2018); of characters where the target's unit is the character."""
    if target.unit == "character":
        return _sacrebleu(BLEU(lowercase=target.lowercase, tokenize="char"), translations, references, None)
    return _sacrebleu(BLEU(lowercase=target.lowercase), translations, references, _plain_track(target))


def chrf(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """The F-score of character n-grams (Popović 2015), chrF2; of references that are equally good the first counts."""
    return _sacrebleu(CHRF(lowercase=target.lowercase), translations, references, _plain_track(target))


def token_bleu(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """BLEU of our own tokens, unsmoothed."""
    measure = BLEU(lowercase=target.lowercase, tokenize="none", smooth_method="none", force=True)
    flat = iter(_tokenized([text for alternatives in references for text in alternatives]))
    tokenized = [[next(flat) for _ in alternatives] for alternatives in references]
    return _sacrebleu(measure, _tokenized(translations), tokenized, "TUT" if target.lowercase else None)


def exact_match(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """The share of items whose translation equals one of their references."""
    return Score(
        _rows((text in alternatives, 1) for text, alternatives in zip(translations, references, strict=True)), ratio
    )


def word_error_rate(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """The share of items, in grapheme-to-phoneme conversion words, whose translation equals none of their references.

    Speech recognition has the same name for another number, an edit distance in words.
    """
    return Score(
        _rows((text not in alternatives, 1) for text, alternatives in zip(translations, references, strict=True)),
        ratio,
    )


def phone_error_rate(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """The edit distance in phones, which are what spaces separate; see `edit_errors`."""
    return Score(
        edit_errors(
            [text.split() for text in translations],
            [[text.split() for text in alternatives] for alternatives in references],
        ),
        ratio,
    )


def character_error_rate(translations: Sequence[str], references: References, target: TextSection) -> Score:
    """The edit distance in Unicode characters; see `edit_errors`."""
    return Score(edit_errors(translations, references), ratio)


_SCORES: Mapping[str, Callable[[Sequence[str], References, TextSection], Score]] = {
    "bleu": bleu,
    "chrf": chrf,
    "token_bleu": token_bleu,
    "exact_match": exact_match,
    "word_error_rate": word_error_rate,
    "phone_error_rate": phone_error_rate,
    "character_error_rate": character_error_rate,
}


def edit_errors(sequences: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """Edit distance (Levenshtein 1966) to the nearest reference, and that reference's length, of each item: `[N, 2]`.

    Of two references that are equally near the shorter one counts. The error rate is the ratio of the sums.
    """
    return _rows(
        min((Levenshtein.distance(sequence, reference), len(reference)) for reference in alternatives)
        for sequence, alternatives in zip(sequences, references, strict=True)
    )


def words(normalized: Sequence[str]) -> list[list[str]]:
    """The words and punctuation marks of each text."""
    return [[token.decode().replace(JOINER, "") for token in row] for row in _words(normalized).to_list()]


def count_words(normalized: Sequence[str]) -> np.ndarray:
    """Words of each text and its end `[N]`: perplexities per word compare models whatever their tokens are.

    Models of words still have it easier: they call a rare word unknown where others have to spell it.
    """
    counts: np.ndarray = _words(normalized).row_lengths().numpy()
    return counts + 1


def _rows(rows: Iterable[Sequence[float]]) -> np.ndarray:
    return np.array(list(rows), dtype=np.float64)  # sums of whole numbers stay exact


def _sacrebleu(measure: Any, translations: Sequence[str], references: References, track: Track | None) -> Score:
    most = max(len(alternatives) for alternatives in references)
    # sacrebleu wants all first references, all second ones, and so on, with None where there is none.
    streams = [[dict(enumerate(alternatives)).get(index) for alternatives in references] for index in range(most)]
    # What its own significance tests are made of; it has no public way to more than a whole score.
    statistics = _rows(measure._extract_corpus_statistics(list(translations), streams))

    def of_sums(sums: np.ndarray) -> float:
        return float(measure._compute_score_from_stats([round(value) for value in sums.tolist()]).score)

    return Score(statistics, of_sums, track, str(measure.get_signature()))


def _plain_track(target: TextSection) -> Track:
    return "LC" if target.lowercase else "CASED"


def _words(normalized: Sequence[str]) -> tf.RaggedTensor:
    return tokenize(tf.constant(list(normalized), tf.string), "word")


def _tokenized(normalized: Sequence[str]) -> list[str]:
    return [" ".join(row) for row in words(normalized)]
