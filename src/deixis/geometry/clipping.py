"""Flat convex polygons in space, cut by half spaces (Sutherland and Hodgman, 1974). One mechanism for box overlap and visibility.

Knows points and planes. Does not know boxes or cameras.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clip_polygon", "polygon_area"]


Array = NDArray[np.float64]


def clip_polygon(polygon: Array, normals: Array, offsets: Array) -> Array:
    """The part of a convex polygon (k, 3) where normal · point ≤ offset for every plane.

    normals (m, 3), offsets (m,). Returns corners (j, 3) in the same order; j = 0 when nothing is left.
    """
    for normal, offset in zip(normals, offsets, strict=True):
        if len(polygon) == 0:
            break
        height = polygon @ normal - offset  # (k,) above the plane is outside
        inside = height <= 0
        if inside.all():
            continue
        following = np.roll(np.arange(len(polygon)), -1)
        kept: list[Array] = []
        for i, j in enumerate(following):
            if inside[i]:
                kept.append(polygon[i])
            if inside[i] != inside[j]:
                kept.append(polygon[i] + (polygon[j] - polygon[i]) * (height[i] / (height[i] - height[j])))
        polygon = np.array(kept).reshape(-1, 3)
    return polygon


def polygon_area(polygon: Array) -> float:
    """Area of a flat polygon (k, 3), 0 for fewer than three corners."""
    if len(polygon) < 3:
        return 0.0
    spokes = polygon[1:] - polygon[0]
    return float(np.linalg.norm(np.cross(spokes[:-1], spokes[1:]).sum(axis=0)) / 2)
