"""The ground, or a table's top: heights above it, and places and footprints on it; and lifting pictures into space.

Knows planes, cameras and boxes. Does not know where the plane comes from: gravity, a depth map, or boxes that stand on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import IDENTITY, Box3D, Matrix3, Vec3
from deixis.geometry.boxes import checked_box
from deixis.geometry.camera import Camera
from deixis.geometry.polygons import convex_hull

__all__ = ["GroundPlane", "lifted_box", "lifted_point_m", "unit_vector"]

Array = NDArray[np.float64]


def unit_vector(name: str, direction: ArrayLike) -> Vec3:
    """The direction (3,) with length 1; GeometryError where it has none."""
    vector = np.asarray(direction, dtype=np.float64)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else math.nan
    if not (math.isfinite(length) and length > 1e-12):
        raise GeometryError(f"{name} is {vector.tolist()}; expected three finite numbers that are not all zero")
    x, y, z = (vector / length).tolist()
    return x, y, z


@dataclass(frozen=True)
class GroundPlane:
    """Points p of the camera frame with up · p = offset_m; `up` is against gravity and is made a unit vector."""

    up: Vec3
    offset_m: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "up", unit_vector("up", self.up))
        if not math.isfinite(self.offset_m):
            raise GeometryError(f"plane offset is {self.offset_m} m; expected a finite number")

    @classmethod
    def under(cls, boxes: Sequence[Box3D], up: Vec3) -> GroundPlane:
        """The plane through the lowest corner of all boxes."""
        if not boxes:
            raise GeometryError("no box stands on the ground; give at least one")
        vector = unit_vector("up", up)
        return cls(vector, min(float((box.corners_m() @ vector).min()) for box in boxes))

    @property
    def axes(self) -> tuple[Vec3, Vec3]:
        """Unit vectors on the plane: right and forward as the camera sees them (forward is the picture's up, seen from above)."""
        up = np.array(self.up)
        view = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 1 - 1e-6 else np.array([0.0, -1.0, 0.0])
        forward = unit_vector("forward", view - (view @ up) * up)
        return unit_vector("right", np.cross(forward, up)), forward

    def height_m(self, points_m: ArrayLike) -> Array:
        """Heights (n,) of points (n, 3) above the plane, negative below."""
        heights: Array = np.asarray(points_m, np.float64) @ np.array(self.up) - self.offset_m
        return heights

    def places_m(self, points_m: ArrayLike) -> Array:
        """Points (n, 3) seen from above: (n, 2), right and forward of the camera."""
        places: Array = np.asarray(points_m, np.float64) @ np.array(self.axes).T
        return places

    def footprint_m(self, box: Box3D) -> Array:
        """The box seen from above: corners (k, 2) of a convex polygon, in metres right and forward of the camera."""
        return convex_hull(self.places_m(box.corners_m()))

    def meet(self, camera: Camera, point_px: Sequence[float]) -> Vec3 | None:
        """Where the ray through a pixel meets the plane; None where it runs above the horizon or along the plane."""
        ray = camera.unproject([point_px], [1.0])[0]
        slope = float(ray @ np.array(self.up))
        depth = self.offset_m / slope if abs(slope) > 1e-12 else -1.0
        if depth <= 0:
            return None
        x, y, z = (ray * depth).tolist()
        return x, y, z


def lifted_point_m(camera: Camera, point_px: Sequence[float], depth_m: float) -> Vec3:
    """A pixel and its depth along the optical axis → the point in the camera frame."""
    x, y, z = camera.unproject([point_px], [depth_m])[0].tolist()
    return x, y, z


def lifted_box(
    camera: Camera, box_px: Sequence[float], depth_m: float, thickness_m: float | None = None, rotation: Matrix3 = IDENTITY
) -> Box3D:
    """A 2D box whose surface lies at a depth → a 3D box of that width and height behind it.

    One picture does not say how thick a thing is: without `thickness_m` it is taken as thick as the lesser of width and height.
    A turned box is centred at the same place with the same sizes along its own axes.
    """
    x1, y1, x2, y2 = checked_box(box_px)
    if x1 == x2 or y1 == y2:
        raise GeometryError(f"box is {[x1, y1, x2, y2]}; a box without an area has no sizes in space")
    (left, top, _), (right, bottom, _) = camera.unproject([(x1, y1), (x2, y2)], [depth_m, depth_m]).tolist()
    width, height = right - left, bottom - top
    thickness = min(width, height) if thickness_m is None else thickness_m
    if not (math.isfinite(thickness) and thickness > 0):
        raise GeometryError(f"thickness is {thickness} m; expected a positive finite number")
    middle = lifted_point_m(camera, ((x1 + x2) / 2, (y1 + y2) / 2), depth_m)
    return Box3D((middle[0], middle[1], depth_m + thickness / 2), (width, height, thickness), rotation)
