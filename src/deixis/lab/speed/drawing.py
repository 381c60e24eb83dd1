"""Tables and curves of the speed benchmark as pictures, with Pillow.

Knows lines, bars and axes. Does not know what they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from deixis.lab.speed.table import Row, told

_INK, _FAINT, _OURS, _PEER, _LIMIT = "#1c2733", "#d5dbe1", "#1a73c8", "#e08a1e", "#7d8894"
_COLORS = (_OURS, _PEER, "#2e9e5b", "#b23a6f")
_WIDTH, _BAR, _GAP = 1000, 16, 26


def draw_table(rows: Sequence[Row], title: str, out: Path) -> None:
    """Bars of this house, its peer and the limit, each row on its own scale: the longest bar is the best."""
    shown = [row for row in rows if row.value is not None]
    image = Image.new("RGB", (_WIDTH, 64 + len(shown) * (3 * _BAR + _GAP + 18)), "white")
    pen = ImageDraw.Draw(image)
    pen.text((20, 16), title, _INK, _font(19))
    y = 56
    for row in shown:
        cells = told(row)
        pen.text((20, y), f"{row.name}   {' · '.join(cell for cell in (cells[3], cells[6]) if cell)}", _INK, _font(14))
        y += 20
        bars = [("Deixis", row.value, _OURS), (row.peer, row.peer_value, _PEER), ("limit", row.limit, _LIMIT)]
        speeds = [(name, value, 1 / value if row.less_is_better else value, color) for name, value, color in bars if value]
        best = max(speed for *_, speed, _ in speeds)
        for name, value, speed, color in speeds:
            length = max(2, round(600 * speed / best))
            pen.rectangle((160, y, 160 + length, y + _BAR - 3), fill=color)
            pen.text((20, y - 2), name, _INK, _font(13))
            figure = f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
            pen.text((168 + length, y - 2), f"{figure} {row.unit}", _INK, _font(13))
            y += _BAR
        y += _GAP
    image.crop((0, 0, _WIDTH, y)).save(out)


def draw_curves(series: Mapping[str, Sequence[tuple[float, float]]], title: str, across: str, upwards: str, out: Path) -> None:
    """Curves of points (x, y), all positive, on logarithmic axes."""
    width, height, left, top, right, bottom = _WIDTH, 560, 90, 60, 30, 70
    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    pen.text((20, 16), title, _INK, _font(19))
    points = [point for line in series.values() for point in line]
    (x0, x1), (y0, y1) = (_decades([point[axis] for point in points]) for axis in (0, 1))

    def at(x: float, y: float) -> tuple[float, float]:
        across_share = (math.log10(x) - x0) / (x1 - x0)
        up_share = (math.log10(y) - y0) / (y1 - y0)
        return left + across_share * (width - left - right), height - bottom - up_share * (height - top - bottom)

    for power in range(math.ceil(x0), math.floor(x1) + 1):
        x, _ = at(10.0**power, 10.0**y0)
        pen.line((x, top, x, height - bottom), _FAINT)
        pen.text((x - 12, height - bottom + 8), f"{10**power:,g}", _INK, _font(13))
    for power in range(math.ceil(y0), math.floor(y1) + 1):
        _, y = at(10.0**x0, 10.0**power)
        pen.line((left, y, width - right, y), _FAINT)
        pen.text((20, y - 8), f"{10.0**power:,g}", _INK, _font(13))
    for number, (name, line) in enumerate(series.items()):
        color = _COLORS[number % len(_COLORS)]
        pen.line([at(*point) for point in line], color, 3)
        for point in line:
            x, y = at(*point)
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
        pen.text((left + 16, top + 8 + 20 * number), name, color, _font(15))
    pen.text((width // 2 - 60, height - 34), across, _INK, _font(15))
    pen.text((20, 40), upwards, _INK, _font(13))
    image.save(out)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    low, high = math.log10(min(values)), math.log10(max(values))
    return low - 0.08, max(high, low + 0.5) + 0.08


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
