"""The truth scores full marks, and each way to be wrong costs what it should."""

import dataclasses

import numpy as np
import pytest

from deixis.lab.questions import KINDS, Question, ask_everything
from deixis.lab.scoring import score
from deixis.spatial.grounding.parse import parse_objects
from tests.lab.synthetic_truth import synthetic_truth


@pytest.fixture(scope="module")
def questions() -> dict[str, list[Question]]:
    rng = np.random.default_rng(4)
    found: dict[str, list[Question]] = {kind: [] for kind in KINDS}
    for i in range(60):
        for q in ask_everything(synthetic_truth(rng, ("desk", "primitives")[i % 2]), rng):
            found[q.kind].append(q)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_right_answer_is_right(questions, kind):
    assert questions[kind]
    for q in questions[kind]:
        result = score(q, q.answer)
        assert result["correct"] and result["read"], (q, result)
        assert (result["kind"], result["language"]) == (kind, q.language)
        if "ious" in result:
            assert len(result["ious"]) == result["expected"] == len(q.target["objects"]) and result["extra"] == 0
            assert all(iou > (0.25 if kind in ("box_3d", "evidence_3d") else 0.8) for iou in result["ious"])
        if "edges_px" in result:
            assert len(result["edges_px"]) == 4 * result["expected"] and max(result["edges_px"], default=0) < 0.5
            assert result["labels_right"] == result["expected"]
        if kind == "depth":
            assert result["relative_error"] <= 0.0051 / q.target["virtual_depth_m"]  # two decimals are written
        if kind in ("tilt", "visibility"):
            assert result["absolute_error"] <= (0.5 if kind == "tilt" else 10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", "???", "qwertyuiop", "```json\n[{"])
def test_nonsense_is_wrong_and_does_not_raise(questions, kind, text):
    for q in questions[kind][:5]:
        assert not score(q, text)["correct"], (q, text)


def question(kind, answer="", language="en", prompt_kind="ask", labels=(), **target) -> Question:
    return Question(kind, language, prompt_kind, "?", "?", answer, tuple(labels), {"objects": [], **target})


CUP = {"label": "red cup", "category": "cup", "category_unique": True}
CUPS = CUP | {"category_unique": False}
CUP_ZH = {"label": "红色杯子", "category": "杯子", "category_unique": True}


@pytest.mark.parametrize(
    ("asked", "text", "correct"),
    [
        (question("relation", holds=True), "Yes, it is.", True),
        (question("relation", holds=True), "no", False),
        (question("relation", holds=False, language="zh"), "不是", True),
        (question("relation", holds=False), "absent", False),
        (question("exists", holds=False), "There is no red cup.", True),
        (question("exists", holds=False, language="zh"), "没有", True),
        (question("exists", holds=True, language="zh"), "没有", False),
        (question("occlusion_hidden", holds=True), "Yes", True),
        (question("absent"), "absent", True),
        (question("absent"), "No", False),
        (question("absent", language="zh"), "没有", True),
        (question("nearest", **CUP), "The red cup.", True),
        (question("nearest", **CUP), "cup", True),
        (question("nearest", **CUPS), "cup", False),
        (question("nearest", **CUP), "blue cup", False),
        (question("farthest", language="zh", **CUP_ZH), "红色的杯子。", True),
        (question("occlusion_by", language="zh", **CUP_ZH), "蓝色杯子", False),
        (question("relation_choice", **CUP), "Red Cup", True),
        (question("count", count=3), "3", True),
        (question("count", count=3), "three", True),
        (question("count", count=3), "There are 4.", False),
        (question("count", count=0), "none", True),
        (question("count", count=0, language="zh"), "没有", True),
        (question("depth", virtual_depth_m=1.0), "0.90 m", True),
        (question("depth", virtual_depth_m=1.0), "80 cm", False),
        (question("depth", virtual_depth_m=1.0), "110 cm", True),
        (question("tilt", pitch_deg=35.2), "38 degrees", True),
        (question("tilt", pitch_deg=35.2), "45", False),
        (question("visibility", visible_fraction=0.62), "60%", True),
        (question("visibility", visible_fraction=0.62), "20%", False),
        (question("viewpoint", viewpoint="top-down"), "Top down.", True),
        (question("viewpoint", viewpoint="eye-level"), "oblique", False),
        (question("viewpoint", viewpoint="eye-level", language="zh"), "平视", True),
    ],
)
def test_short_answers(asked, text, correct):
    assert score(asked, text)["correct"] is correct


def boxes(*rows):
    return "```json\n[" + ", ".join(f'{{"bbox_2d": {list(row)}, "label": "red cup"}}' for row in rows) + "]\n```"


TWO = question(
    "locate_kind",
    prompt_kind="locate",
    labels=["cup"],
    boxes_px=[[0.0, 0.0, 100.0, 100.0], [200.0, 0.0, 300.0, 100.0]],
    size=[1000, 1000],
)
TWO = dataclasses.replace(TWO, target={**TWO.target, "labels": ["red cup", "blue cup"]})


@pytest.mark.parametrize(
    ("text", "correct", "ious", "extra", "labels_right"),
    [
        (boxes((200, 0, 300, 100), (0, 0, 100, 100)), True, [1, 1], 0, 1),
        (boxes((0, 0, 100, 50), (200, 0, 300, 100)), True, [0.5, 1], 0, 1),
        (boxes((0, 0, 100, 49), (200, 0, 300, 100)), False, [0.49, 1], 0, 1),
        (boxes((0, 0, 100, 100)), False, [1, 0], 0, 1),
        (boxes((0, 0, 100, 100), (200, 0, 300, 100), (500, 500, 600, 600)), False, [1, 1], 1, 1),
        (boxes(), False, [0, 0], 0, 0),
        ("there are two cups", False, [0, 0], 0, 0),
    ],
)
def test_boxes(text, correct, ious, extra, labels_right):
    result = score(TWO, text)
    assert (result["correct"], result["extra"], result["labels_right"]) == (correct, extra, labels_right)
    assert result["ious"] == pytest.approx(ious)
    assert result == score(TWO, parse_objects(text, 1000, 1000, expect="box_2d"))


def test_edges_are_in_pixels_of_the_picture():
    one = dataclasses.replace(TWO, target={**TWO.target, "boxes_px": [[10.0, 20.0, 110.0, 120.0]], "size": [2000, 500]})
    result = score(one, boxes((5, 40, 56, 244)))
    assert result["edges_px"] == pytest.approx([0, 0, 2, 2])


@pytest.mark.parametrize(
    ("text", "correct"),
    [("```json\n[]\n```", True), ("[]", True), ("absent", True), (boxes((0, 0, 9, 9)), False), ("cup", False)],
)
def test_nothing_there(text, correct):
    nothing = dataclasses.replace(TWO, target={**TWO.target, "boxes_px": [], "labels": []})
    assert score(nothing, text)["correct"] is correct


@pytest.mark.parametrize(
    ("points", "hits", "extra", "correct"),
    [
        ([(50, 50), (250, 50)], 2, 0, True),
        ([(250, 50), (50, 50)], 2, 0, True),
        ([(50, 50), (60, 60)], 1, 0, False),
        ([(50, 50), (250, 50), (900, 900)], 2, 1, False),
        ([], 0, 0, False),
    ],
)
def test_points(points, hits, extra, correct):
    asked = dataclasses.replace(TWO, kind="point", prompt_kind="point")
    text = "[" + ", ".join(f'{{"point_2d": [{x}, {y}], "label": "cup"}}' for x, y in points) + "]"
    result = score(asked, text)
    assert (result["hits"], result["extra"], result["expected"], result["correct"]) == (hits, extra, 2, correct)


def test_boxes_in_3d_are_compared_in_the_real_camera():
    true = [0.0, 0.0, 1.0, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0]
    asked = question("box_3d", prompt_kind="locate_3d", boxes_3d=[true], virtual_factor=1.5, size=[640, 480])
    said = '[{"bbox_3d": [0, 0, %s, 0.2, 0.2, 0.2, 0, 0, 0], "label": "cube"}]'
    assert score(asked, said % 1.5)["ious"] == pytest.approx([1.0])
    assert score(asked, said % 1.65)["ious"] == pytest.approx([1 / 3])
    assert not score(asked, said % 3.0)["correct"]


def test_a_short_answer_needs_its_text():
    with pytest.raises(TypeError, match="scored from its text"):
        score(question("count", count=1), parse_objects("[]", 10, 10))
