"""Where can I put it, and can it go there: who is meant, and the whole way from a question to places."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deixis.backends import FakeBackend
from deixis.geometry import Box3D
from deixis.lab.questions import ask_everything
from deixis.spatial import Answer, Deixis
from deixis.spatial.language.reading import read_question
from deixis.spatial.language.relation_words import relation_in
from deixis.spatial.places.placing import _roles
from deixis.spatial.showing.draw import draw_answer
from tests.lab.synthetic_truth import synthetic_truth
from tests.spatial.scenes import CAMERA, CARD, PICTURE

# Things on a table 0.5 m below a camera that looks 30° down: right, forward (metres from the camera's feet), height, side.
THINGS: dict[str, tuple[float, float, float, float]] = {
    "red cup": (-0.3, 0.8, 0.1, 0.08),
    "black speaker": (-0.3, 1.3, 0.12, 0.1),
    "brown guitar": (0.25, 0.9, 0.1, 0.1),
    "green plant": (0.3, 1.4, 0.15, 0.1),
    "blue box": (0.0, 0.7, 0.05, 0.12),
}
CHINESE = {
    "red cup": "红色杯子",
    "black speaker": "黑色音箱",
    "brown guitar": "棕色吉他",
    "green plant": "绿色植物",
    "blue box": "蓝色盒子",
}
LABELS = list(THINGS)


def box_of(right: float, forward: float, tall: float, side: float, drop: float = 0.5) -> Box3D:
    """An upright box on the table, in the camera's frame."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    down = drop - tall / 2
    return Box3D.from_angles((right, c * down - s * forward, s * down + c * forward), (side, tall, side), (30, 0, 0))


def asked(
    question: str, things: dict[str, tuple[float, float, float, float]] = THINGS, said: str = "Yes", extra: str = ""
) -> Answer:
    """The answer of a model that sees these things and says so; `extra` is what it lists for the surface."""
    chinese = any(ord(letter) > 0x4E00 for letter in question)
    flat, deep = [], []
    for label, numbers in things.items():
        box = box_of(*numbers)
        px = box.project(CAMERA)
        assert px is not None
        name = CHINESE[label] if chinese else label
        flat.append({"bbox_2d": [round(v * 1000 / side) for v, side in zip(px, (640, 480) * 2, strict=True)], "label": name})
        deep.append({"bbox_3d": [round(v, 4) for v in box.to_qwen()], "label": name})
    script = {
        "3D": json.dumps(deep),
        "": json.dumps(flat),
        question: said,
        "of: table.": extra or "[]",
        "of: desk.": extra or "[]",
    }
    script |= {"所有的桌,以": extra or "[]", "所有的桌子,以": extra or "[]"}
    return Deixis(FakeBackend(script, card=CARD)).ask(PICTURE, question, camera=CAMERA)


READ = [
    ("Where on the table can I put the box?", "free_space"),
    ("Where should the cup go?", "free_space"),
    ("Find an empty spot on the desk.", "free_space"),
    ("桌上哪里可以放下这个盒子?", "free_space"),
    ("这个杯子可以放在哪里?", "free_space"),
    ("Can the speaker go behind the guitar?", "fit"),
    ("Does the box fit between the cup and the plant?", "fit"),
    ("Is there room for the cup next to the lamp?", "fit"),
    ("音箱能放在吉他后面吗?", "fit"),
    ("吉他后面放得下音箱吗?", "fit"),
    ("台灯旁边能不能放杯子?", "fit"),
    ("Where is the cup?", "other"),
    ("Is the cup behind the lamp?", "other"),
    ("杯子是不是放在台灯后面?", "other"),
    ("杯子放在哪里?", "other"),
]


@pytest.mark.parametrize(("question", "kind"), READ)
def test_questions_about_places_are_read_as_such(question: str, kind: str) -> None:
    read = read_question(question).kind
    assert read == kind if kind != "other" else read not in ("free_space", "fit")


def test_no_question_of_the_lab_is_taken_for_one() -> None:
    rng = np.random.default_rng(7)
    questions = [
        question for _ in range(20) for question in ask_everything(synthetic_truth(rng), rng) if question.prompt_kind == "ask"
    ]
    assert len(questions) > 200
    assert [q.question for q in questions if read_question(q.question).kind in ("free_space", "fit")] == []


ROLES: list[tuple[str, Sequence[str], tuple[int, ...], tuple[tuple[int, ...], ...]]] = [
    ("Can the speaker go behind the guitar?", ["guitar", "speaker"], (1,), ((0,),)),
    ("Is there room behind the guitar for the speaker?", ["guitar", "speaker"], (1,), ((0,),)),
    ("Does the red cup fit between the lamp and the book?", ["lamp", "book", "red cup"], (2,), ((0,), (1,))),
    ("Can the yellow box go left of the black box?", ["black box", "yellow box"], (1,), ((0,),)),
    ("Can the box go left of the lamp?", ["black box", "lamp", "red box"], (0, 2), ((1,),)),
    ("Can the dog go behind the guitar?", ["guitar", "speaker"], (), ((0,),)),
    ("Can the speaker go behind the dog?", ["guitar", "speaker"], (1,), ()),
    ("Where on the table can I put the box?", ["box"], (0,), ()),
    ("音箱能放在吉他后面吗?", ["黑色吉他", "白色音箱"], (1,), ((0,),)),
    ("吉他后面放得下音箱吗?", ["黑色吉他", "白色音箱"], (1,), ((0,),)),
    ("黑色的盒子能放在白色盒子左边吗?", ["白色盒子", "黑色盒子"], (1,), ((0,),)),
    ("吉他后面放得下狗吗?", ["黑色吉他"], (), ((0,),)),
    ("台灯和书之间能放下杯子吗?", ["书", "台灯", "杯子"], (2,), ((1,), (0,))),
]


