"""The floor plan: sides and corners, neighbours, the camera's own place, and what kind of room it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deixis.cli.scene import layout_lines
from deixis.geometry import Box3D
from deixis.spatial.answer import FoundObject
from deixis.spatial.places.layout import ASSUMED, MAX_MEASURED, PLACES_ZH, layout_of
from tests.spatial.scenes import scene_of_boxes
from tests.spatial.test_placing import box_of

# right, forward, height, side; the table is 0.5 m below the camera, which looks 30° down.
DESK = {
    "blue cup": (-0.4, 0.8, 0.1, 0.1),
    "red book": (0.4, 1.4, 0.1, 0.1),
    "black box": (0.0, 1.4, 0.1, 0.1),
    "green pen": (0.05, 1.1, 0.1, 0.1),
}


def found(things: dict[str, tuple[float, float, float, float]], drop: float = 0.5) -> list[FoundObject]:
    return [FoundObject(label, (0, 0, 10, 10), box_3d=box_of(*numbers, drop=drop)) for label, numbers in things.items()]


def test_a_desk_by_its_edges() -> None:
    layout = layout_of(found(DESK))
    assert layout is not None
    assert layout.kind == "tabletop"
    assert layout.places == {
        "near left corner": [0],
        "far right corner": [1],
        "far edge": [2],
        "middle": [3],
    }
    assert layout.camera_height_m == pytest.approx(0.5)
    assert layout.camera_tilt_deg == pytest.approx(30)
    for thing, (right, forward, _, _) in zip(layout.standing, DESK.values(), strict=True):
        assert thing.at_m == pytest.approx((right, forward))
    assert (*layout.low_m, *layout.high_m) == pytest.approx((-0.45, 0.75, 0.45, 1.45))


def test_neighbours_are_measured_from_surface_to_surface() -> None:
    layout = layout_of(found(DESK))
    assert layout is not None
    apart = {(a, b): distance for a, b, distance in layout.neighbours}
    assert apart[2, 3] == pytest.approx(0.2)
    assert apart[1, 2] == pytest.approx(0.3)
    assert set(sum(apart, ())) == {0, 1, 2, 3}
    many = [FoundObject(f"{i}", (0, 0, 10, 10), box_3d=box_of(i * 0.02, 1.0, 0.1, 0.01)) for i in range(MAX_MEASURED + 1)]
    crowded = layout_of(many)
    assert crowded is not None
    assert crowded.neighbours == ()


def test_a_room_by_its_walls() -> None:
    things = {"sofa": (-1.8, 4, 0.8, 0.9), "tv": (1.9, 4, 0.6, 0.4), "rug": (0, 3, 0.02, 1.0), "lamp": (0, 5, 1.5, 0.3)}
    layout = layout_of(found(things, drop=1.5))
    assert layout is not None
    assert (layout.kind, layout.room_type, layout.evidence) == ("room", "living room", (0, 1))
    assert layout.places["left wall"] == [0]
    assert layout.places["right wall"] == [1]
    assert layout.places["far wall"] == [3]


@pytest.mark.parametrize(
    ("labels", "room"),
    [
        (["bed", "pillow", "lamp"], "bedroom"),
        (["床", "枕头"], "bedroom"),
        (["keyboard", "black mouse", "cup"], "office"),
        (["cars", "traffic light"], "street"),
        (["bed"], "unknown"),  # one thing alone says nothing
        (["bed", "pillow", "sofa", "tv"], "unknown"),  # nor does a tie
        (["carpet", "scarf"], "unknown"),
        ([], "unknown"),
    ],
)
def test_room_type(labels: list[str], room: str) -> None:
    things = [FoundObject(label, (0, 0, 10, 10), box_3d=box_of(i * 0.3, 1.0, 0.1, 0.1)) for i, label in enumerate([*labels, "x"])]
    layout = layout_of(things)
    assert layout is not None
    assert layout.room_type == room


def test_what_has_no_3d_box_is_not_on_the_plan() -> None:
    flat = FoundObject("wall", (0, 0, 10, 10))
    assert layout_of([flat]) is None
    layout = layout_of([flat, *found(DESK)])
    assert layout is not None
    assert [thing.object for thing in layout.standing] == [1, 2, 3, 4]


def test_one_thing_stands_in_the_middle_of_its_own_plan() -> None:
    layout = layout_of(found({"cup": (0.2, 1.0, 0.1, 0.1)}))
    assert layout is not None
    assert layout.places == {"middle": [0]}
    assert layout.neighbours == ()


def test_json_and_words() -> None:
    scene = scene_of_boxes()
    made = json.loads(json.dumps(scene.to_json(), allow_nan=False))["layout"]
    assert set(made) == {
        "kind",
        "room_type",
        "evidence",
        "plan_m",
        "camera",
        "ground",
        "objects",
        "places",
        "neighbours",
        "assumed",
    }
    assert made["assumed"] == list(ASSUMED["tabletop"])
    assert made["camera"]["height_m"] == pytest.approx(0.2)
    axes = np.array([made["ground"][name] for name in ("right", "up", "forward")])
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-4)
    assert np.linalg.det(axes) == pytest.approx(-1, abs=1e-4)  # right × up points back: the camera's y is down
    assert all(row["place"] in PLACES_ZH for row in made["objects"])
    assert scene.layout is not None
    for language, camera in (("en", "0.20 m above the table"), ("zh", "相机高出桌面0.20米")):
        lines = layout_lines(scene.layout, scene.names, language)  # type: ignore[arg-type]
        assert "cup" in lines[0]
        assert camera in lines[1]


def test_ground_is_that_of_turned_boxes_too() -> None:
    turned = Box3D.from_angles((0.0, 0.3, 1.0), (0.1, 0.1, 0.1), (0, 30, 0))
    layout = layout_of([FoundObject("cup", (0, 0, 10, 10), box_3d=turned)])
    assert layout is not None
    assert layout.ground.up == pytest.approx((0, -1, 0))
