"""Happenings that all of the picture sees: rolling, dropping, carrying, pushing, changing places.

Knows what stands free on a Director's desk. Does not know hiding places (hiding.py) or the picture's border (entrances.py).
"""

import numpy as np
from numpy.typing import NDArray

from deixis.lab.video.director import Director
from deixis.lab.video.hand import beside, led_around, lifted_over, pushed, slid

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])


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
        if (spot := d.free_spot(i, d.at_m(i), 0.8, 0.15)) is None:
            continue
        start, seconds = d.stage.time_s, d.rng.uniform(1.4, 2.4)
        tall = max((d.size_m(j)[2] for j in d.standing()), default=0.1)
        d.stage.hold(i, lifted_over(d.stage.pose(i), spot, min(0.08 + tall, 0.2), seconds))
        d.wait(seconds)
        d.let_go(i)
        d.settle()
        return d.done("carry", start, [i])
    return False


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
