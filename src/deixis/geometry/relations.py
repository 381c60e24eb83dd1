"""How far a spatial relation between located objects holds, in the frame of the camera that took the picture.

Knows boxes and depths. Does not know words, questions or what the model said.

Each relation has a signed margin: positive, it holds; negative, it does not; nearer to zero than its tolerance, none can tell.
Where every object has a 3D box, `above`, `below`, `on`, `under`, `next_to` and `between` are decided in space, if a few percent
of doubt in each depth do not turn the verdict. Otherwise the picture decides, as far as space does not contradict: a thing that
stands behind another can look as if it stood on it, so that is weaker evidence, and the unit ("sizes") says which it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from deixis.errors import GeometryError
from deixis.geometry import arrangement
from deixis.geometry.box3d import Box3D
from deixis.geometry.boxes import BoxPx, checked_box

__all__ = ["RELATIONS", "Located", "Margin", "MarginUnit", "Relation", "margin"]

Relation = Literal[
    "left_of",
    "right_of",
    "above",
    "below",
    "in_front_of",
    "behind",
    "on",
    "under",
    "next_to",
    "between",
    "nearest",
    "farthest",
]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
MarginUnit = Literal["m", "widths", "sizes", "spans", "share", "deg"]

SIDE_TOLERANCE = 0.1  # of the two boxes' mean width
DEPTH_TOLERANCE = 0.03  # of the two depths' mean
DEPTH_DOUBT = 0.05  # one object's distance may be off by so much against the others'
SAME_DEPTH = 0.12  # of the mean: what is stacked in the picture and farther apart than this stands behind


@dataclass(frozen=True)
class Located:
    """An object where it was found: visible box in pixels, and if known its 3D box and the depth (z) of its visible surface."""

    label: str
    box_px: BoxPx
    box_3d: Box3D | None = None
    depth_m: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box_px", checked_box(self.box_px))
        if self.depth_m is not None and not (math.isfinite(self.depth_m) and self.depth_m > 0):
            raise GeometryError(f"depth of {self.label!r} is {self.depth_m} m; expected a positive finite number or none")


@dataclass(frozen=True)
class Margin:
    """By how much a relation holds (> 0) or fails (< 0). `decided` is None where neither can be told.

    Units: metres; the two boxes' mean width; their mean size; or the distance between the two outer objects.
    """

    value: float
    unit: MarginUnit
    decided: bool | None
    frame: str = "camera"


class _Measure(NamedTuple):
    """The same fact measured in space and in the picture, each with its unit and tolerance."""

    in_space: Callable[..., float]
    space: tuple[MarginUnit, float]
    in_picture: Callable[..., float]
    picture: tuple[MarginUnit, float]
    from_above: bool = False  # places on the ground decide, so doubt in a depth moves things along the ground and not up or down


_STACKED = _Measure(arrangement.stacked_m, ("m", 0.01), arrangement.stacked_px, ("sizes", 0.05))
_RESTING = _Measure(arrangement.resting_m, ("m", 0.01), arrangement.resting_px, ("sizes", 0.05))
_BESIDE = _Measure(arrangement.beside_sizes, ("sizes", 0.2), arrangement.beside_px, ("sizes", 0.2), from_above=True)
_BETWEEN = _Measure(arrangement.between_spans, ("spans", 0.1), arrangement.between_px, ("spans", 0.1))


def margin(relation: Relation, subject: Located, *objects: Located) -> Margin:
    """The signed margin of "subject relation objects", as in "the cup is left_of the laptop".

    `between` takes two objects, `nearest` and `farthest` take all the others, every other relation one.
    Raises GeometryError for another count, an unknown relation, and a depth relation on objects without depth.
    """
    if relation not in RELATIONS:
        raise GeometryError(f"relation is {relation!r}; expected one of {', '.join(RELATIONS)}")
    if relation in ("nearest", "farthest"):
        if not objects:
            raise GeometryError(f"{relation} compares {subject.label!r} with the other objects; none was given")
        return _extreme(subject, objects, 1 if relation == "nearest" else -1)
    if relation == "between":
        if len(objects) != 2:
            raise GeometryError(f"between takes two objects beside {subject.label!r}; {len(objects)} given")
        return _weighed(_BETWEEN, subject, *objects)
    if len(objects) != 1:
        raise GeometryError(f"{relation} takes one object beside {subject.label!r}; {len(objects)} given")
    decide, swapped = _PAIRS[relation]
    return decide(objects[0], subject) if swapped else decide(subject, objects[0])


def _left(a: Located, b: Located) -> Margin:
    return _margin(arrangement.left_px(a.box_px, b.box_px), "widths", SIDE_TOLERANCE)


def _front(a: Located, b: Located) -> Margin:
    found, boxes = _extreme(a, (b,), 1), _boxes_3d(a, b)
    if boxes and arrangement.forward_m(*boxes) * found.value < 0:
        return replace(found, decided=None)  # nearer, but farther back on the ground: words go either way
    return found


def _extreme(subject: Located, others: Sequence[Located], sign: int) -> Margin:
    """How much nearer (sign 1) or farther (sign −1) the subject is than the nearest, or farthest, of the others."""
    depth, *rest = _depths_m(subject, *others)
    rival = min(rest, key=lambda other: sign * other)
    return _margin(sign * (rival - depth), "m", DEPTH_TOLERANCE * (rival + depth) / 2)


def _weighed(measure: _Measure, *things: Located) -> Margin:
    """The verdict of space where depth errors do not turn it; else the picture's, if such an error at least makes it possible."""
    seen = _margin(measure.in_picture(*(thing.box_px for thing in things)), *measure.picture)
    boxes = _boxes_3d(*things)
    if not boxes:
        return replace(seen, decided=None) if seen.decided and measure.space[0] == "m" and _apart_in_depth(*things) else seen
    found = [_margin(measure.in_space(*variant), *measure.space) for variant in _doubted(boxes, measure.from_above)]
    if found[0].decided is not None and len({margin.decided for margin in found}) == 1:
        return found[0]
    possible = any(margin.value > 0 for margin in found) if seen.decided else found[0].value < 0
    if seen.decided is not None and possible:
        return seen
    return replace(found[0], decided=None)


