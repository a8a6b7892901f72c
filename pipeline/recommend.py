"""Sizes for a person's corpus, each with its reason. They are those of the presets that were measured, scaled.

What is known: the tables of the README, of 29,000 sentence pairs (Multi30k) and 100,000 words (CMUdict). What is said
for much more or much less data is not measured here, and the reasons say so.
"""

import math
from typing import Any, Literal, NamedTuple

from preprocessing.survey import SideSurvey, Survey
from preprocessing.wording import counted

_SHORT = 20  # characters in the mean: words, names, dates rather than sentences
_CLOSED = 300  # distinct tokens of a side that is written in symbols
_EXHAUSTED = 50  # running tokens for each distinct one: no new ones are to come, unlike words of a small corpus
_MANY_CHARACTERS = 1_000
_TOO_FEW, _FEW, _SOME, _MANY = 1_000, 10_000, 100_000, 1_000_000  # pairs

Unit = Literal["symbols", "character", "bpe"]


class Choice(NamedTuple):
    """A value for a key, and why."""

    key: str
    value: Any
    why: str = ""


Sections = dict[str, list[Choice]]


def recommend(survey: Survey) -> Sections:
    """Sections of a configuration, without `[data]`'s paths; they are valid together."""
    units = unit_of(survey.source), unit_of(survey.target)
    sentences = "bpe" in units
    joint = units == ("bpe", "bpe") and min(survey.source.shared_letters, survey.target.shared_letters) >= 0.95
    sections: Sections = {
        "data": _fractions(survey.pairs),
        "source": _text(survey.source, units[0], survey.pairs),
        "target": _text(survey.target, units[1], survey.pairs),
        "vocabulary": [],
        "filters": _filters(survey, units),
        "model": (_sentence_model if sentences else _string_model)(survey.pairs, joint),
        "training": _training(survey.pairs, units, sentences),
        "training.teacher_forcing": [
            Choice("start", 1.0, "the reference is fed: so were the strong presets trained"),
            Choice("end", 1.0),
        ],
        "search": _search(survey, units),
        "evaluation": [],
        "serving": [
            Choice(
                "push_to",
                "published",
                "the run's model appears there when it is blessed and proved; TF Serving watches it",
            )
        ],
    }
    if joint:
        # One vocabulary needs one section of options: those of the side with more characters, which has the larger one.
        sides = survey.source, survey.target
        larger = max(sides, key=lambda side: side.distinct_characters)
        sections["source"] = sections["target"] = _text(larger, "bpe", survey.pairs)
        shares = " and ".join(f"{side.shared_letters:.0%}" for side in sides)
        why = f"{shares} of the letters occur on the other side, too"
        sections["vocabulary"] = [Choice("joint", True, why)]
    if units[1] == "symbols":
        sections["evaluation"] = [Choice("metrics", ["word_error_rate", "phone_error_rate", "exact_match"])]
    return {name: choices for name, choices in sections.items() if choices}


def caution(pairs: int) -> str | None:
    """What to say of a corpus that is too small to learn a language from; None of others."""
    if pairs >= _TOO_FEW:
        return None
    return (
        f"{counted(pairs, 'pair')} can only be learned by heart: what the model has not seen it will hardly translate. "
        "Useful models begin at some thousand pairs"
    )


def unit_of(side: SideSurvey) -> Unit:
    """What a token is: a symbol of a closed inventory, a character of a short text, or a subword."""
    exhausted = side.running_words >= _EXHAUSTED * side.distinct_words
    if side.distinct_words <= _CLOSED and side.mean_words >= 2 and exhausted:
        return "symbols"
    return "character" if side.mean_characters <= _SHORT else "bpe"


def _held_out(pairs: int) -> float:
    """Share of the pairs for validation, and again for the test."""
    return 0.1 if pairs < 2_000 else min(0.05, max(0.001, round(2_000 / pairs, 3)))


def _fractions(pairs: int) -> list[Choice]:
    share = _held_out(pairs)
    return [
        Choice(
            "validation_fraction",
            share,
            f"about {counted(round(share * pairs), 'pair')}, chosen by a hash of the source",
        ),
        Choice("test_fraction", share),
    ]


