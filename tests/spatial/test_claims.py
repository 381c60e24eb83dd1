"""What an answer claims, and what the boxes say to it."""

from __future__ import annotations

import pytest

from deixis.geometry import Box3D
from deixis.spatial.answer import FoundObject
from deixis.spatial.checking.claims import claims_of, match_label
from deixis.spatial.language.reading import read_question
from deixis.spatial.language.values import parse_value


def thing(label: str, x: float, y: float = 100, z: float | None = None, size: float = 50) -> FoundObject:
    box = None if z is None else Box3D((0.0, 0.0, z), (0.1, 0.1, 0.1))
    return FoundObject(label, (x, y, x + size, y + size), box_3d=box, depth_m=z)


CUP, BOOK, LAMP = thing("red cup", 100), thing("book", 300), thing("lamp", 500)
NEAR, FAR = thing("red cup", 100, z=0.5), thing("book", 300, z=1.0)
BEHIND = thing("book", 120, z=1.0)
ALL_THERE = "the picture shows everything that the question names"

# question, answer, objects in order of mention, (claim, model, geometry, agrees) or None
CASES: list[tuple[str, str, list[FoundObject], tuple[str, str, str, bool | None] | None]] = [
    ("Is the red cup left of the book?", "Yes", [CUP, BOOK], ("red cup is left of book", "yes", "yes", True)),
    ("Is the red cup left of the book?", "No", [CUP, BOOK], ("red cup is left of book", "no", "yes", False)),
    ("Is the red cup right of the book?", "No", [CUP, BOOK], ("red cup is right of book", "no", "no", True)),
    ("Is the red cup left of the book?", "Yes", [CUP, thing("book", 101)], ("red cup is left of book", "yes", "undecided", None)),
    ("To the left of the book, is there a red cup?", "Yes", [BOOK, CUP], ("red cup is left of book", "yes", "yes", True)),
    (
        "Is the cup between the book and the lamp?",
        "Yes",
        [BOOK, CUP, LAMP],
        ("red cup is between book and lamp", "yes", "no", False),
    ),
    ("Is the red cup in front of the book?", "Yes", [NEAR, FAR], ("red cup is in front of book", "yes", "yes", True)),
    ("Is the red cup in front of the book?", "Yes", [CUP, BOOK], ("red cup is in front of book", "yes", "undecided", None)),
    ("Is the red cup behind the book?", "absent", [BOOK], (ALL_THERE, "no", "no", True)),
    ("Is the red cup behind the book?", "Yes", [BOOK], (ALL_THERE, "yes", "no", False)),
    ("Is the red cup behind the book?", "absent", [NEAR, FAR], (ALL_THERE, "no", "yes", False)),
    ("Is the red cup behind the book?", "Yes", [], (ALL_THERE, "yes", "no", False)),
    ("Is the red cup behind the book?", "I'm not sure", [NEAR, FAR], None),
    ("Which is further left, the book or the red cup?", "red cup", [BOOK, CUP], ("red cup is left of book", "yes", "yes", True)),
    ("Which is further left, the book or the red cup?", "book", [BOOK, CUP], ("book is left of red cup", "yes", "no", False)),
    ("Which is further left, the book or the red cup?", "ghost", [BOOK, CUP], None),
    ("What is left of the book?", "red cup", [BOOK], None),
    ("Is the red cup left or right of the book?", "to the left", [CUP, BOOK], ("red cup is left of book", "yes", "yes", True)),
    (
        "Which is nearest, the red cup or the book?",
        "the red cup",
        [NEAR, FAR],
        ("red cup is nearest to the camera", "yes", "yes", True),
    ),
    ("Which object is farthest?", "red cup", [NEAR, FAR], ("red cup is farthest from the camera", "yes", "no", False)),
    ("Which object is nearest?", "red cup", [NEAR], ("red cup is nearest to the camera", "yes", "undecided", None)),
    ("Which object is nearest?", "ghost", [NEAR], ("ghost is nearest to the camera", "yes", "undecided", None)),
    ("Which object is nearest?", "ghost", [NEAR, FAR], None),
    ("Is there a red cup?", "Yes", [CUP], ("the picture shows red cup", "yes", "yes", True)),
    ("Is there a red cup?", "No", [CUP], ("the picture shows red cup", "no", "yes", False)),
    ("Is there a red cup?", "No", [], ("the picture shows what the question names", "no", "no", True)),
    ("Is there a red cup?", "absent", [], ("the picture shows what the question names", "no", "no", True)),
    ("How many cups are there?", "2", [CUP, BOOK], ("the number of things asked for is 2", "2", "2", True)),
    ("How many cups are there?", "three", [CUP], ("the number of things asked for is 3", "3", "1", False)),
    ("How many cups are there?", "none", [], ("the number of things asked for is 0", "0", "0", True)),
    ("How many cups are there?", "many", [CUP], None),
    ("How far is the red cup?", "0.52 m", [NEAR], ("red cup is 0.52 m from the camera", "0.52 m", "0.50 m", True)),
    ("How far is the red cup?", "0.9 m", [NEAR], ("red cup is 0.90 m from the camera", "0.90 m", "0.50 m", False)),
    ("How far is the red cup?", "0.59 m", [NEAR], ("red cup is 0.59 m from the camera", "0.59 m", "0.50 m", None)),
    ("How far is the red cup?", "0.59 m", [CUP], ("red cup is 0.59 m from the camera", "0.59 m", "undecided", None)),
    ("How far is the red cup?", "absent", [], (ALL_THERE, "no", "no", True)),
    ("How far is the red cup?", "0.5 m", [], (ALL_THERE, "yes", "no", False)),
    ("How far is the red cup?", "absent", [CUP], (ALL_THERE, "no", "yes", False)),
    ("Is the red cup hidden?", "absent", [], (ALL_THERE, "no", "no", True)),
    ("Does the red cup hide the book?", "absent", [BOOK], (ALL_THERE, "no", "undecided", None)),
    ("How much of the red cup is visible?", "absent", [], (ALL_THERE, "no", "no", True)),
    ("What hides the book?", "red cup", [BOOK, CUP], ("red cup hides part of book", "yes", "no", False)),
    ("What hides the book?", "red cup", [thing("book", 120, z=1.0), NEAR], ("red cup hides part of book", "yes", "yes", True)),
    ("What hides the book?", "red cup", [thing("book", 120), CUP], ("red cup hides part of book", "yes", "undecided", None)),
    ("Is the book hidden?", "Yes", [BOOK], None),
    ("Is the book hidden by the red cup?", "Yes", [BEHIND, NEAR], ("red cup hides part of book", "yes", "yes", True)),
    ("Does the red cup hide the book?", "Yes", [NEAR, BEHIND], ("red cup hides part of book", "yes", "yes", True)),
    ("Does the book hide the red cup?", "Yes", [BEHIND, NEAR], ("book hides part of red cup", "yes", "no", False)),
    ("Does the book hide the red cup?", "No", [BEHIND, NEAR], ("book hides part of red cup", "no", "no", True)),
    ("Does the red cup hide the book?", "No", [NEAR, BEHIND], ("red cup hides part of book", "no", "undecided", None)),
    ("Does the red cup hide the book?", "No", [NEAR, FAR], ("red cup hides part of book", "no", "no", True)),
    (
        "书被红色杯子挡住了吗？",
        "是",
        [thing("书", 120, z=1.0), thing("红色杯子", 100, z=0.5)],
        ("红色杯子挡住了书的一部分", "yes", "yes", True),
    ),
    (
        "红色杯子挡住了书吗？",
        "是",
        [thing("红色杯子", 100, z=0.5), thing("书", 120, z=1.0)],
        ("红色杯子挡住了书的一部分", "yes", "yes", True),
    ),
    ("Is the red cup inside the book?", "Yes", [NEAR, FAR], ("red cup is inside book", "yes", "no", False)),
    ("Is the red cup inside the book?", "Yes", [CUP, BOOK], ("red cup is inside book", "yes", "undecided", None)),
    ("Is the red cup far from the book?", "Yes", [NEAR, FAR], ("red cup is far from book", "yes", "yes", True)),
    ("Is the red cup near the book?", "No", [NEAR, FAR], ("red cup is near book", "no", "no", True)),
    ("Is the red cup touching the book?", "Yes", [NEAR, FAR], ("red cup touches book", "yes", "no", False)),
    ("Is the red cup parallel to the book?", "Yes", [NEAR, FAR], ("red cup is aligned with book", "yes", "yes", True)),
    (
        "红色杯子在书里面吗？",
        "否",
        [thing("红色杯子", 100, z=0.5), thing("书", 300, z=1.0)],
        ("红色杯子在书里面", "no", "no", True),
    ),
    ("What color is the cup?", "red", [CUP], None),
    ("From which viewpoint is this?", "oblique", [], None),
    ("红色杯子在书的左边吗?", "是", [thing("红色杯子", 100), thing("书", 300)], ("红色杯子在书左边", "yes", "yes", True)),
    ("书的左边有红色杯子吗?", "是", [thing("书", 300), thing("红色杯子", 100)], ("红色杯子在书左边", "yes", "yes", True)),
    (
        "红色杯子和书,哪个更靠左?",
        "红色杯子",
        [thing("红色杯子", 100), thing("书", 300)],
        ("红色杯子在书左边", "yes", "yes", True),
    ),
    ("有几个杯子?", "两个", [CUP], ("所问物体的数量是2", "2", "1", False)),
    ("红色杯子有多远?", "没有", [], ("图中有问题提到的所有物体", "no", "no", True)),
    ("红色杯子有多远?", "0.52米", [thing("红色杯子", 100, z=0.5)], ("红色杯子离相机0.52米", "0.52米", "0.50米", True)),
]


@pytest.mark.parametrize(("question", "answer", "objects", "expected"), CASES)
def test_claim(
    question: str, answer: str, objects: list[FoundObject], expected: tuple[str, str, str, bool | None] | None
) -> None:
    reading = read_question(question)
    wants = "number" if reading.kind in ("count", "depth") else "any"
    claims = claims_of(reading, parse_value(answer, reading.language, wants=wants), objects)
    if expected is None:
        assert claims == ()
        return
    (claim,) = claims
    assert (claim.claim, claim.model, claim.geometry, claim.agrees) == expected
    assert claim.frame == "camera"
    for index in (claim.subject, *claim.others):
        assert index is None or 0 <= index < len(objects)


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("red cup", 0),
        ("the red cup", 0),
        ("Red Cup.", 0),
        ("cup", 0),
        ("book", 1),
        ("blue book", 1),
        ("mug", None),
        ("", None),
    ],
)
def test_match_label(said: str, index: int | None) -> None:
    assert match_label(said, [CUP, BOOK]) == index


def test_match_label_needs_one_candidate() -> None:
    assert match_label("green cup", [thing("red cup", 0), thing("blue cup", 100)]) is None
    assert match_label("红色的杯子", [thing("书", 0), thing("红色杯子", 100)]) == 1
