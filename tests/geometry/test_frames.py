import math

import numpy as np
import pytest
from hypothesis import assume, given

from deixis.errors import GeometryError
from deixis.geometry import (
    FRAME_RELATIONS,
    Box3D,
    Frame,
    Interval,
    azimuth_class,
    azimuth_deg,
    front_of,
    margin_in,
    offset,
)
from tests.geometry.strategies import boxes_3d

CAMERA = Frame.of_camera()
CUBE = Box3D((0, 0, 3), (1, 1, 1))
LEFT, NEAR, FAR = Box3D((-2, 0, 3), (1, 1, 1)), Box3D((0, 0, 1), (1, 1, 1)), Box3D((0, 0, 9), (1, 1, 1))
CHAIR = Frame.of_object("chair", CUBE)  # its front looks at the camera


def test_left_depends_on_whose() -> None:
    behind_looking_back = Frame.of_viewer("the wall", (0, 0, 9), "the camera", (0, 0, 0))
    verdicts = {frame.name: margin_in(frame, "left_of", LEFT, CUBE) for frame in (CAMERA, CHAIR, behind_looking_back)}
    assert {name: margin.decided for name, margin in verdicts.items()} == {
        "camera": True,
        "object: chair": False,
        "viewer: at the wall, facing the camera": False,
    }
    assert all(margin.frame == name for name, margin in verdicts.items())


def test_in_front_has_two_senses() -> None:
    assert margin_in(CAMERA, "in_front_of", NEAR, CUBE).value == pytest.approx(2)
    assert margin_in(CHAIR, "in_front_of", NEAR, CUBE).decided
    turned = Frame.of_object("chair", Box3D.from_angles((0, 0, 3), (1, 1, 1), (0, 180, 0)))
    assert margin_in(turned, "in_front_of", FAR, CUBE).decided
    assert margin_in(turned, "behind", NEAR, CUBE).decided


@given(boxes_3d(3), boxes_3d(3))
def test_opposites_are_antisymmetric_in_every_frame(a: Box3D, b: Box3D) -> None:
    for frame in (CAMERA, CHAIR):
        for one, other in (("left_of", "right_of"), ("in_front_of", "behind"), ("above", "below"), ("on", "under")):
            assert margin_in(frame, one, a, b) == margin_in(frame, other, b, a)
        assert margin_in(frame, "left_of", a, b).value == pytest.approx(-margin_in(frame, "right_of", a, b).value, abs=1e-12)
        assert margin_in(frame, "near", a, b).value == -margin_in(frame, "far", a, b).value
        for same in ("near", "touching", "aligned"):
            assert margin_in(frame, same, a, b).value == pytest.approx(margin_in(frame, same, b, a).value, abs=1e-4)


@pytest.mark.parametrize(
    ("relation", "subject", "object_", "decided"),
    [
        ("inside", Box3D((0, 0, 3), (0.2, 0.2, 0.2)), CUBE, True),
        ("inside", CUBE, Box3D((0, 0, 3), (0.2, 0.2, 0.2)), False),
        ("inside", Box3D((0.5, 0, 3), (0.2, 0.2, 0.2)), CUBE, None),
        ("near", Box3D((-2.7, 0, 3), (1, 1, 1)), CUBE, None),
        ("near", CUBE, Box3D((1.2, 0, 3), (1, 1, 1)), True),
        ("far", CUBE, FAR, True),
        ("touching", CUBE, Box3D((1, 0, 3), (1, 1, 1)), True),
        ("touching", CUBE, LEFT, False),
        ("touching", CUBE, Box3D((1.02, 0, 3), (1, 1, 1)), None),
        ("aligned", CUBE, Box3D.from_angles((5, 0, 3), (1, 2, 1), (0, 91, 0)), True),
        ("aligned", CUBE, Box3D.from_angles((5, 0, 3), (1, 2, 1), (0, 40, 0)), False),
        ("facing", CUBE, NEAR, True),
        ("facing", CUBE, FAR, False),
        ("facing", CUBE, Box3D((0, -5, 3), (1, 1, 1)), None),
    ],
)
def test_relations_in_space(relation, subject, object_, decided) -> None:
    assert margin_in(CAMERA, relation, subject, object_).decided is decided


def test_between_and_counts() -> None:
    assert margin_in(CAMERA, "between", CUBE, LEFT, Box3D((2, 0, 3), (1, 1, 1))).decided
    for relation in FRAME_RELATIONS:
        with pytest.raises(GeometryError):
            margin_in(CAMERA, relation, CUBE)
    with pytest.raises(GeometryError):
        margin_in(CAMERA, "beside", CUBE, LEFT)  # type: ignore[arg-type]


def test_ten_centimetres_left_with_an_interval() -> None:
    cup, book = Box3D((-0.2, 0, 1), (0.1, 0.1, 0.1)), Box3D((0, 0, 1), (0.1, 0.1, 0.1))
    found = offset(CAMERA, cup, book, (0.01, 0.01, 0.03), (0.01, 0.01, 0.03))
    assert found.direction == "left_of" and found.frame == "camera"
    assert found.gap_m.value == pytest.approx(0.1) and 0.1 in found.gap_m
    assert (found.right_m.low, found.right_m.high) == pytest.approx((-0.22, -0.18))
    assert offset(CHAIR, cup, book).direction == "right_of"
    assert offset(CAMERA, cup, book, (0.3, 0, 0)).direction is None
    assert offset(CAMERA, NEAR, CUBE).direction == offset(CHAIR, NEAR, CUBE).direction == "in_front_of"
    for bad in (-1.0, math.nan):
        with pytest.raises(GeometryError):
            offset(CAMERA, cup, book, (bad, 0, 0))
    with pytest.raises(GeometryError):
        Interval(1, 0, 2)


@given(boxes_3d())
def test_frames_are_right_handed_and_azimuth_agrees(box: Box3D) -> None:
    assume(abs(front_of(box)[1]) < 0.99)
    frame = Frame.of_object("it", box)
    np.testing.assert_allclose(frame.axes @ frame.axes.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(frame.local_m([box.center_m]), [(0, 0, 0)], atol=1e-9)
    assert -180 <= azimuth_deg(box) <= 180


@pytest.mark.parametrize(("turn", "side"), [(0, "front"), (180, "back"), (90, "left"), (-90, "right"), (45, "front-left")])
def test_azimuth_class(turn: float, side: str) -> None:
    # A quarter turn about y (down) turns the front from the camera to the picture's left: the camera is at its left hand.
    assert azimuth_class(Box3D.from_angles((0, 0, 3), (1, 1, 1), (0, turn, 0))) == side


def test_frames_without_a_level_direction_raise() -> None:
    with pytest.raises(GeometryError):
        Frame.of_viewer("here", (0, 0, 0), "above", (0, -1, 0))
    with pytest.raises(GeometryError):
        Frame.of_viewer("here", (0, 0, 0), "here", (0, 0, 0))
    with pytest.raises(GeometryError):
        front_of(CUBE, "up")  # type: ignore[arg-type]
