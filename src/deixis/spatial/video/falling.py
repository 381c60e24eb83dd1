"""Whether a thing falls: down the picture with gravity, and not as a hand sets it down.

Knows the way of one thing. Does not know the others. Speeds are in heights of the picture per second.
"""

from __future__ import annotations

import math

from deixis.spatial.video.life import Life

# What is let go falls from rest; what falls on its way gets ever faster, as gravity has it. A hand sets down as fast as a short
# fall, but it comes from elsewhere, and slows down.
_FALL, _FALL_FAST = 0.33, 0.75
_GROWING, _GROWTH = 0.55, 1.5
_WAY = 0.06  # of the picture's height
_OVER_S, _HELD_STILL_S = 0.15, 0.3  # over which speeds are taken; for how long a hand holds a thing before it lets go
_STILL_PX = 2.0
# What rolls freely keeps its speed: the picture's way down can only grow because the table ended.
_EVEN, _DROPS, _DOWN = 0.3, 0.25, 0.2
_ACROSS = 0.35  # of its speed across it keeps at least this much, where a hand stops and then sets down


def falls(life: Life, now: float, height: int, settled_s: float) -> tuple[float, float] | None:
    """Start and end so far of a fall under way, or None. `settled_s`: since when it is where it is."""
    last = len(life.way) - 1
    since = _before(life, last, now)
    if since is None:
        return None
    (t0, x0, y0), (t1, x1, y1) = life.way[since], life.way[last]
    speed, sideways = (y1 - y0) / (t1 - t0) / height, abs(x1 - x0) / (t1 - t0) / height
    if life.fall_s is None:
        rolled_off = speed > 0 and _rolled_off(life, since, height)
        let_go = _let_go(life, since, speed, height) if speed > _FALL and speed > 0.8 * sideways else None
        began = let_go or ((t0, y0) if rolled_off else None)
        if began is None:
            return None
        life.fall_s, life.fall_y = began
    began_s, from_y = life.fall_s, life.fall_y
    if speed < 0.1:
        life.fall_s = None
    return (began_s, min(now, max(settled_s, began_s))) if y1 - from_y > _WAY * height else None


def _before(life: Life, sample: int, time_s: float) -> int | None:
    return next((k for k in range(sample - 1, -1, -1) if life.way[k][0] <= time_s - _OVER_S), None)


def _let_go(life: Life, since: int, speed: float, height: int) -> tuple[float, float] | None:
    """When and where (down the picture) a hand let go, or None."""
    t0, _, y0 = life.way[since]
    t1, _, y1 = life.way[-1]
    earlier = _before(life, since, t0)
    before = 0.0 if earlier is None else (y0 - life.way[earlier][2]) / (t0 - life.way[earlier][0]) / height
    first = since
    while first > 0 and life.way[first][2] - life.way[first - 1][2] > 0.008 * height:
        first -= 1
    held = [sample for sample in life.way[: first + 1] if sample[0] >= life.way[first][0] - _HELD_STILL_S - 0.15]
    long = held[-1][0] - held[0][0] >= _HELD_STILL_S
    still = long and max(math.dist(sample[1:], held[-1][1:]) for sample in held) < _STILL_PX
    growing = speed > _GROWING and before > 0.5 * _FALL and speed > _GROWTH * before
    if not (still or growing or speed > _FALL_FAST):
        return None
    if first < since:
        return life.way[first][0], life.way[first][2]
    # It began within the interval: from rest with constant acceleration half of the time gives the speed.
    return (t0 if before > 0.1 else max(t0, t1 - 2 * (y1 - y0) / (speed * height))), y0


def _rolled_off(life: Life, since: int, height: int) -> bool:
    """Whether it went evenly until that sample and turned downwards then, about as fast across as before."""
    one = _before(life, since, life.way[since][0])
    two = None if one is None else _before(life, one, life.way[one][0])
    if one is None or two is None or life.cut:
        return False
    velocities = []
    for a, b in ((two, one), (one, since), (since, len(life.way) - 1)):
        (ta, xa, ya), (tb, xb, yb) = life.way[a], life.way[b]
        velocities.append(((xb - xa) / (tb - ta) / height, (yb - ya) / (tb - ta) / height))
    (xs, ys), (xe, ye), (xn, yn) = velocities
    pace = math.hypot(xe, ye)
    even = pace > _DOWN and math.dist((xs, ys), (xe, ye)) < _EVEN * pace
    return even and yn - ye > _DROPS and _ACROSS * abs(xe) <= abs(xn) < 1.1 * abs(xe) + 0.02
