"""Questions that geometry alone answers: what is asked of whom, in whose frame; and what is no such question."""

from __future__ import annotations

import time

import pytest

from deixis.spatial.language.reading import MAX_QUESTION, read_question
from deixis.spatial.language.space_reading import FrameWords, SpaceQuestion

LAMP_TO_MONITOR = FrameWords("viewer", "lamp", "monitor")
ZH_LAMP_TO_MONITOR = FrameWords("viewer", "台灯", "显示器")

CASES: list[tuple[str, SpaceQuestion]] = [
    (
        "Standing at the lamp and facing the monitor, is the cup on the left?",
        SpaceQuestion("relation", "cup", None, "left_of", LAMP_TO_MONITOR),
    ),
    (
        "Is the cup behind the book when standing at the lamp and facing the monitor?",
        SpaceQuestion("relation", "cup", "book", "behind", LAMP_TO_MONITOR),
    ),
    (
        "If I stand at the lamp and look at the monitor, is the red cup to the right of the box?",
        SpaceQuestion("relation", "red cup", "box", "right_of", LAMP_TO_MONITOR),
    ),
    (
        "Seen from the lamp looking towards the monitor, which is further left: the cup or the book?",
        SpaceQuestion("choice", "cup", "book", "left_of", LAMP_TO_MONITOR),
    ),
    (
        "Standing at the lamp and facing the camera, is the cup behind me?",
        SpaceQuestion("relation", "cup", None, "behind", FrameWords("viewer", "lamp", "")),
    ),
    (
        "Standing at the lamp, is the cup on the left?",
        SpaceQuestion("relation", "cup", None, "left_of", FrameWords("viewer", "lamp")),
    ),
    (
        "From the laptop's point of view, is the mouse on its right?",
        SpaceQuestion("relation", "mouse", None, "right_of", FrameWords("object", "laptop")),
    ),
    (
        "From the point of view of the laptop facing the cup, is the mouse left of the book?",
        SpaceQuestion("relation", "mouse", "book", "left_of", FrameWords("object", "laptop", "cup")),
    ),
    ("站在台灯处面向显示器，杯子在左边吗？", SpaceQuestion("relation", "杯子", None, "left_of", ZH_LAMP_TO_MONITOR)),
    ("站在台灯旁边面向显示器时，杯子和书哪个更靠左？", SpaceQuestion("choice", "杯子", "书", "left_of", ZH_LAMP_TO_MONITOR)),
    (
        "如果我站在台灯的位置，面朝显示器，杯子在我的后面吗？",
        SpaceQuestion("relation", "杯子", None, "behind", ZH_LAMP_TO_MONITOR),
    ),
    ("站在台灯处看向显示器，左边有杯子吗？", SpaceQuestion("relation", "杯子", None, "left_of", ZH_LAMP_TO_MONITOR)),
    (
        "从椅子的角度看，杯子在书的左边吗？",
        SpaceQuestion("relation", "杯子", "书", "left_of", FrameWords("object", "椅子")),
    ),
    ("Is the laptop facing the cup?", SpaceQuestion("relation", "laptop", "cup", "facing")),
    ("笔记本电脑面向杯子吗？", SpaceQuestion("relation", "笔记本电脑", "杯子", "facing")),
    ("How far apart are the cup and the book?", SpaceQuestion("distance", "cup", "book")),
    ("What is the distance between the red cup and the book?", SpaceQuestion("distance", "red cup", "book")),
    ("How far is the cup from the book?", SpaceQuestion("distance", "cup", "book")),
    ("杯子离书多远？", SpaceQuestion("distance", "杯子", "书")),
    ("杯子和书之间的距离是多少？", SpaceQuestion("distance", "杯子", "书")),
    ("Is the cup within 10 cm of the laptop?", SpaceQuestion("within", "cup", "laptop", limit_m=0.1)),
    ("Is the cup more than 1.5 metres from the laptop?", SpaceQuestion("within", "cup", "laptop", limit_m=1.5, beyond=True)),
    ("杯子离电脑不到10厘米吗？", SpaceQuestion("within", "杯子", "电脑", limit_m=0.1)),
    ("杯子离电脑超过1米吗？", SpaceQuestion("within", "杯子", "电脑", limit_m=1.0, beyond=True)),
    ("杯子在电脑10厘米以内吗？", SpaceQuestion("within", "杯子", "电脑", limit_m=0.1)),
    ("How far left of the keyboard is the mouse?", SpaceQuestion("offset", "mouse", "keyboard", "left_of")),
    ("How far is the mouse behind the keyboard?", SpaceQuestion("offset", "mouse", "keyboard", "behind")),
    ("杯子在书的左边多远？", SpaceQuestion("offset", "杯子", "书", "left_of")),
    ("Can the lamp see the cup?", SpaceQuestion("sight", "lamp", "cup")),
    ("Is the cup visible from the lamp?", SpaceQuestion("sight", "lamp", "cup")),
    ("Is there anything between the lamp and the cup?", SpaceQuestion("sight", "lamp", "cup")),
    ("Does anything block the view from the lamp to the cup?", SpaceQuestion("sight", "lamp", "cup")),
    ("有没有东西挡在台灯和杯子之间？", SpaceQuestion("sight", "台灯", "杯子")),
    ("从台灯能看到杯子吗？", SpaceQuestion("sight", "台灯", "杯子")),
]


@pytest.mark.parametrize(("question", "expected"), CASES)
def test_asked(question: str, expected: SpaceQuestion) -> None:
    assert read_question(question).space == expected


@pytest.mark.parametrize(
    "question",
    [
        "Is the cup left of the book?",
        "From the camera's point of view, is the cup left of the book?",
        "从相机的视角看，杯子在书的左边吗？",
        "Seen from here, is the cup left of the book?",
        "Is the cup in the space between the book and the lamp?",
        "How far is the cup from the camera?",
        "杯子离相机多远？",
        "Can you see a lamp?",
        "你能看到台灯吗？",
        "杯子能看到多少？",
        "Is the cup near the book?",
        "画面向下看的角度是多少？",
        "Standing",
    ],
)
def test_left_to_the_model(question: str) -> None:
    assert read_question(question).space is None


def test_names_are_each_there_once() -> None:
    asked = read_question("Standing at the lamp and facing the camera, is the cup left of the lamp?").space
    assert asked is not None
    assert asked.names == ("cup", "lamp")


@pytest.mark.parametrize(
    "piece",
    [
        "a离",
        "杯子和",
        "在",
        "从的",
        "放",
        "有",
        "离",
        "from a's view ",
        "standing at a facing ",
        "distance from a to ",
        "where can ",
    ],
)
def test_a_hostile_question_is_read_in_linear_time(piece: str) -> None:
    def cost(length: int) -> float:
        started = time.process_time()
        read_question((piece * length)[:length])
        return time.process_time() - started

    cost(MAX_QUESTION // 4)
    assert cost(MAX_QUESTION) < 8 * cost(MAX_QUESTION // 4) + 0.1
