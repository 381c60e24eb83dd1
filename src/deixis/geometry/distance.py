"""Distances in space: between boxes, from points, along segments; exact, in closed form.

Knows oriented boxes. Does not know which of them are objects, nor how sure anyone is of them (see metric.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Box3D, Vec3, vec3
from deixis.geometry.slabs import crossing, in_own_axes

__all__ = ["Sight", "closest_points_m", "distance_m", "line_of_sight", "nearest_point_m"]

Array = NDArray[np.float64]
_EDGES = np.array([[i, i + step] for step in (1, 2, 4) for i in range(8) if not i & step])  # (12, 2) corner numbers


class Sight(NamedTuple):
    """Whether a straight line is free, and the numbers of the boxes in its way, first met first."""

    clear: bool
    blocked_by: tuple[int, ...]


def distance_m(a: Box3D, b: Box3D) -> float:
    """Shortest distance between two boxes in metres; 0 when they touch or overlap."""
    here, there = closest_points_m(a, b)
    return float(np.linalg.norm(np.subtract(here, there)))


def closest_points_m(a: Box3D, b: Box3D) -> tuple[Vec3, Vec3]:
    """A pair of points, one of each box, that are as close as any; the same point twice where the boxes share one.

    Boxes that meet have an edge of one that meets the other, or one lies in the other. Boxes that do not are closest either at a
    corner of one or between two edges.
    """
    corners, others = a.corners_m(), b.corners_m()
    for box, points in ((b, corners), (a, others)):
        starts, ends = points[_EDGES[:, 0]], points[_EDGES[:, 1]]
        enter, leave = _within(box, starts, ends)
        hits = np.flatnonzero(enter <= leave)
        if len(hits):
            shared = vec3(starts[hits[0]] + (ends - starts)[hits[0]] * enter[hits[0]])
            return shared, shared
    first = [corners, _nearest_points(a, others)]
    second = [_nearest_points(b, corners), others]
    i, j = np.divmod(np.arange(144), 12)
    between = _between_segments(corners[_EDGES[i, 0]], corners[_EDGES[i, 1]], others[_EDGES[j, 0]], others[_EDGES[j, 1]])
    here, there = np.concatenate([*first, between[0]]), np.concatenate([*second, between[1]])  # (160, 3)
    best = int(np.argmin(((here - there) ** 2).sum(axis=1)))
    return vec3(here[best]), vec3(there[best])


def nearest_point_m(box: Box3D, point_m: ArrayLike) -> Vec3:
    """The point of the box (its inside counts) that is nearest to a point in the camera frame."""
    return vec3(_nearest_points(box, _point(point_m)[None])[0])


def line_of_sight(start_m: ArrayLike, end_m: ArrayLike, boxes: Sequence[Box3D], ignore: Sequence[int] = ()) -> Sight:
    """Whether two points in the camera frame see each other past the boxes.

    Ends may lie in or on a box of their own: `ignore` names its number. A line that only grazes a box is free.
    """
    start, end = _point(start_m), _point(end_m)
    met: list[tuple[float, int]] = []
    for i, box in enumerate(boxes):
        if i not in ignore:
            enter, leave = _within(box, start[None], end[None])
            if leave[0] - enter[0] > 1e-9:
                met.append((float(enter[0]), i))
    return Sight(not met, tuple(i for _, i in sorted(met)))


def _nearest_points(box: Box3D, points: Array) -> Array:
    """The points of the box (n, 3) that are nearest to points (n, 3)."""
    local, half = in_own_axes(box, points)
    nearest: Array = np.clip(local, -half, half) @ np.array(box.rotation).T + np.array(box.center_m)
    return nearest


def _within(box: Box3D, starts: Array, ends: Array) -> tuple[Array, Array]:
    """Where segments (n, 3) enter and leave the box, as shares of their length; enter > leave where they miss it."""
    enter, leave = crossing(box, starts, ends - starts)
    return np.maximum(enter, 0.0), np.minimum(leave, 1.0)


def _between_segments(p1: Array, q1: Array, p2: Array, q2: Array) -> tuple[Array, Array]:
    """Closest points of pairs of segments, each (n, 3) (Ericson, Real-Time Collision Detection, 5.1.9)."""
    d1, d2, r = q1 - p1, q2 - p2, p1 - p2
    a, e, b = (d1 * d1).sum(axis=1), (d2 * d2).sum(axis=1), (d1 * d2).sum(axis=1)
    c, f = (d1 * r).sum(axis=1), (d2 * r).sum(axis=1)
    room = a * e - b * b
    parallel = room <= 1e-12 * a * e
    s = np.where(parallel, 0.0, np.clip((b * f - c * e) / np.where(parallel, 1.0, room), 0, 1))
    t = np.clip((b * s + f) / e, 0, 1)
    s = np.clip((b * t - c) / a, 0, 1)
    return p1 + d1 * s[:, None], p2 + d2 * t[:, None]


def _point(point_m: ArrayLike) -> Array:
    point = np.asarray(point_m, dtype=np.float64)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise GeometryError(f"point has shape {point.shape}; expected three finite numbers in metres")
    return point
