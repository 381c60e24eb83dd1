"""The same answer in another camera must be what asking with that camera gives, without asking."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from deixis.backends import FakeBackend, ModelCard
from deixis.errors import CameraError, OptionError
from deixis.geometry import Camera, iou_px
from deixis.media import load_picture
from deixis.spatial import Deixis
from deixis.spatial.answer import Answer, LocateAnswer
from deixis.spatial.places.reproject import box_in_camera, read_record
from deixis.spatial.scene import Scene
from tests.geometry.strategies import boxes_3d, cameras
from tests.spatial.scenes import BOXES, backend_of

PICTURE = load_picture(np.zeros((480, 640, 3), np.uint8))
OLD = Camera.from_fov(640, 480, 60)
NEW = [Camera.from_fov(640, 480, 90), Camera(900, 900, 300, 260, 640, 480)]
SCRIPT = {
    "Report 3D": '[{"bbox_3d": [-0.3, -0.12, 1.0, 0.2, 0.2, 0.2, 0, 0, 0], "label": "red cup"},'
    ' {"bbox_3d": [0.2, -0.3, 2.0, 0.4, 0.4, 0.2, 0, 0, 0], "label": "book"}]',
    "bbox": '[{"bbox_2d": [100, 200, 300, 400], "label": "red cup"}, {"bbox_2d": [500, 200, 700, 400], "label": "book"}]',
    "": "Yes",
}
QUESTIONS = [
    "Is the red cup left of the book?",
    "Is the red cup in front of the book?",
    "How far is the red cup?",
    "Is it sunny?",
    "Where is the red cup?",
    "红色杯子在哪里？",
]


def asked(question: str, camera: Camera, card: ModelCard | None = None) -> Answer:
    said = {"Answer with": "1.00 m"} if "How far" in question else {}
    backend = FakeBackend({**SCRIPT, **said}, card=card or ModelCard("m", virtual_focal=1.0))
    return Deixis(backend).ask(PICTURE, question, camera=camera)


def comparable(row: Any) -> Any:
    """Without times, notes and confidence, which are the old camera's."""
    return {key: value for key, value in row.items() if key not in ("timings_ms", "note", "confidence", "problems")}


@pytest.mark.parametrize("camera", NEW)
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_what_asking_with_that_camera_gives(question: str, camera: Camera) -> None:
    moved, again = asked(question, OLD).with_camera(camera), asked(question, camera)
    assert (moved.answer, moved.camera) == (again.answer, again.camera)
    for mine, theirs in zip(moved.objects, again.objects, strict=True):
        assert (mine.box_3d is None) == (theirs.box_3d is None)
        if mine.box_3d is not None and theirs.box_3d is not None:
            np.testing.assert_allclose(mine.box_3d.to_qwen(), theirs.box_3d.to_qwen(), atol=1e-9)
            assert mine.depth_m == mine.box_3d.center_m[2]
    for mine_, theirs_ in zip(moved.claims, again.claims, strict=True):
        assert (mine_.claim, mine_.geometry, mine_.agrees) == (theirs_.claim, theirs_.geometry, theirs_.agrees)
    moved_note = "已换算到另一相机" if again.language == "zh" else "another camera"
    assert any(moved_note in note and "user" in note for note in moved.provenance.notes)


def test_there_and_back_is_the_same() -> None:
    answer = asked(QUESTIONS[1], OLD)
    back = answer.with_camera(NEW[1]).with_camera(OLD)
    for mine, theirs in zip(back.objects, answer.objects, strict=True):
        assert mine.box_3d is not None and theirs.box_3d is not None
        np.testing.assert_allclose(mine.box_3d.to_qwen(), theirs.box_3d.to_qwen(), atol=1e-9)


@given(boxes_3d(), cameras(), cameras())
def test_a_box_keeps_its_middle_in_the_picture(box, old, new) -> None:
    old, new = replace(old, fy=old.fx), replace(new, fy=new.fx, width=old.width, height=old.height)
    moved = box_in_camera(box, old, new)
    np.testing.assert_allclose(new.project([moved.center_m]), old.project([box.center_m]), rtol=1e-7, atol=1e-4)
    assert moved.center_m[2] == pytest.approx(box.center_m[2] * new.fx / old.fx)


