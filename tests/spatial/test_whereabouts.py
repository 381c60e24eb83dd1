"""Open questions: what is recognised as one, and what located boxes answer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deixis import Deixis
from deixis.backends import FakeBackend
from deixis.lab.questions import ask_everything
from deixis.spatial.language.prompts import guess_language
from deixis.spatial.places.whereabouts import OpenQuestion, read_open
from tests.lab.synthetic_truth import synthetic_truth

PICTURE = np.full((100, 200, 3), 128, np.uint8)
CAMERA = (200.0, 200.0, 100.0, 50.0)
# Two metres away a pixel is a centimetre: a cup on a crate, a lamp to the left of both.
THINGS = {
    "crate": ((450, 500, 650, 900), (0.1, 0.2, 2.0, 0.4, 0.4, 0.4, 0, 0, 0)),
    "cup": ((500, 300, 600, 500), (0.1, -0.1, 2.0, 0.2, 0.2, 0.2, 0, 0, 0)),
    "lamp": ((50, 500, 150, 900), (-0.8, 0.2, 2.0, 0.2, 0.4, 0.2, 0, 0, 0)),
}


def answering(words: str) -> Deixis:
    """A model that locates THINGS by name and says `words` to everything else."""

    def reply(conversation: object) -> str:
        text = conversation.text  # type: ignore[attr-defined]
        if "JSON" not in text:
            return words
        named = [name for name in THINGS if name in text] or (list(THINGS) if "all objects" in text else [])
        boxes_3d = "3D" in text
        rows = [{("bbox_3d" if boxes_3d else "bbox_2d"): THINGS[name][boxes_3d], "label": name} for name in named]
        return json.dumps(rows)

    return Deixis(FakeBackend(reply))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where is the red cup?", OpenQuestion("where", "red cup")),
        ("where are my keys", OpenQuestion("where", "my keys")),
        ("红色杯子在哪里？", OpenQuestion("where", "红色杯子")),
        ("台灯在哪儿?", OpenQuestion("where", "台灯")),
        ("What is on the orange book?", OpenQuestion("related", "orange book", "on")),
        ("What's to the left of the lamp?", OpenQuestion("related", "lamp", "left_of")),
        ("What is underneath the box", OpenQuestion("related", "box", "under")),
        ("书上放着什么？", OpenQuestion("related", "书", "on")),
        ("杯子右边是什么?", OpenQuestion("related", "杯子", "right_of")),
        ("What is on the table?", OpenQuestion("all")),
        ("图中有哪些物体？", OpenQuestion("all")),
        ("Where is the cup relative to the book?", None),
        ("Is the cup on the book?", None),
        ("Where on the table can I put the box?", None),
        ("What is left of the lamp, the cup or the book?", None),
        ("图中有没有杯子?", None),
    ],
)
def test_what_is_an_open_question(question: str, expected: OpenQuestion | None) -> None:
    assert read_open(question, guess_language(question)) == expected


def test_no_question_that_nano_learned_is_taken_for_one() -> None:
    rng = np.random.default_rng(11)
    asked = [q for _ in range(60) for q in ask_everything(synthetic_truth(rng), rng) if q.prompt_kind == "ask"]
    assert len(asked) > 1_000
    assert [q.question for q in asked if read_open(q.question, q.language)] == []


def test_where_a_thing_is() -> None:
    answer = answering("on the crate").ask(PICTURE, "Where is the cup?", camera=CAMERA)
    assert answer.answer == "in the middle of the picture, at 100,30,120,50 px, 2.00 m from the camera"
    assert answer.claims[0].model == "on the crate" and [o.label for o in answer.objects] == ["cup"]


def test_what_is_not_there_is_absent() -> None:
    for question in ("Where is the dog?", "What is left of the dog?"):
        answer = answering("dog").ask(PICTURE, question, camera=CAMERA)
        assert answer.verdict == "absent" and not answer.objects


def test_what_stands_so_to_a_thing() -> None:
    answer = answering("cup").ask(PICTURE, "What is on the crate?", camera=CAMERA)
    assert answer.verdict == "cup" and [o.label for o in answer.objects] == ["crate", "cup"]
    claim = answer.claims[0]
    assert (claim.model, claim.geometry, claim.agrees) == ("yes", "yes", True)
    assert answer.objects[claim.subject or 0].label == "cup" and claim.others == (0,)
    assert answering("lamp").ask(PICTURE, "What is left of the crate?", camera=CAMERA).verdict == "lamp"
    assert answering("lamp").ask(PICTURE, "What is on the lamp?", camera=CAMERA).verdict == "absent"


def test_a_wrong_word_of_the_model_is_contradicted() -> None:
    answer = answering("lamp").ask(PICTURE, "What is on the crate?", camera=CAMERA)
    assert answer.verdict == "cup"
    wrong = next(c for c in answer.claims if c.model == "yes")
    assert (wrong.geometry, wrong.agrees) == ("no", False) and answer.objects[wrong.subject or 0].label == "lamp"


def test_everything() -> None:
    assert answering("things").ask(PICTURE, "What is on the table?", camera=CAMERA).answer == "crate, cup, lamp"
