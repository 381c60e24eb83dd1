"""Metric relations: "10 cm left of" as a distance and a direction, each with the interval that the doubt in the boxes leaves.

Knows boxes, frames and half-widths of doubt. Does not know where the doubt comes from, nor probabilities: intervals are bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from deixis.errors import GeometryError
from deixis.geometry.box3d import Box3D, Vec3
from deixis.geometry.distance import distance_m
from deixis.geometry.frames import Frame

__all__ = ["Direction", "Interval", "Offset", "offset"]

Direction = Literal["left_of", "right_of", "above", "below", "in_front_of", "behind"]


@dataclass(frozen=True)
class Interval:
    """A value with its lower and upper bound."""

    low: float
    value: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise GeometryError(f"interval is {self.low}, {self.value}, {self.high}; expected low ≤ value ≤ high, finite")

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


@dataclass(frozen=True)
class Offset:
    """Where one box is from another. `direction` is None where the doubt reaches across zero, or the centres coincide."""

    gap_m: Interval  # between surfaces
    centers_m: Interval  # between centres
    right_m: Interval  # of the subject's centre from the other's, along the frame's axes
    up_m: Interval
    forward_m: Interval
    direction: Direction | None
    frame: str


def offset(
    frame: Frame, subject: Box3D, other: Box3D, doubt_m: Vec3 = (0.0, 0.0, 0.0), other_doubt_m: Vec3 = (0.0, 0.0, 0.0)
) -> Offset:
    """Distance and direction of the subject from the other, each centre known up to ± doubt along x, y, z of the camera.

    The direction is the axis of the frame along which the centres are farthest apart, if the bounds agree on its side.
    """
    doubts = np.add(_doubt(doubt_m), _doubt(other_doubt_m))
    apart = np.subtract(subject.center_m, other.center_m)
    along, slack = frame.axes @ apart, np.abs(frame.axes) @ doubts
    reach = float(np.linalg.norm(doubts))
    right, up, forward = parts = [_around(float(value), float(half)) for value, half in zip(along, slack, strict=True)]
    widest = int(np.argmax(np.abs(along)))
    direction = (
        None if 0 in parts[widest] else _DIRECTIONS[widest, bool((along[widest] > 0) != (widest == 2 and frame.has_front))]
    )
    gap, centers = distance_m(subject, other), float(np.linalg.norm(apart))
    return Offset(_distance(gap, reach), _distance(centers, reach), right, up, forward, direction, frame.name)


def _around(value: float, half: float) -> Interval:
    return Interval(value - half, value, value + half)


def _distance(value: float, half: float) -> Interval:
    return Interval(max(0.0, value - half), value, value + half)


def _doubt(doubt_m: Vec3) -> Vec3:
    if not all(math.isfinite(half) and half >= 0 for half in doubt_m):
        raise GeometryError(f"doubt is {doubt_m} m; expected three finite numbers, 0 or more")
    return doubt_m


# (row of the frame's axes, whether the subject is on its far side): what that is called
_DIRECTIONS: dict[tuple[int, bool], Direction] = {
    (0, True): "right_of",
    (0, False): "left_of",
    (1, True): "above",
    (1, False): "below",
    (2, True): "behind",
    (2, False): "in_front_of",
}
