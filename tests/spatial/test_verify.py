"""Looking again, with models that err in one way and not in another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deixis.backends import Completion, Conversation, FakeBackend, ModelCard, TokenProb
from deixis.geometry import RELATIONS
from deixis.spatial import Deixis
from deixis.spatial.checking.calibration import Calibration, Fusion, Opinion
from deixis.spatial.checking.missing import MOST_LOOKS
from deixis.spatial.checking.verify import MOST_ABOUT_VIEW, MOST_ABROAD, MOST_QUESTIONS, Weighed, judged
from deixis.spatial.deixis import UNPROVEN_MOST
from deixis.spatial.language.prompts import LANGUAGES
from deixis.spatial.language.rewording import exists_reworded, hidden_reworded, relation_reworded, what_hides, which_extreme
from deixis.spatial.language.translation import named_in, names_of_reply, translated

PIXELS = np.tile(np.arange(640, dtype=np.uint8)[None, :, None], (480, 1, 3))  # left and right differ
CUP = '{"bbox_2d": [100, 400, 300, 600], "label": "red cup"}'
BOOK = '{"bbox_2d": [500, 400, 700, 600], "label": "blue book"}'
CARD = ModelCard("nano", virtual_focal=1.0)
QUESTION = "Is the red cup left of the blue book?"
EVEN = Calibration(
    {
        "claim": Fusion({"words": 1.0, "straight": 0.5, "inverse": 0.5, "opposite": 0.5, "choice": 0.5, "mirrored": 1.0}),
        "absent": Fusion({"words": 1.0, "geometry": 1.0}),
    },
    made={"seed": 1},
)


def asking(
    answer: Callable[[str, bool], str], boxes: str = f"[{CUP}, {BOOK}]", calibration: Calibration | None = None, p: float = 0.9
) -> tuple[Deixis, FakeBackend]:
    """A model that answers by the question's first line and by whether the picture is mirrored."""

    def reply(conversation: Conversation) -> str:
        (turn,) = conversation.turns
        question = conversation.text.splitlines()[0]
        if "JSON" in conversation.text:
            return boxes
        return answer(question, bool(turn.parts[0][0, 0, 0] > turn.parts[0][0, 1, 0]))  # type: ignore[index]

    backend = FakeBackend(reply, card=CARD, probability=p)
    session = Deixis(backend)
    if calibration is not None:
        session.calibration = calibration
    return session, backend


def truthful(question: str, mirrored: bool) -> str:
    """The cup is left of the book, and both are there."""
    if "there" in question:
        return "Yes"
    if question.startswith("Which"):
        left = "red cup" if "left" in question else "blue book"
        return {"red cup": "blue book", "blue book": "red cup"}[left] if mirrored else left
    cup_first = question.index("cup") < question.index("book")
    return "Yes" if (cup_first == ("left" in question)) != mirrored else "No"


def test_all_readings_of_a_truthful_model_speak_for_the_claim() -> None:
    session, _ = asking(truthful, calibration=EVEN, p=0.6)
    first, again = session.weighed(PIXELS, QUESTION)
    hows = {opinion.how for opinion in first.opinions}
    assert {"words", "geometry", "straight", "inverse", "opposite", "choice"} <= hows
    assert all(opinion.log_odds > 0 for opinion in (*first.opinions, *again.opinions))


def test_a_slip_of_the_tongue_is_outvoted() -> None:
    session, _ = asking(lambda q, mirrored: "No" if q == QUESTION else truthful(q, mirrored), calibration=EVEN)
    answer = session.ask(PIXELS, QUESTION)
    assert (answer.answer, answer.verdict) == ("Yes", "yes")
    (claim,) = answer.claims
    assert (claim.model, claim.geometry, claim.agrees) == ("no", "yes", False)
    assert claim.probability is not None and claim.probability > 0.5
    assert {opinion.how for opinion in claim.looked_again} >= {"straight", "inverse", "opposite", "choice"}
    assert claim.to_json()["looked_again"][0]["asked"].startswith("Is the red cup")


