"""The ledger's tables, and the way into them: SQLite with a write-ahead log, a version, and a reading door that cannot write.

Knows SQL. Does not know tracks or what a row means to a question.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deixis.errors import OptionError

VERSION = 1
QUERY_ROWS = 10_000
QUERY_SECONDS = 5.0

_TABLES = """
CREATE TABLE objects (
    id INTEGER PRIMARY KEY, label TEXT NOT NULL, state TEXT NOT NULL, first_seen_s REAL NOT NULL, last_seen_s REAL NOT NULL,
    x1 REAL, y1 REAL, x2 REAL, y2 REAL, last_seen_x1 REAL NOT NULL, last_seen_y1 REAL NOT NULL, last_seen_x2 REAL NOT NULL,
    last_seen_y2 REAL NOT NULL, x_m REAL, y_m REAL, z_m REAL, hidden_by INTEGER REFERENCES objects(id) ON DELETE SET NULL,
    moved_by INTEGER REFERENCES objects(id) ON DELETE SET NULL, confidence REAL NOT NULL, source INTEGER NOT NULL
        REFERENCES sources(id)
);
CREATE TABLE sightings (
    id INTEGER PRIMARY KEY, object INTEGER NOT NULL REFERENCES objects(id) ON DELETE CASCADE, start_s REAL NOT NULL,
    end_s REAL NOT NULL, state TEXT NOT NULL, x1 REAL, y1 REAL, x2 REAL, y2 REAL, x_m REAL, y_m REAL, z_m REAL,
    hidden_by INTEGER REFERENCES objects(id) ON DELETE SET NULL, confidence REAL NOT NULL, samples INTEGER NOT NULL,
    keep INTEGER NOT NULL, CHECK (end_s >= start_s)
);
CREATE INDEX sightings_by_object ON sightings(object, start_s);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL,
    en TEXT NOT NULL, zh TEXT NOT NULL, objects TEXT NOT NULL, confidence REAL NOT NULL, CHECK (end_s >= start_s)
);
CREATE INDEX events_by_time ON events(start_s);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, offset_s REAL NOT NULL, read_until_s REAL,
    updates INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_MAY = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NOT_CALLED = {"load_extension", "readfile", "writefile", "edit", "randomblob", "zeroblob", "fts3_tokenizer"}


def opened(path: str | Path) -> sqlite3.Connection:
    """The ledger at `path` (":memory:" for none), made where it is not there. Raises OptionError for a file that is no ledger."""
    try:
        connection = sqlite3.connect(str(path), isolation_level=None, timeout=10.0)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # kill -9 loses nothing; a power cut at most the last updates
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == 0 and not tables:
            connection.executescript(f"BEGIN IMMEDIATE;{_TABLES}PRAGMA user_version = {VERSION};COMMIT;")
            return connection
    except sqlite3.Error as error:
        raise OptionError(f"{path} cannot be opened as a ledger: {error}; give another path") from error
    if version != VERSION or "sightings" not in tables:
        connection.close()
        raise OptionError(f"{path} is no ledger of version {VERSION} (found version {version}); give another path")
    return connection


def read_only(connection: sqlite3.Connection, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The rows of one SELECT, at most 10,000 of them and within 5 seconds.

    Raises OptionError for anything that would write, attach or read settings of the database, for SQL that is wrong, and for a
    question that takes too long. The authorizer judges each step of the compiled statement, not its words.
    """
    deadline = time.monotonic() + QUERY_SECONDS

    def judge(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        called = (second or first or "").lower()
        allowed = action in _MAY and not (action == sqlite3.SQLITE_FUNCTION and called in _NOT_CALLED)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    connection.set_authorizer(judge)
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    try:
        cursor = connection.execute(sql, values)
        names = [column[0] for column in cursor.description or ()]
        rows = cursor.fetchmany(QUERY_ROWS + 1)
    except (sqlite3.Error, sqlite3.Warning) as error:
        why = "it took too long" if time.monotonic() > deadline else str(error)
        raise OptionError(f"the ledger does not answer this SQL: {why}; it takes one SELECT") from error
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
    if len(rows) > QUERY_ROWS:
        raise OptionError(f"the SQL gives more than {QUERY_ROWS:,} rows; add a LIMIT or a WHERE")
    return [dict(zip(names, row, strict=True)) for row in rows]
