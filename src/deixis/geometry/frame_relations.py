"""Relations between 3D boxes in a declared frame: sides, depth, containment, nearness, touch, alignment, facing.

Knows boxes and frames. Does not know 2D boxes: `relations.margin` weighs picture and space, in the camera's frame.
Every margin is signed and names its frame; nearer to zero than its tolerance it is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations, product
from typing import Literal, get_args

import numpy as np

from deixis.errors import GeometryError
from deixis.geometry import arrangement
from deixis.geometry.box3d import Box3D
from deixis.geometry.distance import distance_m
from deixis.geometry.frames import Frame, FrontAxis, front_of
from deixis.geometry.relations import Margin, MarginUnit

__all__ = ["FRAME_RELATIONS", "FrameRelation", "margin_in"]

FrameRelation = Literal[
    "left_of", "right_of", "above", "below", "in_front_of", "behind", "on", "under", "next_to", "between",
    "inside", "near", "far", "touching", "aligned", "facing",
]  # fmt: skip
FRAME_RELATIONS: tuple[FrameRelation, ...] = get_args(FrameRelation)

SIDE_TOLERANCE = 0.1  # of the two boxes' mean extent along the direction
INSIDE_SHARE, INSIDE_TOLERANCE = 0.5, 0.1  # of the volume: boxes are estimates, and flowers stand out of vases
NEAR_SIZES, NEAR_TOLERANCE = 2.0, 1.0  # up to one mean size is near, from three on is far, and between them none can tell
TOUCH_M, TOUCH_TOLERANCE_M = 0.02, 0.01
ALIGNED_DEG, ALIGNED_TOLERANCE_DEG = 10.0, 3.0
FACING_DEG, FACING_TOLERANCE_DEG = 45.0, 10.0

# The 24 rotations that map a box's axes onto axes: a box is the same under other names of its sides.
_TURNS = [
    turn
    for order in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
    if np.linalg.det(turn := np.eye(3)[list(order)] * signs) > 0
]


def margin_in(frame: Frame, relation: FrameRelation, subject: Box3D, *objects: Box3D, front: FrontAxis = "-z") -> Margin:
    """The signed margin of "subject relation objects" in the frame; `between` takes two objects, every other relation one.

    `front` names the subject's front for `facing`. Raises GeometryError for another count and an unknown relation.
    """
    if relation not in FRAME_RELATIONS:
        raise GeometryError(f"relation is {relation!r}; expected one of {', '.join(FRAME_RELATIONS)}")
    wanted = 2 if relation == "between" else 1
    if len(objects) != wanted:
        raise GeometryError(f"{relation} takes {wanted} beside its subject; {len(objects)} given")
    if relation == "between":
        return _margin(frame, arrangement.between_spans(subject, *objects), "spans", 0.1)
    other = objects[0]
    if relation in _SIDES:
        axis, sign = _SIDES[relation]
        if axis == 2 and frame.has_front:
            sign = -sign  # on its front side, not nearer to whoever looks
        direction = frame.axes[axis]
        apart = float(np.subtract(other.center_m, subject.center_m) @ direction) * sign
        return _margin(frame, apart, "m", SIDE_TOLERANCE * (_extent_m(subject, direction) + _extent_m(other, direction)) / 2)
    if relation == "facing":
        return _facing(frame, subject, other, front)
    measure, unit, tolerance = _MEASURES[relation]
    if relation in ("below", "under"):
        subject, other = other, subject
    return _margin(frame, measure(subject, other), unit, tolerance)


def _facing(frame: Frame, subject: Box3D, other: Box3D, front: FrontAxis) -> Margin:
    """45° less the angle between the subject's front and the way to the other, both made level."""
    up = np.array(frame.up)
    ways = [np.array(front_of(subject, front)), np.subtract(other.center_m, subject.center_m)]
    level = [way - (way @ up) * up for way in ways]
    lengths = [float(np.linalg.norm(way)) for way in level]
    if min(lengths) < 1e-9:
        return Margin(0.0, "deg", None, frame.name)  # straight above, or a front that looks up: it faces no side
    cosine = float(level[0] @ level[1]) / (lengths[0] * lengths[1])
    angle = math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
    return _margin(frame, FACING_DEG - angle, "deg", FACING_TOLERANCE_DEG)


def _inside(a: Box3D, b: Box3D) -> float:
    return a.intersection_m3(b) / a.volume_m3 - INSIDE_SHARE


def _near(a: Box3D, b: Box3D) -> float:
    size = sum(sum(box.size_m) / 3 for box in (a, b)) / 2
    return NEAR_SIZES - distance_m(a, b) / size


def _touching(a: Box3D, b: Box3D) -> float:
    return TOUCH_M - distance_m(a, b)


def _aligned(a: Box3D, b: Box3D) -> float:
    """10° less the smallest turn that makes the two boxes' axes parallel, whichever they are."""
    between = np.array(a.rotation).T @ np.array(b.rotation)
    trace = max(float(np.trace(between @ turn)) for turn in _TURNS)
    return ALIGNED_DEG - math.degrees(math.acos(min(1.0, max(-1.0, (trace - 1) / 2))))


def _extent_m(box: Box3D, direction: np.typing.NDArray[np.float64]) -> float:
    return float(np.abs(np.array(box.rotation).T @ direction) @ box.size_m)


def _margin(frame: Frame, value: float, unit: MarginUnit, tolerance: float) -> Margin:
    return Margin(value, unit, None if abs(value) < tolerance else value > 0, frame.name)


# relation: (row of the frame's axes, sign of "object minus subject")
_SIDES: dict[str, tuple[int, float]] = {
    "left_of": (0, 1.0),
    "right_of": (0, -1.0),
    "in_front_of": (2, 1.0),
    "behind": (2, -1.0),
}
_MEASURES: dict[str, tuple[Callable[[Box3D, Box3D], float], MarginUnit, float]] = {
    "above": (arrangement.stacked_m, "m", 0.01),
    "below": (arrangement.stacked_m, "m", 0.01),
    "on": (arrangement.resting_m, "m", 0.01),
    "under": (arrangement.resting_m, "m", 0.01),
    "next_to": (arrangement.beside_sizes, "sizes", 0.2),
    "inside": (_inside, "share", INSIDE_TOLERANCE),
    "near": (_near, "sizes", NEAR_TOLERANCE),
    "far": (lambda a, b: -_near(a, b), "sizes", NEAR_TOLERANCE),
    "touching": (_touching, "m", TOUCH_TOLERANCE_M),
    "aligned": (_aligned, "deg", ALIGNED_TOLERANCE_DEG),
}