def test_what_stays_contradictory_is_unsure() -> None:
    # It says yes to everything, whichever way it is asked.
    session, _ = asking(lambda q, mirrored: "red cup" if q.startswith("Which") else "Yes", f"[{BOOK}, {CUP}]")
    answer = session.ask(PIXELS, "Is the blue book left of the red cup?")
    (claim,) = answer.claims
    assert (answer.verdict, claim.model, claim.geometry) == ("unsure", "yes", "no")


def test_the_sure_are_not_asked_again_and_the_doubtful_only_so_often() -> None:
    session, backend = asking(truthful, calibration=EVEN, p=0.999)
    session.ask(PIXELS, QUESTION)
    assert len(backend.asked) == 2  # the question, and its evidence
    session, backend = asking(lambda q, mirrored: "Yes", p=0.51)
    session.ask(PIXELS, QUESTION)
    assert 2 < len(backend.asked) <= 2 + MOST_LOOKS + MOST_QUESTIONS + MOST_ABROAD + MOST_ABOUT_VIEW


def test_another_view_is_taken_where_doubt_remains() -> None:
    session, _ = asking(lambda q, mirrored: truthful(q, mirrored) if mirrored else "I cannot tell", calibration=EVEN)
    answer = session.ask(PIXELS, "Is the red cup left of the blue book, or not?")
    assert answer.verdict == "unsure"  # what it never answered is not asked again
    session, _ = asking(truthful, calibration=EVEN, p=0.55)
    answer = session.ask(PIXELS, QUESTION)
    assert any(opinion.how == "mirrored" for opinion in answer.claims[0].looked_again)
    assert answer.verdict == "yes"


def test_hidden_things_are_seen_larger() -> None:
    session, backend = asking(lambda q, _: "Yes", f"[{CUP}]", p=0.6)
    answer = session.ask(PIXELS, "Is the red cup partly hidden?")
    assert answer.verdict == "yes"
    views = [conversation.turns[0].parts[0] for conversation in backend.asked]
    zoomed = [view for view in views if isinstance(view, np.ndarray) and not np.array_equal(view, PIXELS)]
    assert zoomed and all(view.shape == PIXELS.shape for view in zoomed)


def test_which_of_two_is_answered_by_the_better_borne_out() -> None:
    question = "Which of the two is further left, the red cup or the blue book?"
    session, _ = asking(lambda q, m: "blue book" if q == question else truthful(q, m), calibration=EVEN, p=0.8)
    answer = session.ask(PIXELS, question)
    assert (answer.answer, answer.verdict) == ("red cup", "red cup")


def test_open_choices_are_asked_in_other_words_and_then_by_pairs() -> None:
    question = "Which thing is the nearest?"
    told = {question: "blue book", "Which object is closest to the camera?": "red cup", "What is closest to us?": "red cup"}

    def says(asked: str, _: bool) -> str:
        if asked in told:
            return told[asked]
        if asked.startswith("Which"):
            return "red cup"
        return "Yes" if (asked.index("cup") < asked.index("book")) == ("front" in asked) else "No"

    session, _ = asking(says, f"[{BOOK}]", calibration=EVEN, p=0.7)
    assert session.ask(PIXELS, question).verdict == "red cup"


@pytest.mark.parametrize(("label", "verdict"), [("green cup", "absent"), ("red cup", "yes")])
def test_a_thing_of_another_name_is_not_the_one_asked_for(label: str, verdict: str) -> None:
    calibration = Calibration({"absent": Fusion({"named": 2.0}), "claim": Fusion({"words": 1.0})}, made={"seed": 1})
    session, _ = asking(lambda q, _: "Yes", f"[{CUP.replace('red cup', label)}, {BOOK}]", calibration=calibration)
    assert session.ask(PIXELS, QUESTION).verdict == verdict


def test_missing_things_are_never_boxed_into_an_answer() -> None:
    session, _ = asking(lambda q, _: "Yes", "[]")
    answer = session.ask(PIXELS, QUESTION)
    assert (answer.verdict, answer.answer, answer.objects) == ("absent", "absent", ())


# --- the other language ----------------------------------------------------------------------------------------------

