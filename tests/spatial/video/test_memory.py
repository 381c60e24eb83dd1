"""The ledger: it survives a kill, goes on after a restart, keeps to its budget, and lets nobody write through a question."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deixis.errors import OptionError
from deixis.spatial.video.budget import Budget
from deixis.spatial.video.detection import Detection, Event, Sighting
from deixis.spatial.video.memory import SpatialMemory
from deixis.spatial.video.rows import Rows
from deixis.spatial.video.tracker import Changes, Followed
from tests.spatial.video.small_story import SIZE, frame, told

ROOT = Path(__file__).parents[3]


def test_events_of_the_story_come_in_time() -> None:
    with told() as memory:
        found = [(event.kind, event.description["en"], event.start_s) for event in memory.events()]
        names = [name for _, name, _ in found]
        for name, when in {
            "the blue box moves": 2.0,
            "the red cup is hidden by the blue box": 2.7,
            "the red ball stops": 5.0,
            "the red ball sets the blue ball in motion": 5.0,
            "the red cup is carried along by the blue box": 6.0,
        }.items():
            assert name in names, names
            assert found[names.index(name)][2] == pytest.approx(when, abs=0.2)
        assert not [name for name in names if "lamp" in name], "what stands still does nothing"
        cup = next(track for track in memory.tracks() if track.label == "red cup")
        assert {sighting.state for sighting in cup.sightings} == {"visible", "occluded"}
        assert cup.to_json()["boxes"][0]["state"] == "visible"


def test_after_a_restart_the_ledger_goes_on_where_it_ended(tmp_path: Path) -> None:
    whole = told()
    told(str(tmp_path / "a.db"), until_s=7.0).close()
    again = told(str(tmp_path / "a.db"), start_s=7.2)
    sql = "SELECT label, state, hidden_by, ROUND(x1), ROUND(last_seen_s, 2) AS seen FROM objects ORDER BY id"
    assert again.query(sql) == whole.query(sql)
    assert [(e.kind, e.objects) for e in again.events()] == [(e.kind, e.objects) for e in whole.events()]
    assert again.source("story.mp4", "abc").read_until_s == pytest.approx(10.0)


def test_what_stands_still_takes_one_row() -> None:
    with told() as memory:
        rows = memory.query(
            "SELECT s.samples, s.start_s, s.end_s FROM sightings s JOIN objects o ON o.id = s.object WHERE label LIKE '%lamp'"
        )
        assert rows == [{"samples": 51, "start_s": 0.0, "end_s": 10.0}]


def test_kill_9_in_the_middle_of_an_update_leaves_whole_updates(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    script = (
        "from tests.spatial.video.small_story import frame, SIZE\n"
        "from deixis.spatial.video.memory import SpatialMemory\n"
        f"memory = SpatialMemory({str(path)!r})\n"
        "source, k = memory.source('story.mp4', 'abc'), 0\n"
        "original = SpatialMemory._write_setting\n"
        "while True:\n"
        "    memory.observe(k / 5, frame((k / 5) % 10), SIZE, source)\n"
        "    k += 1\n"
        "    if k == 8:\n"
        "        def stuck(self, name, value):\n"
        "            original(self, name, value)\n"
        "            print('half', flush=True)\n"
        "            import time; time.sleep(60)\n"
        "        SpatialMemory._write_setting = stuck\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"  # the ninth update has written things, and is not committed
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    assert raw.execute("SELECT updates, read_until_s FROM sources").fetchone() == (8, 1.4)
    assert raw.execute("SELECT MAX(end_s) FROM sightings").fetchone() == (1.4,)
    raw.close()
    with SpatialMemory(path) as memory:
        assert memory.time_s == 1.4
        memory.observe(1.6, frame(1.6), SIZE, memory.source("story.mp4", "abc"))
        assert memory.query("SELECT COUNT(*) AS n FROM objects") == [{"n": 5}]


def change(k: int) -> Changes:
    """One thing that moves and one that is still, long after long."""
    x = 20.0 + (37 * k) % 500
    rows = {}
    for id_, label, box in ((1, "ball", (x, 10.0, x + 20, 30.0)), (2, "lamp", (5.0, 5.0, 15.0, 15.0))):
        state = "occluded" if id_ == 1 and k % 500 > 480 else "visible"
        sighting = Sighting(k * 0.5, box, state, None, 2 if state == "occluded" else None)  # type: ignore[arg-type]
        rows[id_] = Followed(id_, label, sighting, box, (box[0], box[1]), False, False, state == "visible")
    return Changes(k * 0.5, rows)


def test_a_hundred_thousand_updates_stay_within_the_budget() -> None:
    budget = Budget(rows=3_000, bytes=1_500_000)
    words = {"en": "the ball moves", "zh": "球移动"}
    with SpatialMemory(":memory:", budget) as memory:
        source = memory.source("long.mp4", "long")
        for k in range(100_000):
            events = [Event(k * 0.5, k * 0.5, "moves" if k % 400 else "is_hidden", words, (1,))] if k % 40 == 0 else []
            memory.record(change(k), events, source, k * 0.5)
            if k % 9_973 == 0:
                total = sum(
                    memory.query(f"SELECT COUNT(*) AS n FROM {name}")[0]["n"] for name in ("sightings", "events", "objects")
                )
                assert total <= budget.rows
        pages = memory._connection.execute("PRAGMA page_count").fetchone()[0] * 4096
        assert pages <= budget.bytes * 1.1
        rows = memory.query("SELECT MIN(start_s) AS first, MAX(end_s) AS last FROM sightings WHERE object = 1")
        assert rows == [{"first": 0.0, "last": 49_999.5}], "the first and the last sighting are kept"
        thirds = memory.query("SELECT COUNT(*) AS n FROM sightings GROUP BY CAST(start_s / 16667 AS INTEGER)")
        assert len(thirds) == 3 and min(row["n"] for row in thirds) > 20, "what is old is thinned and not forgotten"
        kinds = {event.kind for event in memory.events(0, 20_000)}
        assert "is_hidden" in kinds


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM objects",
        "SELECT 1; DROP TABLE objects",
        "INSERT INTO settings VALUES ('a', 'b')",
        "UPDATE objects SET label = 'x'",
        "PRAGMA writable_schema = 1",
        "ATTACH DATABASE 'other.db' AS other",
        "SELECT load_extension('evil')",
        "PRAGMA user_version",
        "PRAGMA journal_mode = DELETE",
        "VACUUM INTO 'copy.db'",
        "BEGIN IMMEDIATE",
        "CREATE TEMP TABLE t (x)",
        "SELECT * FROM pragma_table_info('objects')",
        "SELECT replace(printf('%999999d', 1), ' ', 'ten pieces')",
        "SELECT ?",
        "SELECT '\0",
        "",
        "WITH x AS (SELECT 1) DELETE FROM events",
        "nonsense",
        "SELECT * FROM sightings a, sightings b, sightings c, sightings d, sightings e",
    ],
)
def test_a_question_in_sql_only_reads(sql: str) -> None:
    with told(until_s=4.0) as memory:
        before = memory.query("SELECT COUNT(*) AS n FROM sightings")
        with pytest.raises(OptionError, match="SQL"):
            memory.query(sql)
        assert memory.query("SELECT COUNT(*) AS n FROM sightings") == before
        memory.observe(4.2, frame(4.2), SIZE, memory.source("story.mp4", "abc"))  # and writing goes on


def test_values_go_into_sql_as_values() -> None:
    with told(until_s=1.0) as memory:
        assert memory.query("SELECT id FROM objects WHERE label = ?", ("x' OR 1=1 --",)) == []
        assert memory.query("SELECT COUNT(*) AS n FROM objects WHERE label = :a", {"a": "red cup"}) == [{"n": 1}]


def test_sql_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deixis.spatial.video.schema.QUERY_SECONDS", 0.2)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
    with told(until_s=1.0) as memory, pytest.raises(OptionError, match="too long"):
        memory.query(endless)


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database" * 100)
    with pytest.raises(OptionError, match="ledger"):
        SpatialMemory(text)
    assert text.read_text().startswith("not a database")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    with pytest.raises(OptionError, match="no ledger of version"):
        SpatialMemory(tmp_path / "other.db")
    with pytest.raises(OptionError, match="budget"):
        Budget(rows=3)


def test_an_update_that_fails_never_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    with told(until_s=3.0) as memory:
        before = memory.query("SELECT * FROM objects"), memory.time_s
        with monkeypatch.context() as patch:
            patch.setattr(Rows, "write_event", lambda *_: 1 / 0)
            patch.setattr(Budget, "keep", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                memory.observe(3.2, frame(3.2), SIZE, memory.source("story.mp4", "abc"))
        assert (memory.query("SELECT * FROM objects"), memory.time_s) == before
        memory.observe(3.2, frame(3.2), SIZE, memory.source("story.mp4", "abc"))


def test_several_pictures_of_a_room_and_a_talk_about_one_share_the_ledger() -> None:
    cup, lamp = Detection("red cup", (10, 10, 50, 60)), Detection("lamp", (300, 20, 360, 200))
    with SpatialMemory() as memory:
        first, second = memory.source("a.png", "a"), memory.source("b.png", "b")
        memory.observe_picture([cup], SIZE, first)
        memory.observe_picture([lamp], SIZE, first)  # asked after something else: the cup is still there
        states = "SELECT label, state FROM objects ORDER BY id"
        assert memory.query(states) == [{"label": "red cup", "state": "visible"}, {"label": "lamp", "state": "visible"}]
        memory.observe_picture([Detection("lamp", (20, 50, 70, 200))], SIZE, second)
        assert memory.query(states) == [{"label": "red cup", "state": "out_of_view"}, {"label": "lamp", "state": "visible"}]
        answer = memory.ask("Where is the red cup?")
        assert answer is not None and answer.citations[0].source == "a.png" and answer.citations[0].box_px == cup.box_px


def test_it_keeps_no_time_of_its_own() -> None:
    began = time.time()
    with told(until_s=1.0) as memory:
        assert memory.time_s == 1.0 < began
