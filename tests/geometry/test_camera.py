import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deixis.errors import CameraError, GeometryError
from deixis.geometry import Camera
from tests.geometry.strategies import SIDES, cameras, finite


@given(cameras(), st.lists(st.tuples(finite(-50, 50), finite(-50, 50), finite(0.1, 100)), min_size=1, max_size=5))
def test_unproject_undoes_project(camera: Camera, points: list[tuple[float, float, float]]) -> None:
    points_m = np.array(points)
    back = camera.unproject(camera.project(points_m), points_m[:, 2])
    np.testing.assert_allclose(back, points_m, atol=1e-6)


@given(cameras(), finite(-5, 5), finite(-5, 5), finite(0.1, 100))
def test_projection_is_the_matrix_product(camera: Camera, x: float, y: float, z: float) -> None:
    homogeneous = camera.matrix @ (x, y, z)
    np.testing.assert_allclose(camera.project([(x, y, z)])[0], homogeneous[:2] / homogeneous[2], rtol=1e-9, atol=1e-9)


@given(cameras(), SIDES, SIDES, finite(-5, 5), finite(-5, 5))
def test_resize_scales_projections_and_is_undone(camera: Camera, width: int, height: int, x: float, y: float) -> None:
    smaller = camera.resized(width, height)
    there, here = smaller.project([(x, y, 2.0)])[0], camera.project([(x, y, 2.0)])[0]
    np.testing.assert_allclose(there, here * (width / camera.width, height / camera.height), rtol=1e-9, atol=1e-6)
    back = smaller.resized(camera.width, camera.height)
    np.testing.assert_allclose([back.fx, back.fy, back.cx, back.cy], [camera.fx, camera.fy, camera.cx, camera.cy], atol=1e-6)


@given(cameras(), st.data())
def test_crop_shifts_projections_and_padding_undoes_it(camera: Camera, data: st.DataObject) -> None:
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, camera.width), min_size=2, max_size=2)))
    y1, y2 = sorted(data.draw(st.lists(st.integers(0, camera.height), min_size=2, max_size=2)))
    assume(x1 < x2 and y1 < y2)
    crop = camera.cropped(x1, y1, x2, y2)
    assert (crop.width, crop.height) == (x2 - x1, y2 - y1)
    np.testing.assert_allclose(crop.project([(1, 2, 3)]), camera.project([(1, 2, 3)]) - (x1, y1), atol=1e-6)
    back = crop.padded(x1, y1, camera.width - x2, camera.height - y2)
    assert (back.width, back.height) == (camera.width, camera.height)
    np.testing.assert_allclose([back.cx, back.cy], [camera.cx, camera.cy], atol=1e-6)


@pytest.mark.parametrize(("axis", "side"), [("x", 640), ("y", 480), ("long", 640)])
def test_field_of_view_spans_its_axis_with_square_pixels(axis, side) -> None:
    camera = Camera.from_fov(640, 480, 70, axis)
    assert camera.fx == camera.fy
    assert math.degrees(2 * math.atan(side / 2 / camera.fx)) == pytest.approx(70)
    assert (camera.cx, camera.cy) == (320, 240)


def test_assumed_camera_says_so() -> None:
    camera = Camera.assumed(480, 640)
    assert camera.source == "assumed"
    assert math.degrees(2 * math.atan(320 / camera.fx)) == pytest.approx(60)


@given(cameras())
def test_json_round_trip(camera: Camera) -> None:
    assert Camera.from_json(json.loads(json.dumps(camera.to_json()))) == camera


def test_numpy_numbers_become_plain_ones() -> None:
    camera = Camera(np.float32(500), np.float64(500), np.float32(1), np.float32(2), np.int64(64), np.int32(48))  # type: ignore[arg-type]
    assert json.dumps(camera.to_json()) and type(camera.fx) is float and type(camera.width) is int
    assert hash(camera) == hash(Camera(500, 500, 1, 2, 64, 48))


def test_camera_from_text() -> None:
    assert Camera.from_text(" 500, 510,320.5,240 ", 640, 480) == Camera(500, 510, 320.5, 240, 640, 480, "user")


@pytest.mark.parametrize(
    "text", ["", "500,500,320", "500,500,320,240,1", "500,500,,240", "a,b,c,d", "nan,500,320,240", "0,500,320,240"]
)
def test_camera_text_that_no_camera_can_have(text: str) -> None:
    with pytest.raises(CameraError):
        Camera.from_text(text, 640, 480)


@pytest.mark.parametrize(
    "change",
    [
        {"fx": 0},
        {"fy": -1},
        {"fx": math.nan},
        {"cx": math.inf},
        {"width": 0},
        {"height": -3},
        {"width": 1.5},
        {"fx": "wide"},
        {"fx": None},
        {"source": "guess"},
    ],
)
def test_impossible_cameras_raise(change) -> None:
    with pytest.raises(CameraError):
        Camera(**{"fx": 500, "fy": 500, "cx": 320, "cy": 240, "width": 640, "height": 480, **change})


def test_json_with_other_keys_raises() -> None:
    with pytest.raises(CameraError, match="expected fx, fy"):
        Camera.from_json({"fx": 500, "focal": 1})


def test_impossible_requests_raise() -> None:
    camera = Camera.assumed(640, 480)
    for fov_deg in (0, 180, math.nan):
        with pytest.raises(CameraError):
            Camera.from_fov(640, 480, fov_deg)
    with pytest.raises(CameraError):
        Camera.from_fov(640, 480, 60, "diagonal")  # type: ignore[arg-type]
    for crop in ((0, 0, 0, 10), (5, 5, 4, 10), (-1, 0, 10, 10), (0, 0, 641, 10)):
        with pytest.raises(CameraError):
            camera.cropped(*crop)
    with pytest.raises(CameraError):
        camera.padded(-1, 0, 0, 0)
    for points in ([(0, 0, 0)], [(0, 0, -1)], [(0, 0)], [(0, 0, math.nan)], (1, 2, 3)):
        with pytest.raises(GeometryError):
            camera.project(points)
    for depth_m in ([1, 2], [0], [-1], [math.nan]):
        with pytest.raises(GeometryError):
            camera.unproject([(1, 2)], depth_m)
