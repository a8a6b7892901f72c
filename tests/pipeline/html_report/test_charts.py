"""The marks in the pictures lie where the numbers say, as an XML parser reads them."""

import math
import xml.etree.ElementTree as ET

import pytest

from pipeline.html_report.axes import Axis
from pipeline.html_report.bars import Bar, bar_chart
from pipeline.html_report.charts import Series, histogram, line_chart
from pipeline.html_report.heat_map import CELL, heat_map
from pipeline.html_report.svg import visible

HOSTILE = '</svg><script>alert("1")</script>&amp;'
EPOCH = Axis("epoch", whole=True)


def marks(svg, name, kind):
    """The elements of a class, by an XML parser: the picture is well formed, or this fails."""
    return [item for item in ET.fromstring(svg).iter(name) if kind in item.get("class", "").split()]


def numbers(item, *names):
    return [float(item.get(name)) for name in names]


def title(item):
    return item.find("title").text


def test_points_of_a_line_are_in_proportion():
    points = [(1.0, 10.0), (2.0, 20.0), (3.0, 40.0)]
    chart = line_chart("perplexity", [Series("train", points)], EPOCH, Axis("perplexity"))
    (x1, y1), (x2, y2), (x3, y3) = (numbers(dot, "cx", "cy") for dot in marks(chart.svg, "circle", "dot"))
    assert x3 - x2 == pytest.approx(x2 - x1, abs=0.2)
    assert (y1 - y3) == pytest.approx(3 * (y1 - y2), abs=0.4) and y1 > y2 > y3  # up is less
    assert chart.rows == [("1", "10"), ("2", "20"), ("3", "40")] and chart.legend == []


def test_on_a_logarithmic_axis_ratios_are_distances_and_the_loss_stands_at_the_right():
    points = [(1.0, 4.0), (2.0, 8.0), (3.0, 16.0)]
    chart = line_chart("perplexity", [Series("train", points)], EPOCH, Axis("p", log=True), nats=True)
    y1, y2, y3 = (numbers(dot, "cy")[0] for dot in marks(chart.svg, "circle", "dot"))
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)
    labels = {item.text: numbers(item, "x", "y") for item in marks(chart.svg, "text", "tick")}
    right = sorted((float(text), y) for text, (x, y) in labels.items() if x > 300 and y < 190)
    (loss, place), (more, above) = right[0], right[-1]
    # One nat is a factor of e: as far apart on the right as on the left.
    assert (place - above) / (more - loss) == pytest.approx((y1 - y3) / math.log(4), rel=0.03)


def test_a_value_without_a_place_leaves_a_gap():
    points = [(1.0, 3.0), (2.0, math.inf), (3.0, 2.0), (4.0, 1.0), (5.0, math.nan)]
    chart = line_chart("perplexity", [Series("train", points)], EPOCH, Axis("p", log=True))
    assert len(marks(chart.svg, "circle", "dot")) == 3
    assert len(marks(chart.svg, "path", "line")) == 1  # from the third to the fourth
    assert [row[1] for row in chart.rows] == ["3", "inf", "2", "1", "nan"]


def test_each_seed_has_a_line_and_the_kept_epoch_a_ring():
    lines = [Series(f"seed {n}", [(1.0, n), (2.0, n + 1)], colour=n, ring=2.0) for n in range(8)]
    chart = line_chart("BLEU", lines, EPOCH, Axis("BLEU"), ring="kept")
    assert len(marks(chart.svg, "path", "line")) == 8 == len(marks(chart.svg, "circle", "ring"))
    assert [key.name for key in chart.legend] == [f"seed {n}" for n in range(8)] + ["kept"]
    assert title(marks(chart.svg, "circle", "ring")[3]) == "seed 3, epoch 2: 4"


def test_one_epoch_is_a_dot():
    chart = line_chart("BLEU", [Series("validation", [(1.0, 7.0)])], EPOCH, Axis("BLEU"))
    assert len(marks(chart.svg, "circle", "dot")) == 1 and not marks(chart.svg, "path", "line")


