import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from scipy.optimize import minimize

from deixis.errors import GeometryError
from deixis.geometry import (
    Box3D,
    Camera,
    GroundPlane,
    closest_points_m,
    convex_hull,
    distance_m,
    lifted_box,
    lifted_point_m,
    line_of_sight,
    nearest_point_m,
    polygon_contains,
    polygon_iou,
)
from tests.geometry.strategies import boxes_3d, finite

CUBE = Box3D((0, 0, 3), (1, 1, 1))


def random_box(rng: np.random.Generator) -> Box3D:
    return Box3D.from_qwen([*rng.uniform(-1, 1, 2), rng.uniform(2, 4), *rng.uniform(0.2, 1.5, 3), *rng.uniform(-1, 1, 3)])


def inside(box: Box3D, points: np.ndarray, slack: float = 1e-9) -> np.ndarray:
    return (np.abs((points - box.center_m) @ np.array(box.rotation)) <= np.array(box.size_m) / 2 + slack).all(axis=1)


def test_overlap_equals_monte_carlo_on_a_thousand_pairs() -> None:
    rng = np.random.default_rng(11)
    for _ in range(1_000):
        a, b = random_box(rng), random_box(rng)
        points = (rng.random((30_000, 3)) - 0.5) * a.size_m @ np.array(a.rotation).T + a.center_m
        shared = inside(b, points).mean() * a.volume_m3
        assert a.iou(b) == pytest.approx(shared / (a.volume_m3 + b.volume_m3 - shared), abs=0.01)
        assert a.iou(b) == pytest.approx(b.iou(a), abs=1e-9)


@given(boxes_3d(3.0), boxes_3d(3.0))
def test_closest_points_lie_on_their_boxes_and_the_distance_is_symmetric(a: Box3D, b: Box3D) -> None:
    here, there = np.array(closest_points_m(a, b))
    assert inside(a, here[None], 1e-6).all() and inside(b, there[None], 1e-6).all()
    assert distance_m(a, b) == pytest.approx(distance_m(b, a), abs=1e-7)
    assert distance_m(a, b) <= np.linalg.norm(np.subtract(a.center_m, b.center_m)) + 1e-9
    if a.intersection_m3(b) > 1e-6:
        assert distance_m(a, b) == 0


def test_distance_equals_quadratic_programming() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        a, b = random_box(rng), random_box(rng)
        b = replace(b, center_m=tuple(np.add(b.center_m, rng.uniform(-2, 2, 3)).tolist()))
        axes = np.concatenate([np.array(a.rotation), -np.array(b.rotation)], axis=1)  # (3, 6)
        gap, half = np.subtract(a.center_m, b.center_m), np.array([*a.size_m, *b.size_m]) / 2
        found = minimize(
            lambda t, axes=axes, gap=gap: float(((axes @ t + gap) ** 2).sum()),
            np.zeros(6),
            jac=lambda t, axes=axes, gap=gap: 2 * axes.T @ (axes @ t + gap),
            bounds=[(-h, h) for h in half],
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-10},
        )
        assert distance_m(a, b) == pytest.approx(math.sqrt(found.fun), abs=2e-4)


def test_distances_by_hand() -> None:
    assert distance_m(CUBE, Box3D((3, 0, 3), (1, 1, 1))) == pytest.approx(2)
    assert distance_m(CUBE, Box3D((1, 0, 3), (1, 1, 1))) == 0  # they touch
    assert distance_m(CUBE, Box3D((0, 0, 3), (0.1, 0.1, 0.1))) == 0  # one in the other
    assert distance_m(CUBE, Box3D((0, 0, 3), (9, 0.1, 0.1))) == 0  # a bar through it: no corner lies inside
    edge_to_edge = Box3D.from_angles((2, 0, 3), (1, 1, 1), (0, 45, 0))
    assert distance_m(CUBE, edge_to_edge) == pytest.approx(1.5 - math.sqrt(0.5))
    assert nearest_point_m(CUBE, (5, 0, 3)) == (0.5, 0, 3)


@given(boxes_3d())
def test_angles_in_every_unit_and_faces(box: Box3D) -> None:
    for unit in ("half_turns", "degrees", "radians"):
        again = Box3D.from_angles(box.center_m, box.size_m, box.angles(unit), unit)
        np.testing.assert_allclose(again.rotation, box.rotation, atol=1e-7)
    np.testing.assert_allclose(np.multiply(box.angles("half_turns"), 180), box.angles("degrees"))
    middles = box.faces_m().mean(axis=1)
    np.testing.assert_allclose(np.linalg.norm(middles - box.center_m, axis=1), np.repeat(box.size_m, 2) / 2, atol=1e-9)


