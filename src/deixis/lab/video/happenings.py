"""The happenings of a video: each takes a Director, does one thing on its stage, and says whether it could.

Knows rolling, dropping, carrying, pushing, covering, hiding, swapping, taking out and putting in. Does not know pixels: what
was really seen comes from the truth (truth.py). A new happening is one function and one line in HAPPENINGS.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from deixis.lab.scene import View
from deixis.lab.video.camera_path import projected
from deixis.lab.video.director import Director
from deixis.lab.video.hand import beside, led_around, lifted_over, pushed, resting, slid

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
HIDEABLE = ("ball", "mouse", "cup", "phone", "usb stick", "pen")


def roll(d: Director) -> bool:
    """A ball is set rolling: at another thing, towards an edge, or into the open."""
    balls = [i for i in d.standing() if d.things[i].category == "ball"]
    if not balls:
        return False
    ball = d.pick(balls)
    here = d.at_m(ball)
    others = [j for j in d.standing() if j != ball and np.linalg.norm(d.at_m(j) - here) > 0.12]
    if others and d.rng.random() < 0.5:
        target = d.at_m(d.pick(others))
    elif d.rng.random() < 0.5:
        angle = d.rng.uniform(-np.pi, np.pi)
        target = here + np.array([np.cos(angle), np.sin(angle), 0.0])
    else:
        spot = d.free_spot(ball, here, 2.0, 0.2)
        if spot is None:
            return False
        target = spot
    way = (target - here) * [1, 1, 0]
    way /= np.linalg.norm(way)
    speed, radius = d.rng.uniform(0.3, 0.75), d.size_m(ball)[2] / 2
    start = d.stage.time_s
    d.stage.release(ball, way * speed, np.cross(UP, way) * speed / radius)
    d.wait(1.0)
    d.settle()
    return d.done("roll", start, [ball])


def drop(d: Director) -> bool:
    """A thing is lifted and let go."""
    able = [i for i in d.standing() if d.things[i].category in ("ball", "book", "cup", "box", "mouse", "phone", "bottle")]
    if not able:
        return False
    i = d.pick(able)
    spot = d.free_spot(i, d.at_m(i), 0.3)
    if spot is None:
        return False
    top = spot + UP * d.rng.uniform(0.18, 0.32)
    if not d.in_picture(top, i):
        return False
    start, seconds = d.stage.time_s, d.rng.uniform(1.0, 1.8)
    d.stage.hold(i, slid(d.stage.pose(i), top, seconds))
    d.wait(seconds + d.rng.uniform(0.2, 0.5))
    d.stage.release(i)
    d.wait(0.6)
    d.settle()
    return d.done("drop", start, [i])


def carry(d: Director) -> bool:
    """A thing is lifted, carried and set down elsewhere."""
    for i in d.shuffled(d.standing()):
        if (spot := d.free_spot(i, d.at_m(i), 0.8, 0.15)) is not None:
            return _carried(d, i, spot, "carry")
    return False


def _carried(d: Director, i: int, spot: Array, kind: str) -> bool:
    start, seconds = d.stage.time_s, d.rng.uniform(1.4, 2.4)
    tall = max((d.size_m(j)[2] for j in d.standing()), default=0.1)
    d.stage.hold(i, lifted_over(d.stage.pose(i), spot, min(0.08 + tall, 0.2), seconds))
    d.wait(seconds)
    d.let_go(i)
    d.settle()
    return d.done(kind, start, [i])


def push(d: Director) -> bool:
    """One thing is pushed into another, which moves because of it."""
    able = d.standing()
    pairs = [(a, b) for a in able for b in able if a != b and d.things[a].mass_kg > 0.1]
    for k in d.rng.permutation(len(pairs)):
        a, b = pairs[int(k)]
        start_m, target = d.at_m(a), d.at_m(b)
        gap = float(np.linalg.norm((target - start_m)[:2]))
        way = (target - start_m) * [1, 1, 0] / max(gap, 1e-6)
        reach = gap - d.radius_m(b) + d.rng.uniform(0.02, 0.07)
        beyond = target + way * 0.18
        if not 0.1 < reach < 0.5 or not d.clear_at(beyond, d.radius_m(b), (a, b)) or not d.in_picture(beyond, b):
            continue
        if any(not d.clear_at(start_m + way * s, 0.7 * d.radius_m(a), (a, b), 0.0) for s in np.linspace(0, reach, 6)):
            continue
        start = d.stage.time_s
        seconds = reach / d.rng.uniform(0.16, 0.3)
        d.stage.hold(a, pushed(d.stage.pose(a), start_m + way * reach, seconds), touch="all")
        d.wait(seconds)
        d.let_go(a)
        d.wait(0.3)
        d.settle()
        return d.done("push", start, [a, b], a)
    return False


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


def swap(d: Director) -> bool:
    """Two look-alikes (or two others) change places, led around each other; covers take what they hide along."""
    able = d.standing()
    covers = sorted(set(d.covered.values()))
    if d.twins is not None and all(i in able or i in covers for i in d.twins):
        pair: tuple[int, int] = d.twins
    elif len(able) + len(covers) >= 2:
        a, b = d.shuffled([*able, *covers])[:2]
        pair = (a, b)
    else:
        return False
    a, b = pair
    gap = float(np.linalg.norm(d.at_m(a) - d.at_m(b)))
    if not 0.1 < gap < 0.6 or gap < 0.9 * (d.radius_m(a) + d.radius_m(b)):
        return False
    middle = (d.at_m(a) + d.at_m(b)) / 2 * [1, 1, 0]
    ring = [middle + arm for arm in _ring(gap / 2)]
    if not all(d.in_picture(spot, i) for i in pair for spot in ring):
        return False
    if d.covered and not all(d.clear_at(spot, d.radius_m(i), (*pair, *d.covered), 0.0) for i in pair for spot in ring):
        return False  # covers stay on the table, and must not run through what stands there
    start, seconds = d.stage.time_s, d.rng.uniform(2.0, 3.2)
    lift = 0.004 if d.covered else 0.16
    inside = {c: h for h, c in d.covered.items()}
    for i in pair:
        path = led_around(d.stage.pose(i), middle, seconds, lift)
        if i in inside:
            position, rotation = d.stage.pose(inside[i])
            d.stage.hold(inside[i], beside(path, position - d.at_m(i), rotation))
        d.stage.hold(i, path)
    d.wait(seconds)
    for i in pair:
        if i in inside:
            d.keep_covered(inside[i], i)
        else:
            d.let_go(i)
    d.settle()
    return d.done("swap", start, pair)


def _ring(radius: float) -> Array:
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles), np.zeros(8)], -1)


def take_out(d: Director) -> bool:
    """A thing is carried out of the picture over its left or right border."""
    able = d.standing()
    if len(able) < 3:
        return False
    i = d.pick(able)
    start, seconds = d.stage.time_s, d.rng.uniform(1.2, 2.0)
    view = d.camera.at(start + seconds)  # the camera must not overtake the thing
    right = view.rotation[:, 0] * [1, 1, 0]
    side = 1.0 if (d.at_m(i) - view.position_m) @ right > 0 else -1.0
    ways = (d.at_m(i) + right * side * s + UP * 0.1 for s in np.linspace(0.3, 2, 18))
    if (goal := next((g for g in ways if _outside(d, i, g, view)), None)) is None:
        return False
    d.stage.hold(i, lifted_over(d.stage.pose(i), goal, 0.06, seconds))
    d.wait(seconds)
    d.take_away(i)
    return d.done("take_out", start, [i])


def _outside(d: Director, i: int, position_m: Array, view: View) -> bool:
    pixels, depth = projected(d.corners_m(i, position_m), view)
    x = pixels[:, 0]
    return bool(depth.min() > 0.05 and (x.max() < -3 or x.min() > view.width + 3))


def take_away(d: Director) -> bool:
    """A thing is snatched from the open: a little up, and at the next frame it is not there."""
    able = [i for i in d.standing() if d.in_picture(d.at_m(i), i)]
    if len(able) < 3:
        return False
    i = d.pick(able)
    start = d.stage.time_s
    d.stage.hold(i, slid(d.stage.pose(i), d.at_m(i) + UP * 0.05, 0.3))
    d.wait(0.3)
    d.take_away(i)
    d.wait(0.3)
    return d.done("take_away", start, [i])


def put_in(d: Director) -> bool:
    """A thing that was not there is carried in over the border and set down."""
    if not d.waiting:
        return False
    i = d.waiting[0]
    spot = d.free_spot(i)
    if spot is None:
        return False
    right = d.view.rotation[:, 0] * [1, 1, 0] * (1.0 if d.rng.random() < 0.5 else -1.0)
    ways = (spot + right * s + UP * 0.1 for s in np.linspace(0.3, 2.5, 23))
    if (begin := next((g for g in ways if _outside(d, i, g, d.view)), None)) is None:
        return False
    start, seconds = d.stage.time_s, d.rng.uniform(1.4, 2.2)
    d.waiting.pop(0)
    d.stage.bring(i)
    d.stage.hold(i, lifted_over((begin, d.stage.pose(i)[1]), spot, 0.06, seconds))
    d.wait(seconds)
    d.let_go(i)
    d.settle()
    return d.done("put_in", start, [i])


HAPPENINGS: Mapping[str, Callable[[Director], bool]] = {
    "roll": roll,
    "drop": drop,
    "carry": carry,
    "push": push,
    "cover": cover,
    "reveal": reveal,
    "carry_along": carry_along,
    "behind": behind,
    "come_out": come_out,
    "swap": swap,
    "take_out": take_out,
    "take_away": take_away,
    "put_in": put_in,
}
