"""From tracks to what happened: who moved, stopped, fell, was hidden, taken out, carried, and what set what in motion.

Knows the changes of each update. Does not know frames or the ledger. Times lie between two samples: a state changes half-way, a
motion begins where its straight line back meets the place of rest. An event is told again, with its key, while its end moves on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from deixis.geometry import BoxPx, gap_px
from deixis.spatial.video.detection import Event, EventKind, State
from deixis.spatial.video.event_words import described
from deixis.spatial.video.tracker import Changes, Followed

_REST_PX, _REST_SHARE = 4.0, 0.08  # a box that strays by less is at rest
_STILL_S = 0.35  # what does not move for so long has stopped
_SURELY_GONE_S = 1.0  # a thing that is back by then was never taken out
_CONTACT_S = 0.7  # between a touch and the motion that it causes
_SWAP_S = 8.0  # between the stops of two things that exchange places
_PAUSE_S = 1.0  # what stops for less goes on with what it was doing: it still comes from where it came from
# Speeds down the picture, in its heights per second. What is let go falls from rest; what falls on its way gets ever faster, as
# gravity has it. A hand sets down as fast as a short fall, but it comes from elsewhere, and slows down.
_FALL, _FALL_FAST = 0.33, 0.75
_FALL_GROWING, _FALL_GROWTH = 0.55, 1.5
_FALL_WAY = 0.06  # of the picture's height
_FALL_OVER_S, _HELD_STILL_S = 0.15, 0.3  # over which speeds are taken; for how long a hand holds a thing before it lets go
_KEPT_S = 3.0  # of each thing's way


@dataclass
class _Life:
    """What is remembered of one thing between updates."""

    label: str
    state: State
    seen_s: float
    box_px: BoxPx
    way: list[tuple[float, float, float]] = field(default_factory=list)  # (time_s, x, y), camera taken out
    rest: tuple[float, float] = (0.0, 0.0)
    moving_since_s: float | None = None
    moved_until_s: float = -math.inf
    came_from: tuple[float, float] | None = None  # where it rested before its last motion
    hidden_by: int | None = None
    hidden_s: float | None = None
    gone_since_s: float | None = None
    fall_s: float | None = None
    fall_y: float = 0.0
    told: list[str] = field(default_factory=list)  # of the motion under way: what has been said already

    @property
    def size(self) -> float:
        return 0.5 * (self.box_px[2] - self.box_px[0] + self.box_px[3] - self.box_px[1])

    @property
    def reach(self) -> float:
        return max(_REST_PX, _REST_SHARE * self.size)


class EventFinder:
    """`update` with each change in order; it gives the events that began, went on or ended."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}
        self._time_s: float | None = None
        self._out: list[Event] = []

    def update(self, changes: Changes, frame_size: tuple[int, int]) -> tuple[Event, ...]:
        """`frame_size` in pixels. Nothing that is in the first frame appears: it was there."""
        self._out = []
        now, last = changes.time_s, self._time_s
        for id_, thing in changes.things.items():
            life = self._lives.get(id_)
            if life is None:
                life = self._lives[id_] = _Life(thing.label, thing.sighting.state, now, thing.full_box_px)
                life.way, life.rest = [(now, *thing.steady_px)], thing.steady_px
                if last is not None:
                    self._begins(id_, thing, (last + now) / 2, frame_size)
                continue
            life.label = thing.label
            if thing.sighting.state != life.state:
                self._turns(id_, life, thing, now if last is None else (last + now) / 2, frame_size)
            if thing.now:
                self._seen(id_, life, thing, now, frame_size)
            elif thing.carried and thing.sighting.hidden_by is not None:
                self._carried(id_, thing.sighting.hidden_by, now)
            life.state = thing.sighting.state
            if life.state == "occluded" and thing.sighting.hidden_by is not None:
                life.hidden_by = thing.sighting.hidden_by
            if life.gone_since_s is not None and now - life.gone_since_s >= _SURELY_GONE_S:
                self._tell("is_taken_out", life.gone_since_s, life.gone_since_s, id_)
                life.gone_since_s = None
        for id_ in [id_ for id_ in self._lives if id_ not in changes.things]:
            del self._lives[id_]
        self._time_s = now
        return tuple(self._out)

    def _begins(self, id_: int, thing: Followed, when_s: float, frame_size: tuple[int, int]) -> None:
        edge = _edge_of(thing.full_box_px, frame_size, 0.03)
        if edge:
            self._tell("appears", when_s, when_s, id_, edge=edge)
            return
        behind = self._beside(id_, thing)
        self._tell("is_revealed" if behind else "is_put_in", when_s, when_s, id_, behind, confidence=0.7)

    def _turns(self, id_: int, life: _Life, thing: Followed, when_s: float, frame_size: tuple[int, int]) -> None:
        """A state that became another one between two samples."""
        state, was = thing.sighting.state, life.state
        if state == "occluded":
            when_s = min(when_s, (life.seen_s + thing.sighting.time_s) / 2)
            life.hidden_s = when_s
            self._tell("is_hidden", when_s, when_s, id_, thing.sighting.hidden_by)
        elif state == "out_of_view":
            edge = _edge_of(life.box_px, frame_size, 0.12)
            self._tell("leaves", when_s, when_s, id_, edge=edge)
        elif state == "gone":
            life.gone_since_s = when_s if was == "occluded" else life.seen_s + (when_s - life.seen_s) / 2
        elif was == "occluded":
            self._tell("is_revealed", when_s, when_s, id_, life.hidden_by)
        elif was == "out_of_view":
            self._tell("appears", when_s, when_s, id_, edge=_edge_of(thing.full_box_px, frame_size, 0.12))
        elif was == "gone" and life.gone_since_s is None:
            self._tell("is_put_in", when_s, when_s, id_)
        if state == "visible":
            life.gone_since_s = None

    def _seen(self, id_: int, life: _Life, thing: Followed, now: float, frame_size: tuple[int, int]) -> None:
        unseen = life.way and now - life.way[-1][0] > 1.5 * max(now - (self._time_s or now), 1e-9)
        before = life.way[-1] if life.way else (now, *thing.steady_px)
        life.way.append((now, *thing.steady_px))
        while len(life.way) > 3 and life.way[0][0] < now - _KEPT_S:
            life.way.pop(0)
        life.seen_s, life.box_px = now, thing.full_box_px
        away = math.dist(life.rest, thing.steady_px)
        if (
            unseen
            and life.hidden_by in self._lives
            and math.dist(before[1:], thing.steady_px) > max(2 * life.reach, 0.3 * life.size)
        ):
            assert life.hidden_by is not None
            if life.moving_since_s is None and self._lives[life.hidden_by].moved_until_s > (life.hidden_s or before[0]):
                self._carried(id_, life.hidden_by, now)
                life.came_from, life.rest = life.rest, thing.steady_px
                return
        if life.moving_since_s is None:
            if away > life.reach:
                self._starts(id_, life, now)
            else:
                life.rest = (
                    life.rest[0] + 0.2 * (thing.steady_px[0] - life.rest[0]),
                    life.rest[1] + 0.2 * (thing.steady_px[1] - life.rest[1]),
                )
        if life.moving_since_s is not None:
            self._goes_on(id_, life, now, frame_size)

    def _starts(self, id_: int, life: _Life, now: float) -> None:
        """A motion: since where the straight line through its first samples meets the place of rest."""
        distances = [math.dist(life.rest, sample[1:]) for sample in life.way]
        near = max((k for k, d in enumerate(distances) if d <= 0.4 * life.reach), default=0)
        first = min(near + 1, len(life.way) - 1)
        (t0, *_), (t1, *_) = life.way[near], life.way[first]
        start = (t0 + t1) / 2
        if len(life.way) > first + 1:
            t2, d2, d1 = life.way[-1][0], distances[-1], distances[first]
            if d2 > d1:
                start = t1 - d1 * (t2 - t1) / (d2 - d1)
        start = min(max(start, t0), t1)
        if life.came_from is None or start - life.moved_until_s > _PAUSE_S:
            life.came_from = life.rest
        life.moving_since_s, life.told = start, []
        self._tell("moves", start, now, id_)
        self._caused(id_, life, start)

    def _goes_on(self, id_: int, life: _Life, now: float, frame_size: tuple[int, int]) -> None:
        assert life.moving_since_s is not None
        here = life.way[-1][1:]
        still = len(life.way)
        while still > 0 and math.dist(life.way[still - 1][1:], here) <= 0.6 * life.reach:
            still -= 1
        settled = life.way[still][0]  # since then it is where it is
        self._falls(id_, life, now, frame_size, settled)
        if now - settled < _STILL_S or len(life.way) - still < 2:
            life.moved_until_s = now
            self._tell("moves", life.moving_since_s, now, id_)
            self._carried_in_sight(id_, life)
            return
        stop = settled
        if still >= 2:
            (ta, *a), (tb, *b) = life.way[still - 2], life.way[still - 1]
            speed = math.dist(a, b) / max(tb - ta, 1e-9)
            if speed > 0:
                stop = min(max(tb + math.dist(b, here) / speed, tb), settled)
        stop = max(stop, life.moving_since_s)
        life.moved_until_s = stop
        self._tell("moves", life.moving_since_s, stop, id_)
        self._tell("stops", stop, stop, id_)
        life.moving_since_s, life.rest = None, (here[0], here[1])
        self._swapped(id_, life, stop)

    def _falls(self, id_: int, life: _Life, now: float, frame_size: tuple[int, int], settled: float) -> None:
        """Down the picture with gravity: from rest, or ever faster, or faster than a hand sets down."""
        now_at = len(life.way) - 1
        since = next((k for k in range(now_at - 1, -1, -1) if life.way[k][0] <= now - _FALL_OVER_S), None)
        if since is None:
            return
        (t0, x0, y0), (t1, x1, y1) = life.way[since], life.way[now_at]
        height = frame_size[1]
        speed, sideways = (y1 - y0) / (t1 - t0) / height, abs(x1 - x0) / (t1 - t0) / height
        if life.fall_s is None and speed > _FALL and speed > 0.8 * sideways:
            earlier = next((k for k in range(since - 1, -1, -1) if life.way[k][0] <= t0 - _FALL_OVER_S), None)
            before = 0.0 if earlier is None else (y0 - life.way[earlier][2]) / (t0 - life.way[earlier][0]) / height
            first = since
            while first > 0 and life.way[first][2] - life.way[first - 1][2] > 0.008 * height:
                first -= 1
            held = [sample for sample in life.way[: first + 1] if sample[0] >= life.way[first][0] - _HELD_STILL_S - 0.15]
            still = (
                held[-1][0] - held[0][0] >= _HELD_STILL_S
                and max(math.dist(sample[1:], held[-1][1:]) for sample in held) < 0.5 * _REST_PX
            )
            growing = speed > _FALL_GROWING and before > 0.5 * _FALL and speed > _FALL_GROWTH * before
            if still or growing or speed > _FALL_FAST:
                # It began within the interval: from rest with constant acceleration half of the time gives the speed.
                life.fall_s, life.fall_y = (t0 if before > 0.1 else max(t0, t1 - 2 * (y1 - y0) / (speed * height))), y0
                if first < since:
                    life.fall_s, life.fall_y = life.way[first][0], life.way[first][2]
        if life.fall_s is not None:
            if y1 - life.fall_y > _FALL_WAY * height:
                self._tell("falls", life.fall_s, min(now, max(settled, life.fall_s)), id_, confidence=0.8)
            if speed < 0.1:
                life.fall_s = None

    def _caused(self, id_: int, life: _Life, start: float) -> None:
        """Who touched it just before: the nearest thing that was moving towards it."""
        best: tuple[float, int] | None = None
        for other_id, other in self._lives.items():
            if (
                other_id == id_
                or other.state != "visible"
                or max(other.moved_until_s, other.seen_s * bool(other.moving_since_s)) < start - _CONTACT_S
            ):
                continue
            since = other.moving_since_s if other.moving_since_s is not None else other.moved_until_s - _CONTACT_S
            if since > start - 0.02 or not other.came_from:
                continue
            speed = _speed(other)
            gap = gap_px(other.box_px, life.box_px)
            reach = 0.2 * min(life.size, other.size) + 0.25 * max(speed, _speed(life))
            level = abs(other.box_px[3] - life.box_px[3]) < 0.8 * max(life.size, other.size)
            if gap <= reach and level and (best is None or gap < best[0]):
                best = gap, other_id
        if best is not None:
            self._tell("hits", start, start, best[1], id_, confidence=0.8)
            self._tell("causes", start, start, best[1], id_, confidence=0.75)

    def _carried(self, id_: int, carrier: int, now: float) -> None:
        host = self._lives.get(carrier)
        if host is None or (host.moving_since_s is None and host.moved_until_s == -math.inf):
            return
        life = self._lives[id_]
        if life.hidden_s is not None and host.moved_until_s < life.hidden_s:
            return
        start = host.moving_since_s if host.moving_since_s is not None else life.hidden_s or now
        start = max(start, life.hidden_s or start)
        told = next((float(t[8:]) for t in life.told if t.startswith("carried:")), None)
        if told is None or told < (life.hidden_s or -math.inf):
            life.told = [t for t in life.told if not t.startswith("carried:")] + [f"carried:{start}"]
            told = start
        self._tell("carried_by", told, max(told, min(now, host.moved_until_s)), id_, carrier, confidence=0.8)

    def _carried_in_sight(self, id_: int, life: _Life) -> None:
        """On or in a larger thing that moves the same way since the same time."""
        for other_id, other in self._lives.items():
            if other_id == id_ or other.moving_since_s is None or life.moving_since_s is None or other.size < 1.2 * life.size:
                continue
            together = max(other.moving_since_s, life.moving_since_s)
            if (
                life.seen_s - together < 0.6
                or abs(other.moving_since_s - life.moving_since_s) > 0.3
                or not _rests_on(life.box_px, other.box_px)
            ):
                continue
            mine, theirs = _shift(life, together), _shift(other, together)
            if math.dist(mine, theirs) < 0.15 * math.hypot(*theirs) + 3 and math.hypot(*theirs) > 2 * life.reach:
                self._tell("carried_by", together, life.seen_s, id_, other_id, confidence=0.7)

    def _swapped(self, id_: int, life: _Life, stop: float) -> None:
        for other_id, other in self._lives.items():
            if other_id == id_ or other.came_from is None or life.came_from is None or other.moving_since_s is not None:
                continue
            near = 0.6 * max(life.size, other.size)
            exchanged = math.dist(life.rest, other.came_from) < near and math.dist(other.rest, life.came_from) < near
            if exchanged and stop - other.moved_until_s < _SWAP_S and math.dist(life.rest, other.rest) > near:
                start = min(t for t, *_ in (*life.way[:1], *other.way[:1]))
                self._tell("swapped", min(start, stop), stop, *sorted((id_, other_id)), confidence=0.9)
                life.came_from = other.came_from = None
                return

    def _beside(self, id_: int, thing: Followed) -> int | None:
        """The thing that a new one lies at, and may have come out from behind."""
        near = [
            (gap_px(other.box_px, thing.full_box_px), other_id)
            for other_id, other in self._lives.items()
            if other_id != id_ and other.state == "visible"
        ]
        gap, other_id = min(near, default=(math.inf, -1))
        return other_id if gap < 2.0 else None

    def _tell(
        self, kind: EventKind, start: float, end: float, a: int, b: int | None = None, *, edge: str = "", confidence: float = 0.95
    ) -> None:
        other = self._lives[b].label if b in self._lives and b is not None else None
        objects = (a,) if b is None else (a, b)
        words = described(kind, self._lives[a].label, other, edge)
        self._out.append(Event(start, max(start, end), kind, words, objects, confidence))

    def to_json(self) -> dict[str, Any]:
        """All that it needs to go on after a restart."""
        return {"time_s": self._time_s, "lives": {id_: asdict(life) for id_, life in self._lives.items()}}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> EventFinder:
        """What `to_json` wrote."""
        finder = cls()
        finder._time_s = row["time_s"]
        for id_, values in row["lives"].items():
            life = _Life(**values)
            life.box_px, life.rest = tuple(life.box_px), tuple(life.rest)  # type: ignore[assignment]
            life.came_from = tuple(life.came_from) if life.came_from else None  # type: ignore[assignment]
            life.way = [(t, x, y) for t, x, y in life.way]
            finder._lives[int(id_)] = life
        return finder


