"""Short ways to write parts: boxes, discs, bars between two points, and groups of them turned and moved.

Knows shapes only. Lengths in metres; ``at`` is a part's centre in the thing's frame. Sizes are full sizes where a
maker would measure them (width, depth, height, length) and radii where a part is round.
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from deixis.lab.thing import FRUSTUMS, UPRIGHT, Part, Quat, Vec3, rotation_matrix
from deixis.lab.worlds.world import Rgba

ORIGIN: Vec3 = (0.0, 0.0, 0.0)
BARE: Rgba = (0.5, 0.5, 0.5, 1.0)  # colliders are never seen

CONES, LAMPSHADES, POTS, TUMBLERS = FRUSTUMS[:12], FRUSTUMS[12:15], FRUSTUMS[15:18], FRUSTUMS[18:21]


def near(rng: Generator, nominal: float, spread: float = 0.15) -> float:
    """A length around its nominal value."""
    return float(nominal * rng.uniform(1 - spread, 1 + spread))


def turned(axis: str, degrees: float) -> Quat:
    """Quaternion (w, x, y, z) of a right-handed turn about one axis."""
    half = np.radians(degrees) / 2
    x, y, z = (float(np.sin(half)) if axis == name else 0.0 for name in "xyz")
    return float(np.cos(half)), x, y, z


def then(first: Quat, second: Quat) -> Quat:
    """The turn ``first`` followed by the turn ``second``, both about the axes of the thing."""
    aw, ax, ay, az = second
    bw, bx, by, bz = first
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def moved(parts: tuple[Part, ...], by: Vec3 = ORIGIN, turn: Quat = UPRIGHT) -> tuple[Part, ...]:
    """The parts turned about the origin, then moved."""
    matrix = rotation_matrix(turn)
    result = []
    for part in parts:
        x, y, z = matrix @ np.asarray(part.position) + np.asarray(by)
        result.append(replace(part, position=(float(x), float(y), float(z)), rotation=then(part.rotation, turn)))
    return tuple(result)


def box(width: float, depth: float, height: float, at: Vec3, rgba: Rgba = BARE, turn: Quat = UPRIGHT) -> Part:
    """Full sizes along x, y, z."""
    return Part("box", (width / 2, depth / 2, height / 2), at, rgba, turn)


def sphere(radius: float, at: Vec3, rgba: Rgba = BARE) -> Part:
    """A ball."""
    return Part("sphere", (radius, 0.0, 0.0), at, rgba)


def ellipsoid(width: float, depth: float, height: float, at: Vec3, rgba: Rgba, turn: Quat = UPRIGHT) -> Part:
    """Full sizes along x, y, z."""
    return Part("ellipsoid", (width / 2, depth / 2, height / 2), at, rgba, turn)


def cylinder(radius: float, height: float, at: Vec3, rgba: Rgba = BARE, turn: Quat = UPRIGHT) -> Part:
    """Axis z before the turn."""
    return Part("cylinder", (radius, height / 2, 0.0), at, rgba, turn)


def capsule(radius: float, length: float, at: Vec3, rgba: Rgba = BARE, turn: Quat = UPRIGHT) -> Part:
    """Axis z before the turn; ``length`` from tip to tip."""
    if length <= 2 * radius:
        raise ValueError(f"a capsule of radius {radius} must be longer than {2 * radius}, found {length}")
    return Part("capsule", (radius, length / 2 - radius, 0.0), at, rgba, turn)


def frustum(row: Vec3, at: Vec3, rgba: Rgba, turn: Quat = UPRIGHT) -> Part:
    """``row`` is one of FRUSTUMS."""
    return Part("frustum", row, at, rgba, turn)


def bar(start: Vec3, end: Vec3, radius: float, rgba: Rgba) -> Part:
    """Capsule whose axis runs from ``start`` to ``end``."""
    first, last = np.asarray(start), np.asarray(end)
    length = float(np.linalg.norm(last - first))
    x, y, z = (last - first) / length
    if z < -0.999999:  # a half turn has no unique axis; a capsule does not care which end is up
        quaternion = UPRIGHT
    else:  # the shortest turn from z to the direction: (1 + cos, z cross direction), made unit
        w, qx, qy = 1 + z, -y, x
        norm = float(np.sqrt(w * w + qx * qx + qy * qy))
        quaternion = (float(w / norm), float(qx / norm), float(qy / norm), 0.0)
    mx, my, mz = (first + last) / 2
    return Part("capsule", (radius, length / 2, 0.0), (float(mx), float(my), float(mz)), rgba, quaternion)


def flat_foot(radius: float) -> Part:
    """Collider that lets a round bottom of this radius stand: a low disc that hardly leaves the round shape."""
    return cylinder(0.35 * radius, 0.1 * radius, (0.0, 0.0, 0.05 * radius))
