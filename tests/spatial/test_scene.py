"""Scenes: what holds, what rests on what, the JSON that users rely on, and the command that writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import deixis.spatial.deixis
from deixis.backends import FakeBackend
from deixis.cli import run
from deixis.geometry import Margin
from deixis.spatial import Deixis
from deixis.spatial.scene import EVERYTHING, MAX_RELATED, SceneRelation, supports_of, unique_names
from tests.spatial.scenes import BOXES, CAMERA, CARD, HOSTILE, PICTURE, backend_of, scene_of_boxes


def test_everything_is_asked_for_once_in_two_and_once_in_three_dimensions() -> None:
    backend = backend_of(BOXES)
    scene = Deixis(backend).scene(PICTURE, camera=(640, 640, 320, 240))
    assert [EVERYTHING["en"] in conversation.text for conversation in backend.asked] == [True, True]
    assert [item.label for item in scene.objects] == ["box", "book", "cup"]
    assert all(item.box_3d is not None for item in scene.objects)
    assert scene.camera.source == "user"
    Deixis(backend).scene(PICTURE, language="zh")
    assert EVERYTHING["zh"] in backend.asked[-1].text


def test_what_holds_is_listed_and_what_does_not_is_not() -> None:
    scene = scene_of_boxes()
    held = {(r.subject, r.relation, r.objects) for r in scene.relations if r.margin.decided}
    assert {
        (0, "left_of", (2,)),
        (1, "left_of", (2,)),
        (1, "on", (0,)),
        (1, "above", (0,)),
        (0, "in_front_of", (2,)),
        (2, "farthest", (0, 1)),
    } <= held
    assert all(r.margin.decided is not False for r in scene.relations)
    assert (2, "left_of", (0,)) not in held
    assert [(s.subject, s.base) for s in scene.supports] == [(1, 0)]
    assert scene.stacks == ((0, 1),)


def test_what_hides_what() -> None:
    behind = ("ball", (-0.2 / 0.9 * 1.8 + 0.05, 0.15 * 1.8 / 0.9, 1.8, 0.2, 0.2, 0.2, 0, 0, 0))
    scene = scene_of_boxes((BOXES[0], BOXES[2], behind))
    rows = scene.to_json()
    assert [(o["object"], o["by"]) for o in rows["occlusions"]] == [(2, 0)]
    fractions = [item["visible_fraction"] for item in rows["objects"]]
    assert fractions[:2] == [1, 1] and fractions[2] == pytest.approx(1 - rows["occlusions"][0]["share"], abs=0.01)
    # In the picture both are upright rectangles: what the box covers of the ball is what their boxes share.
    (bx1, by1, bx2, by2), (x1, y1, x2, y2) = scene.objects[0].box_px, scene.objects[2].box_px
    covered = (min(bx2, x2) - max(bx1, x1)) * (min(by2, y2) - max(by1, y1)) / ((x2 - x1) * (y2 - y1))
    assert 0.1 < covered < 0.9 and rows["occlusions"][0]["share"] == pytest.approx(covered, abs=0.05)


def test_supports_are_direct() -> None:
    sure, not_sure = Margin(0.1, "m", True), Margin(0.0, "m", None)
    rows = [(2, 1), (1, 0), (2, 0), (3, 0)]
    relations = [SceneRelation(a, "on", (b,), sure) for a, b in rows] + [SceneRelation(4, "on", (3,), not_sure)]
    assert [(s.subject, s.base) for s in supports_of(relations)] == [(2, 1), (1, 0), (3, 0)]
    scene = replace(scene_of_boxes(), supports=supports_of(relations))
    assert scene.stacks == ((0, 1, 2), (0, 3))


def test_boxes_that_say_they_rest_on_one_another_do_not_loop() -> None:
    relations = [SceneRelation(a, "on", (1 - a,), Margin(0.1, "m", True)) for a in (0, 1)]
    scene = replace(scene_of_boxes(), supports=supports_of(relations))
    assert scene.stacks == ()


def test_json() -> None:
    made = scene_of_boxes((*BOXES, ("cup", (0.1, 0.15, 1.2, 0.1, 0.1, 0.1, 0, 0, 0)))).to_json()
    again = json.loads(json.dumps(made, allow_nan=False))
    assert again["schema"] == "deixis.scene/1"
    assert again["picture"] == {"name": "grey.png", "width": 640, "height": 480, "sha256": PICTURE.sha256}
    assert again["camera"] == CAMERA.to_json()
    assert [(row["id"], row["name"], row["label"]) for row in again["objects"]] == [
        (0, "box", "box"),
        (1, "book", "book"),
        (2, "cup", "cup"),
        (3, "cup (2)", "cup"),
    ]
    assert again["objects"][0]["box_3d"] == pytest.approx(BOXES[0][1])
    for row in again["relations"]:
        assert set(row) == {"subject", "relation", "objects", "holds", "margin", "frame"}
        assert row["holds"] in (True, None)
    assert again["stacks"] == [[0, 1]]
    assert again["model"] == "nano"


def test_nothing_in_the_picture_is_a_scene_too() -> None:
    scene = Deixis(FakeBackend({"": "[]"}, card=CARD)).scene(PICTURE)
    assert (scene.objects, scene.relations, scene.stacks) == ((), (), ())
    assert scene.camera.source == "assumed"


def test_too_many_objects_keep_their_boxes_and_say_what_is_left_out() -> None:
    many = [(f"thing {i}", (0.01 * i - 0.3, 0.0, 1.0, 0.01, 0.3, 0.1, 0, 0, 0)) for i in range(MAX_RELATED + 1)]
    scene = scene_of_boxes(many)
    assert len(scene.objects) == MAX_RELATED + 1
    assert scene.relations == ()
    assert any("left out" in note for note in scene.provenance.notes)


def test_names() -> None:
    assert unique_names(["cup", "cup", "", "cup (2)", "camera"], ["camera"]) == (
        "cup",
        "cup (2)",
        "object",
        "cup (2) (2)",
        "camera (2)",
    )


# --- the command ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture, and a model that sees the boxes in it."""
    monkeypatch.setattr(deixis.spatial.deixis, "resolve_model", lambda _: backend_of((*BOXES, (HOSTILE, BOXES[2][1]))))
    path = tmp_path / "desk.png"
    Image.fromarray(PICTURE.pixels).save(path)
    return path


