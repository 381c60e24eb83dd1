"""Free places: distances between footprints, surfaces, zones; and in the lab's true scenes, what is offered is really free."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deixis.errors import GeometryError
from deixis.geometry import Box3D, Camera, convex_hull, polygon_iou
from deixis.lab.scene import Scene, View, sampled_view, settled_scene
from deixis.lab.truth import truth_of
from deixis.spatial.places.free_space import (
    NOT_AT_ALL,
    SURE,
    Place,
    Surface,
    _apart_m,
    _seen,
    amid,
    beside,
    free_places,
    near,
    probability_of_room,
    upright,
)

# A camera 1 m above a table, straight down: x is right, y is the picture's down, z is depth; the table is at 1 m.
LOOKING_DOWN = Camera(500, 500, 320, 240, 640, 480, "user")
UP = (0.0, 0.0, -1.0)


def standing(x: float, y: float, side: float = 0.1, tall: float = 0.1, turn: float = 0.0) -> Box3D:
    """A box on that table; its own y axis is vertical."""
    return Box3D.from_angles((x, y, 1 - tall / 2), (side, tall, side), (90, 0, turn))


CORNERS = [standing(x, y) for x in (-0.4, 0.4) for y in (-0.3, 0.3)]


def test_distance_of_footprints() -> None:
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    at = np.array([[3.0, 0.0], [4.0, 5.0], [0.0, 0.25], [1.0, 0.0]])
    assert _apart_m(at, square, square) == pytest.approx([2.0, 5.0, -0.75, 0.0])
    assert _apart_m(at[:1], square, np.zeros((1, 2))) == pytest.approx([2.5])


@pytest.mark.parametrize("seed", range(20))
def test_distance_of_footprints_is_that_of_their_nearest_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    obstacle, footprint = (convex_hull(rng.normal(size=(6, 2))) for _ in range(2))
    at = rng.normal(size=(1, 2)) * 4
    shares = np.linspace(0, 1, 400)[:, None]

    def border(corners: np.ndarray) -> np.ndarray:
        following = np.roll(corners, -1, axis=0)
        return np.concatenate([a + (b - a) * shares for a, b in zip(corners, following, strict=True)])

    one, two = border(obstacle), border(footprint + at)
    nearest = min(float(np.hypot(*(one - point).T).min()) for point in two)
    apart = float(_apart_m(at, obstacle, footprint)[0])
    assert apart == pytest.approx(nearest, abs=0.02) if apart > 0 else polygon_iou(obstacle, footprint + at) > 0


def test_the_surface_is_under_the_things_and_a_leaning_one_is_outvoted() -> None:
    leaning = Box3D.from_angles((0.0, 0.0, 0.9), (0.02, 0.2, 0.2), (90, 30, 0))
    surface = Surface.under([*CORNERS, leaning])
    assert surface.plane.up == pytest.approx(UP, abs=1e-9)
    assert surface.plane.offset_m == pytest.approx(-1.0)
    assert surface.known_by == "hull"
    assert upright([*CORNERS, leaning]) == pytest.approx(UP, abs=1e-9)
    with pytest.raises(GeometryError, match="at least one"):
        Surface.under([])


def test_what_rests_on_a_thing_does_not_lift_the_surface() -> None:
    stacked = [Box3D.from_angles((x, 0.3, 0.85), (0.08, 0.1, 0.08), (90, 0, 0)) for x in (-0.4, 0.4)]
    assert Surface.under([CORNERS[1], CORNERS[3], *stacked]).plane.offset_m == pytest.approx(-1.0)


def test_a_table_reaches_a_little_beyond_the_things_on_it_and_a_located_one_does_not() -> None:
    grown = Surface.under(CORNERS).grown(0.1)
    assert np.abs(grown.outline_m).max(axis=0) == pytest.approx([0.55, 0.45], abs=0.01)
    located = Surface.on_top_of(CORNERS[0])
    assert located.grown(0.1) is located


def test_the_middle_of_an_empty_table_is_the_best_place() -> None:
    best, *rest = free_places(Surface.under(CORNERS), LOOKING_DOWN, CORNERS, standing(0, 0))
    assert best.point_px == pytest.approx((320, 240), abs=12)
    assert best.center_m[2] == pytest.approx(1.0)
    assert best.clearance_m == pytest.approx(math.hypot(0.3, 0.2), abs=0.03)  # corner to corner
    assert best.probability > SURE
    assert len(best.outline_px) == 4
    assert all(place.clearance_m <= best.clearance_m for place in rest)
    assert set(best.to_json()) == {"point_px", "outline_px", "center_m", "footprint_m", "clearance_m", "probability"}


def test_what_hides_the_table_or_stands_there_is_not_offered() -> None:
    surface = Surface.under(CORNERS)
    thing = standing(0, 0)
    (there,) = free_places(surface, LOOKING_DOWN, CORNERS, thing, count=1)
    x, y = there.point_px
    (elsewhere,) = free_places(surface, LOOKING_DOWN, CORNERS, thing, hidden_by=[(x - 5, y - 5, x + 5, y + 5)], count=1)
    low, high = np.min(elsewhere.outline_px, axis=0), np.max(elsewhere.outline_px, axis=0)
    assert not (low[0] < x < high[0] and low[1] < y < high[1])
    (beside_it,) = free_places(surface, LOOKING_DOWN, [*CORNERS, standing(0, 0)], thing, count=1)
    assert math.dist(beside_it.center_m, (0, 0, 1)) > 0.1


@pytest.mark.parametrize(
    ("box", "outline", "seen"),
    [
        ((12, 12, 25, 25), True, True),  # within the outline's bounds, and beside the outline
        ((12, 12, 35, 35), True, False),
        ((45, 45, 55, 55), True, False),  # amid it
        ((0, 0, 100, 100), True, False),  # all over it
        ((60, 60, 70, 70), False, True),
        ((45, 45, 55, 55), False, False),
    ],
)
def test_an_outline_is_hidden_by_what_reaches_into_it(box: tuple[float, ...], outline: bool, seen: bool) -> None:
    diamond = ((50.0, 10.0), (90.0, 50.0), (50.0, 90.0), (10.0, 50.0)) if outline else ()
    place = Place((50.0, 50.0), diamond, (0.0, 0.0, 1.0), (0.1, 0.1), 0.1, 0.9)
    x1, y1, x2, y2 = box
    assert _seen(place, LOOKING_DOWN, [(300.0, 300.0, 400.0, 400.0), (x1, y1, x2, y2)]) is seen


def test_a_flat_thing_is_in_the_way_and_one_that_hangs_over_is_not() -> None:
    pen = Box3D.from_angles((0, 0, 0.996), (0.8, 0.008, 0.8), (90, 0, 0))
    shade = Box3D.from_angles((0, 0, 0.6), (0.8, 0.1, 0.8), (90, 0, 0))
    surface = Surface.under(CORNERS)
    thing = standing(0, 0)
    middle = free_places(surface, LOOKING_DOWN, [*CORNERS, shade], thing)[0]
    assert middle.clearance_m > 0.2
    assert max(place.clearance_m for place in free_places(surface, LOOKING_DOWN, [*CORNERS, pen], thing)) < 0


def test_a_thing_that_is_too_large_has_no_place_on_what_is_known() -> None:
    surface = Surface.under(CORNERS)
    assert free_places(surface, LOOKING_DOWN, CORNERS, standing(0, 0, side=1.5)) == ()
    tight = free_places(surface, LOOKING_DOWN, CORNERS, standing(0, 0, side=0.68))
    assert all(place.probability < SURE for place in tight)


def test_nothing_in_particular_gets_the_widest_place() -> None:
    best = free_places(Surface.under(CORNERS), LOOKING_DOWN, CORNERS)[0]
    assert best.outline_px == ()
    assert best.clearance_m == pytest.approx(math.hypot(0.35, 0.25), abs=0.03)


def test_the_top_of_a_box_ends_at_its_edges() -> None:
    book = standing(0, 0, side=0.3, tall=0.05)
    surface = Surface.on_top_of(book)
    assert surface.plane.offset_m == pytest.approx(-0.95)
    (best,) = free_places(surface, LOOKING_DOWN, [], standing(0.4, 0), count=1)
    assert best.clearance_m == pytest.approx(0.1, abs=0.01)
    assert best.center_m[2] == pytest.approx(0.95)
    assert free_places(surface, LOOKING_DOWN, [], standing(0.4, 0, side=0.4)) == ()


def test_places_behind_the_camera_and_outside_the_picture_are_not_in_view() -> None:
    narrow = Camera(5_000, 5_000, 320, 240, 640, 480, "user")
    assert all(
        0 <= x <= 640 and 0 <= y <= 480
        for place in free_places(Surface.under(CORNERS), narrow, CORNERS, standing(0, 0, side=0.02))
        for x, y in place.outline_px
    )
    assert free_places(Surface.under(CORNERS), narrow, CORNERS, standing(0, 0, side=0.3)) == ()


# Straight down, "behind" is up in the picture: smaller y.
ZONES = [("left_of", (-1, 0)), ("right_of", (1, 0)), ("behind", (0, -1)), ("in_front_of", (0, 1))]


@pytest.mark.parametrize(("relation", "way"), ZONES)
def test_zones_lie_on_their_side(relation: str, way: tuple[int, int]) -> None:
    anchor, thing = standing(0, 0), standing(0.4, 0.3)
    surface = Surface.under(CORNERS)
    zone = beside(surface.plane, anchor, relation)  # type: ignore[arg-type]
    places = free_places(surface, LOOKING_DOWN, [anchor, *CORNERS[:3]], thing, zone=zone)
    assert places
    for place in places:
        along = np.array(place.center_m[:2]) @ way
        assert 0.1 <= along <= 0.2 + 1e-6
        assert abs(np.cross([*way, 0], [*place.center_m[:2], 0])[2]) <= 0.05 + 1e-6


def test_near_and_between() -> None:
    surface = Surface.under(CORNERS)
    thing = standing(0, 0)
    close = free_places(surface, LOOKING_DOWN, CORNERS, thing, zone=near(surface.plane, CORNERS[0]))
    assert close
    assert all(math.dist(place.center_m[:2], CORNERS[0].center_m[:2]) <= 0.15 * math.sqrt(2) + 0.1 for place in close)
    (middle,) = free_places(surface, LOOKING_DOWN, CORNERS, thing, zone=amid(surface.plane, CORNERS[0], CORNERS[3]), count=1)
    assert middle.center_m[:2] == pytest.approx((0, 0), abs=0.03)


@pytest.mark.parametrize(("clearance_m", "low", "high"), [(0.2, SURE, 1), (0.0, 0.5, 0.5), (-0.2, 0, NOT_AT_ALL)])
def test_probability_of_room(clearance_m: float, low: float, high: float) -> None:
    assert low <= probability_of_room(clearance_m, 1.0) <= high


# --- in scenes whose truth is known --------------------------------------------------------------------------------------------


def on_the_table(place: Place, view: View) -> np.ndarray:
    """The outline where its rays meet the true table's top, world metres (k, 2)."""
    px = np.array(place.outline_px)
    rays = np.concatenate([(px - [view.width / 2, view.height / 2]) / view.focal_px, np.ones((len(px), 1))], axis=1)
    rays = rays @ view.rotation.T
    return (view.position_m - rays * (view.position_m[2] / rays[:, 2:]))[:, :2]