def test_scenes_are_worked_out_anew() -> None:
    session = Deixis(backend_of(BOXES))
    scene = session.scene(PICTURE, camera=OLD)
    for camera in NEW:
        moved, again = scene.with_camera(camera), session.scene(PICTURE, camera=camera)
        assert [(r.subject, r.relation, r.objects) for r in moved.relations] == [
            (r.subject, r.relation, r.objects) for r in again.relations
        ]
        for mine, theirs in zip(moved.objects, again.objects, strict=True):
            assert mine.depth_m == pytest.approx(theirs.depth_m)


def test_claims_that_cannot_be_worked_out_are_undecided_and_said() -> None:
    answer = asked(QUESTIONS[1], OLD)
    odd = replace(answer, claims=(replace(answer.claims[0], claim="the cup is 3 m from the moon"),))
    moved = odd.with_camera(NEW[0])
    assert (moved.claims[0].geometry, moved.claims[0].agrees, moved.claims[0].margin) == ("undecided", None, None)
    assert any("ask with this camera" in note for note in moved.provenance.notes)
    # What was measured in the picture alone stays.
    flat = asked(QUESTIONS[0], OLD)
    odd = replace(flat, claims=(replace(flat.claims[0], claim="something else"),))
    assert odd.with_camera(NEW[0]).claims == odd.claims


def test_records_are_read_back() -> None:
    answer = asked(QUESTIONS[1], OLD)
    session = Deixis(FakeBackend(SCRIPT, card=ModelCard("m", virtual_focal=1.0)))
    found = session.locate(PICTURE, "cups", three_d=True, camera=OLD)
    scene = Deixis(backend_of(BOXES)).scene(PICTURE, camera=OLD)
    for value, kind in ((answer, Answer), (found, LocateAnswer), (scene, Scene)):
        row = json.loads(json.dumps(value.to_json()))
        read = read_record(row)
        assert isinstance(read, kind)
        assert comparable(read.to_json()).keys() == comparable(row).keys()
        for mine, theirs in zip(read.objects, value.objects, strict=True):
            assert mine.label == theirs.label and iou_px(mine.box_px, theirs.box_px) > 0.99
        assert read.with_camera(NEW[0]).camera == NEW[0]


def test_what_cannot_be_moved_is_refused() -> None:
    answer = asked(QUESTIONS[1], OLD)
    with pytest.raises(OptionError, match="640×480"):
        answer.with_camera(Camera.assumed(64, 48))
    with pytest.raises(CameraError):
        answer.with_camera(Camera(0, 0, 1, 1, 640, 480))
    unknown = asked(QUESTIONS[1], OLD, ModelCard("big"))
    assert unknown.to_json()["metres"] == "model"
    with pytest.raises(OptionError, match="which camera"):
        unknown.with_camera(NEW[0])
    with pytest.raises(OptionError, match="question"):
        replace(answer, question="").with_camera(NEW[0])


GOOD = {"objects": [], "absent": True, "camera": OLD.to_json(), "model": "m", "timings_ms": {}}
BAD: list[Any] = [
    None,
    [],
    {},
    {"error": {"type": "x"}},
    {**GOOD, "camera": {}},
    {**GOOD, "camera": {**OLD.to_json(), "fx": 0}},
    {**GOOD, "objects": [{"label": "x"}]},
    {**GOOD, "objects": [{"label": "x", "box_px": [float("nan"), 0, 1, 1]}]},
    {**GOOD, "objects": [{"label": "x", "box_px": [0, 0, 1, 1], "box_3d": [0, 0, 1, 0, 1, 1, 0, 0, 0]}]},
    {**GOOD, "objects": 3},
    {**GOOD, "schema": "other/9"},
    {**GOOD, "schema": "deixis.scene/1", "picture": {"width": -3}},
]


@pytest.mark.parametrize("row", BAD)
def test_broken_records_are_refused(row: Any) -> None:
    with pytest.raises(OptionError, match="record"):
        read_record(row)
