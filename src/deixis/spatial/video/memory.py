"""The ledger: what was seen of each thing, and where those are that nobody sees now. It outlives the process, and stays small.

Knows SQLite, the tracker and the events, and writes each update as one transaction: after kill -9 the ledger holds all of it or
nothing, and a new process goes on where it ends. What is kept is bounded by a budget: of a long history the details of old
sightings go first, then old moves; the first and last sighting of a thing and its changes of state go last. One thread at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

from numpy.typing import ArrayLike

from deixis.errors import OptionError
from deixis.geometry import BoxPx
from deixis.spatial.video.detection import Detection, Event, EventKind, Sighting, State, Track
from deixis.spatial.video.events import EventFinder
from deixis.spatial.video.schema import opened, read_only
from deixis.spatial.video.tracker import Changes, Followed, Tracker

if TYPE_CHECKING:
    from deixis.spatial.video.asking import MemoryAnswer

_BYTES_CHECKED_EVERY = 100  # updates
_THINNED_TO = 0.85  # of the budget: so that not every update has to make room
_SAME_PX, _SAME_SHARE = 3.0, 0.03  # a box that differs by less is a thing that did not move
_EVENT_SHARE, _OBJECT_SHARE = 0.3, 0.2  # of the rows
_FINEST_S = 1.0  # of old sightings one of this many seconds is kept at first, then of twice as many, and so on
_GENTLE_ROUNDS = 12  # in which changes of state are spared, each with twice the spacing of the one before
_PLAIN_KINDS = ("stops", "moves")  # the events that go first


@dataclass(frozen=True)
class Budget:
    """How much a ledger may hold: rows of sightings, events and objects together, and bytes of the file's pages in use."""

    rows: int = 200_000
    bytes: int | None = None

    def __post_init__(self) -> None:
        if self.rows < 100 or (self.bytes is not None and self.bytes < 200_000):
            raise OptionError(
                f"budget is {self.rows} rows, {self.bytes} bytes; at least 100 rows and 200,000 bytes hold anything"
            )


@dataclass(frozen=True)
class Source:
    """A video or picture. Time t of it is `offset_s` + t in the ledger; None was read of it where `read_until_s` is None."""

    id: int
    name: str
    hash: str
    offset_s: float
    read_until_s: float | None


