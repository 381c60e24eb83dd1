"""Questions to kinds, relations and roles: a table, and every wording that the lab asks with."""

from __future__ import annotations

import pytest

from deixis.errors import QuestionError
from deixis.geometry import Relation
from deixis.lab.questions import counting, distance, occlusion, relation, viewpoint
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import MAX_QUESTION, QuestionKind, read_question
from deixis.spatial.language.relation_words import AnyRelation

CASES: list[tuple[str, QuestionKind, AnyRelation | None]] = [
    ("Is the mouse left of the keyboard?", "relation", "left_of"),
    ("Is the mouse on the left?", "relation", "left_of"),
    ("Is the mouse right next to the keyboard?", "relation", "next_to"),
    ("The mouse is behind the keyboard, right?", "relation", "behind"),
    ("Is the cup inside the box?", "relation", "inside"),
    ("Is the cup near the book?", "relation", "near"),
    ("Is the cup near to the book?", "relation", "next_to"),
    ("Is the cup far from the book?", "relation", "far"),
    ("Is the cup touching the book?", "relation", "touching"),
    ("Is the pen parallel to the book?", "relation", "aligned"),
    ("杯子在盒子里吗?", "relation", "inside"),
    ("图里有杯子吗?", "exists", None),
    ("杯子碰到书了吗?", "relation", "touching"),
    ("杯子离书很远吗?", "relation", "far"),
    ("杯子在书附近吗?", "relation", "near"),
    ("笔和书平行吗?", "relation", "aligned"),
    ("Is there a cup on the book?", "relation", "on"),
    ("Is there a cup on the table?", "exists", None),
    ("Is there a cup?", "exists", None),
    ("Can you see a lamp?", "exists", None),
    ("How many cups are on the book?", "count", None),
    ("How far is the cup?", "depth", None),
    ("How far is it between the cup and the book?", "distance", None),
    ("杯子和书之间的距离是多少?", "distance", None),
    ("Which object is nearest?", "relation", "nearest"),
    ("What hides the cup?", "hidden", None),
    ("How much of the cup is visible?", "visibility", None),
    ("What is the camera's tilt?", "viewpoint", None),
    ("What color is the cup?", "other", None),
    ("鼠标在键盘左边吗?", "relation", "left_of"),
    ("杯子在书上吗?", "relation", "on"),
    ("杯子在书的上方吗?", "relation", "above"),
    ("桌上有杯子吗?", "exists", None),
    ("图上有杯子吗?", "exists", None),
    ("有几个杯子?", "count", None),
    ("杯子有多远?", "depth", None),
    ("杯子是什么颜色?", "other", None),
]


@pytest.mark.parametrize(("question", "kind", "relation_name"), CASES)
def test_reading(question: str, kind: QuestionKind, relation_name: AnyRelation | None) -> None:
    reading = read_question(question)
    assert (reading.kind, reading.relation) == (kind, relation_name)


ROLES: list[tuple[str, list[str], tuple[int, ...]]] = [
    ("Is the mouse left of the keyboard?", ["mouse", "keyboard"], (0, 1)),
    ("To the left of the keyboard, is there a mouse?", ["keyboard", "mouse"], (1, 0)),
    ("Is the cup between the book and the lamp?", ["cup", "book", "lamp"], (0, 1, 2)),
    ("Between the book and the lamp, is there a cup?", ["book", "lamp", "cup"], (2, 0, 1)),
    ("Is the mug left of the tome?", ["red cup", "blue book"], (0, 1)),
    ("鼠标在键盘左边吗?", ["鼠标", "键盘"], (0, 1)),
    ("键盘左边有鼠标吗?", ["键盘", "鼠标"], (1, 0)),
    ("黑色的键盘左边是红色鼠标吗?", ["黑色键盘", "红色鼠标"], (1, 0)),
    ("杯子紧挨着书吗?", ["杯子", "书"], (0, 1)),
    ("书和台灯之间有杯子吗?", ["书", "台灯", "杯子"], (2, 0, 1)),
    ("杯子在书和台灯之间吗?", ["杯子", "书", "台灯"], (0, 1, 2)),
]


@pytest.mark.parametrize(("question", "labels", "roles"), ROLES)
def test_roles(question: str, labels: list[str], roles: tuple[int, ...]) -> None:
    assert read_question(question).roles(labels) == roles


