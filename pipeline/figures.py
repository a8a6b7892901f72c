"""What a figure is called, which way it is better, and how a person sees it. Light: it computes nothing."""

from collections.abc import Mapping
from typing import NamedTuple


class Figure(NamedTuple):
    """A number that says how good a model is."""

    label: str
    """Its name in reports."""
    higher_is_better: bool = False
    """Whether a larger value is a better one."""
    share: bool = False
    """Whether it is a share of something, shown in per cent (an error rate may exceed 100 %)."""
    decimals: int = 2
    """Digits that are shown after the point."""


FIGURES: Mapping[str, Figure] = {
    "perplexity": Figure("perplexity", decimals=3),
    "free_running_perplexity": Figure("free-running perplexity", decimals=3),
    "perplexity_per_word": Figure("perplexity per word", decimals=3),
    "bleu": Figure("BLEU", higher_is_better=True),
    "chrf": Figure("chrF", higher_is_better=True),
    "token_bleu": Figure("token BLEU", higher_is_better=True),
    "exact_match": Figure("exact match", higher_is_better=True, share=True),
    "word_error_rate": Figure("word error rate", share=True),
    "phone_error_rate": Figure("phone error rate", share=True),
    "character_error_rate": Figure("character error rate", share=True),
}
"""Every figure by the name that it has in configurations, `evaluation.json` and TensorBoard."""


TRAITS: Mapping[str, str] = {
    "length": "length of the source",
    "unknown_words": "unknown words in the source",
    "domain": "domain",
}
"""What the test sentences of a slice share, by the name that it has in `evaluation.json`."""

_UNITS = ((1.0, "s", 99.5), (60.0, "min", 99.5), (3_600.0, "h", 47.5), (86_400.0, "d", float("inf")))
"""Seconds of a unit of time, its name, and so many of it are said in the next one."""


def order(name: str, figures: Mapping[str, float]) -> tuple[float, float]:
    """What models are sorted by, the best first: a figure, and the perplexity among those that are equal in it."""
    return (-figures[name] if FIGURES[name].higher_is_better else figures[name]), figures["perplexity"]


def shown(name: str, value: float) -> str:
    """The value of a figure as people write it, such as `19.34` or `22.10 %`."""
    figure = FIGURES[name]
    return f"{in_points(name, value):.{figure.decimals}f}" + (" %" if figure.share else "")


def in_points(name: str, value: float) -> float:
    """The value of a figure, or a difference of two, in the unit that people see: of shares percentage points."""
    return 100 * value if FIGURES[name].share else value


def duration(seconds: float) -> str:
    """A time as people say it, such as `2.3 s`, `31 min`, `1.5 h`; none is negative, whatever the clock says."""
    seconds = max(0.0, seconds)
    size, unit, _ = next(item for item in _UNITS if seconds < item[0] * item[2])
    count = seconds / size
    return f"{round(count, 1 if count < 9.95 else None):g} {unit}"
