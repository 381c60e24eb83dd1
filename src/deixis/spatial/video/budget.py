"""How much a ledger may hold, and what goes first when it holds more.

Knows rows and their ages. Does not know what they mean. Of a long history the details of old sightings go first, then old moves;
the first and last sighting of a thing and its changes of state go last.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

from deixis.errors import OptionError
from deixis.spatial.video.rows import Rows

_THINNED_TO = 0.85  # of the budget: so that not every update has to make room
_EVENT_SHARE, _OBJECT_SHARE = 0.3, 0.2  # of the rows
_FINEST_S = 1.0  # of old sightings one of this many seconds is kept at first, then of twice as many, and so on
_GENTLE_ROUNDS, _ROUNDS = 12, 40  # in the gentle ones, each with twice the spacing of the last, changes of state are spared
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

    def keep(self, rows: Rows, followed: Collection[int], weigh: bool) -> None:
        """Removes what is too much. Things in `followed` stay; `weigh`: look at the bytes, too."""
        limit = self.rows
        if weigh and self.bytes is not None and (used := _bytes(rows)) > 0.9 * self.bytes:
            limit = min(limit, int(rows.total * _THINNED_TO * 0.9 * self.bytes / used))
        if rows.total > limit:
            _thin(rows, int(limit * _THINNED_TO), followed)


def _bytes(rows: Rows) -> int:
    pages, free, size = (
        rows.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _thin(rows: Rows, limit: int, followed: Collection[int]) -> None:
    """Leaves at most `limit` rows."""
    run, counts = rows.connection.execute, rows.counts
    last = json.dumps([row for row, _ in rows.tails.values()])
    if (many := counts["objects"] - int(limit * _OBJECT_SHARE)) > 0:
        run(
            "DELETE FROM objects WHERE id IN (SELECT id FROM objects WHERE id NOT IN (SELECT value FROM json_each(?)) "
            "ORDER BY last_seen_s LIMIT ?)",
            (json.dumps(list(followed)), many),
        )
    if (many := counts["events"] - int(limit * _EVENT_SHARE)) > 0:
        run(
            "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY kind NOT IN (?, ?), start_s LIMIT ?)",
            (*_PLAIN_KINDS, many),
        )
    rows.count()
    # A first guess from how densely the rows lie, so that few rounds are needed however long the history is.
    first, latest = run("SELECT MIN(start_s), MAX(start_s) FROM sightings").fetchone()
    spacing = max(_FINEST_S, ((latest or 0.0) - (first or 0.0)) / max(counts["sightings"], 1))
    for k in range(_ROUNDS):  # each thing keeps its first and its last sighting, whatever the budget
        if rows.total <= limit:
            break
        until = run("SELECT start_s FROM sightings ORDER BY start_s LIMIT 1 OFFSET ?", (counts["sightings"] * 3 // 4,)).fetchone()
        counts["sightings"] -= run(
            "DELETE FROM sightings WHERE id IN (SELECT id FROM (SELECT id, keep, ROW_NUMBER() OVER (PARTITION BY object, "
            "CAST(start_s / :spacing AS INTEGER) ORDER BY keep DESC, start_s) AS place FROM sightings "
            "WHERE start_s <= :until) WHERE place > 1 AND (keep = 0 OR :all)) "
            "AND id NOT IN (SELECT value FROM json_each(:last)) "
            "AND id NOT IN (SELECT MIN(id) FROM sightings GROUP BY object)",
            {"spacing": spacing, "until": until[0], "last": last, "all": k > _GENTLE_ROUNDS},
        ).rowcount
        spacing *= 2
    rows.count()
    rows.tails = {id_: tail for id_, tail in rows.tails.items() if id_ in followed}