PAIRS = (
    ("cup", "杯子"),
    ("book", "书"),
    ("usb stick", "U盘"),
    ("red", "红色"),
    ("blue", "蓝色"),
    ("mug", "杯子"),
    ("cup", "水杯"),
)
ABROAD = Calibration({"claim": Fusion({"other_language": 3.0})}, made={"seed": 1})


@pytest.mark.parametrize(
    ("label", "language", "there"),
    [
        ("red cup", "en", "红色杯子"),
        ("the blue USB stick", "en", "蓝色U盘"),
        ("mug", "en", "杯子"),
        ("红色的杯子", "zh", "red cup"),
        ("水杯", "zh", "cup"),
        ("red dragon", "en", None),
        ("红色的龙", "zh", None),
        ("", "en", None),
    ],
)
def test_names_are_put_together_from_known_words(label: str, language: str, there: str | None) -> None:
    assert translated(label, language, PAIRS) == there  # type: ignore[arg-type]
    assert translated(label, language, ()) is None  # type: ignore[arg-type]


def test_the_names_in_a_question() -> None:
    assert named_in("Is the red cup hidden by a mug, or the mugshot?", "en", PAIRS) == ("red cup", "mug")
    assert named_in("红色的杯子在U盘左边吗？", "zh", PAIRS) == ("红色杯子", "U盘")
    assert named_in("Is the red cup there?", "en", ()) == ()


@pytest.mark.parametrize(
    ("reply", "names"),
    [
        ('```json\n["红色的杯子", "蓝色书"]\n```', ("红色杯子", "蓝色书")),
        ('["红色的杯子"]', None),  # one for two
        ('["red cup", "blue book"]', None),  # not translated
        ('["杯子", "杯子"]', None),  # no longer told apart
        ('["杯子", ""]', None),
        ('["杯子", 2]', None),
        (f'["杯子", "{"书" * 61}"]', None),
        ("杯子和书", None),
        ('["杯子", "书', None),
    ],
)
def test_a_models_own_translation_is_checked(reply: str, names: tuple[str, ...] | None) -> None:
    assert names_of_reply(reply, 2, "zh") == names


@pytest.mark.parametrize(("says", "verdict"), [("否", "no"), ("是", "yes"), ("不知道", "unsure")])
@pytest.mark.parametrize("knows_words", [True, False])
def test_the_doubtful_are_asked_in_the_other_language(says: str, verdict: str, knows_words: bool) -> None:
    asked: list[str] = []

    def reply(conversation: Conversation) -> str:
        text = conversation.text
        if text.startswith("Translate"):
            assert not any(isinstance(part, np.ndarray) for part in conversation.turns[0].parts)
            return '["红色杯子", "蓝色书"]' if '"red cup", "blue book"' in text else "?"
        if "JSON" in text:
            return f"[{CUP}, {BOOK}]"
        asked.append(text)
        return says if "左边" in text else "Yes"

    session = Deixis(FakeBackend(reply, card=replace(CARD, words=PAIRS if knows_words else ()), probability=0.9))
    session.calibration = ABROAD
    answer = session.ask(PIXELS, QUESTION)
    assert answer.verdict == verdict
    assert [text for text in asked if "左边" in text] == ["红色杯子在蓝色书的左边吗？\n请用一个词、一个数或短语回答。"]
    told = [one for one in answer.claims[0].looked_again if one.how == "other_language"]
    assert [one.said for one in told] == ([] if verdict == "unsure" else [says])


def test_chinese_questions_are_asked_again_in_english() -> None:
    boxes = f"[{CUP}, {BOOK}]".replace("red cup", "红色杯子").replace("blue book", "蓝色书")

    def reply(conversation: Conversation) -> str:
        if "JSON" in conversation.text:
            return boxes
        if conversation.text.startswith("Is the red cup to the left of the blue book?"):
            return "Yes"
        return "是" if conversation.text.startswith("图中有") else "否"

    session = Deixis(FakeBackend(reply, card=replace(CARD, words=PAIRS)))
    session.calibration = ABROAD
    assert session.ask(PIXELS, "红色的杯子在蓝色的书左边吗？").verdict == "yes"


