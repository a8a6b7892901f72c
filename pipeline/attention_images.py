"""Attention matrices as pictures: which source token each target token looked at."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

CELL = 0.25
"""Height and width of a cell in inches; 100 pixels an inch."""

FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans")
"""The first comes with matplotlib and has alphabets; for other scripts the others are used if they are installed."""


class Alignment(NamedTuple):
    """A sentence's attention."""

    source_tokens: Sequence[str]  # S
    target_tokens: Sequence[str]  # T
    weights: np.ndarray  # [T, S], 0 to 1


def alignments(answer: dict[str, np.ndarray]) -> list[Alignment]:
    """The sentences of an answer of `serving.translator.Translator.attention`, without padding."""
    found = []
    rows = zip(answer["source_tokens"], answer["target_tokens"], answer["weights"], strict=True)
    for source, target, weights in rows:
        # Only padding is an empty token.
        across, down = ([token.decode() for token in tokens if token] for tokens in (source, target))
        found.append(Alignment(across, down, weights[: len(down), : len(across)]))
    return found


def draw(alignment: Alignment) -> np.ndarray:
    """A picture `[height, width, 3]` uint8: a row for each target token, a column for each source token."""
    rows, columns = alignment.weights.shape
    figure = Figure(figsize=(CELL * columns, CELL * rows), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(alignment.weights, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    installed = set(font_manager.get_font_names())
    families = [font for font in FONTS if font in installed]
    text: Any = {"fontsize": 9, "fontfamily": families, "parse_math": False}
    axes.set_xticks(range(columns), alignment.source_tokens, rotation=90, **text)
    axes.set_yticks(range(rows), alignment.target_tokens, **text)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a glyph that no font has; it is drawn as a box
        # The cells keep their size, and the labels get what they need around them.
        box = figure.get_tightbbox(canvas.get_renderer()).padded(0.05)
        figure.set_size_inches(box.width, box.height)
        axes.set_position(
            (
                -box.x0 / box.width,
                -box.y0 / box.height,
                CELL * columns / box.width,
                CELL * rows / box.height,
            )
        )
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