def test_depth_is_asked_for_where_boxes_do_not_tell() -> None:
    assert not read_question("Is the mouse left of the keyboard?").needs_depth
    assert read_question("Is the mouse behind the keyboard?").needs_depth
    assert read_question("How far is the mouse?").needs_depth
    assert not read_question("How many cups are there?").needs_depth


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is left of the lamp?", True),
        ("The pen or the cup: which one is nearer?", True),
        ("Is there a cup which is left of the lamp?", False),
        ("Could you tell whether the cup is left of the lamp?", False),
        ("Is the mouse left of the keyboard?", False),
        ("台灯左边是什么?", True),
        ("谁挡住了杯子?", True),
        ("杯子和书哪个更近?", True),
        ("有什么东西挡住杯子吗?", False),
        ("杯子在书左边吗?", False),
        ("什么都没有么?", False),
    ],
)
def test_what_asks_for_a_name(question: str, expected: bool) -> None:
    assert read_question(question).asks_for_a_name is expected


def test_what_presumes_presence() -> None:
    assert read_question("Is the mouse left of the keyboard?").takes_for_granted
    assert read_question("How far is the mouse?").takes_for_granted
    assert not read_question("Is there a mouse?").takes_for_granted
    assert not read_question("Which object is nearest?").takes_for_granted


@pytest.mark.parametrize("question", ["", "  \n", "x" * (MAX_QUESTION + 1)])
def test_refused(question: str) -> None:
    with pytest.raises(QuestionError):
        read_question(question)


# --- every wording of the lab ------------------------------------------------------------------------------------------

_NAMES: dict[Language, tuple[str, str, str]] = {
    "en": ("the red cup", "the keyboard", "the blue book"),
    "zh": ("红色杯子", "键盘", "蓝色的书"),
}
_LABELS: dict[Language, tuple[str, str, str]] = {
    "en": ("red cup", "black keyboard", "blue book"),
    "zh": ("红色杯子", "黑色键盘", "蓝色书"),
}


def filled(template: str, language: Language) -> str:
    a, b, c = _NAMES[language]
    words = {
        "{a}": a,
        "{b}": b,
        "{c}": c,
        "{A}": a[0].upper() + a[1:],
        "{Is}": "Is",
        "{is_}": "is",
        "{an_x}": "a red cup",
        "{x}": a,
    }
    words["{xs}"] = "red cups" if language == "en" else a
    for mark, word in words.items():
        template = template.replace(mark, word)
    return template


LANGUAGES: tuple[Language, ...] = ("en", "zh")
KINDS: list[tuple[QuestionKind, relation.Phrasings]] = [
    ("hidden", occlusion.HIDDEN),
    ("hidden", occlusion.BY),
    ("visibility", occlusion.VISIBLE),
    ("depth", distance.DEPTH),
    ("count", counting.COUNT),
    ("exists", counting.EXISTS),
    ("viewpoint", viewpoint.VIEWPOINT),
    ("viewpoint", viewpoint.TILT),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", relation.PHRASINGS)
def test_lab_relations(name: Relation, language: Language) -> None:
    for template in relation.PHRASINGS[name][language]:
        reading = read_question(filled(template, language))
        assert (reading.kind, reading.relation, reading.choice) == ("relation", name, False), reading.text
        count = 3 if name == "between" else 2
        assert reading.roles(_LABELS[language][:count]) == tuple(range(count)), reading.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_lab_choices(language: Language) -> None:
    choices: list[tuple[Relation, relation.Phrasings]] = [
        ("left_of", relation.CHOICES["left"]),
        ("right_of", relation.CHOICES["right"]),
        ("in_front_of", relation.CHOICES["front"]),
        ("behind", relation.CHOICES["back"]),
        ("in_front_of", distance.NEARER),
        ("behind", distance.FARTHER),
        ("nearest", distance.NEAREST),
        ("farthest", distance.FARTHEST),
    ]
    for name, phrasings in choices:
        for template in phrasings[language]:
            reading = read_question(filled(template, language))
            assert (reading.kind, reading.relation, reading.choice) == ("relation", name, True), reading.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_lab_kinds(language: Language) -> None:
    for kind, phrasings in KINDS:
        for template in phrasings[language]:
            reading = read_question(filled(template, language))
            assert reading.kind == kind, reading.text
            assert reading.language == language
