"""The truth says what the pixels show: ten drawn scenes of each world, measured again by other means."""

import dataclasses
import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from deixis.errors import OptionError
from deixis.geometry import Box3D, iou_px
from deixis.lab.make import MAX_SIDE_PX, example, make, parse_size
from deixis.lab.render import render
from deixis.lab.scene import N_LIGHTS, N_SURFACES, TABLE, Room, Scene, furnished_room, sampled_view, settled_scene
from deixis.lab.truth import half_turns, upright_box
from deixis.lab.worlds import WORLDS
from tests.lab.rendered import SIZE, Shot, shot

SCENES = 10
ALONE_SCENES = 4  # of them, those whose things are each drawn alone, too
BIG_PX = 400  # smaller silhouettes are mostly edge, where neither a ray nor a sample is certain
EVERY = [(world, index) for world in WORLDS for index in range(SCENES)]


@pytest.fixture(params=EVERY, ids=lambda case: f"{case[0]}-{case[1]}")
def drawn(request: pytest.FixtureRequest) -> Shot:
    return shot(*request.param)


def objects(drawn: Shot) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Every object with its visible pixels (h, w)."""
    return [(o, drawn.things == o["id"]) for o in drawn.truth["objects"]]


# --- what is seen --------------------------------------------------------------------------------------------------


def test_visible_boxes_counts_and_depths_are_those_of_the_pixels(drawn: Shot) -> None:
    assert set(np.unique(drawn.things)) <= {-1, *(o["id"] for o in drawn.truth["objects"])}
    for o, mask in objects(drawn):
        assert o["visible_px"] == mask.sum()
        if not mask.any():
            assert o["box_px"] == [0, 0, 0, 0] and o["visible_fraction"] == 0
            continue
        ys, xs = np.nonzero(mask)
        assert o["box_px"] == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert o["depth_m"] == pytest.approx(drawn.depth_m[mask].mean(), abs=1e-3)
        x, y = o["point_px"]
        assert mask[int(y), int(x)]


def test_every_world_shows_things() -> None:
    for world in WORLDS:
        shown = [len(shot(world, index).seen) for index in range(SCENES)]
        assert min(shown) >= 1 and max(shown) >= 7, shown
        assert all(2 <= len(shot(world, index).scene.placed) <= 12 for index in range(SCENES))


# --- boxes in space ------------------------------------------------------------------------------------------------


def test_the_visible_surface_lies_in_the_3d_box(drawn: Shot) -> None:
    camera = drawn.camera
    for o, mask in objects(drawn):
        ys, xs = np.nonzero(binary_erosion(mask))  # at an edge, depth and mask may come from two surfaces
        if not len(ys):
            continue
        depth_m = drawn.depth_m[ys, xs].astype(float)
        surface_m = camera.unproject(np.stack([xs + 0.5, ys + 0.5], -1), depth_m)
        box = Box3D.from_qwen(o["box_3d"])
        inside_m = np.abs((surface_m - box.center_m) @ np.array(box.rotation)) - np.array(box.size_m) / 2
        half_pixel_m = 0.5 * depth_m / camera.fx  # a sample may lie anywhere in its pixel
        assert (inside_m.max(1) - half_pixel_m).max() < 0.002, o["label"]


def test_projected_3d_boxes_hold_the_masks(drawn: Shot) -> None:
    for o, mask in objects(drawn):
        if not mask.any():
            continue
        projected = Box3D.from_qwen(o["box_3d"]).project(drawn.camera)
        assert projected is not None
        x1, y1, x2, y2 = o["box_px"]
        assert projected[0] < x1 + 1.5 and projected[1] < y1 + 1.5 and projected[2] > x2 - 1.5 and projected[3] > y2 - 1.5
        a1, b1, a2, b2 = o["amodal_box_px"]
        assert a1 < x1 + 1.5 and b1 < y1 + 1.5 and a2 > x2 - 1.5 and b2 > y2 - 1.5
        if a1 > 0 and b1 > 0 and a2 < drawn.camera.width and b2 < drawn.camera.height:
            # A lamp or a ball fills its box badly from some sides; the box must still be its own.
            assert iou_px(projected, (a1, b1, a2, b2)) > (0.4 if x2 - x1 > 8 else 0.3), o["label"]
            assert o["center_m"] == o["box_3d"][:3]


def test_amodal_boxes_are_those_of_things_drawn_alone(drawn_alone: tuple[Shot, list[np.ndarray]]) -> None:
    drawn, alone = drawn_alone
    camera = drawn.camera
    for o, mask in zip(drawn.truth["objects"], alone, strict=True):
        if mask.sum() >= 20:
            ys, xs = np.nonzero(mask)
            clipped = np.clip(o["amodal_box_px"], 0, (camera.width, camera.height) * 2)
            # Round shapes are measured on 24 points: within 1% of their size, and one pixel.
            slack = 1.2 + 0.01 * max(clipped[2] - clipped[0], clipped[3] - clipped[1])
            assert clipped == pytest.approx([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], abs=slack), o["label"]


# --- what hides what -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[(w, i) for w in WORLDS for i in range(ALONE_SCENES)], ids=lambda case: f"{case[0]}-{case[1]}")
def drawn_alone(request: pytest.FixtureRequest) -> tuple[Shot, list[np.ndarray]]:
    """A scene, and for each thing the mask (h, w) that it has when nothing else is there."""
    drawn = shot(*request.param)
    return drawn, silhouettes(*request.param)


@cache
def silhouettes(world: str, index: int) -> list[np.ndarray]:
    drawn, nothing = shot(world, index), Room((), ())
    lone = [dataclasses.replace(drawn.scene, placed=(placed,)) for placed in drawn.scene.placed]
    return [render(scene, nothing, drawn.view)[1] == 0 for scene in lone]


def test_visible_fractions_and_occluders_are_those_of_things_drawn_alone(drawn_alone: tuple[Shot, list[np.ndarray]]) -> None:
    drawn, alone = drawn_alone
    for o, mask in zip(drawn.truth["objects"], alone, strict=True):
        if mask.sum() < BIG_PX:
            continue
        assert o["visible_fraction"] == pytest.approx((drawn.things[mask] == o["id"]).mean(), abs=0.04), o["label"]
        hidden_by = dict(o["occluders"])
        assert o["id"] not in hidden_by
        assert list(hidden_by.values()) == sorted(hidden_by.values(), reverse=True)
        for other in drawn.truth["objects"]:
            if other is not o:
                share = (drawn.things[mask] == other["id"]).mean()
                assert hidden_by.get(other["id"], 0) == pytest.approx(share, abs=0.04), (o["label"], other["label"])


def test_something_is_hidden_somewhere() -> None:
    shares = [share for w, i in EVERY for o in shot(w, i).truth["objects"] for _, share in o["occluders"]]
    assert len(shares) >= 20 and max(shares) > 0.3


# --- who carries whom ----------------------------------------------------------------------------------------------


def test_supports_and_contacts_make_sense(drawn: Shot) -> None:
    things = drawn.truth["objects"]
    for o in things:
        assert o["rests_on"], f"{o['label']} floats"
        assert set(o["rests_on"]) - {TABLE} <= set(o["touches"]) <= {other["id"] for other in things} - {o["id"]}
        assert all(o["id"] in things[other]["touches"] for other in o["touches"])
        assert -0.01 < o["bottom_m"] < o["top_m"]
        if TABLE in o["rests_on"]:
            assert o["bottom_m"] < 0.01
        for carrier in set(o["rests_on"]) - {TABLE}:
            assert things[carrier]["bottom_m"] < o["top_m"] and o["bottom_m"] < things[carrier]["top_m"] + 0.005
            assert o["id"] not in things[carrier]["rests_on"] or carrier in o["touches"]


# --- the camera ----------------------------------------------------------------------------------------------------


def test_pose_and_gravity_follow_from_the_camera_matrix(drawn: Shot) -> None:
    pose = drawn.truth["pose"]
    world_from_camera = np.array(pose["T_world_camera"])
    turn = world_from_camera[:3, :3]
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-3) and np.linalg.det(turn) > 0
    assert world_from_camera[3].tolist() == [0, 0, 0, 1]
    assert pose["gravity"] == pytest.approx(turn.T @ [0, 0, -1], abs=1e-3)
    assert pose["height_m"] == pytest.approx(world_from_camera[2, 3], abs=1e-3)
    assert pose["pitch_deg"] == pytest.approx(np.degrees(np.arcsin(-turn[2, 2])), abs=0.1)
    plumb = turn.T @ [0, 0, -1]  # a plumb line at the picture's centre, as the picture shows it
    assert pose["roll_deg"] == pytest.approx(np.degrees(np.arctan2(plumb[0], plumb[1])), abs=0.1)
    assert abs(pose["roll_deg"]) <= 5.01  # as the cameras are drawn
    for placed, o in zip(drawn.scene.placed, drawn.truth["objects"], strict=True):
        low, high = placed.thing.bounds
        middle_m = placed.position_m + placed.rotation @ ((low + high) / 2)
        assert turn @ o["center_m"] + world_from_camera[:3, 3] == pytest.approx(middle_m, abs=2e-3)
        heights_m = (np.array(list(itertools.product(*zip(low, high, strict=True)))) @ placed.rotation.T)[
            :, 2
        ] + placed.position_m[2]
        assert (o["bottom_m"], o["top_m"]) == pytest.approx((heights_m.min(), heights_m.max()), abs=1e-3)


@pytest.fixture(scope="module")
def settled() -> Scene:
    return settled_scene("primitives", np.random.default_rng(5))


def test_views_keep_their_limits(settled: Scene) -> None:
    rng = np.random.default_rng(6)
    pitches = []
    for width, height in [(640, 480), (256, 448)] * 100:
        view = sampled_view(settled, rng, width, height)
        gravity = view.rotation.T @ [0.0, 0.0, -1.0]
        assert view.rotation @ view.rotation.T == pytest.approx(np.eye(3)) and np.linalg.det(view.rotation) > 0
        assert abs(np.degrees(np.arctan2(gravity[0], gravity[1]))) < 5.001
        assert 0.8 <= view.focal_px / max(width, height) <= 1.5
        assert view.position_m[2] >= 0.06
        assert view.fovy_deg == pytest.approx(np.degrees(2 * np.arctan(height / 2 / view.focal_px)))
        pitches.append(view.pitch_deg)
    assert 0 <= min(pitches) < 11 and 57 < max(pitches) <= 85.001


def test_rooms_have_the_parts_that_the_renderers_count_on(settled: Scene) -> None:
    for seed in range(20):
        room = furnished_room(settled, np.random.default_rng(seed))
        assert (len(room.surfaces), len(room.lights)) == (N_SURFACES, N_LIGHTS)
        assert [light.spot for light in room.lights] == [True, False]
        assert all(min(surface.half_size_m) > 0 and surface.repeat > 0 for surface in room.surfaces)
        table = room.surfaces[5]
        assert table.position_m[2] + table.half_size_m[2] == pytest.approx(0)


# --- one name for each box -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetry", ["none", "half", "quarter", "round"])
def test_upright_boxes_are_the_same_boxes_with_their_y_axis_down(symmetry: str) -> None:
    rng = np.random.default_rng(9)
    for _ in range(50):
        yaw, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(0.05, 1.4)
        gravity = np.array([0, np.cos(pitch), np.sin(pitch)])
        level = np.stack([[1.0, 0, 0], np.cross([1.0, 0, 0], gravity), -gravity], -1)  # camera from world, z up
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        size = np.array([0.1, 0.1, 0.3]) if symmetry == "round" else rng.uniform(0.05, 0.3, 3)
        rotation, named = upright_box(level @ turn, size, gravity, symmetry)
        assert rotation @ rotation.T == pytest.approx(np.eye(3)) and np.linalg.det(rotation) > 0
        assert rotation[:, 1] == pytest.approx(gravity)
        assert rotation[0, 0] > np.cos(np.pi / 4) - 1e-6  # turned at most 45 degrees from the camera's right
        before, after = (Box3D((0, 0, 1), tuple(s), tuple(map(tuple, r))) for s, r in ((size, level @ turn), (named, rotation)))
        if symmetry == "round":
            assert rotation[:, 0] == pytest.approx([1, 0, 0]) and named == pytest.approx([0.1, 0.3, 0.1])
        else:
            assert before.iou(after) == pytest.approx(1, abs=1e-6)
        again = Box3D.from_qwen([0, 0, 1, *named, *half_turns(rotation)])
        assert np.array(again.rotation) == pytest.approx(rotation)


# --- from a seed to files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", WORLDS)
def test_same_seed_same_bytes(world: str, tmp_path: Path) -> None:
    for run in ("a", "b"):
        assert list(make(world, 3, 2, (96, 64), tmp_path / run)) == [1, 2]
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == ["000000.png", "000001.png", "truth.jsonl"] == sorted(p.name for p in (tmp_path / "b").iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "a" / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["image"], line["world"], line["seed"], line["index"]) for line in lines] == [
        ("000000.png", world, 3, 0),
        ("000001.png", world, 3, 1),
    ]
    made = example(world, 3, 1, (96, 64))  # a picture needs none of those before it
    assert {**made.truth, "image": "000001.png", "questions": [q.to_json() for q in made.questions]} == lines[1]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / "000001.png")), made.pixels)
    assert {q.language for q in made.questions} == {"en", "zh"}
    assert lines[0]["objects"] != lines[1]["objects"]


def test_a_truth_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "truth.jsonl").write_text("mine\n", encoding="utf-8")
    with pytest.raises(OptionError, match="exists already"):
        next(make("desk", 0, 1, (64, 64), tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["truth.jsonl"]
    assert (tmp_path / "truth.jsonl").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize(("text", "size"), [("640x480", (640, 480)), ("64X4096", (64, 4096)), ("768x384", (768, 384))])
def test_sizes_are_read(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


BAD_SIZES = [
    "",
    "640",
    "640x",
    "x480",
    "640x480x3",
    "640×480",
    "-640x480",
    "640.5x480",
    "6e2x480",
    "63x64",
    f"64x{MAX_SIDE_PX + 1}",
    "６４x64",
]


@pytest.mark.parametrize("text", BAD_SIZES)
def test_bad_sizes_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(OptionError, match="expected") as raised:
        parse_size(text)
    assert "\n" not in str(raised.value)


def test_shots_are_what_make_writes() -> None:
    drawn = shot("desk", 0)
    made = example("desk", drawn.truth["seed"], 0, SIZE)
    assert made.truth == drawn.truth and np.array_equal(made.pixels, drawn.pixels)
