import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deixis.errors import GeometryError
from deixis.geometry import RELATIONS, Box3D, Camera, Located, Relation, margin
from tests.geometry.strategies import boxes_3d, boxes_px, finite

CAMERA = Camera.from_fov(640, 480, 60)
DEPTH_RELATIONS = ("in_front_of", "behind", "nearest", "farthest")
OPPOSITE: dict[Relation, Relation] = {
    "left_of": "right_of",
    "above": "below",
    "in_front_of": "behind",
    "on": "under",
    "next_to": "next_to",
}


@st.composite
def things(draw: st.DrawFn) -> Located:
    """Found in the picture alone, or in space too; always with a depth."""
    box_3d = draw(st.none() | boxes_3d())
    return Located("thing", draw(boxes_px()), box_3d, draw(finite(0.1, 10)))


@given(things(), things(), st.sampled_from(sorted(OPPOSITE)))
def test_a_relation_said_from_the_other_side_is_its_opposite(a: Located, b: Located, relation: Relation) -> None:
    there, back = margin(relation, a, b), margin(OPPOSITE[relation], b, a)
    assert there.value == pytest.approx(back.value, abs=1e-9) and there.unit == back.unit


@given(things(), things(), st.sampled_from(["left_of", "above", "in_front_of", "on"]))
def test_a_relation_and_its_opposite_never_both_hold(a: Located, b: Located, relation: Relation) -> None:
    there, back = margin(relation, a, b), margin(relation, b, a)
    assert not (there.decided and back.decided)
    if relation in ("left_of", "in_front_of"):
        assert there.value == pytest.approx(-back.value)


@given(things(), things(), things())
def test_between_does_not_care_for_the_order_of_the_outer_two(a: Located, b: Located, c: Located) -> None:
    one, other = margin("between", a, b, c), margin("between", a, c, b)
    assert one.value == pytest.approx(other.value, abs=1e-6, rel=1e-6)


@given(st.lists(finite(0.1, 10), min_size=2, max_size=6))
def test_at_most_one_thing_is_nearest_and_one_farthest(depths: list[float]) -> None:
    found = [Located(str(i), (0, 0, 1, 1), depth_m=depth) for i, depth in enumerate(depths)]
    for relation in ("nearest", "farthest"):
        decided = [margin(relation, thing, *(o for o in found if o is not thing)).decided for thing in found]
        assert decided.count(True) <= 1


def located(label: str, x: float, y: float, z: float, size: tuple[float, float, float], pitch_deg: float) -> Located:
    """A box standing level at x right, y up and z forward of the table's middle, 1.2 m from a camera that looks down by pitch."""
    c, s = np.cos(np.radians(pitch_deg)), np.sin(np.radians(pitch_deg))
    from_level = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])  # level frame (x right, y down, z forward) to the camera's
    center = from_level @ (x, -(y + size[1] / 2), z) + (0, 0, 1.2)
    box_3d = Box3D(tuple(center), size, tuple(map(tuple, from_level)))
    box_px = box_3d.project(CAMERA)
    assert box_px is not None
    return Located(label, box_px, box_3d, box_3d.center_m[2])


def desk(pitch_deg: float) -> dict[str, Located]:
    layout = {
        "book": (0.0, 0.0, 0.0, (0.24, 0.03, 0.17)),
        "cup": (0.03, 0.03, 0.02, (0.08, 0.10, 0.08)),
        "phone": (-0.3, 0.0, 0.0, (0.07, 0.01, 0.15)),
        "mouse": (-0.2, 0.0, 0.0, (0.06, 0.04, 0.10)),
        "lamp": (0.3, 0.0, 0.3, (0.12, 0.40, 0.12)),
        "box": (0.05, 0.0, -0.28, (0.10, 0.06, 0.10)),
        "ball": (0.35, 0.0, -0.10, (0.07, 0.07, 0.07)),
        "bottle": (0.05, 0.0, 0.35, (0.07, 0.25, 0.07)),
    }
    return {name: located(name, x, y, z, size, pitch_deg) for name, (x, y, z, size) in layout.items()}


DESK: list[tuple[str, Relation, tuple[str, ...], bool]] = [
    ("phone", "left_of", ("cup",), True),
    ("lamp", "left_of", ("cup",), False),
    ("lamp", "right_of", ("phone",), True),
    ("cup", "on", ("book",), True),
    ("book", "on", ("cup",), False),
    ("book", "under", ("cup",), True),
    ("cup", "above", ("book",), True),
    ("book", "below", ("cup",), True),
    ("cup", "below", ("book",), False),
    ("mouse", "on", ("book",), False),
    ("bottle", "on", ("book",), False),
    ("bottle", "above", ("box",), False),
    ("phone", "above", ("lamp",), False),
    ("box", "in_front_of", ("bottle",), True),
    ("bottle", "in_front_of", ("box",), False),
    ("lamp", "behind", ("book",), True),
    ("mouse", "next_to", ("phone",), True),
    ("mouse", "next_to", ("lamp",), False),
    ("cup", "next_to", ("book",), False),
    ("mouse", "between", ("phone", "book"), True),
    ("phone", "between", ("mouse", "book"), False),
    ("lamp", "between", ("phone", "book"), False),
    ("box", "nearest", ("lamp", "bottle", "mouse"), True),
    ("lamp", "nearest", ("box", "bottle", "mouse"), False),
    ("bottle", "farthest", ("box", "mouse", "phone"), True),
]


