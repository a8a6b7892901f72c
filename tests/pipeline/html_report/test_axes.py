import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.html_report.axes import Axis, lay, log_ticks, tick_label, ticks

FINITE = st.floats(-1e6, 1e6).filter(lambda value: value == 0 or abs(value) > 1e-6)
POSITIVE = st.floats(1e-9, 1e9)


@given(FINITE, st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_few_round_and_enclose(low, width, count):
    named = ticks(low, low + width, count)
    step = named[1] - named[0]
    assert named[0] <= low + 1e-6 * step and named[-1] >= low + width - 1e-6 * step
    assert 2 <= len(named) <= count + 2 and named == sorted(named)
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-6), 3) in (1, 2, 5)


@given(POSITIVE, st.floats(1.1, 1e9), st.integers(3, 8))
def test_logarithmic_ticks_are_few_and_enclose(low, factor, count):
    named = log_ticks(low, low * factor, count)
    assert named[0] <= low * 1.001 and named[-1] >= low * factor * 0.999
    assert 2 <= len(named) <= count + 2 and named == sorted(set(named))


def test_epochs_are_whole():
    assert ticks(1, 3, 6, whole=True) == [1, 2, 3]


@given(st.lists(POSITIVE, min_size=1, max_size=20), st.booleans())
def test_every_value_lies_on_the_scale_in_order(values, log):
    scale = lay(Axis("x", log=log), values, 10, 200)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(10 - 1e-6 <= place <= 200 + 1e-6 for place in places)
    assert scale.ticks and scale.at(scale.low) == pytest.approx(10) and scale.at(scale.high) == pytest.approx(200)


@pytest.mark.parametrize("axis", [Axis("x"), Axis("x", log=True), Axis("x", low=0.0), Axis("x", low=0.0, high=1.0)])
@pytest.mark.parametrize("values", [[], [0.0], [1.0], [math.inf, None, math.nan], [3.0, 3.0]])
def test_a_scale_has_an_extent_whatever_there_is(axis, values):
    scale = lay(axis, values, 0, 100)
    assert scale.low < scale.high and scale.ticks


@pytest.mark.parametrize(
    ("axis", "value", "low", "high"),
    [
        (Axis("x"), 0.0, 0, 1),
        (Axis("x"), 20.0, 10, 30),
        (Axis("x"), 0.002, 0.001, 0.003),
        (Axis("x"), -4.0, -6, -2),
        (Axis("x", whole=True), 7.0, 6, 8),
        (Axis("x", log=True), 10.0, 5, 20),
        (Axis("x", low=0.0), 0.0, 0, 1),
    ],
)
def test_values_that_are_all_the_same_lie_in_the_middle_of_an_axis_of_their_size(axis, value, low, high):
    scale = lay(axis, [value, value], 0, 100)
    assert (scale.low, scale.high) == pytest.approx((low, high)) and value in scale.ticks


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (20_000, "20,000"), (1e6, "1,000,000"), (0.05, "0.05"), (2e-5, "2e\u22125"), (-3, "\u22123")],
)
def test_labels_are_short(value, label):
    assert tick_label(value) == label
