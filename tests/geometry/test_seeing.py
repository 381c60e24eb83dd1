import math

import numpy as np
import pytest
from hypothesis import given

from deixis.errors import GeometryError
from deixis.geometry import (
    Box3D,
    Camera,
    GroundPlane,
    Viewpoint,
    front_to_back,
    vanishing_point,
    visibility_of_boxes,
    visibility_of_masks,
    visibility_px,
)
from tests.geometry.strategies import finite

CAMERA = Camera(500, 500, 320, 240, 640, 480)


def gravity(tilt: float, roll: float) -> tuple[float, float, float]:
    t, r = math.radians(tilt), math.radians(roll)
    return math.cos(t) * math.sin(r), math.cos(t) * math.cos(r), math.sin(t)


def test_what_hides_what_from_boxes_masks_and_solids() -> None:
    flat = visibility_px([(0, 0, 10, 10), (5, 0, 15, 10), (9, 0, 20, 10)], [3, 2, 1])
    assert [seen.visible for seen in flat] == pytest.approx([0.5, 0.4, 1.0])
    assert flat[0].hidden_by == pytest.approx({1: 0.4, 2: 0.1}) and flat[1].hidden_by == pytest.approx({2: 0.6})
    assert front_to_back(flat) == (2, 1, 0)
    masks = np.zeros((3, 10, 20), bool)
    masks[0, :, :10] = masks[1, :, 5:15] = masks[2, :, 9:] = True
    assert visibility_of_masks(masks, [3, np.full((10, 20), 2.0), 1]) == flat
    solids = [Box3D((0, 0, 4), (1, 1, 0.1)), Box3D((0.5, 0, 2), (0.5, 2, 0.1)), Box3D((0, 0, -2), (1, 1, 1))]
    seen = visibility_of_boxes(solids, CAMERA)
    assert seen[1].visible == 1 and set(seen[0].hidden_by) == {1} and seen[2].visible == 0
    assert seen[0].visible + seen[0].hidden_by[1] == pytest.approx(1)


def test_bad_input_to_occlusion() -> None:
    for call in (
        lambda: visibility_px([(0, 0, 1, 1)], [0]),
        lambda: visibility_px([(0, 0, 1, 1)], []),
        lambda: visibility_px([(0, 0, math.nan, 1)], [1]),
        lambda: visibility_of_masks([np.ones((2, 2))], [math.nan]),
        lambda: visibility_of_masks([np.ones((2, 2))], [np.ones((3, 3))]),
        lambda: visibility_of_boxes([], CAMERA, 0),
    ):
        with pytest.raises(GeometryError):
            call()
    assert visibility_px([], []) == () and front_to_back([]) == ()


@given(finite(-80, 85), finite(-40, 40))
def test_viewpoint_and_horizon(tilt: float, roll: float) -> None:
    view = Viewpoint(gravity(tilt, roll))
    assert view.tilt_deg == pytest.approx(tilt, abs=1e-6) and view.roll_deg == pytest.approx(roll, abs=1e-6)
    ends = view.horizon_px(CAMERA)
    assert ends is not None
    np.testing.assert_allclose(CAMERA.unproject(ends, [1, 1]) @ view.gravity, 0, atol=1e-6)


def test_classes_and_the_horizon_straight_down() -> None:
    classes = [Viewpoint(gravity(tilt, 0)).view_class for tilt in (90, 60, 35, 5, -20)]
    assert classes == ["top-down", "top-down", "oblique", "eye-level", "eye-level"]
    assert Viewpoint((0, 0, 1)).horizon_px(CAMERA) is None and Viewpoint((0, 0, 1)).roll_deg == 0


@pytest.mark.parametrize(("tilt", "roll"), [(30, 0), (10, 5), (70, -10), (0, 0), (-20, 3)])
def test_gravity_from_lines_and_from_the_ground(tilt: float, roll: float) -> None:
    down = np.array(gravity(tilt, roll))
    right = np.cross((0, 0, 1), down) if tilt > 80 else np.cross(down, (0, 0, 1))
    right = right / np.linalg.norm(right)
    ahead = np.cross(right, down)

    def drawn(way: np.ndarray) -> list[list[float]]:
        return [
            [*CAMERA.project([start - way / 3])[0], *CAMERA.project([start + way / 3])[0]]
            for start in np.array([(-1, 0.5, 5), (1, -1, 6), (0.3, 1.5, 7)])
        ]

    found = [
        Viewpoint.from_vertical_lines(CAMERA, drawn(down)),
        Viewpoint.from_level_lines(CAMERA, drawn(right + ahead), drawn(right - ahead)),
        Viewpoint.from_ground(GroundPlane(tuple(-down))),
    ]
    for view in found:
        np.testing.assert_allclose(view.gravity, down, atol=1e-6)


def test_bad_lines_raise() -> None:
    for segments in ([], [(0, 0, 1, 1)], [(0, 0, 1, 1), (2, 2, 3, 3)], [(0, 0, 0, 0), (1, 1, 2, 3)], [(0, 0, 1, math.nan)] * 2):
        with pytest.raises(GeometryError):
            vanishing_point(segments)
    with pytest.raises(GeometryError):
        Viewpoint((0, 0, 0))
