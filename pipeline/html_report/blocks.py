"""What a section of the page consists of; the template has a macro for each kind. Pure values, no HTML but charts'."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from markupsafe import Markup

from pipeline.html_report.svg import Chart


class Link(NamedTuple):
    """Text that leads to a place on the page."""

    text: str
    anchor: str


Cell = str | Link | Sequence[Link]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells."""

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    columns: str
    """A letter for each column: a few `w`ords in one line, `n`umber, `c`ode, or `t`ext in any number of lines, which
    may be the corpus's and run from right to left."""
    caption: str = ""
    anchors: Sequence[str] = ()
    """Names of the rows, for links to lead to; none, or one for each."""


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two."""

    kind: ClassVar[str] = "paragraph"
    text: str
    tone: str = ""
    """`good` or `bad` news, or a `note`."""


@dataclass(frozen=True)
class Charts:
    """Charts, side by side where there is room."""

    kind: ClassVar[str] = "charts"
    charts: Sequence[Chart]


class Tile(NamedTuple):
    """A number that stands out."""

    value: str
    label: str
    remark: str = ""


@dataclass(frozen=True)
class Tiles:
    """Numbers, side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: Sequence[Tile]


class Picture(NamedTuple):
    """A picture of its own size."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Pictures, side by side where there is room; one that is wider than the page scrolls in its own box."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Details:
    """What is shown when a person asks for it."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: "Sequence[Block]"


@dataclass(frozen=True)
class Heading:
    """Title of a part of a section."""

    kind: ClassVar[str] = "heading"
    text: str


Block = Table | Paragraph | Charts | Tiles | Pictures | Details | Heading


class Section(NamedTuple):
    """A part of the page that its contents list."""

    anchor: str
    title: str
    blocks: Sequence[Block]