_LOWERCASE = Choice("lowercase", True, "capitals are lost, but little data goes further; false keeps them")


def _text(side: SideSurvey, unit: Unit, pairs: int) -> list[Choice]:
    if unit == "symbols":
        return [
            Choice("unit", "word", f"a closed inventory: {side.distinct_words} distinct tokens"),
            Choice("lowercase", False, "symbols differ by case"),
            Choice("min_count", 1),
        ]
    if unit == "character":
        why = f"short texts, {side.mean_characters:.0f} characters in the mean: their spelling is what counts"
        return [Choice("unit", "character", why), _LOWERCASE, Choice("min_count", 1)]
    size = next(
        size for limit, size in ((_FEW, 2_000), (_SOME, 4_000), (_MANY, 10_000), (math.inf, 32_000)) if pairs < limit
    )
    size = max(size, 1_000 * math.ceil(2 * side.distinct_characters / 1_000))
    choices = [
        Choice("unit", "bpe", "subwords, so no word is unknown"),
        Choice("max_vocabulary", size, f"{counted(pairs, 'pair')}; presets of 29,000 have 4,000 to 6,000"),
        Choice("min_count", 1),
    ]
    if pairs >= 2 * _SOME:
        choices.append(Choice("lowercase", False, "enough text to learn capitals; the presets of Multi30k lower them"))
    else:
        choices.append(_LOWERCASE)
    if side.distinct_characters > _MANY_CHARACTERS:
        why = f"{side.distinct_characters:,} distinct characters: the rarest are left out"
        choices.append(Choice("character_coverage", 0.9995, why))
    if pairs < _MANY:
        choices.append(Choice("bpe_dropout", 0.1, "segmentations vary in training, which small data needs"))
    return choices


def _filters(survey: Survey, units: tuple[Unit, Unit]) -> list[Choice]:
    choices = []
    for name, side, unit in (("source", survey.source, units[0]), ("target", survey.target, units[1])):
        what, p99 = ("characters", side.p99_characters) if unit == "character" else ("words", side.p99_words)
        limit = max(20, 10 * math.ceil(1.5 * p99 / 10))
        choices.append(Choice(f"max_{name}_tokens", limit, f"99 % have at most {p99} {what}"))
    return choices


def _sentence_model(pairs: int, joint: bool) -> list[Choice]:
    tied = Choice("tied", "all" if joint else "target", "one matrix for embeddings and projection: fewer weights")
    if pairs < _FEW:
        return [*_attention(embedding=128, hidden=256, dropout=0.4), tied]
    if pairs < _SOME:
        sizes, why = (
            (128, 3, 4, 512, 0.15),
            (
                f"{pairs:,} pairs: too few for a Transformer of 512; this is multi30k-de-en-transformer, measured: "
                "BLEU 40.89 with 1.9 million weights on 29,000 pairs"
            ),
        )
    elif pairs < _MANY:
        sizes, why = (
            (256, 4, 4, 1024, 0.1),
            (f"{pairs:,} pairs: twice the width of multi30k-de-en-transformer (29,000 pairs); not measured here"),
        )
    else:
        sizes, why = (
            (512, 6, 8, 2048, 0.1),
            (f"{pairs:,} pairs: the base model of Vaswani et al. 2017; not measured here, wants a GPU"),
        )
    hidden, layers, heads, feed_forward, dropout = sizes
    return [
        Choice("architecture", "transformer", why),
        Choice("hidden_size", hidden),
        Choice("num_layers", layers),
        Choice("heads", heads),
        Choice("feed_forward_size", feed_forward),
        Choice("dropout", dropout, "more if the validation perplexity rises early"),
        tied,
    ]


