"""What is believed to be there at all: one name that comes again, or one sight that is sure."""

from __future__ import annotations

import json

import pytest

from deixis.spatial.video.detection import Detection
from deixis.spatial.video.target import Target
from deixis.spatial.video.tracker import Tracker


def seen(rows: list[tuple[str, float]]) -> list[str]:
    """The things that are believed after these sights of one place; the state is put away and taken up between them."""
    tracker, things = Tracker(), []
    for k, (label, score) in enumerate(rows):
        changes = tracker.update(k * 0.25, [Detection(label, (10, 10, 50, 40), score)], (320, 240))
        things = [thing.label for thing in changes.things.values()]
        tracker = Tracker.from_json(json.loads(json.dumps(tracker.to_json())))
    return things


@pytest.mark.parametrize(
    ("rows", "believed"),
    [
        ([("cup", 0.95)], ["cup"]),
        ([("cup", 0.75)], []),
        ([("cup", 0.75), ("cup", 0.7)], ["cup"]),
        ([("cup", 0.5), ("cup", 0.5)], []),
        ([("cup", 0.5)] * 4, ["cup"]),
        ([("pen", 0.5), ("cup", 0.6), ("mouse", 0.7), ("book", 0.6)], []),
    ],
)
def test_a_shadow_is_taken_for_many_things_and_believed_as_none(rows: list[tuple[str, float]], believed: list[str]) -> None:
    assert seen(rows) == believed


def test_its_state_is_whole() -> None:
    tracker = Tracker()
    tracker.update(0.0, [Detection("cup", (10, 10, 50, 40), 0.5)], (320, 240))
    tracker.update(0.2, [Detection("cup", (10, 10, 50, 40), 0.5)], (320, 240))
    target = next(iter(tracker.targets.values()))
    assert target.doubts == {"cup": pytest.approx(0.25)}
    assert Target.from_json(json.loads(json.dumps(target.to_json()))).doubts == target.doubts