class SpatialMemory:
    """Open it on a path, or on ":memory:"; `observe` frames; ask. Raises OptionError for a file that is no ledger."""

    def __init__(self, path: str | Path = ":memory:", budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._connection = opened(path)
        self._tail: dict[int, tuple[int, Sighting]] = {}  # object → (row, what it says) of its last sighting
        self._updates = 0
        self._load()

    def __enter__(self) -> SpatialMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the ledger can be opened again."""
        self._connection.close()

    def source(self, name: str, content_hash: str) -> Source:
        """The video or picture with that content, made known if it is new. A later source starts where the ledger's time ends."""
        self._connection.execute(
            "INSERT OR IGNORE INTO sources(name, hash, offset_s) VALUES (?, ?, ?)", (name, content_hash, self._next_offset_s())
        )
        return self._source("hash", content_hash)

    def _source(self, column: Literal["id", "hash"], value: int | str) -> Source:
        row = self._one(f"SELECT id, name, hash, offset_s, read_until_s FROM sources WHERE {column} = ?", (value,))  # noqa: S608
        if row is None:
            raise OptionError(f"no source has the {column} {value}; make it known with `source`")
        return Source(*row)

    def _begun(self, source: Source) -> Source:
        """As the ledger has it now: what was read of nothing yet begins after all that was read of others."""
        source = self._source("id", source.id)
        if source.read_until_s is None and source.offset_s != self._next_offset_s():
            self._connection.execute("UPDATE sources SET offset_s = ? WHERE id = ?", (self._next_offset_s(), source.id))
            source = self._source("id", source.id)
        return source

    def _next_offset_s(self) -> float:
        return 0.0 if self.time_s is None else self.time_s + 1.0

    @property
    def time_s(self) -> float | None:
        """The ledger's time of the last update."""
        return self._tracker.time_s

    def observe(
        self,
        time_s: float,
        detections: Sequence[Detection],
        frame_size: tuple[int, int],
        source: Source | None = None,
        camera_motion: ArrayLike | None = None,
        same_view: bool = True,
        complete: bool = True,
    ) -> tuple[Changes, tuple[Event, ...]]:
        """Takes in a frame at a time of its source; see `Tracker.update`. What changed, and the events that began or went on."""
        source = self._begun(source or self.source("frames", ""))
        try:
            changes = self._tracker.update(
                source.offset_s + time_s, detections, frame_size, camera_motion, same_view=same_view, complete=complete
            )
            events = self._finder.update(changes, frame_size)
            self.record(changes, events, source, time_s, keep_state=True)
        except BaseException:
            self._load()  # what was thought of in between never happened
            raise
        return changes, events

    def observe_picture(
        self, detections: Sequence[Detection], frame_size: tuple[int, int], source: Source, complete: bool = True
    ) -> Changes:
        """A picture without a time of its own: of the same room from anywhere, or the one that was looked at before.

        Looked at again, it adds what is found now to what was found before: a question after one thing does not unsee the others.
        """
        source, again = self._begun(source), self._setting("last_source") == source.id
        time_s = 0.0 if self.time_s is None else self.time_s + 1.0 - source.offset_s
        changes, _ = self.observe(
            time_s, detections, frame_size, source, same_view=again or self.time_s is None, complete=complete and not again
        )
        return changes

    def record(
        self, changes: Changes, events: Iterable[Event], source: Source, source_time_s: float, keep_state: bool = False
    ) -> None:
        """Writes one update, whole or not at all."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            for thing in changes.things.values():
                self._write_object(thing, source)
            for thing in changes.things.values():
                self._write_sighting(thing)
            for revision in changes.revisions:
                where = "object = ? AND start_s >= ? AND start_s < ?"
                what = "state = ?, keep = 1" + (
                    ", x1 = NULL, y1 = NULL, x2 = NULL, y2 = NULL" if revision.state == "gone" else ""
                )
                values = (revision.state, revision.id, revision.since_s, changes.time_s)
                run(f"UPDATE sightings SET {what} WHERE {where}", values)  # noqa: S608 - both texts stand above
            for event in events:
                self._write_event(event)
            run(
                "UPDATE sources SET read_until_s = MAX(IFNULL(read_until_s, ?1), ?1), updates = updates + 1 WHERE id = ?2",
                (source_time_s, source.id),
            )
            if keep_state:
                self._write_setting("last_source", source.id)
                self._write_setting("state", {"tracker": self._tracker.to_json(), "finder": self._finder.to_json()})
            self._updates += 1
            self._keep_to_budget(changes)
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            self._load_tails()
            raise

    def query(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """One SELECT on objects, sightings, events, sources; see `schema.read_only` for its limits and errors."""
        return read_only(self._connection, sql, values)

    def ask(self, question: str) -> MemoryAnswer | None:
        """An answer from the ledger alone, or None for a question that it does not understand; see asking.py."""
        from deixis.spatial.video.asking import answered  # which reads the ledger, and so stands below it

        return answered(self, question)

    def tracks(self) -> tuple[Track, ...]:
        """All things with what is still held of them."""
        names = self._connection.execute("SELECT id, label FROM objects ORDER BY id").fetchall()
        return tuple(Track(id_, label, self.sightings(id_)) for id_, label in names)

    def sightings(self, id_: int) -> tuple[Sighting, ...]:
        """Of one thing, in order of time; a stretch in which nothing changed is its first and its last moment."""
        found: list[Sighting] = []
        sql = f"SELECT end_s, {_SIGHTING} FROM sightings WHERE object = ? ORDER BY start_s"  # noqa: S608 - constant columns
        for end_s, *row in self._connection.execute(sql, (id_,)):
            first = _sighting(row)
            found.append(first)
            if end_s > first.time_s:
                found.append(_sighting([end_s, *row[1:]]))
        return tuple(found)

    def sighting_at(self, id_: int, time_s: float) -> Sighting | None:
        """The last one that began by a time, or None before the first."""
        sql = f"SELECT {_SIGHTING} FROM sightings WHERE object = ? AND start_s <= ? ORDER BY start_s DESC LIMIT 1"  # noqa: S608
        row = self._one(sql, (id_, time_s + 1e-6))
        return None if row is None else _sighting(row)

    def events(self, start_s: float = float("-inf"), end_s: float = float("inf")) -> tuple[Event, ...]:
        """All that touch a time span, in order of their beginnings."""
        columns = "start_s, end_s, kind, en, zh, objects, confidence"
        sql = f"SELECT {columns} FROM events WHERE end_s >= ? AND start_s <= ? ORDER BY start_s, id"  # noqa: S608
        return tuple(
            Event(a, b, cast(EventKind, kind), {"en": en, "zh": zh}, tuple(json.loads(objects)), confidence)
            for a, b, kind, en, zh, objects, confidence in self._connection.execute(sql, (start_s, end_s))
        )

    def _load(self) -> None:
        state = self._setting("state")
        self._tracker = Tracker.from_json(state["tracker"]) if state else Tracker()
        self._finder = EventFinder.from_json(state["finder"]) if state else EventFinder()
        self._load_tails()

    def _load_tails(self) -> None:
        sql = f"SELECT id, object, end_s, {_SIGHTING} FROM sightings WHERE id IN (SELECT MAX(id) FROM sightings GROUP BY object)"  # noqa: S608
        self._tail = {object_: (id_, _sighting(row)) for id_, object_, _, *row in self._connection.execute(sql)}
        counted = self._one(
            "SELECT (SELECT COUNT(*) FROM sightings), (SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM objects)", ()
        )
        assert counted is not None
        self._rows = list(counted)

    def _write_object(self, thing: Followed, source: Source) -> None:
        s = thing.sighting
        box, place = s.box_px or (None,) * 4, s.center_m or (None,) * 3
        new = thing.id not in self._tail
        carrier = s.hidden_by if thing.carried else None
        if new:
            seen = thing.sighting.box_px or thing.full_box_px
            values = (
                thing.id,
                thing.label,
                s.state,
                s.time_s,
                s.time_s,
                *box,
                *seen,
                *place,
                None,
                None,
                s.confidence,
                source.id,
            )
            self._connection.execute(f"INSERT INTO objects VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
            self._rows[2] += 1
        values = (thing.label, s.state, *box, *place, s.hidden_by, carrier, s.confidence)
        seen_now = "last_seen_s = ?, last_seen_x1 = ?, last_seen_y1 = ?, last_seen_x2 = ?, last_seen_y2 = ?, source = ?, "
        if thing.now:
            values = (s.time_s, *(s.box_px or thing.full_box_px), source.id, *values)
        self._connection.execute(
            f"UPDATE objects SET {seen_now if thing.now else ''}label = ?, state = ?, x1 = ?, y1 = ?, x2 = ?, y2 = ?, "  # noqa: S608
            "x_m = ?, y_m = ?, z_m = ?, hidden_by = (SELECT id FROM objects WHERE id = ?), "
            "moved_by = IFNULL((SELECT id FROM objects WHERE id = ?), moved_by), confidence = ? WHERE id = ?",
            (*values, thing.id),
        )

    def _write_sighting(self, thing: Followed) -> None:
        s = thing.sighting
        tail = self._tail.get(thing.id)
        if tail and _unchanged(tail[1], s):
            self._connection.execute("UPDATE sightings SET end_s = ?, samples = samples + 1 WHERE id = ?", (s.time_s, tail[0]))
            return
        keep = int(tail is None or (tail[1].state, tail[1].hidden_by) != (s.state, s.hidden_by))
        cursor = self._connection.execute(
            "INSERT INTO sightings(object, start_s, end_s, state, x1, y1, x2, y2, x_m, y_m, z_m, hidden_by, confidence, samples, "
            "keep) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT id FROM objects WHERE id = ?), ?, 1, ?)",
            (thing.id, s.time_s, s.time_s, s.state, *(s.box_px or (None,) * 4), *(s.center_m or (None,) * 3), s.hidden_by,
             s.confidence, keep),
        )  # fmt: skip
        assert cursor.lastrowid is not None
        self._tail[thing.id] = (cursor.lastrowid, s)
        self._rows[0] += 1

    def _write_event(self, event: Event) -> None:
        key = json.dumps(event.key)
        known = self._one("SELECT id FROM events WHERE key = ?", (key,))
        values = (event.end_s, event.description["en"], event.description["zh"], event.confidence)
        if known:
            self._connection.execute(
                "UPDATE events SET end_s = ?, en = ?, zh = ?, confidence = ? WHERE id = ?", (*values, known[0])
            )
            return
        self._connection.execute(
            "INSERT INTO events(end_s, en, zh, confidence, key, kind, start_s, objects) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, key, event.kind, event.start_s, json.dumps(event.objects)),
        )
        self._rows[1] += 1

    def _keep_to_budget(self, changes: Changes) -> None:
        limit = self.budget.rows
        if self.budget.bytes is not None and self._updates % _BYTES_CHECKED_EVERY == 0:
            used = self._bytes()
            if used > 0.9 * self.budget.bytes:
                limit = min(limit, int(sum(self._rows) * _THINNED_TO * 0.9 * self.budget.bytes / used))
        if sum(self._rows) > limit:
            self._thin(int(limit * _THINNED_TO), changes)

    def _bytes(self) -> int:
        pages, free, size = (
            (self._one(f"PRAGMA {name}", ()) or (0,))[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _thin(self, limit: int, changes: Changes) -> None:
        """Leaves at most `limit` rows: details of old sightings go first, then old moves, then things long gone."""
        run = self._connection.execute
        last = json.dumps([row for row, _ in self._tail.values()])
        room_for_events, room_for_objects = int(limit * _EVENT_SHARE), int(limit * _OBJECT_SHARE)
        if self._rows[2] > room_for_objects:
            following = json.dumps(list(changes.things))
            run(
                "DELETE FROM objects WHERE id IN (SELECT id FROM objects WHERE id NOT IN (SELECT value FROM json_each(?)) "
                "ORDER BY last_seen_s LIMIT ?)",
                (following, self._rows[2] - room_for_objects),
            )
        if self._rows[1] > room_for_events:
            run(
                "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY kind NOT IN (?, ?), start_s LIMIT ?)",
                (*_PLAIN_KINDS, self._rows[1] - room_for_events),
            )
        self._load_counts()
        # A first guess from how densely the rows lie, so that few rounds are needed however long the history is.
        first, latest = self._one("SELECT MIN(start_s), MAX(start_s) FROM sightings", ()) or (0.0, 0.0)
        spacing = max(_FINEST_S, ((latest or 0.0) - (first or 0.0)) / max(self._rows[0], 1))
        rounds = 0
        while sum(self._rows) > limit:
            middle = self._one("SELECT start_s FROM sightings ORDER BY start_s LIMIT 1 OFFSET ?", (self._rows[0] * 3 // 4,))
            assert middle is not None
            gone = run(
                "DELETE FROM sightings WHERE id IN (SELECT id FROM (SELECT id, keep, ROW_NUMBER() OVER (PARTITION BY object, "
                "CAST(start_s / :spacing AS INTEGER) ORDER BY keep DESC, start_s) AS place FROM sightings "
                "WHERE start_s <= :until) WHERE place > 1 AND (keep = 0 OR :all)) "
                "AND id NOT IN (SELECT value FROM json_each(:last)) "
                "AND id NOT IN (SELECT MIN(id) FROM sightings GROUP BY object)",
                {"spacing": spacing, "until": middle[0], "last": last, "all": rounds > _GENTLE_ROUNDS},
            ).rowcount
            self._rows[0] -= gone
            spacing, rounds = spacing * 2, rounds + 1
            if rounds > 40:  # each thing keeps its first and its last sighting, whatever the budget
                break
        self._load_counts()
        self._tail = {id_: tail for id_, tail in self._tail.items() if id_ in changes.things}

    def _load_counts(self) -> None:
        self._rows = [(self._one(f"SELECT COUNT(*) FROM {name}", ()) or (0,))[0] for name in ("sightings", "events", "objects")]  # noqa: S608

    def _setting(self, name: str) -> Any:
        row = self._one("SELECT value FROM settings WHERE name = ?", (name,))
        return None if row is None else json.loads(row[0])

    def _write_setting(self, name: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def _one(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return row


_SIGHTING = "start_s, x1, y1, x2, y2, state, x_m, y_m, z_m, hidden_by, confidence"


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
