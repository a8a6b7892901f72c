"""Lines over a common x, such as the epochs of a training, and distributions of whole numbers."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from markupsafe import Markup

from pipeline.html_report.axes import Axis, Scale, lay, tick_label
from pipeline.html_report.svg import WIDTH, Chart, Key, colour, picture, px, text

HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 18, 24, 36
_NATS = 34  # at the right, with a second axis there
_MOST_DOTS = 40  # points of a line that are drawn as dots, too
_MOST_BINS = 40


class Series(NamedTuple):
    """One line."""

    name: str
    points: Sequence[tuple[float, float]]
    """x and y; a y that has no place on the axis leaves a gap."""
    colour: int = 0
    dashed: bool = False
    ring: float | None = None
    """The x whose point is ringed."""


def line_chart(
    title: str, series: Sequence[Series], x: Axis, y: Axis, *, ring: str = "", nats: bool = False, note: str = ""
) -> Chart:
    """Lines over a common x.

    Args:
        title: what is shown.
        series: the lines.
        x: the axis below.
        y: the axis at the left.
        ring: what the legend says of ringed points.
        nats: whether the axis at the right names the logarithm of y: a perplexity's loss, in nats a token.
        note: a sentence below.
    """
    right = WIDTH - (_NATS if nats else _RIGHT)
    across = lay(x, [place for line in series for place, _ in line.points], _LEFT, right, 6)
    up = lay(y, [value for line in series for _, value in line.points], HEIGHT - _BOTTOM, _TOP)
    parts = [_grid(across, up, x, y), *([_nats(up, right)] if nats else [])]
    for line in series:
        for shown, run in groupby(line.points, key=lambda point: y.shows(point[1])):
            if shown:
                parts.append(_line(line, [*run], across, up, x.label))
    by_place = [dict(line.points) for line in series]
    rows = [
        (tick_label(place), *(f"{line[place]:.4g}" if place in line else "" for line in by_place))
        for place in sorted(set[float]().union(*by_place))
    ]
    legend = []
    if len(series) > 1:
        legend = [Key(line.name, line.colour, "dashed" if line.dashed else "line") for line in series]
    if ring and any(line.ring is not None for line in series):
        legend.append(Key(ring, series[-1].colour, "ring"))
    header = (x.label, *(line.name for line in series))
    return Chart(title, picture(title, HEIGHT, parts), header, rows, legend, note)


def histogram(title: str, counts: Mapping[str, Mapping[int, int]], label: str, share: float = 0.999) -> Chart:
    """Distributions of whole numbers, each in per cent of its own total: the first as columns, the others as lines.

    Args:
        title: what is shown.
        counts: name of a distribution to how often each value occurs.
        label: what the values are.
        share: how much of each distribution is shown at least; a note says what is cut off.
    """
    filled = {name: histogram for name, histogram in counts.items() if sum(histogram.values())}
    low = min((min(histogram) for histogram in filled.values()), default=0)
    high = max((_quantile(histogram, share) for histogram in filled.values()), default=0)
    width = next(
        width for power in range(12) for width in (10**power, 2 * 10**power, 5 * 10**power)
        if (high - low) / width < _MOST_BINS
    )  # fmt: skip
    starts = range(low // width * width, high + 1, width)
    end = starts[-1] + width
    lines = {
        name: [100 * _between(histogram, start, start + width) / sum(histogram.values()) for start in starts]
        for name, histogram in filled.items()
    }
    x, y = Axis(label, whole=True, low=starts[0], high=end), Axis("% of pairs", low=0.0)
    across = lay(x, [], _LEFT, WIDTH - _RIGHT, 6)
    up = lay(y, [value for line in lines.values() for value in line], HEIGHT - _BOTTOM, _TOP)
    bins = [f"{start:,}" if width == 1 else f"{start:,} to {start + width - 1:,}" for start in starts]
    parts = [_grid(across, up, x, y)]
    for number, (name, line) in enumerate(lines.items()):
        if number:
            points = [(start + width / 2, value) for start, value in zip(starts, line, strict=True)]
            parts.append(_path(points, across, up, number))
            continue
        parts += [
            _column(
                across.at(start), across.at(start + width), up.at(value), up.start, f"{name}, {place}: {value:.2f} %"
            )
            for start, place, value in zip(starts, bins, line, strict=True)
        ]
    rows = [
        (place, *(f"{value:.2f} %" for value in values))
        for place, *values in zip(bins, *lines.values(), strict=True)
        if any(values)
    ]
    cut = [(name, sum(histogram.values()) - _between(histogram, 0, end)) for name, histogram in filled.items()]
    longer = ", ".join(f"{count:,} of {name}" for name, count in cut if count)
    largest = max((max(histogram) for histogram in filled.values()), default=0)
    note = f"Not shown: {longer}, up to {largest:,}." if longer else ""
    legend = [Key(name, number, "line" if number else "column") for number, name in enumerate(lines)]
    return Chart(title, picture(title, HEIGHT, parts), (label, *lines), rows, legend, note)


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least `share` of all do not exceed."""
    reached, total = 0, sum(counts.values())
    for value in sorted(counts):
        reached += counts[value]
        if reached >= share * total:
            return value
    return max(counts)


