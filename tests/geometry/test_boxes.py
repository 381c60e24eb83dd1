import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deixis.errors import GeometryError
from deixis.geometry import (
    BoxPx,
    area,
    center_px,
    checked_box,
    clipped_px,
    contains,
    from_norm1000,
    gap_px,
    iou_px,
    point_from_norm1000,
    point_to_norm1000,
    to_norm1000,
)
from tests.geometry.strategies import SIDES, boxes_px

NORM = st.integers(0, 1000)


@given(NORM, NORM, NORM, NORM, SIDES, SIDES)
def test_codes_survive_the_way_to_pixels_and_back(a: int, b: int, c: int, d: int, width: int, height: int) -> None:
    box = (min(a, c), min(b, d), max(a, c), max(b, d))
    assert to_norm1000(from_norm1000(box, width, height), width, height) == box
    assert point_to_norm1000(point_from_norm1000((a, b), width, height), width, height) == (a, b)


@given(st.data(), SIDES, SIDES)
def test_pixels_survive_coding_within_half_a_step(data: st.DataObject, width: int, height: int) -> None:
    box = data.draw(boxes_px(width, height))
    back = from_norm1000(to_norm1000(box, width, height), width, height)
    for value, decoded, side in zip(box, back, (width, height, width, height), strict=True):
        assert abs(value - decoded) <= side / 2000 + 1e-9


def test_axes_are_coded_independently() -> None:
    assert from_norm1000((100, 100, 500, 500), 2000, 500) == (200, 50, 1000, 250)
    assert point_from_norm1000((447, 81), 1440, 3120) == pytest.approx((643.68, 252.72))


@pytest.mark.parametrize(
    ("a", "b", "iou", "gap"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1, 0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3, 0),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0, 0),
        ((0, 0, 10, 10), (13, 14, 20, 20), 0, 5),
        ((0, 0, 10, 10), (2, 2, 4, 4), 0.04, 0),
        ((3, 3, 3, 3), (3, 3, 3, 3), 0, 0),
        ((0, 0, 10, 0), (0, 4, 10, 4), 0, 4),
    ],
)
def test_overlap_and_gap(a: BoxPx, b: BoxPx, iou: float, gap: float) -> None:
    assert iou_px(a, b) == pytest.approx(iou)
    assert gap_px(a, b) == pytest.approx(gap)


@given(boxes_px(), boxes_px())
def test_overlap_is_symmetric_and_bounded(a: BoxPx, b: BoxPx) -> None:
    assert iou_px(a, b) == pytest.approx(iou_px(b, a))
    assert 0 <= iou_px(a, b) <= 1 + 1e-12
    assert gap_px(a, b) == gap_px(b, a)
    assert not (iou_px(a, b) > 0 and gap_px(a, b) > 0)


@given(boxes_px(), boxes_px())
def test_containing_is_covering(a: BoxPx, b: BoxPx) -> None:
    assert contains(a, a)
    assert contains(a, (*center_px(a), *center_px(a)))
    if contains(a, b) and area(b) > 1e-9:
        assert iou_px(a, b) == pytest.approx(area(b) / area(a))


@given(boxes_px(2000, 2000))
def test_clipping_keeps_what_is_inside(box: BoxPx) -> None:
    inside = clipped_px(box, 1000, 800)
    if inside is None:
        assert box[0] >= 1000 or box[1] >= 800 or area(box) < 1e-6
    else:
        assert contains((0, 0, 1000, 800), inside) and contains(box, inside)


@pytest.mark.parametrize(
    "box", [(1, 2, 3), (1, 2, 3, 4, 5), (5, 0, 1, 1), (0, 5, 1, 1), (0, 0, math.nan, 1), (0, 0, math.inf, 1)]
)
def test_malformed_boxes_raise(box: tuple[float, ...]) -> None:
    for function in (checked_box, area, center_px):
        with pytest.raises(GeometryError):
            function(box)
    for pair in (iou_px, gap_px, contains):
        with pytest.raises(GeometryError):
            pair((0, 0, 1, 1), box)
    with pytest.raises(GeometryError):
        from_norm1000(box, 10, 10)


def test_what_leaves_the_picture_has_no_code() -> None:
    with pytest.raises(GeometryError, match="outside"):
        to_norm1000((0, 0, 11, 5), 10, 10)
    with pytest.raises(GeometryError, match="outside"):
        point_to_norm1000((-0.1, 0), 10, 10)
    with pytest.raises(GeometryError):
        point_from_norm1000((1, 2, 3), 10, 10)
