"""Where straight lines go through boxes (slab test, Kay and Kajiya, 1986).

Knows boxes and lines. Does not know whether a line is a ray of a picture, an edge of another box or someone's view.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deixis.geometry.box3d import Box3D

__all__ = ["crossing", "in_own_axes"]

Array = NDArray[np.float64]


def in_own_axes(box: Box3D, points: Array) -> tuple[Array, Array]:
    """Points (n, 3) of the camera frame along the box's axes from its centre, (n, 3), and its half sizes (3,)."""
    return (points - np.array(box.center_m)) @ np.array(box.rotation), np.array(box.size_m) / 2


def crossing(box: Box3D, starts: Array, steps: Array) -> tuple[Array, Array]:
    """The t (n,) at which start + t · step, each (n, 3), enters the box and at which it leaves it; enter > leave: never."""
    origin, half = in_own_axes(box, starts)
    step = steps @ np.array(box.rotation)
    flat = np.abs(step) < 1e-15  # along a pair of faces: between them for ever, or never
    safe = np.where(flat, 1.0, step)
    near, far = (-np.sign(safe) * half - origin) / safe, (np.sign(safe) * half - origin) / safe
    outside = np.abs(origin) > half
    enter: Array = np.where(flat, np.where(outside, np.inf, -np.inf), near).max(axis=1)
    leave: Array = np.where(flat, np.where(outside, -np.inf, np.inf), far).min(axis=1)
    return enter, leave
