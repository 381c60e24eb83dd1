"""From a question in another's frame, through a scripted model, to an answer with its claim."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from deixis.backends import Completion, FakeBackend, completion_of
from deixis.geometry import Box3D
from deixis.spatial import Answer, Deixis
from deixis.spatial.checking.calibration import Calibration, Fusion
from deixis.spatial.deixis import UNPROVEN_MOST
from deixis.spatial.places.doubts import GUESSED
from tests.spatial.scenes import CAMERA, CARD, PICTURE

BOXES = {
    "lamp": (0.0, 0.1, 2.0, 0.1, 0.1, 0.1, 0, 0, 0),
    "laptop": (0.0, 0.1, 1.0, 0.1, 0.1, 0.1, 0, 0, 0),
    "cup": (-0.4, 0.1, 1.5, 0.1, 0.1, 0.1, 0, 0, 0),
    "book": (0.4, 0.1, 1.5, 0.1, 0.1, 0.1, 0, 0, 0),
}


def rows(names: list[str], three_d: bool) -> str:
    found = []
    for name in names:
        box = Box3D.from_qwen(BOXES[name])
        px = box.project(CAMERA)
        assert px is not None
        norm = [round(v * 1000 / side) for v, side in zip(px, (640, 480, 640, 480), strict=True)]
        found.append({"bbox_3d": list(BOXES[name])} if three_d else {"bbox_2d": norm})
        found[-1]["label"] = name  # type: ignore[assignment]
    return json.dumps(found)


def backend_of(said: str | Completion, named: dict[str, list[str]] | None = None) -> FakeBackend:
    """A model that says `said`, and finds each thing where it is, or what `named` lists under its name."""
    script: dict[str, str | Completion] = {"": said}
    for name in (*BOXES, "ghost", "all objects"):
        found = (named or {}).get(name, list(BOXES) if name == "all objects" else [name] if name in BOXES else [])
        for ending, three_d in (("Report bbox", False), ("Report 3D", True)):
            script[f"Locate every instance of: {name}. {ending}"] = rows(found, three_d)
    return FakeBackend(script, card=CARD)


def ask(question: str, said: str, named: dict[str, list[str]] | None = None) -> tuple[Answer, FakeBackend]:
    backend = backend_of(said, named)
    return Deixis(backend).ask(PICTURE, question, camera=CAMERA), backend


def test_geometry_decides_and_the_models_words_are_kept() -> None:
    answer, _ = ask("Standing at the lamp and facing the laptop, is the cup on the left?", "Yes")
    assert (answer.answer, answer.verdict) == ("No", "no")
    assert answer.confidence > 0.9
    (claim,) = answer.claims
    assert (claim.frame, claim.model, claim.geometry, claim.agrees) == ("viewer", "yes", "no", False)
    assert claim.claim == "at the lamp, facing the laptop: cup is left of whoever looks"
    assert claim.margin is not None and claim.margin.value == pytest.approx(-0.4, abs=0.01)
    assert {item.label for item in answer.objects} == {"cup", "lamp", "laptop"}
    assert claim.to_json()["frame"] == "viewer"


def test_an_objects_frame_without_a_front_is_unsure() -> None:
    answer, _ = ask("From the laptop's point of view, is the cup on its right?", "Yes")
    assert answer.verdict == "unsure"
    assert "which side of the laptop is its front" in answer.answer
    assert (answer.claims[0].frame, answer.claims[0].geometry, answer.claims[0].agrees) == ("object", "undecided", None)


def test_a_distance_has_an_interval() -> None:
    answer, _ = ask("How far apart are the cup and the book?", "0.7 m")
    assert answer.verdict == "0.70 m"
    row = answer.to_json()["claims"][0]
    low, high = row["interval_m"]
    assert low < 0.7 < high
    assert (row["claim"], row["model"], row["agrees"]) == ("cup is 0.70 m from book", "0.70 m", True)
    wrong, _ = ask("How far apart are the cup and the book?", "3 m")
    assert wrong.claims[0].agrees is False


def test_what_is_not_there_is_absent() -> None:
    answer, _ = ask("Standing at the ghost and facing the laptop, is the cup on the left?", "Yes")
    assert answer.verdict == "absent"
    assert (answer.claims[0].model, answer.claims[0].geometry, answer.claims[0].agrees) == ("yes", "no", False)


def test_a_name_for_two_things_is_unsure() -> None:
    answer, _ = ask("How far apart are the cup and the book?", "1 m", {"cup": ["cup", "lamp"]})
    assert answer.verdict == "unsure"
    assert "cup names more than one thing" in answer.answer


def test_a_line_of_sight_is_blocked_by_what_stands_there() -> None:
    answer, backend = ask("Can the cup see the book?", "Yes")
    assert answer.verdict == "yes"
    assert any("all objects" in conversation.text for conversation in backend.asked)


def test_without_evidence_only_the_model_speaks() -> None:
    backend = FakeBackend({"": "Yes"}, card=CARD)
    answer = Deixis(backend).ask(PICTURE, "Standing at the lamp and facing the laptop, is the cup on the left?", evidence=False)
    assert (answer.verdict, len(backend.asked)) == ("yes", 1)


MEASURED = {"distance": 90, "within": 90, "offset, camera": 40, "left_of, viewer": 30, "near": 30}
VOUCHED = [
    ("How far apart are the cup and the book?", True),
    ("Is the cup within 2 m of the book?", True),
    ("How far to the left of the book is the cup?", True),
    ("Standing at the lamp and facing the laptop, is the cup on the left?", True),
    ("Standing at the lamp and facing the laptop, which is further left: the cup or the book?", True),
    ("Standing at the lamp and facing the laptop, is the cup on the right?", False),  # that relation was not held against truth
    ("From the lamp's point of view, which is facing the laptop, is the cup on its left?", False),  # nor that one's frame
    ("Standing at the lamp and facing the laptop, is the cup inside the book?", False),
    ("Standing at the lamp and facing the laptop, is the cup aligned with the book?", False),
    ("Is the laptop facing the cup?", False),
    ("Can the cup see the book?", False),
    ("Standing at the ghost and facing the laptop, is the cup on the left?", False),  # absent, which is another claim
    ("Where is the cup?", False),
    ("What is left of the cup?", False),
    ("Where can I put the cup?", False),
    ("Can the cup fit behind the book?", False),
]


@pytest.mark.parametrize(("question", "vouched"), VOUCHED)
@pytest.mark.parametrize("fitted", [True, False])
def test_only_what_was_held_against_truth_is_calibrated(question: str, vouched: bool, fitted: bool) -> None:
    session = Deixis(backend_of("Yes"))
    raw = session.ask(PICTURE, question, camera=CAMERA)
    assert not raw.calibrated and "confidence is not calibrated for this model" in raw.provenance.notes
    doubt = replace(GUESSED, made={"seed": 1} if fitted else {}, measured=MEASURED)
    session.calibration = Calibration({"claim": Fusion()}, unsure_below=0.9, made={"seed": 1}, space=doubt)
    answer = session.ask(PICTURE, question, camera=CAMERA)
    assert (answer.verdict, answer.answer) == (raw.verdict, raw.answer)
    assert answer.calibrated is (vouched and fitted)
    said_so = "confidence is not calibrated for this kind of question" in answer.provenance.notes
    assert said_so is not answer.calibrated
    assert answer.confidence == pytest.approx(raw.confidence if answer.calibrated else min(raw.confidence, UNPROVEN_MOST))


def test_a_thinking_model_keeps_its_reasoning_apart_from_what_geometry_says() -> None:
    for question in ("How far apart are the cup and the book?", "Where is the cup?", "Can the cup fit behind the book?"):
        answer = Deixis(backend_of(completion_of("<think>hm</think>Yes").split())).ask(PICTURE, question, camera=CAMERA)
        assert "hm" not in answer.answer and answer.to_json()["reasoning"] == "hm"
