import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.errors import GeometryError
from deixis.geometry import Box3D, Camera, contains, iou_px
from deixis.geometry.clipping import clip_polygon, polygon_area
from tests.geometry.strategies import boxes_3d, finite

CUBE = Box3D((0, 0, 3), (1, 1, 1))


def inside(box: Box3D, points: np.ndarray) -> np.ndarray:
    local = (points - box.center_m) @ np.array(box.rotation)
    return (np.abs(local) <= np.array(box.size_m) / 2).all(axis=1)


@given(boxes_3d())
def test_qwen_numbers_round_trip(box: Box3D) -> None:
    again = Box3D.from_qwen(box.to_qwen())
    np.testing.assert_allclose(again.rotation, box.rotation, atol=1e-7)
    assert again.center_m == box.center_m and again.size_m == box.size_m


@given(finite(-1, 1), st.sampled_from([0.5, -0.5]), finite(-1, 1))
def test_qwen_numbers_round_trip_where_the_middle_angle_is_a_quarter_turn(a: float, b: float, c: float) -> None:
    box = Box3D.from_qwen([0, 0, 3, 1, 2, 3, a, b, c])
    np.testing.assert_allclose(Box3D.from_qwen(box.to_qwen()).rotation, box.rotation, atol=1e-7)


def test_half_turns_turn_about_x_then_y_then_z() -> None:
    def turned(a: float, b: float, c: float) -> np.ndarray:
        return np.array(Box3D.from_qwen([0, 0, 3, 1, 1, 1, a, b, c]).rotation)

    np.testing.assert_allclose(turned(0.5, 0, 0) @ (0, 1, 0), (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(turned(0, 0.5, 0) @ (0, 0, 1), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(turned(0, 0, 0.5) @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(turned(0.2, 0.3, 0.4), turned(0, 0, 0.4) @ turned(0, 0.3, 0) @ turned(0.2, 0, 0), atol=1e-12)


@given(boxes_3d())
def test_corners_span_the_sizes(box: Box3D) -> None:
    corners = box.corners_m()
    np.testing.assert_allclose(corners.mean(axis=0), box.center_m, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(corners[[4, 2, 1]] - corners[0], axis=1), box.size_m, atol=1e-9)


@given(boxes_3d(), boxes_3d())
@settings(max_examples=150)
def test_overlap_equals_monte_carlo(a: Box3D, b: Box3D) -> None:
    points = (np.random.default_rng(0).random((40_000, 3)) - 0.5) * a.size_m @ np.array(a.rotation).T + a.center_m
    share = inside(b, points).mean()
    assert a.intersection_m3(b) == pytest.approx(share * a.volume_m3, abs=0.02 * a.volume_m3)
    assert a.iou(b) == pytest.approx(b.iou(a), abs=1e-7)
    assert 0 <= a.iou(b) <= 1


@given(boxes_3d())
def test_a_box_overlaps_itself_and_its_other_names_wholly(box: Box3D) -> None:
    assert box.iou(box) == pytest.approx(1, abs=1e-7)
    x, y, z = box.size_m
    rotation = np.array(box.rotation)[:, [1, 0, 2]] * (1, 1, -1)  # axes x and y swapped, z turned round
    renamed = replace(box, size_m=(y, x, z), rotation=tuple(map(tuple, rotation)))
    assert box.iou(renamed) == pytest.approx(1, abs=1e-7)


@given(boxes_3d(), finite(0.01, 0.99), st.integers(0, 2))
def test_slid_along_an_axis_the_overlap_is_the_rest(box: Box3D, share: float, axis: int) -> None:
    step = np.array(box.rotation)[:, axis] * box.size_m[axis] * share
    slid = replace(box, center_m=tuple(np.add(box.center_m, step)))
    assert box.iou(slid) == pytest.approx((1 - share) / (1 + share), abs=1e-6)


@given(boxes_3d(), finite(0, 0.5))
def test_touching_and_distant_boxes_share_nothing(box: Box3D, extra: float) -> None:
    step = np.array(box.rotation)[:, 0] * (box.size_m[0] + extra)
    assert box.iou(replace(box, center_m=tuple(np.add(box.center_m, step)))) == pytest.approx(0, abs=1e-7)


@given(boxes_3d(), finite(0.05, 0.95))
def test_a_box_within_a_box(box: Box3D, share: float) -> None:
    inner = replace(box, size_m=tuple(share * s for s in box.size_m))
    assert box.iou(inner) == pytest.approx(share**3, abs=1e-7)


def test_a_turned_cube_overlaps_in_an_octagon() -> None:
    turned = Box3D.from_qwen([0, 0, 3, 1, 1, 1, 0, 0, 0.25])
    assert CUBE.intersection_m3(turned) == pytest.approx(2 * (math.sqrt(2) - 1))  # area of the octagon of width 1


@given(boxes_3d(spread=3.0), finite(30, 120))
def test_projection_is_the_box_of_sampled_visible_points(box: Box3D, fov_deg: float) -> None:
    camera = Camera.from_fov(640, 480, fov_deg)
    seen = box.project(camera)
    points = (np.random.default_rng(1).random((20_000, 3)) - 0.5) * box.size_m @ np.array(box.rotation).T + box.center_m
    points = points[points[:, 2] > 1e-3]
    px = camera.project(points)
    px = px[((px >= 0) & (px <= (640, 480))).all(axis=1)]
    if seen is None:
        assert len(px) == 0
        return
    assert 0 <= seen[0] < seen[2] <= 640 and 0 <= seen[1] < seen[3] <= 480
    if len(px):
        (x1, y1), (x2, y2) = px.min(axis=0), px.max(axis=0)
        assert seen[0] <= x1 + 1e-6 and seen[1] <= y1 + 1e-6 and seen[2] >= x2 - 1e-6 and seen[3] >= y2 - 1e-6


def test_projection_of_a_box_wholly_in_view_is_the_box_of_its_corners() -> None:
    camera, box = Camera.from_fov(640, 480, 60), Box3D.from_qwen([0.1, -0.1, 4, 0.5, 0.4, 0.3, 0.1, 0.2, 0.3])
    px = camera.project(box.corners_m())
    np.testing.assert_allclose(box.project(camera), [*px.min(axis=0), *px.max(axis=0)])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box3D((0, 0, 0), (4, 4, 4)), (0, 0, 640, 480)),  # the camera is inside
        (Box3D((0, 0, -3), (1, 1, 1)), None),  # behind
        (Box3D((50, 0, 3), (1, 1, 1)), None),  # beside the view
        (Box3D((5, 0, 0), (6, 0.5, 40)), (370, 200, 640, 280)),  # a wall from behind the camera to far ahead
    ],
)
def test_projection_of_boxes_partly_or_wholly_out_of_view(box: Box3D, expected: tuple[float, ...] | None) -> None:
    seen = box.project(Camera(500, 500, 320, 240, 640, 480))
    assert seen == (None if expected is None else pytest.approx(expected))


def test_rescaled_depth_changes_the_centres_depth_alone() -> None:
    box = Box3D.from_qwen([1, 2, 3, 0.5, 0.6, 0.7, 0.1, 0.2, 0.3])
    assert box.rescaled_depth(1.5) == replace(box, center_m=(1, 2, 4.5))
    for factor in (0, -1, math.nan, math.inf):
        with pytest.raises(GeometryError):
            box.rescaled_depth(factor)


@pytest.mark.parametrize(
    "numbers",
    [[1] * 8, [1] * 10, [0, 0, 3, 0, 1, 1, 0, 0, 0], [0, 0, 3, 1, -1, 1, 0, 0, 0], [math.nan, 0, 3, 1, 1, 1, 0, 0, 0]],
)
def test_malformed_numbers_raise(numbers: list[float]) -> None:
    with pytest.raises(GeometryError):
        Box3D.from_qwen(numbers)


def test_malformed_boxes_raise() -> None:
    mirrored = ((1, 0, 0), (0, 1, 0), (0, 0, -1))
    for change in (
        {"rotation": mirrored},
        {"rotation": ((2, 0, 0), (0, 1, 0), (0, 0, 1))},
        {"center_m": (1, 2)},
        {"size_m": (1, math.inf, 1)},
    ):
        with pytest.raises(GeometryError):
            replace(CUBE, **change)


def test_clipping_a_square() -> None:
    square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    half = clip_polygon(square, np.array([[1.0, 1, 0]]), np.array([1.0]))
    assert polygon_area(half) == pytest.approx(0.5)
    assert polygon_area(clip_polygon(square, np.array([[1.0, 0, 0]]), np.array([-1.0]))) == 0


# What is visible of each recorded object, read off its photograph by eye to about ten pixels, and the least overlap to expect:
# a box around a chair holds much air.
SEEN_PX = {
    "autonomous_driving.jpg": [((1136, 464, 1600, 896), 0.75), ((986, 480, 1173, 629), 0.75)],
    "office.jpg": [((323, 524, 685, 1094), 0.4)],
}
SIDES = {"autonomous_driving.jpg": (1600, 900), "office.jpg": (1440, 1920)}


def test_recorded_answers_fall_onto_their_photographs(recorded: Path) -> None:
    answers = {case["image"]: case["answer"] for case in json.loads((recorded / "answers.json").read_text())["cases"]}
    intrinsics = json.loads((recorded / "cam_infos.json").read_text())
    for image, seen in SEEN_PX.items():
        camera = Camera(**intrinsics[image], width=SIDES[image][0], height=SIDES[image][1])
        for answer, (visible, overlap) in zip(answers[image], seen, strict=True):
            box = Box3D.from_qwen(answer["bbox_3d"])
            projected = box.project(camera)
            assert projected is not None
            x1, y1, x2, y2 = projected
            assert contains((x1 - 20, y1 - 20, x2 + 20, y2 + 20), visible)
            assert iou_px(projected, visible) > overlap
            vertical = np.array(box.rotation)[:, 1]  # y stands up, which relations rely on: both cameras look slightly down
            assert abs(vertical @ (0, 1, 0)) > 0.85
            np.testing.assert_allclose(
                np.mod(np.array(box.to_qwen()) - answer["bbox_3d"] + 1, 2), np.ones(9), atol=1e-9
            )  # the model's own naming of the turn survives
