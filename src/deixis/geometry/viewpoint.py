"""How a camera is held and from which side it sees a thing: tilt, roll, horizon, class of view, azimuth class.

Knows directions of gravity in the camera frame, and three ways to them: measured, from the ground, from vanishing points.
Does not know pictures: whoever has found line segments or a plane brings them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Box3D, Vec3
from deixis.geometry.boxes import PointPx
from deixis.geometry.camera import Camera
from deixis.geometry.frames import CAMERA_UP, Frame, FrontAxis
from deixis.geometry.ground import GroundPlane, unit_vector

__all__ = ["AzimuthClass", "ViewClass", "Viewpoint", "azimuth_class", "azimuth_deg", "vanishing_point"]

ViewClass = Literal["top-down", "oblique", "eye-level"]
AzimuthClass = Literal["front", "front-right", "right", "back-right", "back", "back-left", "left", "front-left"]
_AZIMUTHS: tuple[AzimuthClass, ...] = (
    "front", "front-right", "right", "back-right", "back", "back-left", "left", "front-left",
)  # fmt: skip
# Between what is plainly one class and plainly the next; nobody agrees on a degree.
TOP_DOWN_FROM_DEG, OBLIQUE_FROM_DEG = 55.0, 15.0


@dataclass(frozen=True)
class Viewpoint:
    """A camera's attitude, given by the direction of gravity (down) in its frame, made a unit vector."""

    gravity: Vec3

    def __post_init__(self) -> None:
        object.__setattr__(self, "gravity", unit_vector("gravity", self.gravity))

    @classmethod
    def from_ground(cls, plane: GroundPlane) -> Viewpoint:
        """From a level plane's upward normal."""
        x, y, z = plane.up
        return cls((-x, -y, -z))

    @classmethod
    def from_vertical_lines(cls, camera: Camera, segments_px: ArrayLike) -> Viewpoint:
        """From two or more segments (n, 4) that are upright in the world. Which end is down is taken from the camera's down."""
        direction = np.linalg.solve(camera.matrix, vanishing_point(segments_px))
        return cls._downward(direction)

    @classmethod
    def from_level_lines(cls, camera: Camera, first_px: ArrayLike, second_px: ArrayLike) -> Viewpoint:
        """From two families of level lines, each of two or more segments (n, 4) that are parallel in the world.

        The horizon joins their two vanishing points. Raises GeometryError where both families have the same.
        """
        ways = [np.linalg.solve(camera.matrix, vanishing_point(family)) for family in (first_px, second_px)]
        ways = [way / np.linalg.norm(way) for way in ways]
        normal = np.cross(ways[0], ways[1])
        if np.linalg.norm(normal) < 1e-6:
            raise GeometryError("both families of level lines vanish at one point; the horizon needs two directions")
        return cls._downward(normal)

    @classmethod
    def _downward(cls, direction: ArrayLike) -> Viewpoint:
        """Of the two ends, the one that is down for a camera that is not upside down; straight ahead for one that looks at it."""
        direction = np.asarray(direction, np.float64)
        upward = direction[1] < 0 if abs(direction[1]) > 1e-9 * np.linalg.norm(direction) else direction[2] < 0
        x, y, z = (-direction if upward else direction).tolist()
        return cls((x, y, z))

    @property
    def tilt_deg(self) -> float:
        """How far the camera looks down below the horizon: 90 straight down, 0 level, negative up."""
        return math.degrees(math.asin(min(1.0, max(-1.0, self.gravity[2]))))

    @property
    def roll_deg(self) -> float:
        """How far gravity points to the right of the picture's straight down: atan2(g_x, g_y). 0 for a view straight down."""
        x, y, _ = self.gravity
        return math.degrees(math.atan2(x, y)) if math.hypot(x, y) > 1e-9 else 0.0

    @property
    def view_class(self) -> ViewClass:
        """Top-down from 55° of tilt, oblique from 15°, else eye-level."""
        if self.tilt_deg >= TOP_DOWN_FROM_DEG:
            return "top-down"
        return "oblique" if self.tilt_deg >= OBLIQUE_FROM_DEG else "eye-level"

    def horizon_px(self, camera: Camera) -> tuple[PointPx, PointPx] | None:
        """The horizon where it crosses the lines of the picture's left and right edge, above or below the picture perhaps.

        None where it is upright in the picture or at infinity, as for a view straight down.
        """
        a, b, c = (np.linalg.inv(camera.matrix).T @ self.gravity).tolist()  # a·x + b·y + c = 0: rays at right angles to gravity
        if abs(b) * camera.fy < 1e-9:
            return None
        return (0.0, -c / b), (float(camera.width), -(a * camera.width + c) / b)


def vanishing_point(segments_px: ArrayLike) -> NDArray[np.float64]:
    """Where two or more segments (n, 4: x1, y1, x2, y2), parallel in the world, meet: homogeneous (3,), the last 0 at infinity.

    Least squares over the lines' unit normals, coordinates centred and scaled first. Raises GeometryError for fewer than two
    segments, one without length, and segments that all lie on one line.
    """
    ends = np.asarray(segments_px, dtype=np.float64)
    if ends.ndim != 2 or ends.shape[1] != 4 or len(ends) < 2 or not np.isfinite(ends).all():
        raise GeometryError(f"segments have shape {ends.shape}; expected two or more of four finite numbers x1, y1, x2, y2")
    points = ends.reshape(-1, 2)
    middle, scale = points.mean(axis=0), float(np.abs(points - points.mean(axis=0)).max())
    if scale == 0:
        raise GeometryError("segments have no length; expected two different ends each")
    scaled = np.concatenate([(points - middle) / scale, np.ones((len(points), 1))], axis=1).reshape(-1, 2, 3)
    lines = np.cross(scaled[:, 0], scaled[:, 1])
    lengths = np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    if (lengths < 1e-9).any():
        raise GeometryError("a segment has no length; expected two different ends each")
    _, strengths, rows = np.linalg.svd(lines / lengths)
    if strengths[1] < 1e-9 * strengths[0]:
        raise GeometryError("all segments lie on one line; they meet everywhere on it")
    x, y, w = rows[2]
    w = 0.0 if abs(w) < 1e-12 else w
    meeting: NDArray[np.float64] = np.array([x * scale + middle[0] * w, y * scale + middle[1] * w, w])
    return meeting / np.linalg.norm(meeting)


def azimuth_deg(box: Box3D, up: Vec3 = CAMERA_UP, front: FrontAxis = "-z") -> float:
    """From which side the camera sees a thing: 0 its front, 90 its own right, ±180 its back, −90 its own left.

    Raises GeometryError for a thing whose front looks straight up or down. A camera straight above or below gives 0.
    """
    right, _, forward = Frame.of_object("it", box, up, front).local_m([(0.0, 0.0, 0.0)])[0].tolist()
    return math.degrees(math.atan2(right, forward)) if math.hypot(right, forward) > 1e-9 else 0.0


def azimuth_class(box: Box3D, up: Vec3 = CAMERA_UP, front: FrontAxis = "-z") -> AzimuthClass:
    """The nearest of eight sides, 45° each, in the thing's own left and right."""
    return _AZIMUTHS[round(azimuth_deg(box, up, front) / 45) % 8]
