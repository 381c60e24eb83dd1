"""What geometry makes of a question about named things in space, and what it refuses to tell."""

from __future__ import annotations

import pytest

from deixis.geometry import Box3D, FrontAxis
from deixis.spatial.language.reading import read_question
from deixis.spatial.places.frames import decide
from deixis.spatial.places.variants import Things

CUBE = (0.1, 0.1, 0.1)


def at(x: float, z: float, turn_deg: float = 0.0) -> Box3D:
    """A small cube on a table that the camera looks at level; y points down."""
    return Box3D.from_angles((x, 0.2, z), CUBE, (0.0, turn_deg, 0.0))


# From above, the camera at the bottom: the lamp far away, the laptop near, a cup to the left of both, a book to the right.
PLACES = {"lamp": at(0.0, 2.0), "laptop": at(0.0, 1.0), "cup": at(-0.6, 1.5), "book": at(0.6, 1.5)}
ZH = {"台灯": PLACES["lamp"], "电脑": PLACES["laptop"], "杯子": PLACES["cup"], "书": PLACES["book"]}


def asked(
    question: str, *, front: FrontAxis | None = None, bystanders: tuple[tuple[str, Box3D], ...] = (), **moved: Box3D
) -> str:
    reading = read_question(question)
    assert reading.space is not None
    things = Things({**PLACES, **ZH, **moved}, bystanders, front)
    return decide(reading.space, things, reading.language).verdict


@pytest.mark.parametrize(
    ("question", "verdict"),
    [
        # Who stands at the lamp and faces the laptop looks at the camera: left and right change places.
        ("Standing at the lamp and facing the laptop, is the cup on the left?", "no"),
        ("Standing at the lamp and facing the laptop, is the cup on the right?", "yes"),
        ("Standing at the laptop and facing the lamp, is the cup on the left?", "yes"),
        ("Standing at the lamp and facing the camera, is the cup left of the book?", "no"),
        ("Standing at the cup and facing the book, is the laptop on the right?", "yes"),
        ("Standing at the cup and facing the book, is the book in front of me?", "yes"),
        ("Standing at the lamp and facing the laptop, is the cup behind me?", "no"),
        # Nearer to who looks is in front.
        ("Standing at the lamp and facing the laptop, is the cup in front of the laptop?", "yes"),
        ("Standing at the laptop and facing the lamp, which is further left: the cup or the book?", "cup"),
        ("Standing at the lamp and facing the laptop, which is further left: the cup or the book?", "book"),
        ("站在台灯处面向电脑，杯子在左边吗？", "no"),
        ("站在电脑处面向台灯，杯子在书的左边吗？", "yes"),
        # With a front that is told, a thing has things before it, on its front side.
        ("From the point of view of the lamp facing the laptop, is the laptop in front of it?", "yes"),
        ("From the point of view of the lamp facing the laptop, is the cup on its right?", "yes"),
        # Too close to call.
        ("Standing at the lamp and facing the laptop, is the laptop on the left?", "unsure"),
        # No direction.
        ("Standing at the lamp, is the cup on the left?", "unsure"),
        # Nobody agrees where a cup's front is, and these boxes do not tell a laptop's.
        ("From the cup's point of view, is the book on its left?", "unsure"),
        ("From the laptop's point of view, is the cup on its left?", "unsure"),
        ("Is the laptop facing the lamp?", "unsure"),
        ("Is the cup within 10 cm of the book?", "no"),
        ("Is the cup within 3 m of the book?", "yes"),
        ("Is the cup more than 10 cm from the book?", "yes"),
        ("杯子离书超过3米吗？", "no"),
        ("How far apart are the cup and the book?", "1.10 m"),
        ("杯子离书多远？", "1.10米"),
        ("How far left of the book is the cup?", "1.20 m"),
        ("How far right of the book is the cup?", "no"),
        ("How far is the lamp behind the laptop?", "1.00 m"),
        ("Can the lamp see the laptop?", "yes"),
    ],
)
def test_verdict(question: str, verdict: str) -> None:
    assert asked(question) == verdict


@pytest.mark.parametrize(("turn_deg", "verdict"), [(0.0, "no"), (180.0, "yes")])
def test_a_known_front_turns_with_the_box(turn_deg: float, verdict: str) -> None:
    """Unturned, a front on -z looks at the camera, so that the laptop's left is the picture's right."""
    question = "From the laptop's point of view, is the cup on its left?"
    assert asked(question, front="-z", laptop=at(0.0, 1.0, turn_deg)) == verdict
    assert asked("From the cup's point of view, is the book on its left?", front="-z") == "unsure"


def test_facing_needs_a_front() -> None:
    assert asked("Is the laptop facing the lamp?", front="-z") == "no"
    assert asked("Is the laptop facing the lamp?", front="+z") == "yes"


def test_reasons_say_what_to_do() -> None:
    for question, part in (
        ("From the cup's point of view, is the book on its left?", "no front of its own"),
        ("From the laptop's point of view, is the cup on its left?", "do not say which side"),
        ("Standing at the lamp, is the cup on the left?", "say what the viewer at the lamp faces"),
    ):
        reading = read_question(question)
        assert reading.space is not None
        assert part in decide(reading.space, Things(PLACES), "en").text


def test_a_wall_blocks_the_view_and_is_named() -> None:
    wall = ("wall", Box3D((0.0, 0.2, 1.5), (0.8, 0.8, 0.1)))
    question = "Can the lamp see the laptop?"
    reading = read_question(question)
    assert reading.space is not None
    outcome = decide(reading.space, Things(PLACES, [wall, ("box", at(0.9, 1.5))]), "en")
    assert (outcome.verdict, outcome.text) == ("no", "No: wall in the way")
    assert asked("Can the cup see the lamp?", bystanders=(wall,)) == "yes"


def test_an_interval_holds_its_value_and_grows_with_distance() -> None:
    reading = read_question("How far apart are the cup and the book?")
    assert reading.space is not None
    near = decide(reading.space, Things({"cup": at(-0.3, 0.7), "book": at(0.3, 0.7)}), "en")
    far = decide(reading.space, Things({"cup": at(-0.3, 2.1), "book": at(0.3, 2.1)}), "en")
    assert near.interval_m is not None and far.interval_m is not None
    assert 0.5 in near.interval_m and 0.5 in far.interval_m
    assert far.interval_m.high - far.interval_m.low > 2 * (near.interval_m.high - near.interval_m.low)
    assert near.confidence > far.confidence


def test_near_the_limit_it_is_unsure() -> None:
    reading = read_question("Is the cup within 50 cm of the book?")
    assert reading.space is not None
    assert decide(reading.space, Things({"cup": at(-0.3, 0.7), "book": at(0.3, 0.7)}), "en").verdict == "unsure"