def most_shared(outline: np.ndarray, scene: Scene) -> float:
    """The largest overlap of the outline with any part of any thing that reaches down to the lowest 5 cm, seen from above."""
    shared = 0.0
    for placed in scene.placed:
        for part in placed.thing.parts:
            points = part.extent_points() @ placed.rotation.T + placed.position_m
            if points[:, 2].min() < 0.05:
                shared = max(shared, polygon_iou(outline, points[:, :2]))
    return shared


def test_places_found_with_true_boxes_are_free_and_on_the_table() -> None:
    found = 0
    for index in range(40):
        rng = np.random.default_rng([830_001, index])
        scene = settled_scene("desk", rng)
        view = sampled_view(scene, rng, 640, 480)
        truth = truth_of(830_001, index, scene, view)
        camera = Camera(**truth["camera"])
        boxes = [Box3D.from_qwen(thing["box_3d"]) for thing in truth["objects"]]
        hulls = [hull for box in boxes if (hull := box.project(camera)) is not None]
        places = free_places(Surface.under(boxes), camera, boxes, boxes[index % len(boxes)], hidden_by=hulls)
        for place in places:
            if place.probability >= SURE:
                found += 1
                outline = on_the_table(place, view)
                assert most_shared(outline, scene) == 0, index
                assert (np.abs(outline) <= np.add(scene.table_half_m, 0.01)).all(), index
    assert found >= 10