def _rests_on(box_px: BoxPx, carrier_px: BoxPx) -> bool:
    """Whether a box stands on or in another one: its foot within that one's upper half, its middle above it."""
    middle = (box_px[0] + box_px[2]) / 2
    top, half = carrier_px[1], (carrier_px[1] + carrier_px[3]) / 2
    return carrier_px[0] < middle < carrier_px[2] and top - 3 <= box_px[3] <= half


def _speed(life: _Life) -> float:
    """Over the last samples, in pixels per second."""
    if len(life.way) < 2:
        return 0.0
    (t0, *a), (t1, *b) = life.way[max(0, len(life.way) - 3)], life.way[-1]
    return math.dist(a, b) / max(t1 - t0, 1e-9)


def _shift(life: _Life, since_s: float) -> tuple[float, float]:
    first = next((sample for sample in life.way if sample[0] >= since_s), life.way[-1])
    return life.way[-1][1] - first[1], life.way[-1][2] - first[2]


def _edge_of(box_px: BoxPx, frame_size: tuple[int, int], share: float) -> str:
    """The edge of the picture that a box lies at or beyond: the nearest one within this share of the picture; else ""."""
    width, height = frame_size
    gaps = {
        "left": box_px[0] / width,
        "top": box_px[1] / height,
        "right": 1 - box_px[2] / width,
        "bottom": 1 - box_px[3] / height,
    }
    edge = min(gaps, key=lambda name: gaps[name])
    return edge if gaps[edge] < share else ""
