"""The sentences of the test split that were translated best and worst, for a person to judge what goes wrong."""

from collections.abc import Sequence

from sacrebleu.metrics.chrf import CHRF

from pipeline.html_report.blocks import Block, Heading, Paragraph, Table
from pipeline.translations import Translation

_SHOWN = 8


def ranked(translations: Sequence[Translation], lowercase: bool) -> list[tuple[float, Translation]]:
    """All by sentence chrF (Popović 2015), the best first; of equal ones the longest first, for it is the harder one.

    A sentence's BLEU would be zero wherever no four words in a row are right.
    """
    measure = CHRF(lowercase=lowercase)
    scored = [(measure.sentence_score(row.best, row.references).score, row) for row in translations]
    return sorted(scored, key=lambda item: (-item[0], -len(item[1].source), item[1]))


def best_and_worst(translations: Sequence[Translation], lowercase: bool) -> list[Block]:
    """Tables of the best and the worst, never the same sentence in both."""
    rows = ranked(translations, lowercase)
    count = min(_SHOWN, len(rows) // 2)
    if not count:
        return []
    return [
        Heading("Best and worst sentences"),
        Paragraph(
            "By chrF of the sentence: the share of character n-grams that translation and reference have in common."
        ),
        _table("The worst", rows[-count:][::-1]),
        _table("The best", rows[:count]),
    ]


def _table(caption: str, rows: Sequence[tuple[float, Translation]]) -> Table:
    return Table(
        header=("chrF", "source", "translation", "reference"),
        rows=[(f"{score:.1f}", row.source, row.best, " / ".join(row.references)) for score, row in rows],
        columns="nttt",
        caption=caption,
    )