def test_columns_hold_every_pair_and_have_heights_in_proportion():
    train = {1: 10, 2: 30, 3: 60}
    chart = histogram("Length", {"train": train, "test": {2: 5, 3: 5}}, "tokens")
    heights = [numbers(column, "height")[0] for column in marks(chart.svg, "rect", "column")]
    assert heights[1] == pytest.approx(3 * heights[0], abs=0.3) and heights[2] == pytest.approx(6 * heights[0], abs=0.5)
    assert chart.rows[0] == ("1", "10.00 %", "0.00 %") and chart.note == ""
    assert len(marks(chart.svg, "path", "line")) == 1


def test_a_long_tail_is_cut_off_and_says_so():
    train = {length: 1000 for length in range(1, 101)} | {5000: 3}
    chart = histogram("Length", {"train": train}, "tokens")
    assert chart.note == "Not shown: 3 of train, up to 5,000."
    bins = [row[0] for row in chart.rows]
    assert len(bins) <= 40 and bins[0] == "0 to 4"
    assert sum(float(row[1].split()[0]) for row in chart.rows) == pytest.approx(100 * 100_000 / 100_003, abs=0.1)


def test_a_split_without_pairs_is_left_out():
    chart = histogram("Length", {"train": {3: 1}, "test": {}}, "tokens")
    assert chart.header == ("tokens", "train")
    assert histogram("Length", {}, "tokens").rows == []


def test_bars_begin_at_zero_and_whiskers_enclose_the_value():
    chart = bar_chart("BLEU", [Bar("1-8", 40.0, "40.00", (35.0, 45.0)), Bar("9+", 20.0, "20.00", faint=True)], "BLEU")
    (x1, w1), (x2, w2) = (numbers(bar, "x", "width") for bar in marks(chart.svg, "rect", "bar"))
    assert x1 == x2 and w1 == pytest.approx(2 * w2, abs=0.2)
    (whisker,) = marks(chart.svg, "path", "whisker")
    path = whisker.get("d")  # M LOW y V y M LOW y H HIGH M …
    low, high = float(path[1:].split(" ")[0]), float(path.split("H")[1].split("M")[0])
    assert (low + high) / 2 == pytest.approx(x1 + w1, abs=0.2) and (high - low) == pytest.approx(w1 / 4, abs=0.3)
    assert chart.rows == [("1-8", "40.00", "35 to 45"), ("9+", "20.00", "")]


def test_bars_below_zero_go_to_the_left():
    chart = bar_chart("difference", [Bar("a", -2.0, "-2"), Bar("b", 1.0, "1")], "points")
    (x1, w1), (x2, _) = (numbers(bar, "x", "width") for bar in marks(chart.svg, "rect", "bar"))
    assert x1 + w1 == pytest.approx(x2, abs=0.2)


def test_cells_of_attention():
    svg = heat_map("attention", ["zwei", "hunde"], ["two", "dogs", "."], [[0.9, 0.1], [0.01, 0.99], [0.5, 0.5]])
    cells = marks(svg, "rect", "cell")
    assert [title(cell) for cell in cells] == [
        "zwei → two: 0.90",
        "hunde → two: 0.10",
        "hunde → dogs: 0.99",
        "zwei → .: 0.50",
        "hunde → .: 0.50",
    ]
    (x0, y0), (x1, _), (_, y2) = (numbers(cell, "x", "y") for cell in cells[:3])
    assert x1 - x0 == CELL and y2 - y0 == CELL
    assert [cell.get("fill-opacity") for cell in cells[:2]] == ["0.90", "0.10"]
    with pytest.raises(ValueError, match="expected 1 rows of 2, got 1 of "):
        heat_map("attention", ["a", "b"], ["c"], [[1.0]])


def test_text_from_outside_is_text():
    series = [Series(HOSTILE, [(1.0, 1.0)]), Series("b", [(1.0, 2.0)])]
    for svg in (
        line_chart(HOSTILE, series, Axis(HOSTILE), Axis(HOSTILE)).svg,
        histogram(HOSTILE, {HOSTILE: {1: 2}}, HOSTILE).svg,
        bar_chart(HOSTILE, [Bar(HOSTILE, 1.0, HOSTILE)], HOSTILE).svg,
        heat_map(HOSTILE, [HOSTILE], [HOSTILE], [[1.0]]),
    ):
        root = ET.fromstring(svg)
        assert root.get("aria-label") == HOSTILE and not list(root.iter("script"))


def test_what_html_forbids_becomes_visible():
    assert visible("a\tb\nc\x00\x1b\x7f\ud800é") == "a\tb\nc␀␛␡�é"