@pytest.mark.parametrize("reply", ["I cannot", '["杯子"]'])
def test_without_a_translation_the_opinion_is_left_out(reply: str) -> None:
    session, backend = asking(lambda q, _: "Yes", calibration=EVEN, p=0.55)
    kept = backend._script
    backend._script = lambda c: reply if c.text.startswith("Translate") else kept(c)  # type: ignore[operator]
    answer = session.ask(PIXELS, QUESTION)
    assert answer.verdict in ("yes", "unsure")
    assert not any(opinion.how == "other_language" for opinion in answer.claims[0].looked_again)
    assert sum(c.text.startswith("Translate") for c in backend.asked) <= 2


# --- what may be missing ----------------------------------------------------------------------------------------------


def test_each_name_is_asked_for_by_itself_and_the_missing_one_decides() -> None:
    calibration = Calibration(
        {"absent": Fusion({"words": 0.1, "exists": 1.0}), "claim": Fusion({"words": 1.0})}, made={"seed": 1}
    )
    session, backend = asking(lambda q, _: "No" if "there a blue book" in q else "Yes", calibration=calibration)
    assert session.ask(PIXELS, QUESTION).verdict == "absent"
    asked = [c.text.splitlines()[0] for c in backend.asked]
    assert asked.count("Is there a red cup in the picture?") == 1
    assert asked.count("Is there a blue book in the picture?") == 2  # and once more in a crop around its box


@pytest.mark.parametrize(("there", "absent"), [("Yes", False), ("No", True)])
def test_a_name_that_was_not_found_is_asked_for_where_words_are_known(there: str, absent: bool) -> None:
    _, scripted = asking(lambda q, _: there if "book in the picture" in q else "Yes", f"[{CUP}]")
    session = Deixis(FakeBackend(scripted._script, card=replace(CARD, words=PAIRS)))
    session.calibration = Calibration({"absent": Fusion({"exists": 1.0}), "claim": Fusion({"words": 1.0})}, made={"seed": 1})
    assert (session.ask(PIXELS, QUESTION).verdict == "absent") == absent


def test_exists_has_its_articles() -> None:
    said = [exists_reworded((name,), "en").question for name in ("orange cup", "red cup", "red headphones")]
    assert said == [
        "Is there an orange cup in the picture?",
        "Is there a red cup in the picture?",
        "Are there red headphones in the picture?",
    ]
    assert exists_reworded(("杯子",), "zh").question == "图中有杯子吗？"


# --- wording -------------------------------------------------------------------------------------------------------

