"""Horizontal bars from zero, with whiskers for intervals: the figures of slices, the reasons of drops."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from pipeline.html_report.axes import Axis, Scale, lay, tick_label
from pipeline.html_report.svg import WIDTH, Chart, picture, px, text

_ROW, _TOP, _BELOW = 26, 8, 34
_CHARACTER, _LONGEST_NAME = 6.3, 22


class Bar(NamedTuple):
    """One value."""

    name: str
    value: float
    shown: str
    """The value as a person reads it."""
    interval: tuple[float, float] | None = None
    faint: bool = False
    """Whether it rests on too little to be trusted."""


def bar_chart(title: str, bars: Sequence[Bar], label: str, note: str = "") -> Chart:
    """A chart of bars; `label` says what the values are, with the unit."""
    left = 10 + _CHARACTER * min(_LONGEST_NAME, max((len(bar.name) for bar in bars), default=1))
    right = WIDTH - 14 - _CHARACTER * max((len(bar.shown) for bar in bars), default=1)
    bottom = _TOP + _ROW * len(bars)
    ends = [end for bar in bars for end in (bar.value, *(bar.interval or ()))]
    across = lay(Axis(label), [0.0, *ends], left, right, 4)
    parts = []
    for tick in across.ticks:
        line = Markup('<path class="rule" d="M{} {}V{}"/>').format(px(across.at(tick)), _TOP, bottom)
        parts += [line, text("tick", across.at(tick), bottom + 13, "middle", tick_label(tick))]
    parts.append(text("axis", (left + right) / 2, bottom + _BELOW - 5, "middle", label))
    parts += [_bar(bar, across, _TOP + _ROW * (number + 0.5)) for number, bar in enumerate(bars)]
    intervals = any(bar.interval for bar in bars)
    rows = [(bar.name, bar.shown, *((_interval(bar) or "",) if intervals else ())) for bar in bars]
    header = ("", label, *(("interval",) if intervals else ()))
    return Chart(title, picture(title, bottom + _BELOW, parts), header, rows, note=note)


def _bar(bar: Bar, across: Scale, middle: float) -> Markup:
    zero, place = across.at(0.0), across.at(bar.value)
    name = bar.name if len(bar.name) <= _LONGEST_NAME else bar.name[: _LONGEST_NAME - 1] + "…"
    interval = _interval(bar)
    parts = [
        Markup("<title>{}: {}</title>").format(bar.name, f"{bar.shown} [{interval}]" if interval else bar.shown),
        text("label", across.start - 6, middle + 4, "end", name),
        Markup('<rect class="bar" x="{}" y="{}" width="{}" height="14" rx="1"/>').format(
            px(min(zero, place)), px(middle - 7), px(abs(place - zero))
        ),
        text("label", across.end + 8, middle + 4, "start", bar.shown),
    ]
    if bar.interval:
        low, high = (px(across.at(end)) for end in bar.interval)
        whisker = Markup('<path class="whisker" d="M{0} {2}V{3}M{0} {4}H{1}M{1} {2}V{3}"/>')
        parts.append(whisker.format(low, high, px(middle - 4), px(middle + 4), px(middle)))
    return Markup('<g class="s0{}">{}</g>').format(" faint" if bar.faint else "", Markup("").join(parts))


def _interval(bar: Bar) -> str:
    return f"{bar.interval[0]:.4g} to {bar.interval[1]:.4g}" if bar.interval else ""
