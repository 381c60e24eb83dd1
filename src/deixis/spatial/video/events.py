"""From tracks to what happened: who moved, stopped, fell, was hidden, taken out, carried, and what set what in motion.

Knows the changes of each update. Does not know frames or the ledger. Times lie between two samples: a state changes half-way, a
motion begins where its straight line back meets the place of rest. An event is told again, with its key, while its end moves on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from deixis.geometry import BoxPx
from deixis.spatial.video.changes import Changes, Followed
from deixis.spatial.video.detection import Event, EventKind
from deixis.spatial.video.event_words import described
from deixis.spatial.video.falling import falls
from deixis.spatial.video.life import Life
from deixis.spatial.video.together import has_left, went_with, who_bears, who_hit, who_is_beside, who_swapped

_STILL_S = 0.35  # what does not move for so long has stopped
_FLICKER_S = 0.35  # what is hidden for less was not: a look at its edge, or at something that is being taken away
_SURELY_GONE_S = 1.0  # a thing that is back by then was never taken out
_PAUSE_S = 1.0  # what stops for less goes on with what it was doing; what is out of sight for longer does something new
_TOUCHED = 0.5  # of a thing's reach: what is hit is expected to move, so less is enough to say so


class EventFinder:
    """`update` with each change in order; it gives the events that began, went on or ended."""

    def __init__(self) -> None:
        self._lives: dict[int, Life] = {}
        self._time_s: float | None = None
        self._out: list[Event] = []

    def update(self, changes: Changes, frame_size: tuple[int, int]) -> tuple[Event, ...]:
        """`frame_size` in pixels. Nothing that is in the first frame appears: it was there."""
        self._out = []
        now, last = changes.time_s, self._time_s
        for id_ in [id_ for id_ in self._lives if id_ not in changes.things]:
            del self._lives[id_]
        for life in self._lives.values():
            life.camera_moves(changes.camera)
        for id_, thing in changes.things.items():
            if id_ not in self._lives:
                new = self._lives[id_] = Life(thing.label, thing.sighting.state, now, thing.full_box_px, thing.steady_px)
                new.way = [(now, *thing.steady_px)]
                if last is not None and thing.first_s > -math.inf:
                    self._begins(id_, thing, thing.first_s - (now - last) / 2, frame_size)
                continue
            life = self._lives[id_]
            life.label = thing.label
            if last is not None and not thing.now and life.seen_s == last:
                life.lost_s = (last + now) / 2
            if thing.sighting.state != life.state:
                self._turns(id_, life, thing, now if last is None else (last + now) / 2, frame_size)
            if thing.now:
                self._seen(id_, life, thing, now, frame_size)
            else:
                self._unseen(id_, life, thing, now)
            life.state = thing.sighting.state
        self._time_s = now
        return tuple(self._out)

    def _begins(self, id_: int, thing: Followed, when_s: float, frame_size: tuple[int, int]) -> None:
        edge = _edge_of(thing.full_box_px, frame_size, 0.03)
        if edge:
            self._tell("appears", when_s, when_s, id_, edge=edge)
            return
        behind = who_is_beside(self._lives, id_, thing.full_box_px)
        self._tell("is_revealed" if behind else "is_put_in", when_s, when_s, id_, behind, confidence=0.7)

    def _turns(self, id_: int, life: Life, thing: Followed, when_s: float, frame_size: tuple[int, int]) -> None:
        """A state that became another one between two samples."""
        state, was = thing.sighting.state, life.state
        if state == "occluded":
            life.hidden_s, life.hidden_told = (life.lost_s if was == "visible" else when_s), False
            life.hidden_by, life.hider_at, life.carried_s = None, None, None
        elif state == "out_of_view":
            left_s = life.lost_s if was == "visible" else when_s
            self._tell("leaves", left_s, left_s, id_, edge=_edge_of(life.box_px, frame_size, 0.12))
        elif state == "gone":
            life.gone_since_s = life.lost_s if was == "visible" else when_s
        elif was == "occluded":
            if not life.hidden_told and life.hidden_s is not None and when_s - life.hidden_s >= _FLICKER_S:
                self._hidden(id_, life)
            if life.hidden_told:
                self._tell("is_revealed", when_s, when_s, id_, life.hidden_by)
        elif was == "out_of_view":
            self._tell("appears", when_s, when_s, id_, edge=_edge_of(thing.full_box_px, frame_size, 0.12))
        elif was == "gone" and life.gone_since_s is None:
            self._tell("is_put_in", when_s, when_s, id_)
        if state == "visible":
            life.gone_since_s = None

    def _unseen(self, id_: int, life: Life, thing: Followed, now: float) -> None:
        """One more frame without it."""
        hider = thing.sighting.hidden_by
        if thing.sighting.state == "occluded":
            if hider is not None and hider != life.hidden_by and hider in self._lives:
                life.hidden_by, life.hider_at = hider, self._lives[hider].way[-1][1:]
            if not life.hidden_told and life.hidden_s is not None and now - life.hidden_s >= _FLICKER_S:
                self._hidden(id_, life)
        if thing.carried and hider in self._lives and has_left(life, self._lives[hider]):
            self._carried(id_, life, hider, now)
        if life.gone_since_s is not None and now - life.gone_since_s >= _SURELY_GONE_S:
            self._tell("is_taken_out", life.gone_since_s, life.gone_since_s, id_)
            life.gone_since_s = None

    def _hidden(self, id_: int, life: Life) -> None:
        assert life.hidden_s is not None
        life.hidden_told = True
        self._tell("is_hidden", life.hidden_s, life.hidden_s, id_, life.hidden_by)

    def _seen(self, id_: int, life: Life, thing: Followed, now: float, frame_size: tuple[int, int]) -> None:
        last = now if self._time_s is None else self._time_s
        if life.seen_s < last:
            self._returns(id_, life, thing, now)
        life.sees(now, thing.full_box_px, thing.steady_px, thing.cut)
        if not life.moving:
            away = math.dist(life.rest, thing.steady_px)
            touched = away > _TOUCHED * life.reach and not life.cut and who_hit(self._lives, id_, life.set_off_s()) is not None
            if away > life.reach or touched:
                self._starts(id_, life, now)
            else:
                life.rests(now - last)
        if life.moving:
            self._goes_on(id_, life, now, frame_size)

    def _returns(self, id_: int, life: Life, thing: Followed, now: float) -> None:
        """Back in sight. What it did meanwhile nobody saw, unless it went with what hid it."""
        host = None if life.hidden_by is None else self._lives.get(life.hidden_by)
        if life.state == "occluded" and host is not None and went_with(life, host, thing.steady_px):
            assert life.hidden_by is not None
            self._carried(id_, life, life.hidden_by, now)
        elif now - life.seen_s <= _PAUSE_S:
            return  # it goes on with what it was doing
        if life.moving:
            life.moving, life.moved_until_s = False, life.seen_s
        life.rest, life.way = thing.steady_px, []

    def _starts(self, id_: int, life: Life, now: float) -> None:
        start = life.set_off_s()
        if life.came_from_px is None or start - life.moved_until_s > _PAUSE_S:
            off_x, off_y = (a - b for a, b in zip(life.rest, life.way[-1][1:], strict=True))
            life.came_from_px, life.left_s = (life.foot_px[0] + off_x, life.foot_px[1] + off_y), start
        life.moving, life.started_s = True, start
        self._tell("moves", start, now, id_)
        by = who_hit(self._lives, id_, start)
        if by is not None:
            self._tell("hits", start, start, by, id_, confidence=0.8)
            self._tell("causes", start, start, by, id_, confidence=0.75)

    def _goes_on(self, id_: int, life: Life, now: float, frame_size: tuple[int, int]) -> None:
        still = life.settled()
        since = life.way[still][0]
        fall = falls(life, now, frame_size[1], since)
        if fall is not None:
            self._tell("falls", *fall, id_, confidence=0.8)
        if now - since < _STILL_S or len(life.way) - still < 2:
            life.moved_until_s = now
            self._tell("moves", life.started_s, now, id_)
            bearer = who_bears(self._lives, id_)
            if bearer is not None:
                self._tell("carried_by", bearer[1], life.seen_s, id_, bearer[0], confidence=0.7)
            return
        stop = life.stop_s(still)
        life.moving, life.moved_until_s, life.rest = False, stop, (life.way[-1][1], life.way[-1][2])
        self._tell("moves", life.started_s, stop, id_)
        self._tell("stops", stop, stop, id_)
        other = who_swapped(self._lives, id_, stop)
        if other is not None:
            start = min(life.left_s, self._lives[other].left_s)
            self._tell("swapped", min(start, stop), stop, *sorted((id_, other)), confidence=0.9)
            life.came_from_px = self._lives[other].came_from_px = None

    def _carried(self, id_: int, life: Life, carrier: int, now: float) -> None:
        host = self._lives[carrier]
        hidden_s = now if life.hidden_s is None else life.hidden_s
        if host.last_moving_s < hidden_s:
            return
        if life.carried_s is None or (host.moving and host.started_s > life.carried_until_s + _PAUSE_S):
            life.carried_s = max(host.started_s, hidden_s)
        life.carried_until_s = max(life.carried_s, min(now, host.last_moving_s))
        self._tell("carried_by", life.carried_s, life.carried_until_s, id_, carrier, confidence=0.8)

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
        finder._lives = {int(id_): Life.from_json(values) for id_, values in row["lives"].items()}
        return finder


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
