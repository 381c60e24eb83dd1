"""What happened, told from boxes: each event for its reason, and nothing where that reason is missing."""

from __future__ import annotations

import json

import pytest

from deixis.geometry import BoxPx
from deixis.spatial.video.changes import Changes, Followed
from deixis.spatial.video.detection import Detection, Event, Sighting
from deixis.spatial.video.events import EventFinder
from deixis.spatial.video.life import Life
from deixis.spatial.video.together import who_swapped
from deixis.spatial.video.tracker import Tracker

SIZE = (640, 480)
STEP_S = 0.2
RESTING = {"lamp": (60.0, 80.0), "plant": (580.0, 90.0), "keyboard": (560.0, 430.0), "pen": (80.0, 440.0)}


def thing(label: str, x: float, y: float, width: float = 40, height: float = 50) -> Detection:
    return Detection(label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def part(label: str, *box_px: float) -> Detection:
    x1, y1, x2, y2 = box_px
    return Detection(label, (x1, y1, x2, y2))


def still(shift: float = 0.0) -> list[Detection]:
    return [thing(label, x + shift, y) for label, (x, y) in RESTING.items()]


def watched(frames: list[list[Detection]], restart: bool = False) -> tuple[list[Event], dict[int, str]]:
    """Every event as it was told last, in order, and the labels; each frame also shows what rests."""
    tracker, finder, told = Tracker(), EventFinder(), {}
    for k, found in enumerate(frames):
        changes = tracker.update(STEP_S * k, found, SIZE)
        told |= {event.key: event for event in finder.update(changes, SIZE)}
        if restart:
            tracker = Tracker.from_json(json.loads(json.dumps(tracker.to_json())))
            finder = EventFinder.from_json(json.loads(json.dumps(finder.to_json())))
    return sorted(told.values(), key=lambda e: e.start_s), {id_: t.label for id_, t in changes.things.items()}


def told(*frames: list[Detection]) -> list[tuple[str, ...]]:
    """(kind, label, label …) of every event that is told."""
    events, labels = watched([[*found, *still()] for found in frames])
    return [(event.kind, *(labels[id_] for id_ in event.objects)) for event in events]


def exchange(pan_px: float, both: bool = True) -> list[list[Detection]]:
    """A cup and a tall bottle lead around each other while the camera turns; or the cup alone goes to where the bottle was."""
    frames = []
    for k in range(22):
        share, camera = min(max((k - 4) / 10, 0.0), 1.0), -pan_px * k
        lift = 60 * (4 * share * (1 - share))
        cup = thing("cup", 200 + 240 * share + camera, 300 - lift)
        bottle = thing("bottle", 440 - 240 * share * both + camera, 280 + lift * both - 100 * (not both) * share, 40, 90)
        frames.append([cup, bottle, *still(camera)])
    return frames


@pytest.mark.parametrize("pan_px", [0.0, 5.0])
def test_two_that_exchange_places_do_so_whatever_the_camera_does(pan_px: float) -> None:
    events, labels = watched(exchange(pan_px))
    swaps = [event for event in events if event.kind == "swapped"]
    assert len(swaps) == 1 and {labels[id_] for id_ in swaps[0].objects} == {"cup", "bottle"}
    assert swaps[0].start_s == pytest.approx(0.8, abs=0.4) and swaps[0].end_s == pytest.approx(2.8, abs=0.4)
    assert not [event for event in events if event.kind == "moves" and labels[event.objects[0]] in RESTING]


def test_one_that_goes_where_another_was_has_not_exchanged_places_with_it() -> None:
    events, _ = watched(exchange(0.0, both=False))
    assert [event.kind for event in events if event.kind in ("moves", "swapped")] == ["moves", "moves"]


def test_what_is_covered_from_one_side_and_then_from_the_other_has_not_moved() -> None:
    """A book is lowered past a mug: its lower part shows, then nothing, then its upper part."""
    shows: list[BoxPx | None] = [(280, 275, 320, 325)] * 5
    shows += [(280, 300, 320, 325), (280, 312, 320, 325), None, (280, 275, 320, 290), (280, 275, 320, 305)]
    shows += [(280, 275, 320, 325)] * 4
    frames = []
    for k, box in enumerate(shows):
        book = thing("book", 300, 180 + 28 * max(0, k - 3), 90, 60)
        frames.append([book, *([] if box is None else [part("mug", *box)])])
    said = told(*frames)
    assert ("moves", "book") in said
    assert not [event for event in said if event[1] == "mug" or event[0] in ("hits", "carried_by")]


def test_what_rolls_on_sets_off_what_lies_in_its_way_and_nothing_else() -> None:
    ball = [200.0] * 4 + [200 + 25.0 * k for k in range(1, 6)] + [325.0 + 6 * k for k in range(5)] + [349.0] * 4
    cup = [360.0] * 9 + [385.0, 402, 412, 416, 418, 418, 418, 418, 418]
    said = told(*([thing("ball", x, 300, 36, 36), thing("cup", y, 298)] for x, y in zip(ball, cup, strict=True)))
    assert ("hits", "ball", "cup") in said and ("causes", "ball", "cup") in said
    # The same start, but the cup goes towards the one that comes: a hand took it.
    said = told(*([thing("ball", x, 300, 36, 36), thing("cup", 720 - y, 298)] for x, y in zip(ball, cup, strict=True)))
    assert ("moves", "cup") in said and not [event for event in said if event[0] in ("hits", "causes")]


def test_what_something_passes_by_is_hidden_and_not_carried_along() -> None:
    frames = []
    for k in range(20):
        x = 120 + 24 * k
        covered = x - 75 < 300 < x + 75
        frames.append([thing("box", x, 300, 150, 110), *([] if covered else [thing("cup", 300, 310)])])
    said = told(*frames)
    assert ("is_hidden", "cup", "box") in said and ("is_revealed", "cup", "box") in said
    assert not [event for event in said if event[0] == "carried_by"] and ("moves", "cup") not in said


def test_what_does_not_show_where_its_cover_left_went_along() -> None:
    way = [100.0, 170, 240, 300, 300, 300, 300, 300, 330, 370, 410, 450, 490, 490, 490, 490, 490, 490, 490]
    frames = [[thing("box", x, 300, 120, 100), *([] if k >= 3 else [thing("cup", 300, 310)])] for k, x in enumerate(way)]
    events, labels = watched([[*found, *still()] for found in frames])
    carried = [event for event in events if event.kind == "carried_by"]
    assert [tuple(labels[id_] for id_ in event.objects) for event in carried] == [("cup", "box")]
    assert carried[0].start_s == pytest.approx(1.5, abs=0.3) and carried[0].end_s == pytest.approx(2.4, abs=0.4)


def test_a_glimpse_less_is_no_hiding(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = []
    for k in range(16):
        x = 60 + 120 * max(0, k - 5)  # it is before the cup in one frame alone
        frames.append([thing("box", x, 300, 110, 110), *([] if x == 300 else [thing("cup", 300, 310)])])
    assert not [event for event in told(*frames) if event[0] in ("is_hidden", "is_revealed")]
    monkeypatch.setattr("deixis.spatial.video.events._FLICKER_S", 0.0)
    assert ("is_hidden", "cup", "box") in told(*frames)


def test_what_rests_behind_something_and_comes_out_moved_twice() -> None:
    wall = thing("wall", 340, 300, 140, 120)
    way = [150 + 20.0 * k for k in range(9)] + [340.0] * 15 + [360 + 20.0 * k for k in range(9)] + [520.0] * 4
    frames = [[wall, *([] if 270 < x < 410 else [thing("ball", x, 320, 36, 36)])] for x in way]
    events, labels = watched([[*found, *still()] for found in frames])
    moves = [event for event in events if event.kind == "moves" and labels[event.objects[0]] == "ball"]
    assert len(moves) == 2 and moves[0].end_s < 2.0 and moves[1].start_s > 4.5


@pytest.mark.parametrize(
    ("way", "falls"),
    [
        ([(20, 0)] * 6 + [(15, 25), (14, 40), (13, 40)], True),  # off the table's edge, on with its speed across
        ([(20, 0)] * 6 + [(3, 25), (0, 40), (0, 20)], False),  # a hand stops and sets down
        ([(20, 0)] * 6 + [(15, 5), (12, 4), (9, 3)], False),  # it rolls out
    ],
)
def test_what_rolls_evenly_and_turns_down_has_left_the_table(way: list[tuple[float, float]], falls: bool) -> None:
    x, y = 150.0, 200.0
    frames = [[thing("ball", x, y, 36, 36)] for _ in range(3)]
    for dx, dy in way:
        x, y = x + dx, y + dy
        frames.append([thing("ball", x, y, 36, 36)])
    assert (("falls", "ball") in told(*frames)) == falls


@pytest.mark.parametrize(("first", "comes"), [(0, False), (1, True)])
def test_only_what_the_first_frame_does_not_show_comes_however_late_it_is_believed(first: int, comes: bool) -> None:
    cup = Detection("cup", (300, 200, 340, 250), 0.7)  # one look is not enough to believe it
    events, labels = watched([[*([cup] if k >= first else []), *still()] for k in range(5)])
    came = [event for event in events if event.kind == "is_put_in"]
    assert "cup" in labels.values() and bool(came) == comes
    assert all(event.start_s == pytest.approx((first - 0.5) * STEP_S) for event in came)


@pytest.mark.parametrize("snatched", [True, False])
def test_what_is_lifted_before_something_is_snatched_and_what_goes_there_is_hidden(snatched: bool) -> None:
    """It vanishes at the same place: it rested below it until just now, or it has been on its way."""
    up = [0.0] * 6 + [-14.0] if snatched else [42.0, 28, 14, 0, -14]
    frames = [[thing("box", 300, 250, 140, 120), thing("phone", 300, 332 + y, 60, 20)] for y in up]
    said = told(*frames, *[[thing("box", 300, 250, 140, 120)]] * 12)
    ends = {event[0] for event in said if event[1] == "phone"} & {"is_taken_out", "is_hidden"}
    assert ends == {"is_taken_out" if snatched else "is_hidden"}


def test_of_several_it_changed_places_with_the_one_that_fits_best() -> None:
    def life(came_from: tuple[float, float], x: float, y: float, moving: bool = False) -> Life:
        box = (x - 20, y - 40, x + 20, y)
        return Life("cup", "visible", 14.0, box, (x, y), moving=moving, came_from_px=came_from, left_s=12, moved_until_s=14)

    lives = {1: life((250, 210), 110, 205), 2: life((100, 200), 240, 200), 3: life((240, 200), 100, 200)}
    assert who_swapped(lives, 2, 14.0) == 3
    lives[3].moving = True  # it will be told when that one stops
    assert who_swapped(lives, 2, 14.0) is None


def test_what_is_hidden_was_so_since_it_was_last_seen_however_late_that_is_believed() -> None:
    finder, box, kinds = EventFinder(), (280.0, 275.0, 320.0, 325.0), {}
    for k, state in enumerate(["visible", "visible", "slip", "occluded", "visible"]):
        sighting = Sighting(STEP_S * k, box, "occluded" if state == "occluded" else "visible")
        cup = Followed(1, "cup", sighting, box, (300, 300), False, False, state == "visible")
        kinds |= {event.kind: event.start_s for event in finder.update(Changes(STEP_S * k, {1: cup}), SIZE)}
    assert kinds == {"is_hidden": pytest.approx(0.3), "is_revealed": pytest.approx(0.7)}


def test_after_a_restart_the_same_is_told() -> None:
    frames = exchange(4.0)
    assert watched(frames, restart=True) == watched(frames)
