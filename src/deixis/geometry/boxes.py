"""Boxes and points in the picture plane: overlap, containment, distance, and Qwen3-VL's 0–1000 coordinates.

Knows plain tuples: a box is (x1, y1, x2, y2) in pixels with x1 ≤ x2 and y1 ≤ y2, a point is (x, y). Does not know labels or text.
Every function raises GeometryError for a box that is inverted, not finite or not four numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from deixis.errors import GeometryError

__all__ = [
    "BoxNorm1000",
    "BoxPx",
    "PointPx",
    "area",
    "center_px",
    "checked_box",
    "clipped_px",
    "contains",
    "from_norm1000",
    "gap_px",
    "iou_px",
    "point_from_norm1000",
    "point_to_norm1000",
    "to_norm1000",
]

BoxPx = tuple[float, float, float, float]
BoxNorm1000 = tuple[int, int, int, int]
PointPx = tuple[float, float]


def checked_box(box: Sequence[float]) -> BoxPx:
    """The same box as plain floats; raises GeometryError unless it is four finite numbers in order."""
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise GeometryError(f"box is {list(box)}; expected four finite numbers x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(value) for value in box)
    if x2 < x1 or y2 < y1:
        raise GeometryError(f"box is {[x1, y1, x2, y2]}; expected x1 ≤ x2 and y1 ≤ y2")
    return x1, y1, x2, y2


def area(box_px: Sequence[float]) -> float:
    """Area in square pixels."""
    x1, y1, x2, y2 = checked_box(box_px)
    return (x2 - x1) * (y2 - y1)


def center_px(box_px: Sequence[float]) -> PointPx:
    """The middle of the box."""
    x1, y1, x2, y2 = checked_box(box_px)
    return (x1 + x2) / 2, (y1 + y2) / 2


def iou_px(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union, 0 to 1. Boxes without area overlap nothing, so two of them give 0."""
    ax1, ay1, ax2, ay2 = checked_box(a)
    bx1, by1, bx2, by2 = checked_box(b)
    shared = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = area(a) + area(b) - shared
    return shared / union if shared > 0 else 0.0


def contains(outer: Sequence[float], inner: Sequence[float]) -> bool:
    """Whether `inner` lies in `outer`, borders included. A point (x, y) is the box (x, y, x, y)."""
    ox1, oy1, ox2, oy2 = checked_box(outer)
    ix1, iy1, ix2, iy2 = checked_box(inner)
    return ox1 <= ix1 and oy1 <= iy1 and ix2 <= ox2 and iy2 <= oy2


def gap_px(a: Sequence[float], b: Sequence[float]) -> float:
    """Shortest distance between the two boxes in pixels; 0 when they touch or overlap."""
    ax1, ay1, ax2, ay2 = checked_box(a)
    bx1, by1, bx2, by2 = checked_box(b)
    return math.hypot(max(0.0, ax1 - bx2, bx1 - ax2), max(0.0, ay1 - by2, by1 - ay2))


def clipped_px(box_px: Sequence[float], width: int, height: int) -> BoxPx | None:
    """The part of the box inside a width × height picture, or None where nothing with an area is left."""
    x1, y1, x2, y2 = checked_box(box_px)
    inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return inside if inside[0] < inside[2] and inside[1] < inside[3] else None


def from_norm1000(box: Sequence[float], width: int, height: int) -> BoxPx:
    """0–1000 on each axis by itself (Qwen3-VL's `bbox_2d`) → pixels of a width × height picture. Linear: nothing is clipped."""
    x1, y1, x2, y2 = checked_box(box)
    return x1 * width / 1000, y1 * height / 1000, x2 * width / 1000, y2 * height / 1000


def to_norm1000(box_px: Sequence[float], width: int, height: int) -> BoxNorm1000:
    """Pixels → integers 0–1000, rounded to nearest. Raises GeometryError for a box that leaves the picture: it has no code."""
    x1, y1, x2, y2 = checked_box(box_px)
    return *point_to_norm1000((x1, y1), width, height), *point_to_norm1000((x2, y2), width, height)


def point_from_norm1000(point: Sequence[float], width: int, height: int) -> PointPx:
    """0–1000 (Qwen3-VL's `point_2d`) → pixels."""
    x, y = _checked_point(point)
    return x * width / 1000, y * height / 1000


def point_to_norm1000(point_px: Sequence[float], width: int, height: int) -> tuple[int, int]:
    """Pixels → integers 0–1000. Raises GeometryError for a point outside the picture."""
    x, y = _checked_point(point_px)
    if not (0 <= x <= width and 0 <= y <= height):
        raise GeometryError(f"point ({x:g}, {y:g}) lies outside the {width}×{height} picture; clip it before coding it")
    return round(x * 1000 / width), round(y * 1000 / height)


def _checked_point(point: Sequence[float]) -> PointPx:
    if len(point) != 2 or not all(math.isfinite(value) for value in point):
        raise GeometryError(f"point is {list(point)}; expected two finite numbers x, y")
    return float(point[0]), float(point[1])