def _doubted(boxes: Sequence[Box3D], from_above: bool) -> list[list[Box3D]]:
    """The boxes as they are; with the first a little farther away along its ray; with all others a little farther away."""
    first, *others = boxes
    up = arrangement.upward(*boxes) if from_above else np.zeros(3)
    return [[*boxes], [_farther(first, up), *others], [first, *(_farther(box, up) for box in others)]]


def _farther(box: Box3D, up: NDArray[np.float64]) -> Box3D:
    """Along its ray; with `up`, along the ground under its ray."""
    ray = np.array(box.center_m)
    x, y, z = (ray + DEPTH_DOUBT * (ray - (ray @ up) * up)).tolist()
    return replace(box, center_m=(x, y, z))


def _apart_in_depth(a: Located, b: Located) -> bool:
    """Whether the depths are known and say that one of two things that look stacked stands behind the other."""
    if a.depth_m is None or b.depth_m is None:
        return False
    return abs(a.depth_m - b.depth_m) > SAME_DEPTH * (a.depth_m + b.depth_m) / 2


def _margin(value: float, unit: MarginUnit, tolerance: float) -> Margin:
    return Margin(value, unit, None if abs(value) < tolerance else value > 0)


def _depths_m(*things: Located) -> list[float]:
    """Depths of one kind for all: of visible surfaces if each has one, else of 3D centres (a centre lies behind its surface)."""
    surfaces = [thing.depth_m for thing in things if thing.depth_m is not None]
    if len(surfaces) == len(things):
        return surfaces
    centers = [thing.box_3d.center_m[2] for thing in things if thing.box_3d is not None]
    if len(centers) == len(things):
        return centers
    lacking = next(thing.label for thing in things if thing.depth_m is None)
    raise GeometryError(f"{lacking!r} has no depth; a relation in depth needs depth_m, or a 3D box, for every object")


def _boxes_3d(*things: Located) -> list[Box3D] | None:
    boxes = [thing.box_3d for thing in things if thing.box_3d is not None]
    return boxes if len(boxes) == len(things) else None


# relation: (decision, whether it is said of the objects the other way round)
_PAIRS: dict[str, tuple[Callable[[Located, Located], Margin], bool]] = {
    "left_of": (_left, False),
    "right_of": (_left, True),
    "in_front_of": (_front, False),
    "behind": (_front, True),
    "above": (partial(_weighed, _STACKED), False),
    "below": (partial(_weighed, _STACKED), True),
    "on": (partial(_weighed, _RESTING), False),
    "under": (partial(_weighed, _RESTING), True),
    "next_to": (partial(_weighed, _BESIDE), False),
}