def _between(counts: Mapping[int, int], low: int, high: int) -> int:
    return sum(count for value, count in counts.items() if low <= value < high)


def _line(line: Series, points: Sequence[tuple[float, float]], across: Scale, up: Scale, what: str) -> Markup:
    parts = [_path(points, across, up, line.colour, line.dashed)] if len(points) > 1 else []
    for x, y in points:
        circles = [("dot", 2.2)] if len(line.points) <= _MOST_DOTS else []
        for kind, radius in [*circles, *([("ring", 5.0)] if x == line.ring else [])]:
            parts.append(
                Markup('<circle class="{} {}" cx="{}" cy="{}" r="{}"><title>{}, {} {}: {:.4g}</title></circle>').format(
                    kind, colour(line.colour), px(across.at(x)), px(up.at(y)), radius, line.name, what, tick_label(x), y
                )
            )
    return Markup("").join(parts)


def _path(points: Sequence[tuple[float, float]], across: Scale, up: Scale, number: int, dashed: bool = False) -> Markup:
    steps = "L".join(f"{px(across.at(x))} {px(up.at(y))}" for x, y in points)
    return Markup('<path class="line {}{}" d="M{}"/>').format(colour(number), " dashed" if dashed else "", steps)


def _column(left: float, right: float, top: float, bottom: float, title: str) -> Markup:
    return Markup('<rect class="column s0" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
        px(left + 0.5), px(top), px(max(0.5, right - left - 1)), px(bottom - top), title
    )


def _grid(across: Scale, up: Scale, x: Axis, y: Axis) -> Markup:
    """Lines at the ticks of y, notches at those of x, and the axes' labels, that of y above it."""
    parts = []
    for tick in up.ticks:
        line = Markup('<path class="rule" d="M{} {}H{}"/>').format(px(across.start), px(up.at(tick)), px(across.end))
        parts += [line, text("tick", across.start - 5, up.at(tick) + 3.5, "end", tick_label(tick))]
    for tick in across.ticks:
        notch = Markup('<path class="notch" d="M{} {}v4"/>').format(px(across.at(tick)), px(up.start))
        parts += [notch, text("tick", across.at(tick), up.start + 15, "middle", tick_label(tick))]
    parts.append(text("axis", (across.start + across.end) / 2, HEIGHT - 4, "middle", x.label))
    parts.append(text("axis", 2, 11, "start", y.label))
    return Markup("").join(parts)


def _nats(up: Scale, right: float) -> Markup:
    """The axis at the right: the logarithm of what the logarithmic scale `up` shows."""
    loss = lay(Axis("", low=math.log(up.low), high=math.log(up.high)), [], up.start, up.end)
    labels = [text("tick", right + 5, loss.at(tick) + 3.5, "start", tick_label(tick)) for tick in loss.ticks]
    return Markup("").join([*labels, text("axis", WIDTH - 2, 11, "end", "loss (nats)")])