def test_line_of_sight() -> None:
    boxes = [CUBE, Box3D((0, 0, 6), (1, 1, 1)), Box3D((5, 0, 3), (1, 1, 1))]
    assert line_of_sight((0, 0, 0), (0, 0, 9), boxes) == (False, (0, 1))
    assert line_of_sight((0, 0, 9), (0, 0, 0), boxes).blocked_by == (1, 0)
    assert line_of_sight((0, 0, 0), (0, 0, 9), boxes, ignore=(0, 1)).clear
    assert line_of_sight((0, 0, 0), (0, 0, 2), boxes).clear
    assert line_of_sight((0.5, 0, 0), (0.5, 0.7, 2.4), boxes).clear
    assert line_of_sight((-3, 0.5 + 1e-12, 3), (3, 0.5 + 1e-12, 3), boxes).clear  # grazes


@given(boxes_3d(), finite(-3, 3), finite(-3, 3), finite(-1, 6))
def test_sight_through_a_box_is_what_samples_say(box: Box3D, x: float, y: float, z: float) -> None:
    line = np.linspace((0, 0, 0.0), (x, y, z), 400)
    if inside(box, line, -1e-6).any():
        assert not line_of_sight(line[0], line[-1], [box]).clear


def test_footprint_and_lifting() -> None:
    plane = GroundPlane.under([CUBE], (0, -2, 0))
    assert plane.up == (0, -1, 0) and plane.offset_m == pytest.approx(-0.5)
    assert sorted(map(tuple, plane.footprint_m(CUBE).round(9).tolist())) == [(-0.5, 2.5), (-0.5, 3.5), (0.5, 2.5), (0.5, 3.5)]
    np.testing.assert_allclose(plane.height_m([(0, -0.5, 3)]), [1.0])
    camera = Camera(500, 500, 320, 240, 640, 480)
    place = plane.meet(camera, (320, 340))
    np.testing.assert_allclose(place, (0, 0.5, 2.5))
    assert plane.meet(camera, (320, 140)) is None
    assert GroundPlane((0, 0, -1)).axes == ((1, 0, 0), (0, -1, 0))
    assert lifted_point_m(camera, (320, 240), 2) == (0, 0, 2)
    lifted = lifted_box(camera, (270, 190, 370, 290), 2.5, 0.3)
    np.testing.assert_allclose([*lifted.center_m, *lifted.size_m], (0, 0, 2.65, 0.5, 0.5, 0.3))
    np.testing.assert_allclose(lifted.project(camera), (270, 190, 370, 290))


def test_polygons() -> None:
    square = [(0, 0), (2, 0), (2, 2), (0, 2), (1, 1)]
    assert len(convex_hull(square)) == 4
    assert polygon_iou(square, [(1, 0), (3, 0), (3, 2), (1, 2)]) == pytest.approx(1 / 3)
    assert polygon_contains(square, (2, 1)) and not polygon_contains(square, (2.1, 1))
    assert polygon_iou(square, [(0, 0), (1, 1)]) == 0 and not polygon_contains([(0, 0), (1, 1)], (0, 0))


def test_bad_input_raises_and_many_boxes_do_not_hang() -> None:
    camera = Camera.assumed(640, 480)
    for call in (
        lambda: GroundPlane((0, 0, 0)),
        lambda: GroundPlane((0, 1, 0), math.nan),
        lambda: GroundPlane.under([], (0, -1, 0)),
        lambda: lifted_box(camera, (5, 5, 5, 9), 1),
        lambda: lifted_box(camera, (5, 5, 8, 9), 0),
        lambda: lifted_box(camera, (5, 5, 8, 9), 1, -1),
        lambda: line_of_sight((0, 0, math.nan), (0, 0, 1), []),
        lambda: Box3D.from_angles((0, 0, 3), (1, 1, 1), (math.nan, 0, 0)),
        lambda: CUBE.angles("turns"),  # type: ignore[arg-type]
        lambda: Box3D((0, 0, 3), (0, 1, 1)),
        lambda: Box3D((math.nan, 0, 3), (1, 1, 1)),
        lambda: convex_hull([(0, math.nan)]),
    ):
        with pytest.raises(GeometryError):
            call()
    behind = Box3D((0, 0, -3), (1, 1, 1))
    assert behind.project(camera) is None and behind.outline_px(camera).shape == (0, 2)
    rng = np.random.default_rng(0)
    started = time.perf_counter()
    assert len(line_of_sight((0, 0, 0), (0, 0, 9), [random_box(rng) for _ in range(10_000)]).blocked_by) > 100
    assert time.perf_counter() - started < 20