@pytest.mark.parametrize("pitch_deg", [15, 40, 65])
@pytest.mark.parametrize(("subject", "relation", "objects", "holds"), DESK)
def test_a_desk_in_space(subject: str, relation: Relation, objects: tuple[str, ...], holds: bool, pitch_deg: float) -> None:
    things = desk(pitch_deg)
    found = margin(relation, things[subject], *(things[o] for o in objects))
    assert found.frame == "camera"
    if (subject, relation, pitch_deg) == ("lamp", "behind", 65):  # so tall that seen from above its middle is the nearer one
        assert found.decided is None
        return
    assert found.decided is holds
    assert (found.value > 0) is holds


@pytest.mark.parametrize(("subject", "relation", "objects", "holds"), DESK)
def test_a_desk_in_the_picture_alone(subject: str, relation: Relation, objects: tuple[str, ...], holds: bool) -> None:
    things = {name: Located(name, thing.box_px, depth_m=thing.depth_m) for name, thing in desk(40).items()}
    assert margin(relation, things[subject], *(things[o] for o in objects)).decided is not (not holds)


@pytest.mark.parametrize("error", [0.96, 1.04])
@pytest.mark.parametrize(("subject", "relation", "objects", "holds"), [row for row in DESK if row[1] not in DEPTH_RELATIONS])
def test_a_few_percent_of_error_in_depth_turn_no_verdict(
    subject: str, relation: Relation, objects: tuple[str, ...], holds: bool, error: float
) -> None:
    things = desk(40)
    moved = things[subject]
    assert moved.box_3d is not None
    center_m = tuple(np.multiply(moved.box_3d.center_m, error))
    moved = replace(moved, box_3d=replace(moved.box_3d, center_m=center_m), depth_m=center_m[2])
    assert margin(relation, moved, *(things[o] for o in objects)).decided is not (not holds)


def test_what_boxes_cannot_tell_is_undecided() -> None:
    laptop, stick = Box3D((0, 0, 2), (0.34, 0.24, 0.25)), Box3D((0.1, 0.1, 1.95), (0.05, 0.01, 0.02))
    found = margin("on", Located("usb stick", (330, 270, 345, 274), stick), Located("laptop", (230, 200, 400, 280), laptop))
    assert found.decided is not False  # it lies on the keys, within the box that the screen makes so high


def test_boxes_of_neighbours_may_bite_into_one_another() -> None:
    """Solid things side by side whose boxes overlap a little touch; what stands over another, or in it, is not beside it."""

    def seen(name: str, x: float, y: float, size_m: float) -> Located:
        return Located(name, (100, 100, 200, 200), Box3D((x, y, 1.0), (size_m,) * 3), 1.0)

    box = seen("box", 0.0, 0.2, 0.2)
    assert margin("next_to", seen("cup", 0.14, 0.25, 0.1), box).decided  # 1 cm into the box
    assert margin("next_to", seen("cup", 0.14, 0.05, 0.1), box).decided is not True  # over its edge
    assert margin("next_to", seen("cup", 0.0, 0.2, 0.1), box).decided is not True  # inside it


def test_a_stack_seen_from_straight_above() -> None:
    things = desk(90)
    assert margin("on", things["cup"], things["book"]).decided
    assert margin("on", things["mouse"], things["book"]).decided is False


def test_too_close_to_call_is_undecided() -> None:
    a, b = Located("a", (100, 100, 200, 200), depth_m=1.0), Located("b", (104, 96, 204, 196), depth_m=1.01)
    for relation in ("left_of", "in_front_of", "above"):
        assert margin(relation, a, b).decided is None  # type: ignore[arg-type]
    assert margin("between", a, b, b).decided is None


def test_the_picture_alone_cannot_tell_on_top_from_behind() -> None:
    low, high = (100, 200, 200, 300), (120, 120, 180, 230)
    same, deeper = (Located("cup", high, depth_m=depth) for depth in (1.02, 1.5))
    assert margin("on", same, Located("box", low, depth_m=1.0)).decided
    assert margin("on", Located("cup", high), Located("box", low)).decided
    assert margin("on", deeper, Located("box", low, depth_m=1.0)).decided is None
    assert margin("above", deeper, Located("box", low, depth_m=1.0)).decided is None
    assert margin("next_to", same, Located("box", low, depth_m=1.0)).decided is None  # the boxes overlap


def test_depths_of_one_kind_are_compared() -> None:
    box = Box3D((0, 0, 2), (1, 1, 1))
    surface, whole = Located("near", (0, 0, 9, 9), box, 1.5), Located("far", (0, 0, 9, 9), Box3D((0, 0, 3), (1, 1, 1)))
    assert margin("in_front_of", surface, whole).value == 1.0  # centres, since one has no surface depth


@pytest.mark.parametrize("relation", RELATIONS)
def test_wrong_counts_raise(relation: Relation) -> None:
    thing = Located("a", (0, 0, 1, 1), depth_m=1.0)
    right = {"between": [2], "nearest": range(1, 9), "farthest": range(1, 9)}.get(relation, [1])
    for count in range(4):
        if count in right:
            assert margin(relation, thing, *itertools.repeat(thing, count)).unit in ("m", "widths", "sizes", "spans")
        else:
            with pytest.raises(GeometryError):
                margin(relation, thing, *itertools.repeat(thing, count))


def test_what_cannot_be_told_raises() -> None:
    flat, deep = Located("cup", (0, 0, 9, 9)), Located("box", (0, 0, 9, 9), depth_m=1.0)
    with pytest.raises(GeometryError, match="'cup' has no depth"):
        margin("in_front_of", deep, flat)
    with pytest.raises(GeometryError, match="expected one of"):
        margin("inside", deep, deep)  # type: ignore[arg-type]
    for depth_m in (0.0, -1.0, float("nan")):
        with pytest.raises(GeometryError, match="'cup'"):
            Located("cup", (0, 0, 9, 9), depth_m=depth_m)
    with pytest.raises(GeometryError):
        Located("cup", (9, 9, 0, 0))
