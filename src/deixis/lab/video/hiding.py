"""Happenings that hide things and show them again: under a cover, behind something larger.

Knows what fits under or behind what. Does not know what is then really seen: that is the truth's (truth.py).
"""

import numpy as np
from numpy.typing import NDArray

from deixis.lab.video.camera_path import projected
from deixis.lab.video.director import Director
from deixis.lab.video.hand import beside, lifted_over, resting, slid

Array = NDArray[np.float64]
HIDEABLE = ("ball", "mouse", "cup", "phone", "usb stick", "pen")


def cover(d: Director) -> bool:
    """A box is lowered over a smaller thing, which is then hidden."""
    able = d.standing()
    boxes = [i for i in able if d.things[i].category == "box"]
    pairs = [(h, c) for c in boxes for h in able if h != c and d.things[h].category in HIDEABLE and _swallows(d, c, h)]
    if not pairs:
        return False
    hidden, box = pairs[int(d.rng.integers(len(pairs)))]
    if not d.clear_at(d.at_m(hidden), d.radius_m(box), (hidden, box), 0.0):
        return False
    start, seconds = d.stage.time_s, d.rng.uniform(1.4, 2.2)
    d.stage.hold(hidden, resting(d.stage.pose(hidden)))
    d.stage.hold(box, lifted_over(d.stage.pose(box), _middle_m(d, hidden), d.size_m(hidden)[2] + 0.06, seconds))
    d.wait(seconds)
    d.keep_covered(hidden, box)
    return d.done("cover", start, [hidden], box)


def _middle_m(d: Director, i: int) -> Array:
    """The point of the table below the middle of a thing."""
    position, rotation = d.stage.pose(i)
    low, high = d.things[i].bounds
    middle = position + rotation @ ((low + high) / 2)
    return np.array([middle[0], middle[1], 0.0])


def _swallows(d: Director, box: int, thing: int) -> bool:
    """Does the whole thing, as it lies, fit into the box, as it stands?"""
    turn = d.stage.pose(box)[1].T @ d.stage.pose(thing)[1]
    extent = np.abs(turn) @ d.size_m(thing)
    return bool((extent < d.size_m(box) - 0.008).all())


def reveal(d: Director) -> bool:
    """A cover is lifted off and set down beside."""
    for hidden in d.shuffled(list(d.covered)):
        box = d.covered[hidden]
        if (spot := d.free_spot(box, d.at_m(box), 0.7, 0.1)) is None:
            continue
        start, seconds = d.stage.time_s, d.rng.uniform(1.4, 2.2)
        d.stage.hold(box, lifted_over(d.stage.pose(box), spot, d.size_m(hidden)[2] + 0.06, seconds))
        d.wait(seconds)
        del d.covered[hidden]
        d.let_go(box)
        d.let_go(hidden)
        d.settle()
        return d.done("reveal", start, [hidden], box)
    return False


def carry_along(d: Director) -> bool:
    """A cover is slid along, and what it hides goes with it."""
    for hidden in d.shuffled(list(d.covered)):
        box = d.covered[hidden]
        if (spot := d.free_spot(box, d.at_m(box), 0.6, 0.15)) is None:
            continue
        here = d.at_m(box)
        if any(not d.clear_at(here + (spot - here) * s, d.radius_m(box), (hidden, box), 0.0) for s in np.linspace(0, 1, 8)):
            continue
        start, seconds = d.stage.time_s, d.rng.uniform(1.6, 2.6)
        path = slid(d.stage.pose(box), spot, seconds)
        position, rotation = d.stage.pose(hidden)
        d.stage.hold(box, path)
        d.stage.hold(hidden, beside(path, position - here, rotation))
        d.wait(seconds)
        d.keep_covered(hidden, box)
        return d.done("carry_along", start, [hidden], box)
    return False


def behind(d: Director) -> bool:
    """A thing is slid behind a larger one, as the camera sees it."""
    able = d.standing()
    if d.camera.move != "still":
        return False
    large = sorted(able, key=lambda i: -d.size_m(i)[2] * d.radius_m(i))[:4]
    pairs = [(i, j) for j in large for i in able if i != j and d.size_m(i)[2] < d.size_m(j)[2] and d.radius_m(i) < d.radius_m(j)]
    for k in d.rng.permutation(len(pairs)):
        i, j = pairs[int(k)]
        away = (d.at_m(j) - d.view.position_m) * [1, 1, 0]
        away /= np.linalg.norm(away)
        for gap in (0.004, 0.012, 0.025):
            spot = d.at_m(j) + away * (d.radius_m(j) * 0.75 + d.radius_m(i) + gap)
            clear = d.clear_at(spot, d.radius_m(i), (i, j), 0.0)
            if not clear or not _hides(d, j, i, spot) or np.linalg.norm(spot - d.at_m(i)) < 0.1:
                continue
            start, seconds = d.stage.time_s, d.rng.uniform(1.2, 2.2)
            d.stage.hold(i, slid(d.stage.pose(i), spot, seconds))
            d.wait(seconds)
            d.let_go(i)
            d.settle()
            return d.done("behind", start, [i], j)
    return False


def _hides(d: Director, occluder: int, i: int, spot: Array) -> bool:
    """Would the box of ``i`` at ``spot`` lie within the box of ``occluder`` in the picture?"""
    outer, _ = projected(d.corners_m(occluder, d.at_m(occluder)), d.view)
    inner, _ = projected(d.corners_m(i, spot), d.view)
    slack = 0.1 * (outer.max(0) - outer.min(0))
    return bool((inner.min(0) > outer.min(0) - slack * [0, 1]).all() and (inner.max(0) < outer.max(0) + slack * [0, 1]).all())


def come_out(d: Director) -> bool:
    """A thing that stands behind another is slid into the open."""
    hidden = [deed.who[0] for deed in d.deeds if deed.kind == "behind" and deed.who[0] in d.standing()]
    for i in d.shuffled(sorted(set(hidden))):
        if (spot := d.free_spot(i, d.at_m(i), 0.6, 0.15)) is not None:
            start, seconds = d.stage.time_s, d.rng.uniform(1.2, 2.0)
            d.stage.hold(i, slid(d.stage.pose(i), spot, seconds))
            d.wait(seconds)
            d.let_go(i)
            d.settle()
            return d.done("come_out", start, [i])
    return False