@pytest.mark.parametrize(("name", "start"), [("out.json", b"{"), ("out.glb", b"glTF"), ("OUT.HTML", b"<!doctype html>")])
def test_writes_what_the_ending_says(picture: Path, name: str, start: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    out = picture.with_name(name)
    assert run(["scene", str(picture), "-o", str(out), "--camera", "640,640,320,240"]) == 0
    assert out.read_bytes().startswith(start)
    assert sorted(path.name for path in picture.parent.iterdir()) == sorted(["desk.png", name])
    printed = capsys.readouterr().out
    for part in ("book is on box (+", "box → book", "given by you", "Saved:"):
        assert part in printed


def test_prints_json(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = picture.with_name("out.json")
    assert run(["scene", str(picture), "-o", str(out), "--json", "--language", "zh"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(out.read_text(encoding="utf-8"))
    assert "load" in printed["timings_ms"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "out.gltf"],
        ["-o", "no/such/folder/out.json"],
        ["-o", "folder.json"],
        ["-o", "out.json", "--language", "fr"],
        ["-o", "out.json", "--camera", "1,2,3"],
        [],
    ],
)
def test_bad_usage_is_one_line_and_code_2(
    picture: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(picture.parent)
    (picture.parent / "folder.json").mkdir()
    assert run(["scene", str(picture), *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(path.name for path in picture.parent.iterdir()) == ["desk.png", "folder.json"]


def test_a_file_that_cannot_be_written_leaves_nothing(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    out = picture.with_name("out.json")
    out.write_text("before", encoding="utf-8")
    monkeypatch.setattr(Path, "replace", fail)
    assert run(["scene", str(picture), "-o", str(out)]) == 1
    assert out.read_text(encoding="utf-8") == "before"
    assert sorted(path.name for path in picture.parent.iterdir()) == ["desk.png", "out.json"]
