"""Attention as a heat map: which source token each target token looked at."""

from collections.abc import Sequence

from markupsafe import Markup

from pipeline.html_report.svg import px, text, visible

CELL = 18
_CHARACTER, _LONGEST = 7.2, 14
_FAINTEST = 0.02  # a weight below it is not seen, and need not be drawn


def heat_map(title: str, source: Sequence[str], target: Sequence[str], weights: Sequence[Sequence[float]]) -> Markup:
    """A row for each target token, a column for each source token; of its own size, whatever the page's.

    Args:
        title: for those who do not see it.
        source: S tokens.
        target: T tokens.
        weights: T rows of S weights, 0 to 1.

    Raises:
        ValueError: the weights are not T x S.
    """
    if [len(row) for row in weights] != [len(source)] * len(target):
        sizes = sorted({*map(len, weights)})
        raise ValueError(f"weights: expected {len(target)} rows of {len(source)}, got {len(weights)} of {sizes}")
    left = 8 + _CHARACTER * min(_LONGEST, max(map(len, target), default=0))
    top = 8 + _CHARACTER * min(_LONGEST, max(map(len, source), default=0))
    width, height = left + CELL * len(source) + 1, top + CELL * len(target) + 1
    parts = [
        Markup('<rect class="cells" x="{}" y="{}" width="{}" height="{}"/>').format(
            px(left), px(top), CELL * len(source), CELL * len(target)
        )
    ]
    for column, token in enumerate(source):
        x = px(left + CELL * (column + 0.5) + 4)
        parts.append(
            Markup('<text class="token" transform="translate({} {}) rotate(-90)">{}</text>').format(
                x, px(top - 5), _short(token)
            )
        )
    for row, token in enumerate(target):
        parts.append(text("token", left - 5, top + CELL * (row + 0.5) + 4, "end", _short(token)))
    for row, values in enumerate(weights):
        for column, weight in enumerate(values):
            if weight >= _FAINTEST:
                parts.append(
                    Markup(
                        '<rect class="cell" x="{}" y="{}" width="{}" height="{}" fill-opacity="{:.2f}">'
                        "<title>{} → {}: {:.2f}</title></rect>"
                    ).format(
                        px(left + CELL * column), px(top + CELL * row), CELL, CELL, min(1.0, weight),
                        visible(source[column]), visible(target[row]), weight,
                    )
                )  # fmt: skip
    return Markup(
        '<svg class="attention" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(px(width), px(height), visible(title), Markup("").join(parts))


def _short(token: str) -> str:
    return visible(token if len(token) <= _LONGEST else token[: _LONGEST - 1] + "…")
