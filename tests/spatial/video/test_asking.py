"""Questions to the ledger in both languages: verdict, moment and box; what it cannot read is left to the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest

from deixis.spatial.video.asking import _ANSWERS
from deixis.spatial.video.event_words import in_chinese, in_english
from deixis.spatial.video.memory import SpatialMemory
from deixis.spatial.video.question_words import QUESTIONS, Kind
from tests.spatial.video.small_story import told


@pytest.fixture(scope="module")
def memory() -> Iterator[SpatialMemory]:
    with told() as ledger:
        yield ledger


CASES = [
    ("Where is the red cup now?", "occluded", "blue box", 2.6),
    ("where was the red cup at 1 s?", "visible", "in sight", 1.0),
    ("Where is the lamp?", "visible", "in sight", 10.0),
    ("What did the box hide at 5 s?", "the red cup", "red cup", None),
    ("What did the box hide at 1 s?", "nothing", "nothing", None),
    ("What did the blue box hide?", "the red cup", "red cup", None),
    ("What hides the red cup?", "the blue box", "blue box", None),
    ("When was the cup last seen?", "2.6 s", "2.6 s", 2.6),
    ("When did you last see the red cup?", "2.6 s", "2.6 s", 2.6),
    ("Who moved first?", "the blue box", "blue box", None),
    ("Which thing moved first?", "the blue box", "blue box", None),
    ("Who moved last?", "the red cup", "red cup", None),
    ("In which order did things move?", "the blue box, the red ball, the blue ball, the red cup", "blue box", None),
    ("How many balls were there at 8 s?", "2", "2", 8.0),
    ("How many cups are there?", "1", "1 hidden", None),
    ("How many cups can be seen?", "0", "0", None),
    ("What caused the blue ball to move?", "the red ball", "red ball", None),
    ("Why did the blue ball move?", "the red ball", "red ball", None),
    ("What caused the red ball to move?", "unsure", "nothing in view", None),
    ("Find the moment when the red ball stops", "5.0 s", "stops", 5.0),
    ("When was the red cup hidden by the box?", "2.7 s", "hidden", 2.7),
    ("When does the lamp fall?", "absent", "not happen", None),
    ("Show me when the box moves", "2.1 s", "again at 6.1 s", 2.1),
    ("Who moved, in which order?", "the blue box, the red ball, the blue ball, the red cup", "blue box", None),
    ("Which things moved?", "the blue box, the red ball, the blue ball, the red cup", "red ball (4.1 s)", None),
    ("How many things moved?", "4", "the red cup", None),
    ("How many objects can be seen?", "4", "4", None),
    ("How many objects are on the table?", "5", "1 hidden", None),
    ("How did the number of cups change over time?", "1", "from 0.0 s", 0.0),
    ("How many cups were visible over time?", "1, 0", "0 from 2.8 s", 0.0),
    ("How often did the box move?", "2", "6.1 s", None),
    ("How long was the red cup hidden?", "7.2 s", "2.8 s–10.0 s", None),
    ("What did the red ball hit?", "the blue ball", "at 5.1 s", None),
    ("What is under the box?", "the red cup", "red cup", None),
    ("Is the red cup still there?", "yes", "hidden by the blue box", None),
    ("Is the red cup visible now?", "no", "hidden by the blue box", None),
    ("Is there a dog?", "absent", "no dog", None),
    ("Did the lamp move?", "no", "not seen", None),
    ("Did the red ball hit the blue one?", "yes", "5.1 s", 5.1),
    ("Where was the red cup before it was hidden?", "visible", "was in sight", None),
    ("Where was the red ball at the start?", "visible", "(120, 400)", None),
    ("What objects are in the video?", "the blue box, the red ball, the blue ball, the green lamp, the red cup", "lamp", None),
    ("What can be seen at 3 s?", "the blue box, the red ball, the blue ball, the green lamp", "lamp", None),
    ("What happens?", None, "the red cup is carried along by the blue box", None),
    ("What happened between 4 s and 6 s?", None, "the red ball hits the blue ball", None),
    ("What happened after the red ball stopped?", None, "the blue ball moves", None),
    ("Where is the green elephant?", "absent", "no green elephant", None),
    ("红色杯子现在在哪里？", "occluded", "蓝色盒子", 2.6),
    ("红色的杯子在1秒在哪里？", "visible", "画面", 1.0),
    ("5秒时盒子挡住了什么？", "红色杯子", "红色杯子", None),
    ("什么挡住了红色杯子？", "蓝色盒子", "蓝色盒子", None),
    ("红色杯子最后一次什么时候看到的？", "2.6 s", "2.6秒", 2.6),
    ("谁最先移动？", "蓝色盒子", "蓝色盒子", None),
    ("物体按什么顺序移动的？", "蓝色盒子、红色球、蓝色球、红色杯子", "蓝色盒子", None),
    ("8秒时有几个球？", "2", "2", 8.0),
    ("什么让蓝色的球动起来？", "红色球", "红色球", None),
    ("红色球什么时候停下？", "5.0 s", "停下", 5.0),
    ("谁动了，顺序是什么？", "蓝色盒子、红色球、蓝色球、红色杯子", "蓝色盒子", None),
    ("红色杯子在5秒时被什么挡住了？", "蓝色盒子", "蓝色盒子", None),
    ("红色杯子被谁挡住？", "蓝色盒子", "蓝色盒子", None),
    ("有几个东西动过？", "4", "红色杯子", None),
    ("画面中有几个物体？", "5", "1个被挡住", None),
    ("杯子的数量怎么变化？", "1", "0.0秒起1个", 0.0),
    ("红色杯子被挡住了几次？", "1", "2.7秒", None),
    ("红色杯子被挡住了多久？", "7.2 s", "7.2秒", None),
    ("红色球撞到了什么？", "蓝色球", "5.1秒", None),
    ("盒子下面有什么？", "红色杯子", "红色杯子", None),
    ("红色杯子还在吗？", "yes", "被蓝色盒子挡住", None),
    ("台灯动过吗？", "no", "没有看到", None),
    ("有台灯吗？", "yes", "绿色台灯", None),
    ("4秒到6秒之间发生了什么？", None, "红色球撞到蓝色球", None),
    ("视频里有哪些物体？", "蓝色盒子、红色球、蓝色球、绿色台灯、红色杯子", "台灯", None),
    ("是什么让蓝色球动起来的？", "红色球", "5.1秒", None),
    ("找出红色杯子被挡住的时刻", "2.7 s", "挡住", 2.7),
]


@pytest.mark.parametrize(("question", "verdict", "said", "when"), CASES)
def test_the_ledger_answers(memory: SpatialMemory, question: str, verdict: str | None, said: str, when: float | None) -> None:
    answer = memory.ask(question)
    assert answer is not None, question
    assert verdict in (None, answer.verdict) and said in answer.text.lower(), answer
    assert 0 < answer.confidence < 1
    if when is not None:
        assert answer.citations[0].time_s == pytest.approx(when, abs=0.11) and answer.citations[0].source == "story.mp4"
    row = answer.to_json()
    assert row["answer"] == answer.text and len(row["citations"]) == len(answer.citations)


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is the weather like?",
        "Is the cup left of the box?",
        "Where is it and when?",
        "What color is the ball?",
        "今天天气怎么样？",
        "x" * 600,
    ],
)
def test_what_it_does_not_read_is_left_to_the_model(memory: SpatialMemory, question: str) -> None:
    assert memory.ask(question) is None


def test_an_empty_ledger_answers_nothing() -> None:
    with SpatialMemory() as empty:
        assert empty.ask("Where is the red cup?") is None


@pytest.mark.parametrize("label", ["red cup", "blue ball", "usb stick", "wall"])
def test_names_go_to_chinese_and_back(label: str) -> None:
    assert in_english(in_chinese(label)) == label


def test_names_that_are_not_known_stay() -> None:
    assert in_chinese("zeppelin") == "zeppelin" and in_english("飞艇") == "飞艇" and in_english("红色的水杯") == "red cup"


def test_every_kind_of_question_has_words_and_an_answer() -> None:
    assert {kind for kind, _ in QUESTIONS} == set(get_args(Kind)) == set(_ANSWERS)
