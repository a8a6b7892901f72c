"""Axes of charts: which range they show, where a value lies on them, and which round values they name."""

import math
from collections.abc import Iterable
from typing import NamedTuple

_STEPS = (1.0, 2.0, 5.0, 10.0)


class Axis(NamedTuple):
    """How the values of one direction are shown."""

    label: str
    """What they are, with the unit."""
    log: bool = False
    """Whether equal distances are equal ratios; values of 0 and below are then not shown."""
    whole: bool = False
    """Whether there are only whole numbers, such as epochs."""
    low: float | None = None
    """Where it begins; None: a round value at or below the smallest."""
    high: float | None = None
    """Where it ends; None: a round value at or above the largest."""

    def shows(self, value: float | None) -> bool:
        """Whether a value has a place on the axis."""
        return value is not None and math.isfinite(value) and (value > 0 or not self.log)


class Scale(NamedTuple):
    """An axis laid on a stretch of pixels."""

    low: float
    high: float
    start: float
    """Pixel of `low`."""
    end: float
    """Pixel of `high`."""
    log: bool
    ticks: tuple[float, ...]
    """The values that are named."""

    def at(self, value: float) -> float:
        """Pixel of a value."""
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def lay(axis: Axis, values: Iterable[float | None], start: float, end: float, count: int = 5) -> Scale:
    """The scale that shows all `values` that can be shown, with about `count` ticks."""
    shown = [value for value in values if value is not None and axis.shows(value)] or [1.0]
    low = min(shown) if axis.low is None else axis.low
    high = max(shown) if axis.high is None else axis.high
    if low >= high:  # one value, or none within the fixed ends
        low, high = (low, low + 1) if axis.low is not None else _around(low, axis)
    named = log_ticks(low, high, count) if axis.log else ticks(low, high, count, axis.whole)
    if axis.low is None:
        low = min(low, named[0])
    if axis.high is None:
        high = max(high, named[-1])
    return Scale(low, high, start, end, axis.log, tuple(value for value in named if low <= value <= high))


def _around(value: float, axis: Axis) -> tuple[float, float]:
    """The ends of an axis that has to show one value alone."""
    if axis.log:
        return value / 2, value * 2
    if axis.whole:
        return value - 1, value + 1
    margin = abs(value) / 2
    return (value - margin, value + margin) if value else (0.0, 1.0)


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """At most about `count` multiples of 1, 2 or 5 times a power of ten; the first <= `low`, the last >= `high`."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in _STEPS if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    # Multiples are rounded off: 3 * 0.1 is not 0.3.
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Powers of ten, and 2 and 5 times them if there is room; the first <= `low`, the last >= `high`."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [float(f"{factor}e{decade}") for decade in decades for factor in factors]
        first = max(index for index, value in enumerate(found) if value <= low * (1 + 1e-9))
        last = min(index for index, value in enumerate(found) if value >= high * (1 - 1e-9))
        named = found[first : last + 1]
        if len(named) <= count + 2:
            return named
    stride = math.ceil(len(named) / count)
    return [value for index, value in enumerate(named) if index % stride == 0 or index == len(named) - 1]


def tick_label(value: float) -> str:
    """A round value as short as it goes, such as `20,000` or `0.05`."""
    return f"{value:,.10g}".replace("e-0", "e-").replace("e+", "e").replace("-", "\N{MINUS SIGN}")