LABELS = {"en": ("red cup", "blue headphones", "pen"), "zh": ("红色杯子", "蓝色耳机", "笔")}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("relation", RELATIONS)
def test_every_relation_can_be_asked_again(relation: str, language: str) -> None:
    labels = LABELS[language][: 3 if relation == "between" else 2]
    found = relation_reworded(relation, labels, language)  # type: ignore[arg-type]
    assert len({one.question for one in found}) == len(found) >= 2
    for one in found:
        assert all(label in one.question for label in labels)
        assert not set("{}") & set(one.question)
        assert one.options is None or set(one.options) == set(labels)
        assert one.sided == (relation in ("left_of", "right_of"))
    assert {one.how for one in found} >= {"straight", "inverse"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_hiding_and_extremes_can_be_asked_again(language: str) -> None:
    a, b, _ = LABELS[language]
    assert all(a in one.question for one in hidden_reworded((a,), language))  # type: ignore[arg-type]
    assert all(one.question.index(a) < one.question.index(b) for one in hidden_reworded((a, b), language))  # type: ignore[arg-type]
    assert all(a in question for question in what_hides(a, language))  # type: ignore[arg-type]
    assert which_extreme("nearest", language) != which_extreme("farthest", language)  # type: ignore[arg-type]


def test_english_verbs_agree() -> None:
    assert relation_reworded("left_of", ("headphones", "glass"), "en")[0].question.startswith("Are the headphones")
    assert relation_reworded("left_of", ("glass", "headphones"), "en")[0].question.startswith("Is the glass")


def test_the_runner_up_is_compared_where_the_model_wavered() -> None:
    def top(text: str, p: float, **others: float) -> TokenProb:
        return TokenProb(text, math.log(p), tuple((word, math.log(q)) for word, q in {text: p, **others}.items()))

    wavering = Completion("black phone", (top("black", 0.9, red=0.1), top(" phone", 0.5, **{" plant": 0.4, " pen": 0.02})))
    asked: list[str] = []

    def says(conversation: Conversation) -> str | Completion:
        question = conversation.text.splitlines()[0]
        if "JSON" in conversation.text:
            return "I cannot tell"
        asked.append(question)
        if question.startswith("Which is"):
            return "black plant"
        if question.startswith(("Is", "Are")):
            return "Yes" if (question.index("plant") < question.index("phone")) == ("behind" in question) else "No"
        return wavering

    session = Deixis(FakeBackend(says, card=CARD))
    session.calibration = EVEN
    answer = session.ask(PIXELS, "What is the farthest object?")
    assert any("plant" in question for question in asked)
    assert not any("pen" in question for question in asked)
    assert (answer.answer, answer.verdict) == ("black plant", "black plant")


def test_what_may_be_missing_is_looked_for_in_another_view() -> None:
    calibration = Calibration(
        {"absent": Fusion({"words": 0.3}), "absent, seen again": Fusion({"zoomed": 1.0}), "claim": Fusion({"words": 1.0})},
        made={"seed": 1},
    )
    crops: list[str] = []

    def reply(conversation: Conversation) -> str:
        if "JSON" in conversation.text:
            return f"[{CUP}, {BOOK}]"
        if np.array_equal(conversation.turns[0].parts[0], PIXELS):  # type: ignore[arg-type]
            return "Yes"
        crops.append(conversation.text.splitlines()[0])
        return "No"

    session = Deixis(FakeBackend(reply, card=replace(CARD, words=PAIRS), probability=0.999))
    session.calibration = calibration
    assert session.ask(PIXELS, QUESTION).verdict == "absent"  # 0.3 of what its words say is not sure
    assert crops[0].startswith("Is there a ")
    session.calibration = replace(calibration, claims={**calibration.claims, "absent": Fusion({"words": 1.0})})
    crops.clear()
    assert session.ask(PIXELS, QUESTION).verdict == "yes"
    assert not crops


def test_a_lone_name_that_nothing_bears_out_is_unsure() -> None:
    calibration = Calibration({"claim": Fusion({"votes": 1.0})}, unsure_below=0.75, made={"seed": 1})
    told = iter(["red cup", "no idea", "absent"])
    session, _ = asking(lambda q, _: next(told), "I cannot tell", calibration=calibration)
    assert session.ask(PIXELS, "Which object is nearest?").verdict == "unsure"


@pytest.mark.parametrize(
    ("kind", "likely", "verdict"), [("hidden", 0.95, None), ("hidden", 0.85, "unsure"), ("colour", 0.85, None)]
)
def test_a_value_that_is_not_likely_enough_is_unsure_where_likelihoods_were_measured(
    kind: str, likely: float, verdict: str | None
) -> None:
    calibration = Calibration({"value": Fusion({"words": 1.0}), "value, hidden": Fusion({"words": 1.0})}, 0.9, made={"seed": 1})
    words = Opinion("words", "What hides the cup?", "book", math.log(likely / (1 - likely)))
    found = judged(Weighed(kind, "book", None, (words,)), calibration, "en")
    assert (found.special, found.confidence) == (verdict, pytest.approx(likely))


@pytest.mark.parametrize("question", ["Is the red cup inside the blue book?", "Is the red cup touching the blue book?"])
def test_a_relation_that_nobody_measured_is_not_vouched_for_by_those_that_were(question: str) -> None:
    calibration = Calibration({"value": Fusion({"words": 1.0}), "value, relation": Fusion({"words": 1.0})}, 0.9, made={"seed": 1})
    session, _ = asking(lambda q, _: "No", calibration=calibration, p=0.999)
    answer = session.ask(PIXELS, question)
    assert (answer.verdict, answer.calibrated) == ("no", False)
    assert answer.confidence <= UNPROVEN_MOST
