"""What two things do together: one sets the other in motion, one takes the other along, two exchange places.

Knows the lives of all things of a frame. Does not know how events are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from deixis.geometry import BoxPx, gap_px
from deixis.spatial.video.life import Life, Place

_CONTACT_S = 0.7  # between a touch and the motion that it causes
_BEFORE_S = 0.5  # over which the one that hits was coming
_RESTED_S = 0.5  # what was moving just before went on by itself
_SWAP_PAUSE_S = 2.0  # between the movements of two things that exchange places, if they are not at the same time
_ASIDE = 0.15  # by how much of the way between them perspective moves their new places


def who_hit(lives: Mapping[int, Life], hit: int, start_s: float) -> int | None:
    """Who touched a thing just before it set off: the nearest of those that were coming, and whose way it goes on."""
    life, best = lives[hit], (math.inf, -1)
    if start_s - life.moved_until_s < _RESTED_S:
        return None
    goes = (life.way[-1][1] - life.rest[0], life.way[-1][2] - life.rest[1])
    for id_, other in lives.items():
        if id_ == hit or other.state != "visible" or other.last_moving_s < start_s - _CONTACT_S:
            continue
        if other.started_s > start_s - 0.02 or len(other.way) < 2:
            continue
        gap = gap_px(other.box_px, life.box_px)
        reach = 0.2 * min(life.size, other.size) + 0.25 * max(other.speed, life.speed)
        level = abs(other.box_px[3] - life.box_px[3]) < 0.8 * max(life.size, other.size)
        came = other.step(start_s - _BEFORE_S, start_s)
        if gap <= min(reach, best[0]) and level and came[0] * goes[0] + came[1] * goes[1] > 0:
            best = gap, id_
    return best[1] if best[1] >= 0 else None


def who_bears(lives: Mapping[int, Life], borne: int) -> tuple[int, float] | None:
    """The larger thing that a thing stands on or in and that moves the same way since the same time, and that time."""
    life = lives[borne]
    for id_, other in lives.items():
        if id_ == borne or not (other.moving and life.moving) or other.size < 1.2 * life.size:
            continue
        together = max(other.started_s, life.started_s)
        if (
            life.seen_s - together < 0.6
            or abs(other.started_s - life.started_s) > 0.3
            or not _rests_on(life.box_px, other.box_px)
        ):
            continue
        mine, theirs = life.shift(together), other.shift(together)
        if math.dist(mine, theirs) < 0.15 * math.hypot(*theirs) + 3 and math.hypot(*theirs) > 2 * life.reach:
            return id_, together
    return None


def went_with(life: Life, host: Life, here: Place) -> bool:
    """Whether a thing that comes out at `here` went where the one that hid it went."""
    if life.hider_at is None or not host.way:
        return False
    mine = (here[0] - life.way[-1][1], here[1] - life.way[-1][2])
    theirs = (host.way[-1][1] - life.hider_at[0], host.way[-1][2] - life.hider_at[1])
    return (
        math.hypot(*mine) > max(2 * life.reach, 0.3 * life.size)
        and math.dist(mine, theirs) < 0.4 * math.hypot(*theirs) + life.size
    )


def has_left(life: Life, host: Life) -> bool:
    """Whether what hides a thing has gone from where it took it in: if it does not show now, it went along."""
    return life.hider_at is not None and math.dist(life.hider_at, host.way[-1][1:]) > 0.5 * host.size


def who_swapped(lives: Mapping[int, Life], moved: int, stop_s: float) -> int | None:
    """With whom a thing has exchanged places: each is where the other was, and the way from one to the other has turned around.

    That way is the stricter measure: it holds whatever the camera does meanwhile. Of several it is the one that fits best; where
    that one is still on its way, nobody yet: it will be told when it stops.
    """
    life, best = lives[moved], (1.0, -1)
    for id_, other in lives.items():
        if id_ == moved or other.came_from_px is None or life.came_from_px is None:
            continue
        if max(life.left_s, other.left_s) - min(stop_s, other.moved_until_s) > _SWAP_PAUSE_S:
            continue
        before = (other.came_from_px[0] - life.came_from_px[0], other.came_from_px[1] - life.came_from_px[1])
        after = (other.foot_px[0] - life.foot_px[0], other.foot_px[1] - life.foot_px[1])
        apart = math.hypot(*after)
        near = min(0.6 * max(life.size, other.size) + _ASIDE * apart, 0.75 * apart)
        missed = max(math.dist(life.foot_px, other.came_from_px), math.dist(other.foot_px, life.came_from_px))
        turned = math.hypot(before[0] + after[0], before[1] + after[1])
        best = min(best, (max(turned, missed / 1.2) / near, id_)) if near > 0 else best
    return best[1] if best[1] >= 0 and not lives[best[1]].moving else None


def who_is_beside(lives: Mapping[int, Life], new: int, box_px: BoxPx) -> int | None:
    """The thing in sight that a new one lies at, and may have come out from behind."""
    near = [(gap_px(other.box_px, box_px), id_) for id_, other in lives.items() if id_ != new and other.state == "visible"]
    gap, id_ = min(near, default=(math.inf, -1))
    return id_ if gap < 2.0 else None


def _rests_on(box_px: BoxPx, carrier_px: BoxPx) -> bool:
    """Whether a box stands on or in another one: its foot within that one's upper half, its middle above it."""
    middle = (box_px[0] + box_px[2]) / 2
    top, half = carrier_px[1], (carrier_px[1] + carrier_px[3]) / 2
    return carrier_px[0] < middle < carrier_px[2] and top - 3 <= box_px[3] <= half