@pytest.mark.parametrize(("question", "labels", "subject", "anchors"), ROLES)
def test_who_is_meant(
    question: str, labels: Sequence[str], subject: tuple[int, ...], anchors: tuple[tuple[int, ...], ...]
) -> None:
    reading = read_question(question)
    named = relation_in(question, reading.language)
    roles = _roles(reading, labels, None if named is None else named[1])
    assert (roles.subject, roles.anchors) == (subject, anchors)


@pytest.mark.parametrize("question", ["Where on the table can I put the red cup?", "桌上哪里可以放红色杯子?"])
def test_a_free_place_is_answered_with_a_point(question: str) -> None:
    answer = asked(question)
    (best, *_) = answer.places
    assert answer.verdict == f"{best.point_px[0]:.0f},{best.point_px[1]:.0f}"
    assert answer.verdict.split(",")[0] in answer.answer
    for item in answer.objects:
        x1, y1, x2, y2 = item.box_px
        assert not (x1 < best.point_px[0] < x2 and y1 < best.point_px[1] < y2)
    assert best.clearance_m > 0.1
    assert best.footprint_m == pytest.approx((0.08, 0.08), abs=1e-3)
    made = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert made["places"][0] == best.to_json()
    assert made["camera"]["source"] == "user"
    assert answer.provenance.notes  # what is assumed of the table
    assert isinstance(draw_answer(PICTURE, answer), Image.Image)


def test_no_size_is_needed_to_ask_for_free_space() -> None:
    answer = asked("Where is free space on the table?")
    assert answer.places[0].outline_px == ()
    assert answer.answer.startswith("free at")


@pytest.mark.parametrize(
    ("question", "verdict"),
    [
        ("Can the red cup go behind the brown guitar?", "yes"),
        ("红色杯子能放在棕色吉他后面吗?", "yes"),
        ("Can the red cup go left of the green plant?", "yes"),
        ("Does the red cup fit between the black speaker and the green plant?", "yes"),
        ("Can the red cup go behind the green plant?", "unsure"),  # beyond what is known of the table
        ("Can the red cup go on the blue box?", "unsure"),  # 2 cm on each side
        ("Can the dog go behind the brown guitar?", "unsure"),  # its size is not known
        ("Can the red cup go behind the dog?", "absent"),
        ("Does the red cup fit inside the blue box?", "unsure"),
    ],
)
def test_fit(question: str, verdict: str) -> None:
    answer = asked(question)
    assert answer.verdict == verdict
    assert isinstance(draw_answer(PICTURE, answer), Image.Image)


def test_geometry_answers_and_the_models_word_stands_beside_it() -> None:
    answer = asked("Can the red cup go behind the brown guitar?", said="No")
    (claim,) = answer.claims
    assert (answer.verdict, claim.model, claim.geometry, claim.agrees) == ("yes", "no", "yes", False)
    assert claim.margin is not None
    assert claim.margin.value == pytest.approx(answer.places[0].clearance_m)
    assert (claim.subject, claim.others) == (0, (2,))


def test_there_is_no_room_where_the_whole_zone_is_taken() -> None:
    wall = {"brown guitar": (0.0, 0.7, 0.1, 0.1), "blue box": (0.0, 1.05, 0.4, 0.6), "red cup": (-0.4, 0.8, 0.1, 0.1)}
    answer = asked("Can the red cup go behind the brown guitar?", wall)
    assert answer.verdict == "no"
    assert answer.places[0].clearance_m < -0.1


def test_two_of_a_name_are_not_guessed_between() -> None:
    twins = {**THINGS, "red guitar": (-0.1, 1.1, 0.1, 0.1)}
    answer = asked("Can the red cup go behind the guitar?", twins)
    assert answer.verdict == "unsure"
    assert "brown guitar, red guitar" in answer.answer


def test_where_nothing_else_stands_the_table_is_unknown() -> None:
    answer = asked("Where on the table can I put the red cup?", {"red cup": THINGS["red cup"]})
    assert (answer.verdict, answer.calibrated, answer.places) == ("unsure", False, ())
    assert "nothing else stands" in answer.answer


def test_a_located_table_is_the_surface_and_one_that_carries_nothing_is_not() -> None:
    table = box_of(0.0, 1.1, 0.05, 1.6, drop=0.55)
    listed = json.dumps([{"bbox_3d": [round(v, 4) for v in table.to_qwen()], "label": "table"}])
    question = "Where on the table can I put the red cup?"
    answer = asked(question, extra=listed)
    assert any("3D box" in note for note in answer.provenance.notes)
    small = replace(table, size_m=(0.1, 0.05, 0.1))
    listed = json.dumps([{"bbox_3d": [round(v, 4) for v in small.to_qwen()], "label": "table"}])
    assert any("beyond the things that stand" in note for note in asked(question, extra=listed).provenance.notes)


def test_a_table_that_is_full_says_so() -> None:
    large = {**THINGS, "blue box": (0.0, 1.05, 0.2, 0.5)}
    answer = asked("Where on the table can I put the blue box?", large)
    assert answer.verdict == "unsure"


def test_nothing_located_in_space_is_unsure() -> None:
    backend = FakeBackend({"3D": "[]", "": json.dumps([{"bbox_2d": [100, 100, 200, 200], "label": "cup"}])}, card=CARD)
    answer = Deixis(backend).ask(PICTURE, "Where on the table can I put the cup?", camera=CAMERA)
    assert (answer.verdict, answer.places) == ("unsure", ())
