"""Guards around a backend: schema lock, limits, and what is left out is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deixis.backends import Completion, FakeBackend, ModelCard, completion_of
from deixis.backends.local import LocalBackend
from deixis.media import load_picture
from deixis.model import open_checkpoint
from deixis.spatial import Deixis, LocateAnswer
from deixis.spatial.grounding.schema import BOXES_SCHEMA, MAX_OBJECTS
from tests.engine.checkpoints import write_checkpoint
from tests.engine.scripted import ScriptedEngine

PICTURE = load_picture(np.zeros((480, 640, 3), np.uint8))
CAMERA = (640, 640, 320, 240)
NANO = ModelCard("nano", virtual_focal=1.0)
CUP = '{"bbox_2d": [100, 200, 300, 400], "label": "cup"}'
CUP_3D = '{"bbox_3d": [-0.3, -0.12, 1.0, 0.2, 0.2, 0.2, 0, 0, 0], "label": "cup"}'


def locate(script: Any, card: ModelCard = NANO, three_d: bool = False) -> tuple[LocateAnswer, FakeBackend]:
    backend = FakeBackend(script, card=card)
    return Deixis(backend).locate(PICTURE, "cups", three_d=three_d, camera=CAMERA), backend


def kinds(found: LocateAnswer) -> list[str]:
    return [problem.kind for problem in found.provenance.problems]


# --- a 2D request answered with 3D boxes ------------------------------------------------------------------------------------


def test_3d_boxes_are_asked_for_again_under_a_schema() -> None:
    found, backend = locate([f"[{CUP_3D}]", f"[{CUP}]"], replace(NANO, enforces_schema=True))
    assert backend.schemas == [None, BOXES_SCHEMA]
    assert found.objects[0].box_px == pytest.approx((64, 96, 192, 192))
    assert found.objects[0].box_3d is None and found.objects[0].score == pytest.approx(0.9)
    assert kinds(found) == ["kind_mismatch", "asked_again"]


def test_a_list_that_the_schema_ends_says_so() -> None:
    rows = [{"bbox_2d": [i * 10, 0, i * 10 + 9, 9], "label": "cup"} for i in range(BOXES_SCHEMA["maxItems"])]
    for count, said in ((len(rows), True), (len(rows) - 1, False)):
        found, _ = locate([f"[{CUP_3D}]", json.dumps(rows[:count])], replace(NANO, enforces_schema=True))
        assert len(found.objects) == count
        assert ("cut_off" in kinds(found)) is said


def test_once_a_question_and_projected_where_it_does_not_help() -> None:
    backend = FakeBackend({"": f"[{CUP_3D}]"}, card=replace(NANO, enforces_schema=True))
    answer = Deixis(backend).ask(PICTURE, "Is the cup left of the book?", camera=CAMERA)
    assert sum(schema is not None for schema in backend.schemas) == 1
    assert answer.objects[0].depth_m == 1.0
    assert "not_enforced" in {problem.kind for problem in answer.provenance.problems}


def test_a_model_that_no_schema_binds_is_not_asked_twice() -> None:
    found, backend = locate([f"[{CUP_3D}]"])
    assert backend.schemas == [None]
    assert found.objects[0].depth_m == 1.0
    assert kinds(found) == ["kind_mismatch", "not_enforced"]


def test_a_local_model_is_held_to_2d_boxes(tmp_path: Path) -> None:
    """The whole way: it says 3D boxes again, fenced, and the lock leaves it only the 2D ones that it wants less."""
    engine = ScriptedEngine(open_checkpoint(write_checkpoint(tmp_path)), [f"```json\n[{CUP_3D}]\n```", f"```json\n[{CUP}]\n```"])
    backend = LocalBackend(engine, NANO)
    found = Deixis(backend).locate(PICTURE, "cups", camera=CAMERA)
    assert kinds(found) == ["kind_mismatch", "asked_again"]
    (cup,) = found.objects
    assert (cup.label, cup.box_px, cup.box_3d) == ("cup", pytest.approx((64, 96, 192, 192)), None)


# --- nothing is dropped silently --------------------------------------------------------------------------------------------


def box(*numbers: float, label: str = "cup") -> str:
    return json.dumps([{f"bbox_{'3d' if len(numbers) == 9 else '2d'}": numbers, "label": label}])


GOOD_3D = (-0.3, -0.12, 1.0, 0.2, 0.2, 0.2, 0, 0, 0)
# what is said instead of 2D boxes, the problem that names it
LEFT_OUT = [
    (box(math.nan, 1, 2, 3), "not_finite"),
    (box(math.inf, 1, 2, 3), "not_finite"),
    (box(*GOOD_3D[:2], -1.0, *GOOD_3D[3:]), "behind_camera"),
    (box(*GOOD_3D[:3], 0, *GOOD_3D[4:]), "invalid_3d"),
    (box(*GOOD_3D[:3], -0.2, *GOOD_3D[4:]), "invalid_3d"),
    (box(*GOOD_3D[:3], 1e300, *GOOD_3D[4:]), "invalid_3d"),
    (box(1e200, *GOOD_3D[1:]), "invalid_3d"),
    (box(*GOOD_3D[:3], 1e-300, *GOOD_3D[4:]), "invalid_3d"),
    (box(*GOOD_3D[:2], 1e-300, *GOOD_3D[3:]), "invalid_3d"),
    (box(*GOOD_3D[:6], math.nan, 0, 0), "not_finite"),
    (box(50, 0, 1.0, 0.2, 0.2, 0.2, 0, 0, 0), "out_of_view"),
    ('[{"point_2d": [10, 20], "label": "cup"}]', "no_box"),
    ('[{"bbox_2d": [1, 2, 3], "label": "cup"}]', "arity"),
]


@pytest.mark.parametrize(("said", "problem"), LEFT_OUT)
def test_what_is_left_out_is_named_and_not_absent(said: str, problem: str) -> None:
    found, _ = locate({"": said})
    assert (found.objects, found.absent) == ((), False)
    assert problem in kinds(found)
    assert json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize("focal", [1.0, None])
def test_3d_boxes_at_the_ends_of_what_is_read_do_not_hurt(focal: float | None) -> None:
    sides = (1e-4, 1.0, 1e5)
    rows = [[x, 0, z, *[s] * 3, a, 0, 0] for x in (0, -1e5, 1e5) for z in sides for s in sides for a in (0, 0.3, 1e6, -1e300)]
    said = json.dumps([{"bbox_3d": row, "label": f"thing {i}"} for i, row in enumerate(rows)])
    found, _ = locate({"": said}, replace(NANO, virtual_focal=focal), three_d=True)
    assert len(found.objects) + kinds(found).count("out_of_view") / 2 + kinds(found).count("invalid_3d") / 2 >= len(rows) / 2
    assert all(0 <= x1 < x2 <= 640 and 0 <= y1 < y2 <= 480 for x1, y1, x2, y2 in (item.box_px for item in found.objects))


def test_3d_boxes_of_nothing_are_named() -> None:
    far = CUP_3D.replace("-0.3, -0.12", "0.3, 0.2")
    found, _ = locate({"3D": f"[{CUP_3D}, {far}, {CUP_3D.replace('cup', 'pen')}]", "": f"[{CUP}]"}, three_d=True)
    assert [item.depth_m for item in found.objects] == [1.0]
    assert kinds(found) == ["unmatched_3d"]
    assert "2 of 3" in found.provenance.problems[0].message and "pen" in found.provenance.problems[0].message


def test_ten_thousand_boxes_are_bounded_and_said() -> None:
    flat = [
        {"bbox_2d": [i % 100 * 10, i // 100 * 10, i % 100 * 10 + 9, i // 100 * 10 + 9], "label": "cup"} for i in range(10_000)
    ]
    deep = [{"bbox_3d": [i / 1e4, 0, 1 + i / 1e3, 0.1, 0.1, 0.1, 0, 0, 0], "label": "cup"} for i in range(10_000)]
    found, backend = locate({"3D": Completion(json.dumps(deep)), "": Completion(json.dumps(flat))}, three_d=True)
    assert len(found.objects) == MAX_OBJECTS
    assert kinds(found).count("too_many") == len(backend.asked)
    assert len(backend.asked) <= 3


def test_labels_of_ten_kilobytes_are_cut_and_said() -> None:
    found, _ = locate({"": box(100, 200, 300, 400, label="x" * 10_000)})
    assert len(found.objects[0].label) == 120
    assert kinds(found) == ["label_cleaned"]


def test_a_reply_cut_at_its_limit_says_so() -> None:
    whole = completion_of(f"[{CUP}, ")
    cut = Completion(whole.text, whole.tokens, "length")
    found, _ = locate({"": cut})
    assert [item.label for item in found.objects] == ["cup"]
    assert "cut_off" in kinds(found)


def test_near_duplicates_in_3d_are_one() -> None:
    twice = f"[{CUP_3D}, {CUP_3D.replace('1.0', '1.001')}, {CUP_3D.replace('1.0', '3.0')}]"
    found, _ = locate({"3D": twice, "": "sorry"}, three_d=True)
    assert [item.depth_m for item in found.objects] == [1.0, 3.0]
    assert "duplicate" in kinds(found)
