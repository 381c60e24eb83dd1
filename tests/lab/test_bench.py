"""The accuracy table: every kind of question in one family, right averages, and the shape that DESIGN promises."""

import json
from collections import Counter
from typing import Any

import pytest

from deixis.backends import Conversation, FakeBackend
from deixis.lab.bench import FAMILIES, asked, report, scored, table
from deixis.lab.make import example
from deixis.lab.questions import KINDS
from deixis.lab.worlds import WORLDS

SIZE = (256, 192)
SEED = 820_002


def test_families_hold_every_kind_once() -> None:
    kinds = Counter(kind for family in FAMILIES.values() for kind in family)
    assert set(kinds) == set(KINDS) and set(kinds.values()) == {1}


# --- averages ------------------------------------------------------------------------------------------------------


def said(kind: str, correct: bool = True, language: str = "en", **measured: Any) -> dict[str, Any]:
    return {"kind": kind, "language": language, "correct": correct, "read": True, **measured}


def boxes(kind: str, correct: bool, ious: list[float], edges: list[float], extra: int = 0) -> dict[str, Any]:
    return said(kind, correct, ious=ious, edges_px=edges, expected=len(ious), extra=extra, labels_right=len(ious))


UNREAD = {**said("depth", False, relative_error=None), "read": False}
TABLES: list[tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]] = [
    ([], {}),
    (
        [boxes("locate_one", True, [0.9], [1, 2, 3, 4]), boxes("locate_all", False, [0.6, 0.0, 0.5], [10, 0, 0, 0], extra=1)],
        {"locate": {"n": 4, "mean_iou": 0.5, "iou50": 0.75, "median_edge_px": 1.5, "extra": 1, "whole_answer": 0.5}},
    ),
    (
        [boxes("locate_kind", False, [0.0], [])],
        {"locate": {"n": 1, "mean_iou": 0.0, "iou50": 0.0, "median_edge_px": None, "extra": 0, "whole_answer": 0.0}},
    ),
    ([said("box_3d", False, ious=[0.25, 0.2], expected=2, extra=0)], {"box_3d": {"n": 2, "mean_iou": 0.225, "iou25": 0.5}}),
    (
        [said("point", True, hits=2, expected=2, extra=0), said("point", False, hits=0, expected=1, extra=3)],
        {"point": {"n": 3, "accuracy": 0.6667}},
    ),
    (
        [said("relation"), said("relation", False), said("relation_choice"), said("relation_choice")],
        {"relation": {"n": 4, "accuracy": 0.75}},
    ),
    (
        [said("nearest"), said("farthest", False), said("exists"), said("absent"), said("locate_absent", False)],
        {
            "nearest_farthest": {"n": 2, "accuracy": 0.5},
            "exists": {"n": 1, "accuracy": 1.0},
            "absent": {"n": 2, "accuracy": 0.5},
        },
    ),
    (
        [said("depth", relative_error=0.1), said("depth", False, relative_error=0.3), UNREAD],
        {"depth": {"n": 3, "accuracy": 0.3333, "mean_relative_error": 0.2, "unread": 1}},
    ),
    ([said("tilt", absolute_error=e) for e in (2.0, 4.0)], {"tilt": {"n": 2, "accuracy": 1.0, "mean_absolute_error": 3.0}}),
    ([said("count", False, difference=2)], {"count": {"n": 1, "accuracy": 0.0}}),
]


@pytest.mark.parametrize(("scores", "expected"), TABLES)
def test_averages(scores: list[dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    assert table(scores) == expected
    json.dumps(table(scores), allow_nan=False)


def test_languages_are_told_apart() -> None:
    scores = [said("count"), said("count", False, "zh"), said("exists", True, "zh")]
    assert report(scores) == {
        "kinds": {"count": {"n": 2, "accuracy": 0.5}, "exists": {"n": 1, "accuracy": 1.0}},
        "languages": {
            "en": {"count": {"n": 1, "accuracy": 1.0}},
            "zh": {"count": {"n": 1, "accuracy": 0.0}, "exists": {"n": 1, "accuracy": 1.0}},
        },
    }


# --- asking --------------------------------------------------------------------------------------------------------


def all_scores(backend: FakeBackend, world: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    return [score for scores in scored(backend, world, SEED, count, SIZE, first) for score in scores]


@pytest.mark.parametrize("world", WORLDS)
def test_a_model_that_knows_the_truth_is_always_right(world: str) -> None:
    answers = {q.prompt: q.answer for index in (0, 1) for q in asked(example(world, SEED, index, SIZE).questions, index)}
    backend = FakeBackend(lambda conversation: answers[conversation.text])
    scores = all_scores(backend, world, 2)
    assert scores and all(score["correct"] for score in scores), [s for s in scores if not s["correct"]]
    result = report(scores)
    assert set(result) == {"kinds", "languages"} and set(result["languages"]) == {"en", "zh"}
    assert {"n", "iou50", "mean_iou", "median_edge_px"} <= set(result["kinds"]["locate"])
    assert result["kinds"]["locate"]["iou50"] == 1 and result["kinds"]["locate"]["mean_iou"] > 0.9
    assert all({"n", "accuracy"} <= set(row) for kind, row in result["kinds"].items() if kind not in ("locate", "box_3d"))
    assert set(result["kinds"]) <= set(FAMILIES) - {"evidence"}
    json.dumps(result, allow_nan=False)


def test_questions_are_asked_one_by_one_about_the_picture() -> None:
    backend = FakeBackend({"": "banana"})
    scores = all_scores(backend, "primitives", 1)
    made = example("primitives", SEED, 0, SIZE)
    wanted = asked(made.questions, 0)
    assert [c.text for c in backend.asked] == [q.prompt for q in wanted]
    assert len(scores) == len(wanted) and {s["kind"] for s in scores} == {q.kind for q in wanted}
    assert not any(s["correct"] for s in scores)
    for conversation in backend.asked:
        (turn,) = conversation.turns
        assert isinstance(conversation, Conversation) and (turn.parts[0] == made.pixels).all()


def test_languages_take_turns() -> None:
    questions = example("desk", SEED, 0, SIZE).questions
    for index, language in ((0, "en"), (1, "zh"), (2, "en")):
        chosen = asked(questions, index)
        assert {q.language for q in chosen} == {language}
        assert not {q.kind for q in chosen} & set(FAMILIES["evidence"])


def test_a_run_can_start_later() -> None:
    whole, later = (all_scores(FakeBackend({"": "Yes"}), "primitives", count, first) for count, first in ((2, 0), (1, 1)))
    assert whole[-len(later) :] == later
