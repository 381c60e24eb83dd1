"""Happenings at the picture's border, and theft: things are carried out, snatched from the open, and brought in.

Knows what lies outside of the picture. Does not know what is then really seen: that is the truth's (truth.py).
"""

import numpy as np
from numpy.typing import NDArray

from deixis.lab.scene import View
from deixis.lab.video.camera_path import projected
from deixis.lab.video.director import Director
from deixis.lab.video.hand import lifted_over, slid

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])


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
