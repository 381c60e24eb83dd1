"""Bare against verified: right counts, right averages, both halves."""

import json
from pathlib import Path
from typing import Any

import pytest

from deixis.backends import FakeBackend, ModelCard
from deixis.errors import OptionError
from deixis.lab.bench_verified import calibration_error, is_hard, part, read_rows, report, rows_of
from deixis.lab.make import example
from tests.lab.test_calibrate import SEED, SIZE, answers_to


def row(right: bool, verified: bool | None, family: str = "relation", **more: Any) -> dict[str, Any]:
    """`verified` None: unsure."""
    said = {"unsure": False, "absent": False, "confidence": 0.9, "s": 1.0}
    return {
        "index": 0, "family": family, "hard": False, "timed": False, "absent": False, "calibrated": True, "inside": [],
        "bare": {**said, "right": right}, "verified": {**said, "right": bool(verified), "unsure": verified is None},
        **more,
    }  # fmt: skip


def test_unsure_counts_neither_as_right_nor_as_wrong() -> None:
    rows = [row(True, True), row(False, True), row(False, False), row(False, None), row(True, None)]
    found = part([*rows, row(False, False, "absent")])["families"]
    assert found["relation"] == found["checked"]
    assert found["relation"] == {
        "n": 5, "bare_wrong": 3, "wrong": 1, "unsure": 2, "fewer": pytest.approx(0.6667), "fewer_counting_unsure": 0.0
    }  # fmt: skip
    assert found["absent"]["n"] == 1


def test_calibration_error() -> None:
    def said(confidence: float, right: bool, unsure: bool = False) -> dict[str, Any]:
        return {"bare": {"confidence": confidence, "right": right, "unsure": unsure}}

    assert calibration_error([said(0.75, True)] * 3 + [said(0.75, False)], "bare") == 0
    assert calibration_error([said(1.0, True), said(0.8, False)], "bare") == pytest.approx(0.4)
    assert calibration_error([said(0.5, False, True)], "bare") is None


def test_absences() -> None:
    said, silent = ({"right": True, "unsure": False, "absent": a, "confidence": 1.0, "s": 1.0} for a in (True, False))
    rows = [row(True, True, "absent") | {"absent": True, "bare": said, "verified": said} for _ in range(3)]
    rows += [row(True, True, "absent") | {"absent": True, "bare": silent, "verified": said}]
    rows += [row(True, True) | {"bare": said, "verified": silent}]
    rows += [row(True, True, "nearest_farthest") | {"bare": said, "verified": said}]  # takes nothing for granted
    found = part(rows)["absent"]
    assert (found["bare"]["precision"], found["bare"]["recall"]) == (0.75, 0.75)
    assert (found["verified"]["precision"], found["verified"]["recall"]) == (1.0, 1.0)


def test_time_and_halves() -> None:
    timed = row(True, True, timed=True, inside=[True, False])
    timed["verified"] = {**timed["verified"], "s": 2.5}
    found = report([timed, row(False, True, hard=True)])
    assert found["seconds"] == {"bare": 1.0, "verified": 2.5, "ratio": 2.5, "questions": 1}
    assert report([timed, row(True, True, calibrated=False)])["calibrated"] == 0.5
    assert found["all"]["interval_coverage"] == {"n": 2, "share": 0.5}
    assert found["harder"]["families"]["checked"]["n"] == 1
    assert report([row(True, True)])["seconds"]["ratio"] is None


def test_a_truthful_model_stays_right() -> None:
    made = example("primitives", SEED, 0, SIZE)
    backend = FakeBackend(
        {**answers_to(made, 0), "": "I cannot tell"}, card=ModelCard("fake", virtual_focal=1.0), probability=0.99
    )
    (rows,) = rows_of(backend, "primitives", SEED, 1, SIZE)
    assert {one["family"] for one in rows} >= {"relation", "occlusion"}
    assert all(one["bare"]["right"] and one["verified"]["right"] for one in rows)
    assert all(one["verified"]["absent"] == one["absent"] for one in rows)
    assert json.loads(json.dumps(report(rows), allow_nan=False))["all"]["families"]["checked"]["fewer"] is None


def test_the_harder_half() -> None:
    made = example("desk", SEED, 0, SIZE)
    question = next(q for q in made.questions if q.kind == "relation_choice")
    things = made.truth["objects"]
    for thing in things:
        thing["visible_fraction"] = 0.9
    few = len([thing for thing in things if thing["visible_px"] > 0]) <= 8
    assert is_hard(made, question) != few
    next(thing for thing in things if thing["id"] == question.target["objects"][0])["visible_fraction"] = 0.4
    assert is_hard(made, question)


def test_rows_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row(True, None)) + "\n", encoding="utf-8")
    assert read_rows(path) == [row(True, None)]
    for text in ("[]\n", "{}\n", "no\n"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(OptionError, match="holds no rows"):
            read_rows(path)
