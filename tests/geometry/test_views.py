from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deixis.errors import CameraError, GeometryError
from deixis.geometry import FORMAT_WIDTH_MM, Camera, View, VirtualCamera, padded_to_aspect, sensor_width_mm, tiles
from tests.geometry.strategies import boxes_3d, cameras, finite


@given(cameras(), st.tuples(*[st.integers(-300, 300)] * 2), st.tuples(*[st.integers(1, 4000)] * 4), finite(-2, 2), finite(-2, 2))
def test_a_view_maps_points_as_its_camera_projects_them_and_back(camera, corner, sizes, x, y) -> None:
    w, h, width, height = sizes
    view = View((*corner, corner[0] + w, corner[1] + h), width, height)
    seen = camera.project([(x, y, 3.0)])[0]
    there = view.point_to_view(seen)
    np.testing.assert_allclose(view.point_to_picture(there), seen, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(
        view.box_to_picture(view.box_to_view((*seen, *seen + 5))), (*seen, *seen + 5), rtol=1e-9, atol=1e-6
    )
    if corner[0] + w > 0 and corner[1] + h > 0 and corner[0] < camera.width and corner[1] < camera.height:
        shown = view.camera_of_view(camera)
        assert (shown.width, shown.height, shown.source) == (width, height, camera.source)
        np.testing.assert_allclose(shown.project([(x, y, 3.0)])[0], there, rtol=1e-9, atol=1e-6)


@given(st.integers(1, 5000), st.integers(1, 5000), finite(1, 4), finite(0, 0.9))
def test_tiles_cover_the_picture(width: int, height: int, longest: float, overlap: float) -> None:
    found = tiles(width, height, longest, overlap)
    axis = 0 if width >= height else 1
    spans = [(view.window_px[axis], view.window_px[axis + 2]) for view in found]
    assert spans[0][0] == 0 and spans[-1][1] == max(width, height)
    length = spans[0][1]
    for (_, end), (start, stop) in pairwise(spans):
        assert stop - start == length
        assert end - start >= min(overlap * length, length - 1) - 1  # whole pixels
    for view in found:
        assert max(view.width, view.height) <= longest * min(view.width, view.height)


@pytest.mark.parametrize(
    ("size", "padded"), [((3300, 1000), (3300, 1320)), ((500, 1000), (500, 1000)), ((100, 1000), (400, 1000)), ((9, 2), (9, 4))]
)
def test_padding_to_an_aspect_ratio_keeps_the_middle(size, padded) -> None:
    view = padded_to_aspect(*size, 2.5)
    assert (view.width, view.height) == padded and view.scale == (1, 1)
    camera = view.camera_of_view(Camera.assumed(*size))
    assert (camera.width, camera.height) == padded
    assert abs(camera.cx - padded[0] / 2) <= 0.5 and abs(camera.cy - padded[1] / 2) <= 0.5
    assert view.box_to_picture(view.box_to_view((0, 0, *size))) == (0, 0, *size)


@given(boxes_3d(), cameras(), finite(0.3, 3))
def test_the_virtual_camera_changes_depth_alone_and_back(box, camera, ratio) -> None:
    virtual = VirtualCamera(ratio)
    centred = replace(camera, cx=camera.width / 2, cy=camera.height / 2)
    real = virtual.to_real(box, centred)
    assert (real.size_m, real.rotation, real.center_m[:2]) == (box.size_m, box.rotation, box.center_m[:2])
    assert virtual.depth_to_real(box.center_m[2], camera) == pytest.approx(real.center_m[2])
    np.testing.assert_allclose(virtual.to_virtual(virtual.to_real(box, camera), camera).center_m, box.center_m, atol=1e-9)


@given(boxes_3d(), cameras(), finite(0.3, 3))
def test_a_box_keeps_its_place_in_the_picture_whatever_its_camera(box, camera, ratio) -> None:
    virtual = VirtualCamera(ratio)
    square = replace(camera, fy=camera.fx)
    imagined = Camera(*[virtual.focal_px(square)] * 2, square.width / 2, square.height / 2, square.width, square.height)
    seen = imagined.project([box.center_m])
    np.testing.assert_allclose(square.project([virtual.to_real(box, square).center_m]), seen, rtol=1e-9, atol=1e-6)


def test_the_virtual_camera_by_hand() -> None:
    camera = Camera(500, 500, 320, 240, 640, 480)
    assert VirtualCamera(1.0).focal_px(camera) == 640
    assert VirtualCamera(1.0).depth_factor(camera) == 500 / 640


def test_sensor_widths() -> None:
    assert sensor_width_mm("NIKON D5") == sensor_width_mm("Canon EOS 5D Mark IV") == FORMAT_WIDTH_MM["full frame"]
    assert sensor_width_mm("NIKON D5600") == sensor_width_mm("ILCE-6400") == FORMAT_WIDTH_MM["APS-C"]
    assert sensor_width_mm("NIKON Z 50") == 23.5 and sensor_width_mm("NIKON Z 5") == 36
    assert sensor_width_mm("Canon EOS R6") == 36 and sensor_width_mm("Canon EOS R7") == 22.3
    assert sensor_width_mm("") is None and sensor_width_mm("Kiev 88") is None


def test_impossible_views_raise() -> None:
    for window, size in (((0, 0, 0, 5), (5, 5)), ((0, 0, 5.5, 5), (5, 5)), ((0, 0, 5, 5), (0, 5)), ((5, 0, 0, 5), (5, 5))):
        with pytest.raises(GeometryError):
            View(window, *size)  # type: ignore[arg-type]
    with pytest.raises(GeometryError):
        tiles(10, 10, 0.5)
    with pytest.raises(GeometryError):
        tiles(10, 10, 2, 1.0)
    with pytest.raises(GeometryError):
        padded_to_aspect(10, 10, 0)
    for ratio in (0, -1, float("nan"), float("inf")):
        with pytest.raises(CameraError):
            VirtualCamera(ratio)
    with pytest.raises(GeometryError):
        VirtualCamera(1).depth_to_real(0, Camera.assumed(4, 4))
