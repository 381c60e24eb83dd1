"""Oriented boxes in the camera frame: Qwen3-VL's nine numbers, corners, the box they fill in a picture, and exact overlap.

Knows cameras and half spaces. Does not know labels, text or which camera a model imagined (see `rescaled_depth`).
Camera frame: x right, y down, z forward, metres. Sizes are full sizes along the box's own axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deixis.errors import GeometryError
from deixis.geometry.boxes import BoxPx, clipped_px
from deixis.geometry.camera import Camera
from deixis.geometry.clipping import clip_polygon, polygon_area
from deixis.geometry.polygons import convex_hull

__all__ = ["AngleUnit", "Box3D", "QwenBox", "Vec3"]

AngleUnit = Literal["half_turns", "degrees", "radians"]

Vec3 = tuple[float, float, float]
Matrix3 = tuple[Vec3, Vec3, Vec3]
QwenBox = tuple[float, float, float, float, float, float, float, float, float]

IDENTITY: Matrix3 = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
NEAR_M = 1e-3  # what lies nearer than a millimetre has no useful image
_SIGNS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float64)  # corner = 4x + 2y + z
# Corners of each face in order around it, and its outward normal; both in the box's own axes.
_FACES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
_NORMALS = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True)
class Box3D:
    """A box with centre (3,), full sizes (3,) and rotation (3, 3): point_camera = rotation · point_box + center.

    Raises GeometryError for numbers that are not finite, sizes that are not positive, and rotations that are not orthonormal.
    """

    center_m: Vec3
    size_m: Vec3
    rotation: Matrix3 = IDENTITY

    def __post_init__(self) -> None:
        center, size = np.asarray(self.center_m, np.float64), np.asarray(self.size_m, np.float64)
        rotation = np.asarray(self.rotation, np.float64)
        if center.shape != (3,) or size.shape != (3,) or rotation.shape != (3, 3):
            raise GeometryError(f"3D box has shapes {center.shape}, {size.shape}, {rotation.shape}; expected (3,), (3,), (3, 3)")
        if not (np.isfinite(center).all() and np.isfinite(size).all() and np.isfinite(rotation).all()):
            raise GeometryError("3D box holds a number that is not finite; expected metres and a rotation")
        if not (size > 0).all():
            raise GeometryError(f"3D box size is {[float(s) for s in size]} m; expected three positive sizes")
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-6 or np.linalg.det(rotation) < 0:
            raise GeometryError("3D box rotation is not a rotation: expected orthonormal rows and determinant +1")
        object.__setattr__(self, "center_m", vec3(center))  # plain floats, so that equal boxes hash alike
        object.__setattr__(self, "size_m", vec3(size))
        object.__setattr__(self, "rotation", tuple(vec3(row) for row in rotation))

    @classmethod
    def from_qwen(cls, numbers: Sequence[float]) -> Box3D:
        """Qwen3-VL's `bbox_3d` [x, y, z, xs, ys, zs, a, b, c]: metres, then half-turns about x, y and z, applied in that order.

        R = Rz(c·180°) · Ry(b·180°) · Rx(a·180°). The published "roll, pitch, yaw in radians" is wrong: the model's own answers,
        projected onto their photographs, show half-turns in this order.
        """
        if len(numbers) != 9 or not all(math.isfinite(n) for n in numbers):
            raise GeometryError(f"bbox_3d is {list(numbers)}; expected nine finite numbers x, y, z, xs, ys, zs, a, b, c")
        x, y, z, xs, ys, zs, a, b, c = (float(n) for n in numbers)
        return cls((x, y, z), (xs, ys, zs), _rotation(a * math.pi, b * math.pi, c * math.pi))

    def to_qwen(self) -> QwenBox:
        """The nine numbers of `from_qwen`, with −1 < a, c ≤ 1 and −0.5 ≤ b ≤ 0.5.

        Where b is ±0.5 only a ∓ c is defined: c is 0 there.
        """
        r = self.rotation
        sine, cosine = -r[2][0], math.hypot(r[0][0], r[1][0])  # of b
        if cosine > 1e-9:
            angles = math.atan2(r[2][1], r[2][2]), math.atan2(sine, cosine), math.atan2(r[1][0], r[0][0])
        else:
            angles = math.atan2(math.copysign(1.0, sine) * r[0][1], r[1][1]), math.copysign(math.pi / 2, sine), 0.0
        a, b, c = (_half_turns(angle) for angle in angles)
        return *self.center_m, *self.size_m, a, b, c

    @classmethod
    def from_angles(cls, center_m: Vec3, size_m: Vec3, angles: Vec3, unit: AngleUnit = "degrees") -> Box3D:
        """A box turned about x, then y, then z of the camera frame, by angles in the unit that is named."""
        a, b, c = (angle * math.pi / _half_turn(unit) for angle in angles)
        if not all(math.isfinite(angle) for angle in (a, b, c)):
            raise GeometryError(f"3D box angles are {list(angles)}; expected three finite numbers about x, y and z")
        return cls(center_m, size_m, _rotation(a, b, c))

    def angles(self, unit: AngleUnit = "degrees") -> Vec3:
        """Angles about x, y and z, applied in that order, in the unit that is named; undoes `from_angles`."""
        a, b, c = (turns * _half_turn(unit) for turns in self.to_qwen()[6:])
        return a, b, c

    @property
    def volume_m3(self) -> float:
        """Cubic metres."""
        return math.prod(self.size_m)

    def corners_m(self) -> NDArray[np.float64]:
        """Corners (8, 3) in the camera frame; corner number 4·x + 2·y + z with bits for the positive side of each box axis."""
        corners: NDArray[np.float64] = (_SIGNS * self.size_m / 2) @ np.array(self.rotation).T + self.center_m
        return corners

    def faces_m(self) -> NDArray[np.float64]:
        """Faces (6, 4, 3): −x, +x, −y, +y, −z, +z of the box's own axes, each with its corners in order around it."""
        faces: NDArray[np.float64] = self.corners_m()[_FACES]
        return faces

    def project(self, camera: Camera) -> BoxPx | None:
        """The smallest pixel box around the visible part, cut at the picture's edges; None when nothing falls into it."""
        px = self._image_px(camera)
        if len(px) == 0:
            return None
        low, high = px.min(axis=0), px.max(axis=0)
        return clipped_px((low[0], low[1], high[0], high[1]), camera.width, camera.height)  # rounding may leave 1e-13 outside

    def outline_px(self, camera: Camera) -> NDArray[np.float64]:
        """Corners (k, 2) of the convex outline that the visible part fills in the picture; k = 0 when nothing falls into it."""
        return convex_hull(self._image_px(camera))

    def _image_px(self, camera: Camera) -> NDArray[np.float64]:
        """Pixels (n, 2) whose hull is the image of the part in view.

        Exact where part of the box is behind the camera or outside the view: faces are cut in space, by the view's planes.
        """
        corners = self.corners_m()
        left, right = -camera.cx / camera.fx, (camera.width - camera.cx) / camera.fx  # slopes x / z of the picture's edges
        top, bottom = -camera.cy / camera.fy, (camera.height - camera.cy) / camera.fy
        normals = np.array([[0, 0, -1], [-1, 0, left], [1, 0, -right], [0, -1, top], [0, 1, -bottom]], dtype=np.float64)
        offsets = np.array([-NEAR_M, 0.0, 0.0, 0.0, 0.0])
        # Every ray that meets the box leaves it through a face, so the faces alone cover its image, even with the camera inside.
        visible = np.concatenate([clip_polygon(corners[face], normals, offsets) for face in _FACES])  # (n, 3)
        return camera.project(visible)

    def intersection_m3(self, other: Box3D) -> float:
        """Volume that both boxes share, exact up to rounding.

        Divergence theorem: the shared body is bounded by the parts of each box's faces that lie in the other, and its volume is
        the sum over them of area × signed distance of the plane from any fixed point (here midway between the centres) / 3.
        """
        apart = np.subtract(other.center_m, self.center_m)
        if np.linalg.norm(apart) >= (math.hypot(*self.size_m) + math.hypot(*other.size_m)) / 2:
            return 0.0
        middle = np.add(self.center_m, other.center_m) / 2
        slack = 1e-9 * max(*self.size_m, *other.size_m)
        volume = self._flux_within(other, middle, slack, slack) + other._flux_within(self, middle, slack, -slack)
        return min(max(volume, 0.0), self.volume_m3, other.volume_m3)

    def iou(self, other: Box3D) -> float:
        """Intersection over union of the two oriented volumes, 0 to 1."""
        shared = self.intersection_m3(other)
        return shared / (self.volume_m3 + other.volume_m3 - shared)

    def moved(self, center_m: Vec3) -> Box3D:
        """The same box elsewhere, at finite metres. Sizes and turn are not checked again: this is done thousands of times."""
        if not math.isfinite(sum(center_m)):
            raise GeometryError(f"box is moved to {center_m}; expected three finite numbers in metres")
        box = object.__new__(Box3D)
        for name, value in (("center_m", center_m), ("size_m", self.size_m), ("rotation", self.rotation)):
            object.__setattr__(box, name, value)
        return box

    def rescaled_depth(self, factor: float) -> Box3D:
        """The same box with its centre's z multiplied and nothing else changed: from a model's virtual camera to the real one.

        Virtual depth of Omni3D (Brazil et al., CVPR 2023): z = z_virtual · f_real / f_virtual, with both focal lengths in pixels
        of the same picture.
        """
        if not (math.isfinite(factor) and factor > 0):
            raise GeometryError(f"depth factor is {factor}; expected a positive number, real over virtual focal length")
        x, y, z = self.center_m
        return replace(self, center_m=(x, y, z * factor))

    def _flux_within(self, other: Box3D, origin: NDArray[np.float64], slack: float, slack_along: float) -> float:
        """Σ area × plane distance from `origin` / 3 over the parts of this box's faces inside `other`.

        `slack` moves the other's planes outwards by so much, `slack_along` those that face the same way as the face being cut:
        with opposite signs for the two boxes, faces that coincide are counted once, and boxes that only touch sum to nothing.
        """
        corners = self.corners_m() - origin
        normals = _NORMALS @ np.array(self.rotation).T  # (6, 3)
        half = np.repeat(self.size_m, 2) / 2
        distances = normals @ np.subtract(self.center_m, origin) + half
        other_normals = _NORMALS @ np.array(other.rotation).T
        other_distances = other_normals @ np.subtract(other.center_m, origin) + np.repeat(other.size_m, 2) / 2
        total = 0.0
        for face, normal, distance in zip(_FACES, normals, distances, strict=True):
            offsets = other_distances + np.where(other_normals @ normal > 0.5, slack_along, slack)
            total += polygon_area(clip_polygon(corners[face], other_normals, offsets)) * float(distance)
        return total / 3


def vec3(values: NDArray[np.float64]) -> Vec3:
    """Three numbers as plain floats."""
    return float(values[0]), float(values[1]), float(values[2])


def _half_turn(unit: AngleUnit) -> float:
    if unit not in get_args(AngleUnit):
        raise GeometryError(f"angle unit is {unit!r}; expected one of {', '.join(get_args(AngleUnit))}")
    return {"half_turns": 1.0, "degrees": 180.0, "radians": math.pi}[unit]


def _half_turns(angle_rad: float) -> float:
    turns = angle_rad / math.pi
    return 1.0 if turns == -1.0 else turns


def _rotation(x_rad: float, y_rad: float, z_rad: float) -> Matrix3:
    (ca, sa), (cb, sb), (cc, sc) = ((math.cos(angle), math.sin(angle)) for angle in (x_rad, y_rad, z_rad))
    return (
        (cc * cb, cc * sb * sa - sc * ca, cc * sb * ca + sc * sa),
        (sc * cb, sc * sb * sa + cc * ca, sc * sb * ca - cc * sa),
        (-sb, cb * sa, cb * ca),
    )
