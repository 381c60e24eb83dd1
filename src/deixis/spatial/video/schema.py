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

VERSION = 2  # of the tables and of the state that trackers and finders leave in them
BUSY_SECONDS = 10.0  # how long another process may keep us waiting
QUERY_ROWS = 10_000
QUERY_SECONDS = 5.0
_QUERY_BYTES = 1_000_000

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
_A = {"ledger": "a ledger", "index": "an index"}
_MAY = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NOT_CALLED = {"load_extension", "readfile", "writefile", "edit", "randomblob", "zeroblob", "fts3_tokenizer"}


def opened(path: str | Path) -> sqlite3.Connection:
    """The ledger at `path` (":memory:" for none), made where it is not there. Raises OptionError for a file that is no ledger."""
    return opened_store(path, _TABLES, VERSION, "ledger")


def opened_store(path: str | Path, tables: str, version: int, what: str) -> sqlite3.Connection:
    """A file with exactly these tables, made where there is none; several processes may make it at once.

    Raises OptionError, one line, for a file that is something else or of another version, or that cannot be written.
    """
    connection = None
    try:
        connection = sqlite3.connect(str(path), isolation_level=None, timeout=BUSY_SECONDS)
        run = connection.execute
        found, shape = _described(connection)
        if (found, shape) in ((0, set()), (version, _shape(tables))):  # else nothing of it is touched
            run("PRAGMA foreign_keys = ON")
            run("PRAGMA synchronous = NORMAL")  # kill -9 loses nothing; a power cut at most the last updates
            if run("PRAGMA journal_mode").fetchone()[0] != "wal":
                run("PRAGMA journal_mode = WAL")
            run("BEGIN IMMEDIATE")  # proves that it can be written, and that nobody else makes it just now
            if _described(connection) == (0, set()):
                for statement in filter(str.strip, tables.split(";")):
                    run(statement)
                run(f"PRAGMA user_version = {version}")
            found, shape = _described(connection)
            run("COMMIT")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise OptionError(f"{path} cannot be opened as {_A[what]}: {error}; give another path") from error
    if (found, shape) != (version, _shape(tables)):
        connection.close()
        raise OptionError(f"{path} is no {what} of version {version} (found version {found}); give another path")
    return connection


def _described(connection: sqlite3.Connection) -> tuple[int, set[str]]:
    """The version that a file claims, and how each table and index was made."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return connection.execute("PRAGMA user_version").fetchone()[0], {" ".join(row[0].split()) for row in rows}


def _shape(tables: str) -> set[str]:
    return {" ".join(statement.split()) for statement in tables.split(";") if statement.strip()}


def read_only(connection: sqlite3.Connection, sql: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The rows of one SELECT: at most 10,000 of them, values of at most a megabyte, within 5 seconds.

    Raises OptionError for anything that would write, attach or read settings of the database, for SQL that is wrong, and for a
    question that takes too long. The authorizer judges each step of the compiled statement, not its words.
    """
    deadline = time.monotonic() + QUERY_SECONDS

    def judge(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        called = (second or first or "").lower()
        allowed = action in _MAY and not (action == sqlite3.SQLITE_FUNCTION and called in _NOT_CALLED)
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    longest = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _QUERY_BYTES)
    connection.set_authorizer(judge)
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    try:
        cursor = connection.execute(sql, values)
        if cursor.description is None:
            raise sqlite3.Warning("there is none")
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchmany(QUERY_ROWS + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        why = "it took too long" if time.monotonic() > deadline else str(error)
        raise OptionError(f"the ledger does not answer this SQL: {why}; it takes one SELECT") from error
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
    if len(rows) > QUERY_ROWS:
        raise OptionError(f"the SQL gives more than {QUERY_ROWS:,} rows; add a LIMIT or a WHERE")
    return [dict(zip(names, row, strict=True)) for row in rows]
