"""How things stand to one another, measured twice: in space from 3D boxes, and in the picture from 2D boxes.

Knows boxes alone. Does not know relations by name, nor how large a measure must be to count: positive is for, negative against.
In space, "up" is the boxes' own y axis, turned away from the ground: Qwen3-VL's training boxes and answers keep y vertical.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deixis.geometry.box3d import Box3D
from deixis.geometry.boxes import BoxPx, area, center_px, gap_px

__all__ = [
    "beside_px",
    "beside_sizes",
    "between_px",
    "between_spans",
    "forward_m",
    "left_px",
    "resting_m",
    "resting_px",
    "stacked_m",
    "stacked_px",
    "upward",
]

TOUCH_SLACK = 0.15  # in the picture: A's bottom edge may end so many mean heights above B's top edge and still rest on it
TOUCH_SLACK_M = 0.03  # in space: a gap of so much, and half the lesser height more, still touches (boxes are estimates)
NEIGHBOUR_SIZES = 1.0  # beside: with a gap up to one mean size
BITE_SIZES = 0.5  # beside: boxes of neighbours may share so much ground, in mean sizes, before nothing can be told
ASIDE_SPANS = 0.5  # between: at most so far beside the line, as a share of it

Array = NDArray[np.float64]


# In space ---------------------------------------------------------------------------------------------------------------------


def stacked_m(a: Box3D, b: Box3D) -> float:
    """A above B: how far A's centre lies inside B's footprint, and how far above B's centre; the lesser of both, in metres.

    Solid things do not share space, so whatever has its centre over the other's footprint stands over it: heights of thin things,
    which no model estimates well, need not be compared. 0 where boxes say too little: footprints that overlap without the centre
    (it leans, or juts out), and one box wholly within the heights of the other (a cable on a laptop, below its screen's edge).
    """
    apart, up = np.subtract(a.center_m, b.center_m), upward(a, b)
    local = apart @ np.array(b.rotation)  # along B's own axes; y is vertical
    inside = min(b.size_m[0] / 2 - abs(local[0]), b.size_m[2] / 2 - abs(local[2]))
    if inside < 0:
        inside = -max(_footprint_gap_m(a, b), 0.0)
    (low, high), (other_low, other_high) = (_extent_m(box, up) for box in (a, b))
    nested = (low - other_low) * (high - other_high) < 0
    return float(min(inside, 0.0 if nested else apart @ up))


def resting_m(a: Box3D, b: Box3D) -> float:
    """A on B: above it, and not hovering: its lowest point is hardly higher than B's highest (lower is a matter of B's shape)."""
    up = upward(a, b)
    (low, high), (other_low, other_high) = (_extent_m(box, up) for box in (a, b))
    touch = TOUCH_SLACK_M + min(high - low, other_high - other_low) / 2 - (low - other_high)
    return min(stacked_m(a, b), touch)


def beside_sizes(a: Box3D, b: Box3D) -> float:
    """A next to B: what is left of the gap that neighbours may have, in mean sizes of their footprints.

    Footprints that overlap belong to things on top of one another: not beside each other, the less the more they overlap. Unless
    the boxes share heights as well: solid things cannot, so they touch, and the boxes are a little off.
    """
    gap, size = _footprint_gap_m(a, b), sum(box.size_m[0] + box.size_m[2] for box in (a, b)) / 4
    if gap >= 0:
        return NEIGHBOUR_SIZES - gap / size
    up = upward(a, b)
    (low, high), (other_low, other_high) = (_extent_m(box, up) for box in (a, b))
    shared = min(high, other_high) - max(low, other_low)
    level = shared > min(high - low, other_high - other_low) / 2
    return NEIGHBOUR_SIZES + gap / size / BITE_SIZES if level else gap / size


def between_spans(a: Box3D, b: Box3D, c: Box3D) -> float:
    """A between B and C, seen from above."""
    points, up = np.array([box.center_m for box in (a, b, c)]), upward(a, b, c)
    return _between(points - np.outer(points @ up, up))  # (3, 3) on the ground


def forward_m(a: Box3D, b: Box3D) -> float:
    """How much farther B is than A along the ground, in the direction of view; 0 for a view straight down."""
    up = upward(a, b)
    return float(np.subtract(b.center_m, a.center_m) @ (np.array([0.0, 0.0, 1.0]) - up[2] * up))


def _footprint_gap_m(a: Box3D, b: Box3D) -> float:
    """Separation of two footprints seen from above: the widest gap along any of their sides, negative where they overlap."""
    apart = np.subtract(b.center_m, a.center_m)
    gaps = []
    for axis in np.concatenate([np.array(box.rotation).T[[0, 2]] for box in (a, b)]):  # (4, 3)
        (low, high), (other_low, other_high) = (_extent_m(box, axis) for box in (a, b))
        gaps.append(abs(apart @ axis) - (high - low + other_high - other_low) / 2)
    return float(max(gaps))


def upward(*boxes: Box3D) -> Array:
    """Unit vector against gravity in the camera frame: the mean of the boxes' y axes, each turned to point up or at the camera.

    Right for cameras that look anywhere from 45° above the horizon to straight down.
    """
    axes = np.array([[row[1] for row in box.rotation] for box in boxes])  # (n, 3)
    upward = np.where(axes[:, 1] + axes[:, 2] > 0, -1.0, 1.0)
    mean: Array = (axes * upward[:, None]).sum(axis=0)
    length = np.linalg.norm(mean)
    return mean / length if length > 1e-9 else np.array([0.0, -1.0, 0.0])  # opposite axes say nothing: the camera's own up


def _extent_m(box: Box3D, axis: Array) -> tuple[float, float]:
    """Lowest and highest coordinate of the box along a unit vector."""
    middle = float(np.dot(box.center_m, axis))
    half = float(np.abs(np.array(box.rotation).T @ axis) @ box.size_m) / 2
    return middle - half, middle + half


# In the picture ---------------------------------------------------------------------------------------------------------------


def left_px(a: BoxPx, b: BoxPx) -> float:
    """A left of B: how far apart their middles are, in mean widths."""
    return (center_px(b)[0] - center_px(a)[0]) / _mean_width(a, b)


def stacked_px(a: BoxPx, b: BoxPx) -> float:
    """A above B: A's middle over B's columns, A higher than B, A's bottom edge higher than B's; the least, in mean sides."""
    (x, y), (_, other_y) = center_px(a), center_px(b)
    height = _mean_height(a, b)
    return min(min(x - b[0], b[2] - x) / _mean_width(a, b), (other_y - y) / height, (b[3] - a[3]) / height)


def resting_px(a: BoxPx, b: BoxPx) -> float:
    """A on B: above it, and with its bottom edge reaching down to B's top edge."""
    return min(stacked_px(a, b), (a[3] - b[1]) / _mean_height(a, b) + TOUCH_SLACK)


