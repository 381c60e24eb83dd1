"""Questions are what their truth says: recomputed here the slow way, from the truth alone."""

import importlib
import json
import pkgutil
import re
from collections import Counter

import numpy as np
import pytest

from deixis.errors import OptionError
from deixis.lab import questions as questions_room
from deixis.lab import words
from deixis.lab.questions import KINDS, Picture, Question, ask_everything, evidence_of
from deixis.lab.questions.kind import Kind
from deixis.lab.questions.pairs import RELATIONS
from deixis.lab.questions.question import box_3d_row
from deixis.lab.questions.viewpoint import view_of
from deixis.lab.worlds import WORLDS, load_world
from deixis.spatial.grounding.parse import parse_objects
from deixis.spatial.language.prompts import LANGUAGES, PROMPTS, guess_language
from tests.lab.asked_pictures import asked_pictures, by_id, clear, label_of, of_kind, visible
from tests.lab.synthetic_truth import synthetic_truth

HUMAN = [k for k in KINDS if not k.startswith(("locate", "point", "box", "evidence"))]


@pytest.fixture(scope="module")
def asked():
    return asked_pictures()


# --- the registry ---------------------------------------------------------------------------------------------------


def test_every_family_file_is_in_the_registry():
    """A new file with ``KINDS`` that nobody added would ask nothing."""
    found: dict[str, Kind] = {}
    for module in pkgutil.iter_modules(questions_room.__path__):
        found |= getattr(importlib.import_module(f"deixis.lab.questions.{module.name}"), "KINDS", {})
    assert found == dict(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_six_phrasings_per_kind_and_language(kind, language):
    phrasings = set(KINDS[kind].phrasings[language])
    assert len(phrasings) >= 6
    assert all(guess_language(re.sub(r"\{\w+\}", "", p)) == language for p in phrasings if re.sub(r"[{}\w, ]", "", p))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_is_asked_in_many_ways(asked, kind, language):
    found = [(truth, q) for truth, q in of_kind(asked, kind) if q.language == language]
    assert len(found) >= 50
    assert len({q.question for _, q in found}) >= 6


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_relation_is_asked_in_six_ways(name, language):
    from deixis.lab.questions.relation import PHRASINGS

    assert len(set(PHRASINGS[name][language])) >= 6


def test_an_unknown_kind_is_refused():
    with pytest.raises(OptionError, match="'nope'; choose from locate_one"):
        ask_everything(synthetic_truth(np.random.default_rng(0)), np.random.default_rng(0), kinds=["nope"])


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_asked_for(kind):
    rng = np.random.default_rng(3)
    for _ in range(20):
        questions = ask_everything(synthetic_truth(rng), rng, kinds=[kind], languages=["zh"], per_kind=3)
        assert {(q.kind, q.language) for q in questions} <= {(kind, "zh")}
        assert len({q.prompt for q in questions}) == len(questions) <= 3


def test_the_same_seed_asks_the_same():
    truth = synthetic_truth(np.random.default_rng(5))
    first, second = (ask_everything(truth, np.random.default_rng(6), per_kind=3) for _ in range(2))
    assert first == second
    assert first != ask_everything(truth, np.random.default_rng(7), per_kind=3)


def test_the_truth_is_left_as_it_was():
    truth = synthetic_truth(np.random.default_rng(5))
    before = json.dumps(truth)
    ask_everything(truth, np.random.default_rng(0), per_kind=3)
    assert json.dumps(truth) == before


@pytest.mark.parametrize("objects", [0, 1])
def test_nearly_empty_pictures(objects):
    rng = np.random.default_rng(8)
    truth = synthetic_truth(rng)
    truth["objects"] = truth["objects"][:objects]
    for o in truth["objects"]:
        o["rests_on"], o["touches"], o["occluders"] = [-1], [], []
    for _ in range(20):
        kinds = {q.kind for q in ask_everything(truth, rng, per_kind=2)}
        assert not kinds & {"relation", "relation_choice", "occlusion_by"}


# --- the texts --------------------------------------------------------------------------------------------------------


def test_texts_are_whole(asked):
    for _, questions in asked:
        for q in questions:
            assert q.prompt == PROMPTS[q.prompt_kind](q.question, q.language)
            assert not re.search(r"[{}]|RELATION|None|nan|  ", q.question), q
            assert q.question == q.question.strip() and q.answer == q.answer.strip()
            assert guess_language(q.question) == q.language


def test_english_agrees_in_number(asked):
    for _, questions in asked:
        for q in questions:
            if q.language == "en":
                assert not re.search(r"\b(Is|is) the (\w+ )?headphones\b", q.question), q.question
                assert not re.search(r"\b(an?|every|each|one) (\w+ )?headphones\b", q.question), q.question
                assert not re.search(r"\ba [aeio]\w", q.question) and not re.search(r"\ban [^aeio]", q.question), q.question


def test_questions_survive_a_line_of_json(asked):
    for _, questions in asked[:20]:
        for q in questions:
            again = Question.from_json(json.loads(json.dumps(q.to_json(), ensure_ascii=False, allow_nan=False)))
            assert again == q


def test_labels_are_in_the_language_of_the_question(asked):
    for _, questions in asked:
        for q in questions:
            names = [*q.labels, *q.target.get("labels", []), *([q.target["label"]] if "label" in q.target else [])]
            assert all(guess_language(name) == q.language for name in names)


def test_no_wording_holds_its_answer(asked):
    for truth, questions in asked:
        for q in questions:
            if q.prompt_kind == "ask":
                assert not re.search(r"\d", q.question)
            if (q.kind in ("nearest", "farthest") and q.target["among"] == "all") or q.kind == "occlusion_by":
                winner = by_id(truth)[q.target["object"]]
                assert label_of(winner, q.language) not in q.question
            if q.kind == "viewpoint":
                options = [n for pair in words.VIEWPOINTS.items() for n in pair if n.lower() in q.question.lower()]
                assert len(options) in (0, 3)


@pytest.mark.parametrize("kind", ["relation_choice", "nearest", "farthest"])
def test_the_right_one_of_two_comes_first_half_the_time(asked, kind):
    two = [q for _, q in of_kind(asked, kind) if len(q.labels) == 2]
    first = sum(q.labels[0] == q.answer for q in two) / len(two)
    assert 0.4 <= first <= 0.6


@pytest.mark.parametrize("kind", ["relation", "occlusion_hidden", "occlusion_pair", "exists"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_are_balanced(asked, kind, language):
    found = [q for _, q in of_kind(asked, kind) if q.language == language]
    yes = sum(q.target["holds"] for q in found) / len(found)
    assert 0.4 <= yes <= 0.6
    assert {q.answer for q in found} == ({"Yes", "No"} if language == "en" else {"是", "否"})


def test_every_relation_is_affirmed_and_denied(asked):
    answers = Counter((q.target["relation"], q.target["holds"]) for _, q in of_kind(asked, "relation"))
    assert all(answers[name, holds] >= 5 for name in RELATIONS for holds in (True, False))


# --- the answers ------------------------------------------------------------------------------------------------------


def test_only_what_is_plain_to_see_is_named(asked):
    hiding = {"occlusion_hidden", "occlusion_pair", "occlusion_by", "visibility"}
    for truth, questions in asked:
        seen = Counter(o["label"] for o in visible(truth))
        for q in questions:
            if q.kind in hiding or q.target.get("of") in hiding:
                assert all(by_id(truth)[i]["visible_px"] >= 60 for i in q.target["objects"])
            else:
                assert all(clear(by_id(truth)[i]) for i in q.target["objects"]), q
            if q.kind in ("relation", "relation_choice", "depth", "locate_one", *hiding):
                assert all(seen[by_id(truth)[i]["label"]] == 1 for i in q.target["objects"])
            if q.kind in ("relation", "relation_choice", "depth", "occlusion_hidden", "occlusion_pair", "visibility"):
                named = [label_of(by_id(truth)[i], q.language) for i in q.target["objects"]]
                assert list(q.labels) == named


def test_boxes_are_the_visible_ones(asked):
    for truth, q in of_kind(asked, "locate_one", "locate_kind", "locate_all", "locate_absent", "evidence"):
        w, h = truth["camera"]["width"], truth["camera"]["height"]
        rows = json.loads(q.answer.removeprefix("```json\n").removesuffix("\n```"))
        expected = [
            {
                "bbox_2d": [round(v * 1000 / s) for v, s in zip(by_id(truth)[i]["box_px"], (w, h, w, h), strict=True)],
                "label": label_of(by_id(truth)[i], q.language),
            }
            for i in q.target["objects"]
        ]
        assert rows == expected
        parsed = parse_objects(q.answer, w, h, expect="box_2d")
        assert not [p for p in parsed.problems if p.kind != "duplicate"]
        if q.kind in ("locate_kind", "locate_all"):
            assert [r["bbox_2d"][:2] for r in rows] == sorted(r["bbox_2d"][:2] for r in rows)


def test_a_query_finds_all_that_match_and_nothing_else(asked):
    for truth, q in of_kind(
        asked, "locate_one", "locate_kind", "locate_all", "locate_absent", "point", "count", "exists", "box_3d"
    ):
        query = q.target["query"]
        matching = [
            o for o in visible(truth) if query["category"] in (None, o["category"]) and query["color"] in (None, o["color"])
        ]
        assert {o["id"] for o in matching} == set(q.target["objects"]), q
        assert all(clear(o) for o in matching)
        if q.kind == "count":
            assert q.answer == str(len(matching))
        if q.kind == "exists":
            assert q.target["holds"] == bool(matching)
        if q.kind == "locate_absent":
            assert q.answer == "```json\n[]\n```"
        if q.kind == "locate_one":
            assert len(matching) == 1
        if query["color"] is not None:  # the colour that the query holds is the one that the words hold
            assert words.color_label(query["color"], q.language) in q.question


def test_what_is_denied_is_not_nearly_there(asked):
    """Neither a colour that light could make of another, nor one that the world's things have by themselves."""
    for truth, q in of_kind(asked, "locate_absent", "exists", "absent"):
        if q.kind == "exists" and q.target["holds"]:
            continue
        colors = {o["color"] for o in visible(truth)}
        query = q.target.get("query")
        if query and query["category"] and query["color"]:
            assert query["color"] in load_world(truth["world"]).colors[query["category"]]
        if query and not query["category"]:
            assert not any((query["color"], c) in words.CONFUSABLE_COLORS for c in colors)


def test_denials_are_often_hard(asked):
    """A third each: the category is there in another colour; the colour is there on other things."""
    kinds = Counter()
    for truth, q in of_kind(asked, "locate_absent"):
        query = q.target["query"]
        if query["category"] and query["color"]:
            kinds["category there"] += any(o["category"] == query["category"] for o in visible(truth))
            kinds["color there"] += any(o["color"] == query["color"] for o in visible(truth))
            kinds["all"] += 1
    assert kinds["category there"] >= 0.25 * kinds["all"] <= kinds["color there"]


def test_points_lie_on_the_things(asked):
    for truth, q in of_kind(asked, "point"):
        w, h = truth["camera"]["width"], truth["camera"]["height"]
        rows = json.loads(q.answer.removeprefix("```json\n").removesuffix("\n```"))
        for row, i in zip(rows, q.target["objects"], strict=True):
            x, y = by_id(truth)[i]["point_px"]
            assert row["point_2d"] == [pytest.approx(x * 1000 / w, abs=0.51), pytest.approx(y * 1000 / h, abs=0.51)]


def test_boxes_in_3d_hold_for_the_virtual_camera(asked):
    for truth, q in of_kind(asked, "box_3d", "evidence_3d"):
        camera = truth["camera"]
        factor = max(camera["width"], camera["height"]) / camera["fx"]
        rows = json.loads(q.answer.removeprefix("```json\n").removesuffix("\n```"))
        for row, i in zip(rows, q.target["objects"], strict=True):
            true = list(by_id(truth)[i]["box_3d"])
            true[2] *= factor
            assert row["bbox_3d"] == pytest.approx(true, abs=0.00501)
            assert row["label"] == label_of(by_id(truth)[i], q.language)
        assert "-0.00" not in q.answer


def test_distances(asked):
    for truth, q in of_kind(asked, "nearest", "farthest"):
        sign = 1 if q.kind == "nearest" else -1
        rivals = [o for o in visible(truth) if q.target["among"] == "all" or o["id"] in q.target["objects"]]
        best, second = sorted(rivals, key=lambda o: sign * o["depth_m"])[:2]
        assert best["id"] == q.target["object"]
        assert q.answer == label_of(best, q.language)
        assert abs(best["depth_m"] - second["depth_m"]) >= 0.06 * max(best["depth_m"], second["depth_m"]) - 1e-9
    for truth, q in of_kind(asked, "depth"):
        camera = truth["camera"]
        virtual = by_id(truth)[q.target["objects"][0]]["depth_m"] * max(camera["width"], camera["height"]) / camera["fx"]
        assert q.answer == (f"{virtual:.2f} m" if q.language == "en" else f"{virtual:.2f}米")
        assert q.target["virtual_depth_m"] == pytest.approx(virtual)


def test_hiding(asked):
    for truth, q in of_kind(asked, "occlusion_hidden"):
        share = sum(s for _, s in by_id(truth)[q.target["objects"][0]]["occluders"])
        assert share >= 0.15 if q.target["holds"] else share <= 0.01
    for truth, q in of_kind(asked, "occlusion_pair"):
        share = dict(map(tuple, by_id(truth)[q.target["hidden"]]["occluders"])).get(q.target["cover"], 0.0)
        assert share >= 0.15 if q.target["holds"] else share <= 0.01
        assert set(q.target["objects"]) == {q.target["hidden"], q.target["cover"]}
    for truth, q in of_kind(asked, "occlusion_by"):
        hidden, cover = (by_id(truth)[i] for i in q.target["objects"])
        shares = dict(map(tuple, hidden["occluders"]))
        assert sum(shares.values()) >= 0.15
        assert shares[cover["id"]] >= 0.8 * sum(shares.values())
        assert q.answer == label_of(cover, q.language)
    percents = set()
    for truth, q in of_kind(asked, "visibility"):
        thing = by_id(truth)[q.target["objects"][0]]
        percent = int(q.answer.removesuffix("%"))
        assert percent % 10 == 0 and abs(percent - 100 * thing["visible_fraction"]) <= (10 if percent == 10 else 5.001)
        percents.add(percent)
    assert percents == set(range(10, 101, 10))


def test_viewpoints(asked):
    names = {"top-down": "俯视", "oblique": "斜视", "eye-level": "平视"}
    for truth, q in of_kind(asked, "viewpoint"):
        pitch = truth["pose"]["pitch_deg"]
        name = "top-down" if pitch >= 58 else "oblique" if pitch >= 18 else "eye-level"
        assert pitch >= 58 or 18 <= pitch <= 52 or pitch <= 12
        assert q.answer == (name if q.language == "en" else names[name])
    for truth, q in of_kind(asked, "tilt"):
        assert abs(int(re.match(r"\d+", q.answer)[0]) - truth["pose"]["pitch_deg"]) <= 0.5
        assert q.answer.endswith(" degrees" if q.language == "en" else "度") or q.answer == "1 degree"


@pytest.mark.parametrize(
    ("pitch", "name"),
    [
        (-3, "eye-level"),
        (12, "eye-level"),
        (12.1, None),
        (17.9, None),
        (18, "oblique"),
        (52, "oblique"),
        (55, None),
        (58, "top-down"),
        (90, "top-down"),
    ],
)
def test_view_of(pitch, name):
    assert view_of(pitch) == name


def test_absent_things_are_not_there(asked):
    for truth, q in of_kind(asked, "absent"):
        assert q.answer == ("absent" if q.language == "en" else "没有")
        there = {label_of(o, q.language) for o in visible(truth)}
        assert [name for name in q.labels if name not in there] == [q.target["absent"]]


def test_evidence_lists_what_was_named(asked):
    for truth, q in of_kind(asked, "evidence", "evidence_3d"):
        assert q.target["of"] in HUMAN
        own = [label_of(by_id(truth)[i], q.language) for i in q.target["objects"]]
        if q.target["of"] in ("relation", "relation_choice", "depth", "visibility", "occlusion_hidden", "occlusion_pair"):
            assert own == list(q.labels)
        if q.target["of"] == "absent":
            assert own == [name for name in q.labels if name in own]
        if q.target["of"] in ("viewpoint", "tilt"):
            assert own == []
        if q.target["of"] == "occlusion_by":
            assert own[0] == q.labels[0] and len(own) == 2


def test_evidence_can_be_had_for_any_question():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(30):
        picture = Picture(synthetic_truth(rng))
        for q in ask_everything(picture, rng, kinds=HUMAN):
            for prompt_kind in ("evidence", "evidence_3d"):
                found = evidence_of(picture, q, prompt_kind)
                assert found.question == q.question and found.prompt_kind == prompt_kind and found.target["of"] == q.kind
                assert found.target["objects"] == q.target["objects"]
            seen.add(q.kind)
    assert seen == set(HUMAN)


def test_a_thin_box_keeps_a_size():
    row = json.loads(box_3d_row([-0.004, 0, 1.005, 0.1, 0.002, 0.004, -0.25, 0, 0.999], "white pen"))
    assert row == {"bbox_3d": [0.0, 0.0, pytest.approx(1.0, abs=0.011), 0.1, 0.01, 0.01, -0.25, 0.0, 1.0], "label": "white pen"}


# --- words ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_its_words(name):
    world = load_world(name)
    for category in world.categories:
        assert words.CATEGORIES[category].zh[0] == world.categories_zh[category]
        assert set(world.colors[category]) <= set(words.COLORS)


def test_words_are_unambiguous_within_a_world():
    for world in (words.DESK, words.PRIMITIVES):
        english = [form for noun in world.values() for form in {f for pair in noun.en for f in pair}]
        chinese = [form for noun in world.values() for form in noun.zh]
        assert len(set(english)) == len(english) and len(set(chinese)) == len(chinese)


@pytest.mark.parametrize(
    ("color", "category", "en", "zh"),
    [
        ("red", "cup", "red cup", "红色杯子"),
        ("black", "usb stick", "black usb stick", "黑色U盘"),
        ("pink", "cone", "pink cone", "粉色圆锥体"),
    ],
)
def test_label(color, category, en, zh):
    assert (words.label(color, category, "en"), words.label(color, category, "zh")) == (en, zh)
    assert words.category_label(category, "zh") in zh and words.color_label(color, "zh") in zh
    assert words.category_label(category, "en") in en and words.color_label(color, "en") in en


@pytest.mark.parametrize(
    ("phrase", "expected"), [("cup", "a cup"), ("orange box", "an orange box"), ("USB stick", "a USB stick")]
)
def test_with_article(phrase, expected):
    assert words.with_article(phrase) == expected
