"""Named things in space, and where else they may be within the doubt of their boxes: what holds in most variants is believed.

Knows boxes and their doubt. Does not know what is asked of them (see frames.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import Box3D, FrontAxis, Interval, Vec3
from deixis.geometry.arrangement import upward
from deixis.spatial.language.space_reading import CAMERA
from deixis.spatial.places.doubts import GUESSED, NINETY, SpaceDoubt

Array = NDArray[np.float64]

VARIANTS = 100
_POINT_M = 0.02  # whoever looks has a place and no size; a box needs one


@dataclass(frozen=True)
class Unsure(Exception):
    """Why geometry cannot tell."""

    reason: str


@dataclass(frozen=True)
class Things:
    """The named objects in space, and everything else that was found there, by label.

    `front` is where boxes have theirs; `doubt` is how far they may be off.
    """

    boxes: Mapping[str, Box3D]
    bystanders: Sequence[tuple[str, Box3D]] = ()
    front: FrontAxis | None = None
    doubt: SpaceDoubt = GUESSED

    def place(self, name: str) -> Box3D:
        """The box of a thing; of the camera a small one at its centre."""
        return Box3D((0.0, 0.0, 0.0), (_POINT_M,) * 3) if name == CAMERA else self.boxes[name]

    @property
    def up(self) -> tuple[float, float, float]:
        """Against gravity, as far as the boxes tell."""
        boxes = [*self.boxes.values(), *(box for _, box in self.bystanders)]
        x, y, z = upward(*boxes).tolist() if boxes else (0.0, -1.0, 0.0)
        return x, y, z


def variants(things: Things) -> Iterator[Things]:
    """The things where they may be as well; the same ones each time."""
    rng = np.random.default_rng(0)
    moved = [[box.moved(center) for center in _centers(box, things.doubt, rng)] for box in things.boxes.values()]
    others = [[box.moved(center) for center in _centers(box, things.doubt, rng)] for _, box in things.bystanders]
    labels = [label for label, _ in things.bystanders]
    for i in range(VARIANTS):
        boxes = {name: variant[i] for name, variant in zip(things.boxes, moved, strict=True)}
        bystanders = [(label, variant[i]) for label, variant in zip(labels, others, strict=True)]
        yield replace(things, boxes=boxes, bystanders=bystanders)


def agreement(agrees: Callable[[Things], bool], things: Things) -> float:
    """The probability of what holds in a share of the variants; a variant in which geometry cannot tell agrees with nothing."""
    votes = []
    for these in variants(things):
        try:
            votes.append(agrees(these))
        except Unsure:  # a frame that has no direction any more
            votes.append(False)
    return probability(np.array(votes), things.doubt)


def probability(hits: NDArray[np.bool_], doubt: SpaceDoubt) -> float:
    """That of what a share of the variants say; neither 0 nor 1, since they are few."""
    return doubt.weighed((int(np.count_nonzero(hits)) + 1) / (len(hits) + 2))


def spread(value: float, values: Array, scale: float = 1.0) -> Interval:
    """The value and where 90% of its variants lie, or so many times as far."""
    low, high = np.quantile(values, (0.05, 0.95)).tolist()
    return Interval(value - scale * max(value - low, 0.0), value, value + scale * max(high - value, 0.0))


def _centers(box: Box3D, doubt: SpaceDoubt, rng: np.random.Generator) -> list[Vec3]:
    """Where the box's centre may be as well."""
    center = np.array(box.center_m)
    depth = abs(box.center_m[2])
    ray = center / max(float(np.linalg.norm(center)), 1e-9)
    errors = rng.normal(size=(VARIANTS, 3)) / NINETY * [doubt.ray.at(0.0, depth), *[doubt.side.at(0.0, depth)] * 2]
    centers = center + errors[:, :1] * ray
    centers[:, :2] += errors[:, 1:]
    return [(x, y, z) for x, y, z in centers.tolist()]
