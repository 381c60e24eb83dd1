"""Which detection is which thing: one matching of all of them by place, label and colours together.

Knows likelihoods. Costs are negative log likelihood ratios against "a thing anywhere in the frame", so that seeing again,
 seeing for the first time and not seeing at all are weighed on one scale. Does not know what follows from a match.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import PointPx
from deixis.spatial.video.detection import Detection, State
from deixis.spatial.video.target import Cut, Target

Array = NDArray[np.float64]

NEVER = 1e6
_GATE = 14.0  # a match less likely than this by itself is none
# How likely a thing of each state turns up where nothing lets one expect it; the rest of the probability is where it is expected.
_ANYWHERE: dict[State, float] = {"visible": 0.003, "occluded": 0.03, "out_of_view": 0.2, "gone": 0.6}
_RETURNS: dict[State, float] = {"visible": 1.0, "occluded": 0.5, "out_of_view": 0.4, "gone": 0.2}  # in a frame
_NEW, _NEW_AT_BORDER = 0.02, 0.25  # that a detection is a thing never seen before
_OTHER_NOUN, _OTHER_ADJECTIVE = 6.5, 3.0  # the cost of a detector's changing its mind
_COLOURS = 14.0  # cost of a whole Bhattacharyya distance; the same thing in other light is at 0.05 to 0.15
_COLOURS_OF_STRANGERS = 3.0
_MOST_FOR_PLACE = 11.0  # no place speaks more for a match than this: the density of a sharp guess over that of anywhere


def label_cost(known: str, seen: str) -> float:
    """0 for the same label; a changed adjective ("red cup", "cup") costs less than a changed noun."""
    if known == seen:
        return 0.0
    a, b = known.lower().split(), seen.lower().split()
    if a and b and (a[-1] == b[-1] or known.endswith(seen) or seen.endswith(known)):
        return 1.0 if len(a) != len(b) else _OTHER_ADJECTIVE
    return _OTHER_NOUN


def colour_distance(a: Sequence[float], b: Sequence[float]) -> float | None:
    """1 − Bhattacharyya coefficient, 0 (alike) to 1; None where one is not known."""
    if not a or not b or len(a) != len(b):
        return None
    return 1 - sum(math.sqrt(p * q) for p, q in zip(a, b, strict=True) if p > 0 and q > 0)


def alike(targets: Sequence[Target], detections: Sequence[Detection]) -> NDArray[np.bool_]:
    """(targets, detections): who may be whom by label and colours alone."""
    table = np.zeros((len(targets), len(detections)), bool)
    for i, target in enumerate(targets):
        for j, detection in enumerate(detections):
            distance = colour_distance(target.appearance, detection.appearance)
            table[i, j] = label_cost(target.label, detection.label) < _OTHER_NOUN and (distance is None or distance < 0.35)
    return table


def match_cost(target: Target, detection: Detection, cut: Cut, frame_size: tuple[int, int], placed: bool) -> float:
    """Of one pair. `placed` is False where places say nothing: a picture from another point of view."""
    cost = label_cost(target.label, detection.label) - math.log(_RETURNS[target.state])
    distance = colour_distance(target.appearance, detection.appearance)
    if distance is not None:
        cost += _COLOURS * max(0.0, distance - 0.03)
    if not placed or cost > _GATE + _MOST_FOR_PLACE:
        return cost
    # What slipped behind nobody knows what comes out anywhere.
    anywhere = _ANYWHERE["gone" if target.state == "occluded" and target.hidden_by is None else target.state]
    middle = target.completed(detection.box_px, target.really_cut(detection.box_px, cut))
    sigma = 2 * target.sigma_px
    if target.guesses is not None:
        density = target.guesses.density(middle, max(sigma, 0.3 * float(target.size.mean())))
    else:
        # Most things stay where they are; the rest moves on as it did.
        rest = np.array([(target.box_px[0] + target.box_px[2]) / 2, (target.box_px[1] + target.box_px[3]) / 2])
        rest = target.completed(target.box_px, target.cut) if any(target.cut) else rest
        squared = float(((middle - rest) ** 2).sum())
        stays = math.exp(-0.5 * squared / sigma**2) / (2 * math.pi * sigma**2)
        weight = 0.15 if target.moving else 0.6
        density = weight * stays + (1 - weight) * target.motion.density(middle, target.sigma_px)
    likelihood = (1 - anywhere) * density * frame_size[0] * frame_size[1] + anywhere
    if target.place_m is not None and detection.center_m is not None and target.guesses is None:
        spread = max(target.place_m.sigma, 0.05)
        squared = float(((np.array(detection.center_m) - target.place_m.place) ** 2).sum())
        cost += min(0.5 * squared / spread**2, 4.0)
    return cost + shape_cost(target, detection, cut) - math.log(likelihood)


def shape_cost(target: Target, detection: Detection, cut: Cut) -> float:
    """What an unexpected size costs: nothing where an edge is or was cut, little where a thing may have turned or comes back."""
    cost, most = 0.0, 2.0 if target.guesses is None else 1.0
    for axis in (0, 1):
        extent = max(detection.box_px[axis + 2] - detection.box_px[axis], 1.0)
        ratio = math.log(extent / max(float(target.size[axis]), 1.0))
        if (ratio > 0 and not any(target.cut)) or not (ratio > 0 or cut[axis] or cut[axis + 2]):
            cost += min(0.5 * (ratio / 0.25) ** 2, most)
    return cost


def birth_cost(detection: Detection, targets: Sequence[Target], frame_size: tuple[int, int], first: bool) -> float:
    """That a detection is a new thing. At the frame's border, and in the first frame of all, things are new more often."""
    if first:
        return 0.0
    x1, y1, x2, y2 = detection.box_px
    margin = 0.03 * max(frame_size)
    at_border = x1 < margin or y1 < margin or x2 > frame_size[0] - margin or y2 > frame_size[1] - margin
    # One of that name that is lost speaks for its coming back, not for another one's coming.
    same = sum(label_cost(target.label, detection.label) == 0 and target.guesses is None for target in targets)
    of_label = (same + 0.5) / (len(targets) + 10)
    colours = _COLOURS_OF_STRANGERS if detection.appearance else 0.0
    return colours - math.log(_NEW_AT_BORDER if at_border else _NEW) - math.log(of_label)


def assigned(costs: Array, births: Array, misses: Array) -> list[int | None]:
    """For each detection the row of its target, or None for a new thing: the likeliest matching of all.

    `costs` (targets, detections), `births` (detections,), `misses` (targets,): the cost of seeing nothing of a target.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and needed only where something is followed

    n, m = costs.shape
    # Not seeing a target, and a detection's being new, are cells of a square matrix, each of its own.
    square = np.full((n + m, n + m), NEVER)
    square[:n, :m] = np.where(costs > _GATE, NEVER, costs)
    square[np.arange(n), m + np.arange(n)] = misses
    square[n + np.arange(m), np.arange(m)] = births
    square[n:, m:] = 0.0
    rows, columns = linear_sum_assignment(square)
    found: list[int | None] = [None] * m
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row < n and column < m and costs[row, column] <= _GATE:
            found[column] = row
    return found


def middle_px(box_px: Sequence[float]) -> PointPx:
    """The middle of a box that is known to be one."""
    return (box_px[0] + box_px[2]) / 2, (box_px[1] + box_px[3]) / 2
