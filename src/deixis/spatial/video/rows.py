"""Things, sightings and events as rows: written as a tracker tells of them, read back as values.

Knows SQL and which row speaks for which stretch of time. Does not know trackers, sources' order, or how much may be kept. Whoever
writes opens the transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, cast

from deixis.geometry import BoxPx
from deixis.spatial.video.changes import Changes, Followed
from deixis.spatial.video.detection import Event, EventKind, Sighting, State

_SAME_PX, _SAME_SHARE = 3.0, 0.03  # a box that differs by less is a thing that did not move
_SIGHTING = "start_s, x1, y1, x2, y2, state, x_m, y_m, z_m, hidden_by, confidence"


class Rows:
    """The rows of an open ledger. Mutable: holds the last sighting of each thing and the numbers of rows."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.tails: dict[int, tuple[int, Sighting]] = {}  # object → (row, what it says) of its last sighting
        self.counts: dict[str, int] = {}
        self.load()

    @property
    def total(self) -> int:
        """Rows of things, sightings and events together."""
        return sum(self.counts.values())

    def load(self) -> None:
        """As the file has them now."""
        sql = f"SELECT id, object, {_SIGHTING} FROM sightings WHERE id IN (SELECT MAX(id) FROM sightings GROUP BY object)"  # noqa: S608
        self.tails = {object_: (id_, _sighting(row)) for id_, object_, *row in self.connection.execute(sql)}
        self.count()

    def count(self) -> None:
        """Anew, after rows were removed."""
        for name in ("sightings", "events", "objects"):
            self.counts[name] = self.connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]  # noqa: S608

    def clear(self) -> None:
        """Removes them all."""
        for name in ("events", "sightings", "objects"):
            self.connection.execute(f"DELETE FROM {name}")  # noqa: S608
        self.load()

    def write(self, changes: Changes, source: int) -> None:
        """What a frame of a source changed: things first, for sightings name each other's."""
        for thing in changes.things.values():
            self._write_object(thing, source)
        for thing in changes.things.values():
            self._write_sighting(thing)
        for revision in changes.revisions:
            nowhere = ", x1 = NULL, y1 = NULL, x2 = NULL, y2 = NULL" if revision.state == "gone" else ""
            self.connection.execute(
                f"UPDATE sightings SET state = ?, keep = 1{nowhere} WHERE object = ? AND start_s >= ? AND start_s < ?",  # noqa: S608
                (revision.state, revision.id, revision.since_s, changes.time_s),
            )

    def _write_object(self, thing: Followed, source: int) -> None:
        s = thing.sighting
        box, place = s.box_px or (None,) * 4, s.center_m or (None,) * 3
        seen = (s.time_s, *(s.box_px or thing.full_box_px), source)
        if thing.id not in self.tails:
            values: tuple[Any, ...] = (
                *(thing.id, thing.label, s.state, s.time_s, s.time_s, *box, *seen[1:5], *place),
                *(None, None, s.confidence, source),
            )
            self.connection.execute(f"INSERT INTO objects VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
            self.counts["objects"] += 1
        seen_now = "last_seen_s = ?, last_seen_x1 = ?, last_seen_y1 = ?, last_seen_x2 = ?, last_seen_y2 = ?, source = ?, "
        carrier = s.hidden_by if thing.carried else None
        self.connection.execute(
            f"UPDATE objects SET {seen_now if thing.now else ''}label = ?, state = ?, x1 = ?, y1 = ?, x2 = ?, y2 = ?, "  # noqa: S608
            "x_m = ?, y_m = ?, z_m = ?, hidden_by = (SELECT id FROM objects WHERE id = ?), "
            "moved_by = IFNULL((SELECT id FROM objects WHERE id = ?), moved_by), confidence = ? WHERE id = ?",
            (*(seen if thing.now else ()), thing.label, s.state, *box, *place, s.hidden_by, carrier, s.confidence, thing.id),
        )

    def _write_sighting(self, thing: Followed) -> None:
        s = thing.sighting
        tail = self.tails.get(thing.id)
        if tail and _unchanged(tail[1], s):
            self.connection.execute("UPDATE sightings SET end_s = ?, samples = samples + 1 WHERE id = ?", (s.time_s, tail[0]))
            return
        keep = int(tail is None or (tail[1].state, tail[1].hidden_by) != (s.state, s.hidden_by))
        cursor = self.connection.execute(
            "INSERT INTO sightings(object, start_s, end_s, state, x1, y1, x2, y2, x_m, y_m, z_m, hidden_by, confidence, samples, "
            "keep) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM objects WHERE id = ?), ?, 1, ?)",
            (thing.id, s.time_s, s.time_s, s.state, *(s.box_px or (None,) * 4), *(s.center_m or (None,) * 3), s.hidden_by,
             s.confidence, keep),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        self.tails[thing.id] = (cursor.lastrowid, s)
        self.counts["sightings"] += 1

    def write_event(self, event: Event) -> None:
        """New, or told again with what is known of it now."""
        key = json.dumps(event.key)
        known = self.connection.execute("SELECT id FROM events WHERE key = ?", (key,)).fetchone()
        values = (event.end_s, event.description["en"], event.description["zh"], event.confidence)
        if known:
            self.connection.execute(
                "UPDATE events SET end_s = ?, en = ?, zh = ?, confidence = ? WHERE id = ?", (*values, known[0])
            )
            return
        self.connection.execute(
            "INSERT INTO events(end_s, en, zh, confidence, key, kind, start_s, objects) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, key, event.kind, event.start_s, json.dumps(event.objects)),
        )
        self.counts["events"] += 1

    def sightings(self, id_: int) -> tuple[Sighting, ...]:
        """Of one thing, in order of time; a stretch in which nothing changed is its first and its last moment."""
        found: list[Sighting] = []
        sql = f"SELECT end_s, {_SIGHTING} FROM sightings WHERE object = ? ORDER BY start_s"  # noqa: S608 - constant columns
        for end_s, *row in self.connection.execute(sql, (id_,)):
            first = _sighting(row)
            found.append(first)
            if end_s > first.time_s:
                found.append(_sighting([end_s, *row[1:]]))
        return tuple(found)

    def sighting_at(self, id_: int, time_s: float) -> Sighting | None:
        """The last one that began by a time, or None before the first."""
        sql = f"SELECT {_SIGHTING} FROM sightings WHERE object = ? AND start_s <= ? ORDER BY start_s DESC LIMIT 1"  # noqa: S608
        row = self.connection.execute(sql, (id_, time_s + 1e-6)).fetchone()
        return None if row is None else _sighting(row)

    def events(self, start_s: float, end_s: float) -> tuple[Event, ...]:
        """All that touch a time span, in order of their beginnings."""
        columns = "start_s, end_s, kind, en, zh, objects, confidence"
        sql = f"SELECT {columns} FROM events WHERE end_s >= ? AND start_s <= ? ORDER BY start_s, id"  # noqa: S608
        return tuple(
            Event(a, b, cast(EventKind, kind), {"en": en, "zh": zh}, tuple(json.loads(objects)), confidence)
            for a, b, kind, en, zh, objects, confidence in self.connection.execute(sql, (start_s, end_s))
        )


def _sighting(row: Sequence[Any]) -> Sighting:
    time_s, x1, y1, x2, y2, state, x_m, y_m, z_m, hidden_by, confidence = row
    box: BoxPx | None = None if x1 is None else (x1, y1, x2, y2)
    return Sighting(time_s, box, cast(State, state), None if x_m is None else (x_m, y_m, z_m), hidden_by, confidence)


def _unchanged(before: Sighting, now: Sighting) -> bool:
    """Whether one row can speak for both."""
    if (before.state, before.hidden_by) != (now.state, now.hidden_by) or (before.box_px is None) != (now.box_px is None):
        return False
    if before.box_px is None or now.box_px is None:
        return True
    width, height = before.box_px[2] - before.box_px[0], before.box_px[3] - before.box_px[1]
    reach = max(_SAME_PX, _SAME_SHARE * max(width, height))
    return all(abs(a - b) <= reach for a, b in zip(before.box_px, now.box_px, strict=True))
