"""Questions to the ledger in both languages: verdict, moment and box; what it cannot read is left to the model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deixis.spatial.video.event_words import in_chinese, in_english
from deixis.spatial.video.memory import SpatialMemory
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
    ("找出红色杯子被挡住的时刻", "2.7 s", "挡住", 2.7),
]


@pytest.mark.parametrize(("question", "verdict", "said", "when"), CASES)
def test_the_ledger_answers(memory: SpatialMemory, question: str, verdict: str, said: str, when: float | None) -> None:
    answer = memory.ask(question)
    assert answer is not None, question
    assert answer.verdict == verdict and said in answer.text.lower(), answer
    assert 0 < answer.confidence < 1
    if when is not None:
        assert answer.citations[0].time_s == pytest.approx(when, abs=0.11) and answer.citations[0].source == "story.mp4"
    row = answer.to_json()
    assert row["answer"] == answer.text and len(row["citations"]) == len(answer.citations)


@pytest.mark.parametrize(
    "question", ["", "What is the weather like?", "Is the cup left of the box?", "今天天气怎么样？", "x" * 600]
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