def _attention(embedding: int, hidden: int, dropout: float) -> list[Choice]:
    """The recurrent network of multi30k-de-en-attention, in another size."""
    return [
        Choice(
            "architecture",
            "recurrent",
            "little data: multi30k-de-en-attention at half its size, which gave BLEU 39.88 on 29,000 pairs; not "
            "measured on fewer",
        ),
        Choice("embedding_size", embedding),
        Choice("hidden_size", hidden),
        Choice("num_layers", 1),
        Choice("encoder_hidden_size", hidden // 2, "in each direction"),
        Choice("bidirectional", True),
        Choice("bridge", "dense"),
        Choice("attention", "general", "Luong et al. 2015"),
        Choice("output_size", embedding),
        Choice("dropout", dropout),
        Choice("output_dropout", dropout),
        Choice("init_scale", 0.0),
    ]


def _string_model(pairs: int, joint: bool) -> list[Choice]:
    del joint  # only subwords are
    large = pairs >= 2 * _FEW
    why = (
        "short strings: the network of g2p-cmudict, measured: 24.8 % word error rate with 99,000 training words"
        if large
        else f"short strings, {counted(pairs, 'pair')}: about half the size of g2p-cmudict (99,000 words); not measured"
    )
    hidden = 384 if large else 192
    return [
        Choice("architecture", "recurrent", why),
        Choice("embedding_size", 128 if large else 64),
        Choice("hidden_size", hidden),
        Choice("num_layers", 1),
        Choice("encoder_layers", 2 if large else 1),
        Choice("encoder_hidden_size", hidden // 2, "in each direction"),
        Choice("bidirectional", True),
        Choice("bridge", "dense"),
        Choice("attention", "general", "Luong et al. 2015"),
        Choice("output_size", 256 if large else 128),
        Choice("dropout", 0.3),
        Choice("output_dropout", 0.3),
        Choice("init_scale", 0.0),
    ]


def _training(pairs: int, units: tuple[Unit, Unit], sentences: bool) -> list[Choice]:
    batch = 32 if pairs < 2_000 else 64 if pairs < _FEW else 128 if pairs < _SOME or not sentences else 256
    transformer = sentences and pairs >= _FEW
    if not sentences:
        updates, known = (10_000, "11,000 in g2p-cmudict") if pairs >= 2 * _FEW else (4_000, "not measured here")
    elif not transformer:
        updates, known = 4_000, "4,200 in multi30k-de-en-attention"
    elif pairs < _SOME:
        updates, known = 6_000, "6,300 in multi30k-de-en-transformer"
    else:
        updates, known = (40_000 if pairs < _MANY else 150_000), "not measured here"
    steps = max(1, int((1 - 2 * _held_out(pairs)) * pairs) // batch)
    epochs = min(60, max(3, math.ceil(updates / steps)))
    planned = epochs * steps
    rate = {True: 3e-3 if pairs < _SOME else 1.5e-3 if pairs < _MANY else 7e-4, False: 2e-3}[transformer]
    selection = {"symbols": "word_error_rate", "character": "character_error_rate", "bpe": "bleu"}[units[1]]
    choices = [
        Choice("epochs", epochs, f"about {planned:,} updates ({known})"),
        Choice("batch_size", batch, "sentence pairs; less if memory is short"),
        Choice("learning_rate", rate),
        Choice("warmup_steps", 0.125 if transformer else 0.05, "a share of the updates, whatever epochs is set to"),
        Choice("decay", "cosine", "to 0 at the last update"),
        Choice("label_smoothing", 0.1),
        Choice("ema_momentum", 0.995 if planned >= 2_000 else 0.98, "averaged weights"),
        Choice("selection", selection, "the validation figure that picks the epoch"),
    ]
    return [*choices, Choice("beta_2", 0.98)] if transformer else choices


def _search(survey: Survey, units: tuple[Unit, Unit]) -> list[Choice]:
    of, to = ("characters" if unit == "character" else "words" for unit in units)
    growth = survey.growth[of, to] * (1.5 if units[1] == "bpe" and units[0] != "bpe" else 1.0)  # tokens in a word
    if growth <= 2.0:
        return []
    why = f"of a translation, beyond 10, for each token of the source: 99 % of the targets need at most {growth:.1f}"
    return [Choice("max_length_factor", float(math.ceil(growth)), why)]
