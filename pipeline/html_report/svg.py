"""What all charts are made of: a picture as inline SVG, and what the page says around it.

A chart is 360 units wide, so that on a telephone it is shown at its own size, and several stand side by side elsewhere.
Colours come from the page's style sheet, by class. Every value is named twice: in a `<title>` at its place, and in the
rows, which the page shows as a table. Text is escaped by `Markup.format`.
"""

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

WIDTH = 360

COLOURS = 6
"""Colours of the style sheet, classes `s0` to `s5`; a seventh line has the first one again."""

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # HTML forbids them, UTF-8 the last range


class Key(NamedTuple):
    """A line of the legend."""

    name: str
    colour: int
    mark: Literal["line", "dashed", "ring", "column"] = "line"


class Chart(NamedTuple):
    """A picture and what the page says around it."""

    title: str
    svg: Markup
    header: Sequence[str]
    """Of the table of values."""
    rows: Sequence[Sequence[str]]
    """The table of values."""
    legend: Sequence[Key] = ()
    note: str = ""
    """A sentence below."""


def picture(title: str, height: float, parts: Sequence[Markup], width: float = WIDTH) -> Markup:
    """An SVG that takes the width it is given, up to somewhat more than its own."""
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        px(width), px(height), title, Markup("").join(parts)
    )


def text(kind: str, x: float, y: float, anchor: str, content: str) -> Markup:
    """Text of a class of the style sheet, which begins, has its middle or ends at x."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, px(x), px(y), anchor, visible(content)
    )


def colour(number: int) -> str:
    """The class of a colour."""
    return f"s{number % COLOURS}"


def px(value: float) -> str:
    """A place in a picture, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def visible(content: str) -> str:
    """Text that may stand in HTML: a control character becomes its picture, half a surrogate pair a question mark."""
    return _UNPRINTABLE.sub(_shown, content)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return "�" if code >= 0xD800 else "␡" if code == 0x7F else chr(0x2400 + code)
