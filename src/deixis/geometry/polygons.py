"""Convex polygons in a plane: hull of points, shared area.

Knows points (n, 2) in any unit. Does not know pixels from metres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.clipping import clip_polygon, polygon_area

__all__ = ["convex_hull", "polygon_contains", "polygon_iou"]

Array = NDArray[np.float64]


def convex_hull(points: ArrayLike) -> Array:
    """Corners (k, 2) of the convex hull of (n, 2) points, turning from the first axis to the second (monotone chain)."""
    rows = sorted({(float(x), float(y)) for x, y in _points(points)})
    if len(rows) < 3:
        return np.array(rows).reshape(-1, 2)

    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    return np.array(half(rows) + half(rows[::-1]))


def polygon_iou(a: ArrayLike, b: ArrayLike) -> float:
    """Intersection over union of the convex hulls of two sets of points, 0 to 1."""
    first, second = convex_hull(a), convex_hull(b)
    if len(first) < 3 or len(second) < 3:
        return 0.0
    sides = np.roll(second, -1, axis=0) - second
    normals = np.stack([sides[:, 1], -sides[:, 0], np.zeros(len(sides))], axis=1)  # outward
    shared = polygon_area(clip_polygon(_flat(first), normals, (normals[:, :2] * second).sum(axis=1)))
    return shared / (polygon_area(_flat(first)) + polygon_area(_flat(second)) - shared)


def polygon_contains(polygon: ArrayLike, point: ArrayLike) -> bool:
    """Whether a point (x, y) lies in the convex hull of the polygon's corners, border included."""
    corners = convex_hull(polygon)
    if len(corners) < 3:
        return False
    sides, reach = np.roll(corners, -1, axis=0) - corners, np.asarray(point, np.float64) - corners
    return bool((sides[:, 0] * reach[:, 1] - sides[:, 1] * reach[:, 0] >= 0).all())


def _flat(points: Array) -> Array:
    return np.concatenate([points, np.zeros((len(points), 1))], axis=1)


def _points(points: ArrayLike) -> Array:
    rows = np.asarray(points, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 2 or not np.isfinite(rows).all():
        raise GeometryError(f"polygon has shape {rows.shape}; expected (n, 2) finite numbers")
    return rows
