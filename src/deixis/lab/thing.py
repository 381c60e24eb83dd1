"""What a thing in a lab world is: convex parts with colours, and simpler shapes that collide.

Knows shapes and local coordinates. Does not know physics, cameras, renderers or questions.

A thing's local frame: origin at the centre of its footprint on the supporting surface, x to its right, y to
its back, z up; its front (the screen of a laptop) looks along -y. Metres everywhere.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["box", "sphere", "cylinder", "capsule", "ellipsoid", "frustum"]
Symmetry = Literal["none", "half", "quarter", "round"]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]

UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)

# (bottom radius, top radius, half height), metres. Renderers cannot scale a mesh per world, so every cone and
# lampshade is one of these; they are the only frustums there are.
FRUSTUMS: tuple[Vec3, ...] = (
    *((r, 0.0, h) for r in (0.035, 0.045, 0.055) for h in (0.035, 0.045, 0.055, 0.065)),  # cones
    *((r, 0.55 * r, 0.6 * r) for r in (0.06, 0.075, 0.09)),  # lampshades
    *((0.72 * r, r, 0.8 * r) for r in (0.035, 0.045, 0.055)),  # flower pots
    *((0.8 * r, r, 1.15 * r) for r in (0.032, 0.038, 0.044)),  # paper cups and tumblers
)


@dataclass(frozen=True)
class Part:
    """One convex piece of a thing.

    ``size``: box half extents; sphere (r, 0, 0); cylinder and capsule (r, half length of the axis, 0), axis z;
    ellipsoid half axes; frustum one row of FRUSTUMS (axis z, centred at half height).
    ``position`` is the piece's centre and ``rotation`` its quaternion (w, x, y, z), both in the thing's frame.
    """

    shape: Shape
    size: Vec3
    position: Vec3
    rgba: tuple[float, float, float, float]
    rotation: Quat = UPRIGHT

    def extent_points(self) -> NDArray[np.float64]:
        """Points (n, 3) in the thing's frame whose hull is the part's hull (round parts within 1%)."""
        return _extent_points(self)


@dataclass(frozen=True)
class Thing:
    """A recognisable object. ``color`` is the name that a person would use for it.

    ``symmetry`` is about the vertical axis: which turns leave its box unchanged in meaning.
    ``colliders`` stand in for ``parts`` in physics (fewer and simpler); empty means the parts themselves.
    ``mass_kg`` is shared equally by the colliders.
    """

    category: str
    color: str
    parts: tuple[Part, ...]
    colliders: tuple[Part, ...] = ()
    symmetry: Symmetry = "none"
    mass_kg: float = 0.3
    stackable: bool = False  # a flat top that other things may rest on

    @property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper corner (3,), (3,) of the box around all parts, thing frame."""
        points = np.concatenate([p.extent_points() for p in self.parts])
        return points.min(0), points.max(0)


@lru_cache(1024)  # a video asks for the same parts a hundred times
def _extent_points(part: Part) -> NDArray[np.float64]:
    points: NDArray[np.float64] = _local_points(part.shape, part.size) @ rotation_matrix(part.rotation).T
    points += np.array(part.position, np.float64)
    points.flags.writeable = False
    return points


def rotation_matrix(quaternion: Quat) -> NDArray[np.float64]:
    """(3, 3) rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = np.asarray(quaternion, float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN), np.zeros(24)], -1)
_FALL = np.linspace(-np.pi / 2, np.pi / 2, 13)
_BALL = np.concatenate([_CIRCLE * np.cos(fall) + [0.0, 0.0, np.sin(fall)] for fall in _FALL])
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


def _local_points(shape: Shape, size: Vec3) -> NDArray[np.float64]:
    a, b, c = size
    up = np.array([0.0, 0.0, 1.0])
    if shape == "box":
        return _CORNERS * size
    if shape == "sphere":
        return _BALL * a
    if shape == "ellipsoid":
        return _BALL * size
    if shape == "cylinder":
        return np.concatenate([_CIRCLE * a + up * b, _CIRCLE * a - up * b])
    if shape == "capsule":
        return np.concatenate([_BALL * a + up * b, _BALL * a - up * b])
    return np.concatenate([_CIRCLE * a - up * c, _CIRCLE * b + up * c])