def beside_px(a: BoxPx, b: BoxPx) -> float:
    """A next to B: what is left of the gap that neighbours may have, in mean sizes.

    Boxes that overlap give 0: things on, behind and beside one another look alike.
    """
    gap = gap_px(a, b)
    return NEIGHBOUR_SIZES - gap / max((math.sqrt(area(a)) + math.sqrt(area(b))) / 2, 1.0) if gap > 0 else 0.0


def between_px(a: BoxPx, b: BoxPx, c: BoxPx) -> float:
    """A between B and C in the picture plane."""
    return _between(np.array([center_px(box) for box in (a, b, c)]))


def _mean_width(a: BoxPx, b: BoxPx) -> float:
    return max((a[2] - a[0] + b[2] - b[0]) / 2, 1.0)  # thinner than a pixel is a pixel wide: a ratio needs a size


def _mean_height(a: BoxPx, b: BoxPx) -> float:
    return max((a[3] - a[1] + b[3] - b[1]) / 2, 1.0)


# Either ------------------------------------------------------------------------------------------------------------------------


def _between(points: Array) -> float:
    """For points (3, k): the first along the line from the second to the third, off its ends and not far beside, as shares."""
    line, reach = points[2] - points[1], points[0] - points[1]
    span = float(line @ line)
    if span == 0:
        return 0.0  # nothing lies between a place and itself
    along = float(reach @ line) / span
    aside = float(np.linalg.norm(reach - along * line)) / math.sqrt(span)
    return min(along, 1 - along, ASIDE_SPANS - aside)
