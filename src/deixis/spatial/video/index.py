"""The index of long videos: what each sampled moment looks like and what was found in it, in SQLite beside the ledger.

Knows videos by their content's hash, detectors by a name, and rows that are small whatever the picture's size. A second question
about the same file, or another ledger, starts from here: nothing is decoded or located again. Does not know how moments are
chosen (survey.py, plan.py). Each row is its own transaction: after kill -9 all rows but the last are there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deixis.spatial.language.prompts import Language
from deixis.spatial.video.detection import Detection
from deixis.spatial.video.schema import opened_store

VERSION = 2  # of the tables and of what stands in them
_TABLES = """
CREATE TABLE videos (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, about TEXT NOT NULL,
    surveyed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE samples (
    video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE, time_s REAL NOT NULL, look INTEGER NOT NULL,
    change REAL NOT NULL, PRIMARY KEY (video, time_s)
) WITHOUT ROWID;
CREATE TABLE spans (
    video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE, start_s REAL NOT NULL, end_s REAL NOT NULL,
    change REAL NOT NULL, PRIMARY KEY (video, start_s)
) WITHOUT ROWID;
CREATE TABLE plans (
    video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE, detector TEXT NOT NULL, settings TEXT NOT NULL,
    times TEXT NOT NULL, notes TEXT NOT NULL, problems TEXT NOT NULL, until_s REAL, PRIMARY KEY (video, detector, settings)
);
CREATE TABLE located (
    video INTEGER NOT NULL REFERENCES videos(id) ON DELETE CASCADE, detector TEXT NOT NULL, wanted_s REAL NOT NULL,
    time_s REAL NOT NULL, found TEXT NOT NULL, reused INTEGER NOT NULL, PRIMARY KEY (video, detector, wanted_s)
);
"""


@dataclass(frozen=True)
class Sample:
    """A moment: a 64-bit hash of how it looks, and how much it differs from the sample before (0 same, 1 black to white)."""

    time_s: float
    look: int
    change: float


@dataclass(frozen=True)
class Span:
    """A stretch in which something changes."""

    start_s: float
    end_s: float
    change: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Plan:
    """The moments at which things are located, in order of time, and what an answer says of the choice.

    `until_s`: up to where it was carried out, None while it is not; `problems`: what went wrong on the way.
    """

    times_s: tuple[float, ...]
    notes: tuple[Mapping[Language, str], ...] = ()
    problems: tuple[str, ...] = ()
    until_s: float | None = None


@dataclass(frozen=True)
class Look:
    """What was found in the frame shown at a moment. `reused`: the picture was as it had been, and was not asked about again."""

    wanted_s: float
    time_s: float
    detections: tuple[Detection, ...]
    reused: bool = False


def index_beside(ledger: str | Path) -> str | Path:
    """Where the index of a ledger's videos lies."""
    return ledger if str(ledger) == ":memory:" else Path(ledger).with_name(Path(ledger).name + ".index")


class VideoIndex:
    """Open it on a path, or on ":memory:". Raises OptionError for a file that is no index."""

    def __init__(self, path: str | Path = ":memory:") -> None:
        self._connection = opened_store(path, _TABLES, VERSION, "index")

    def close(self) -> None:
        """Ends the connection; the index can be opened again."""
        self._connection.close()

    def video(self, content_hash: str, name: str, about: Mapping[str, Any]) -> int:
        """The number of the video with that content, made known with what is to be said about it if it is new."""
        run = self._connection.execute
        run("INSERT OR IGNORE INTO videos(hash, name, about) VALUES (?, ?, ?)", (content_hash, name, json.dumps(about)))
        return int(run("SELECT id FROM videos WHERE hash = ?", (content_hash,)).fetchone()[0])

    def surveyed(self, video: int) -> bool:
        """Whether its spans are all known."""
        return bool(self._connection.execute("SELECT surveyed FROM videos WHERE id = ?", (video,)).fetchone()[0])

    def write_survey(self, video: int, samples: Iterable[Sample], spans: Iterable[Span]) -> None:
        """All of a survey at once, in place of any before."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            run("DELETE FROM samples WHERE video = ?", (video,))
            run("DELETE FROM spans WHERE video = ?", (video,))
            rows = ((video, s.time_s, _signed(s.look), s.change) for s in samples)
            self._connection.executemany("INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany(
                "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?)", ((video, s.start_s, s.end_s, s.change) for s in spans)
            )
            run("UPDATE videos SET surveyed = 1 WHERE id = ?", (video,))
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise

    def samples(self, video: int) -> tuple[Sample, ...]:
        """In order of time."""
        rows = self._connection.execute("SELECT time_s, look, change FROM samples WHERE video = ? ORDER BY time_s", (video,))
        return tuple(Sample(time_s, look % 2**64, change) for time_s, look, change in rows)

    def spans(self, video: int) -> tuple[Span, ...]:
        """In order of time."""
        rows = self._connection.execute("SELECT start_s, end_s, change FROM spans WHERE video = ? ORDER BY start_s", (video,))
        return tuple(Span(*row) for row in rows)

    def plan(self, video: int, detector: str, settings: str) -> Plan | None:
        """The one that was made with these settings, or None."""
        row = self._connection.execute(
            "SELECT times, notes, problems, until_s FROM plans WHERE video = ? AND detector = ? AND settings = ?",
            (video, detector, settings),
        ).fetchone()
        if row is None:
            return None
        times, notes, problems = (tuple(json.loads(part)) for part in row[:3])
        return Plan(times, notes, problems, row[3])

    def write_plan(self, video: int, detector: str, settings: str, plan: Plan) -> None:
        """Made, or carried out."""
        texts = (json.dumps(part) for part in (plan.times_s, plan.notes, plan.problems))
        self._connection.execute(
            "INSERT OR REPLACE INTO plans VALUES (?, ?, ?, ?, ?, ?, ?)", (video, detector, settings, *texts, plan.until_s)
        )

    def looks(self, video: int, detector: str, times_s: Sequence[float]) -> dict[float, Look]:
        """Those of the wanted moments that were looked at before."""
        wanted = set(times_s)
        rows = self._connection.execute(
            "SELECT wanted_s, time_s, found, reused FROM located WHERE video = ? AND detector = ?", (video, detector)
        )
        return {row[0]: Look(row[0], row[1], _detections(row[2]), bool(row[3])) for row in rows if row[0] in wanted}

    def write_look(self, video: int, detector: str, look: Look) -> None:
        """One moment."""
        found = [
            {"label": d.label, "box_px": d.box_px, "score": d.score, "appearance": d.appearance, "center_m": d.center_m}
            for d in look.detections
        ]
        self._connection.execute(
            "INSERT OR REPLACE INTO located VALUES (?, ?, ?, ?, ?, ?)",
            (video, detector, look.wanted_s, look.time_s, json.dumps(found), int(look.reused)),
        )


def _signed(look: int) -> int:
    """64 bits as SQLite holds them."""
    return look - 2**64 if look >= 2**63 else look


def _detections(text: str) -> tuple[Detection, ...]:
    return tuple(
        Detection(
            row["label"],
            tuple(row["box_px"]),
            row["score"],
            tuple(row["appearance"]),
            None if row["center_m"] is None else tuple(row["center_m"]),
        )
        for row in json.loads(text)
    )
