"""The ledger: what was seen of each thing, and where those are that nobody sees now. It outlives the process, and stays small.

Knows SQLite, the tracker and the events, and writes each update as one transaction: after kill -9 the ledger holds all of it or
nothing, and a new process goes on where it ends. Several processes may add to one ledger: each goes on from what the others
wrote. What is kept is bounded by a budget (budget.py); rows.py writes and reads the rows. One thread at a time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import ArrayLike

from deixis.errors import OptionError
from deixis.spatial.video.budget import Budget
from deixis.spatial.video.changes import Changes
from deixis.spatial.video.detection import Detection, Event, Sighting, Track
from deixis.spatial.video.events import EventFinder
from deixis.spatial.video.rows import Rows
from deixis.spatial.video.schema import opened, read_only
from deixis.spatial.video.tracker import Tracker

if TYPE_CHECKING:
    from deixis.spatial.video.asked import MemoryAnswer

_WEIGHED_EVERY = 100  # updates


@dataclass(frozen=True)
class Source:
    """A video or picture. Time t of it is `offset_s` + t in the ledger; None was read of it where `read_until_s` is None.

    `plan` says by which plan it was read, "" where by none.
    """

    id: int
    name: str
    hash: str
    offset_s: float
    read_until_s: float | None
    plan: str = ""


class SpatialMemory:
    """Open it on a path, or on ":memory:"; `observe` frames; ask. Raises OptionError for a file that is no ledger."""

    def __init__(self, path: str | Path = ":memory:", budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self._connection = opened(path)
        self._rows = Rows(self._connection)
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
        with self._update():
            return self._known(name, content_hash)

    def _known(self, name: str, content_hash: str) -> Source:
        self._connection.execute(
            "INSERT OR IGNORE INTO sources(name, hash, offset_s) VALUES (?, ?, ?)", (name, content_hash, self._next_offset_s())
        )
        return self._source("hash", content_hash)

    def _source(self, column: Literal["id", "hash"], value: int | str) -> Source:
        row = self._one(f"SELECT id, name, hash, offset_s, read_until_s FROM sources WHERE {column} = ?", (value,))  # noqa: S608
        if row is None:
            raise OptionError(f"no source has the {column} {value}; make it known with `source`")
        id_, name, content_hash, offset_s, read_until_s = row
        return Source(id_, name, content_hash, offset_s, read_until_s, self._setting(f"plan {id_}") or "")

    def begin(self, source: Source, plan: str) -> bool:
        """Says that a source is read by this plan from now on, and forgets what was read of it by another one.

        False, and nothing is changed, where that cannot be: time does not run backwards in a ledger that also holds others.
        """
        with self._update():
            source = self._source("id", source.id)
            if source.read_until_s is not None:
                others = self._one("SELECT COUNT(*) FROM sources WHERE read_until_s IS NOT NULL AND id != ?", (source.id,))
                if others != (0,):
                    return source.plan == plan and self._setting("last_source") == source.id
                if source.plan != plan:
                    self._rows.clear()
                    self._connection.execute("DELETE FROM settings")
                    self._connection.execute("UPDATE sources SET read_until_s = NULL, updates = 0, offset_s = 0")
                    self._load()
            self._write_setting(f"plan {source.id}", plan)
            return True

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
        """Takes in a frame at a time of its source; see `Tracker.update`. What changed, and the events that began or went on.

        A moment that was read before, by this process or by another one, changes nothing. Raises OptionError for a source that
        was read in part before others were: what comes late cannot be put in between.
        """
        with self._update():
            source = self._begun(source or self._known("frames", ""))
            if source.read_until_s is not None and time_s <= source.read_until_s + 1e-6:
                return Changes(source.offset_s + time_s, {}), ()
            at_s, last = source.offset_s + time_s, self._setting("last_source")
            if self.time_s is not None and at_s <= self.time_s:
                raise OptionError(
                    f"{source.name} was read up to {source.read_until_s or 0:.2f} s, and then the ledger went on with something "
                    "else; ask again when that is done, or give another ledger"
                )
            same_view = same_view and last in (None, source.id)  # another source looks from elsewhere
            changes = self._tracker.update(at_s, detections, frame_size, camera_motion, same_view=same_view, complete=complete)
            events = self._finder.update(changes, frame_size)
            events = events if same_view else ()  # who looks elsewhere sees other things, and nothing happened
            self._write(changes, events, source, time_s)
            self._write_setting("last_source", source.id)
            self._write_setting("state", {"tracker": self._tracker.to_json(), "finder": self._finder.to_json()})
        return changes, events

    def observe_picture(
        self, detections: Sequence[Detection], frame_size: tuple[int, int], source: Source, complete: bool = True
    ) -> Changes:
        """A picture without a time of its own: of the same room from anywhere, or the one that was looked at before.

        Looked at again, it adds what is found now to what was found before: a question after one thing does not unsee the others.
        """
        with self._update():
            source, again = self._begun(source), self._setting("last_source") == source.id
        time_s = 0.0 if self.time_s is None else self.time_s + 1.0 - source.offset_s
        return self.observe(time_s, detections, frame_size, source, complete=complete and not again)[0]

    def record(self, changes: Changes, events: Iterable[Event], source: Source, source_time_s: float) -> None:
        """Writes one update of a tracker of one's own, whole or not at all."""
        with self._update():
            self._write(changes, events, source, source_time_s)

    def _write(self, changes: Changes, events: Iterable[Event], source: Source, source_time_s: float) -> None:
        self._rows.write(changes, source.id)
        for event in events:
            self._rows.write_event(event)
        self._connection.execute(
            "UPDATE sources SET read_until_s = MAX(IFNULL(read_until_s, ?1), ?1), updates = updates + 1 WHERE id = ?2",
            (source_time_s, source.id),
        )
        self._updates += 1
        self.budget.keep(self._rows, changes.things.keys(), weigh=self._updates % _WEIGHED_EVERY == 0)

    @contextmanager
    def _update(self) -> Iterator[None]:
        """A transaction on the ledger as it is now; broken off, none of it happened."""
        run = self._connection.execute
        try:
            run("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OptionError(f"the ledger cannot be written: {error}; ask again when no other process holds it") from error
        try:
            if self._version() != self._seen:  # another process wrote
                self._load()
            yield
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            self._load()  # what was thought of in between never happened
            raise

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def query(self, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """One SELECT on objects, sightings, events, sources; see `schema.read_only` for its limits and errors."""
        return read_only(self._connection, sql, values)

    def ask(self, question: str, source: Source | None = None) -> MemoryAnswer | None:
        """An answer from the ledger alone, or None for a question that it does not understand; see asking.py."""
        from deixis.spatial.video.asking import answered  # which reads the ledger, and so stands below it

        return answered(self, question, source)

    def tracks(self) -> tuple[Track, ...]:
        """All things with what is still held of them."""
        names = self._connection.execute("SELECT id, label FROM objects ORDER BY id").fetchall()
        return tuple(Track(id_, label, self.sightings(id_)) for id_, label in names)

    def sightings(self, id_: int) -> tuple[Sighting, ...]:
        """Of one thing, in order of time; a stretch in which nothing changed is its first and its last moment."""
        return self._rows.sightings(id_)

    def sighting_at(self, id_: int, time_s: float) -> Sighting | None:
        """The last one that began by a time, or None before the first."""
        return self._rows.sighting_at(id_, time_s)

    def events(self, start_s: float = float("-inf"), end_s: float = float("inf")) -> tuple[Event, ...]:
        """All that touch a time span, in order of their beginnings."""
        return self._rows.events(start_s, end_s)

    def _load(self) -> None:
        self._seen = self._version()
        state = self._setting("state")
        self._tracker = Tracker.from_json(state["tracker"]) if state else Tracker()
        self._finder = EventFinder.from_json(state["finder"]) if state else EventFinder()
        self._rows.load()

    def _setting(self, name: str) -> Any:
        row = self._one("SELECT value FROM settings WHERE name = ?", (name,))
        return None if row is None else json.loads(row[0])

    def _write_setting(self, name: str, value: Any) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def _one(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return row
