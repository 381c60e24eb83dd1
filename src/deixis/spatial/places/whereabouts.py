"""Open questions that located boxes answer: "Where is the cup?", "What is left of the cup?", "What is on the table?"

Knows how such questions are worded and what boxes say to them. The model's own words are asked for, and stand beside in the
claim. Does not know how a model computes, nor how relations are measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deixis.errors import GeometryError
from deixis.geometry import Camera, Margin, Relation, iou_px, margin
from deixis.spatial.answer import Answer, BoxPx, Claim, FoundObject
from deixis.spatial.checking.claims import located, match_label, sentence
from deixis.spatial.checking.confidence import mean_probability
from deixis.spatial.language import prompts
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import words
from deixis.spatial.places.frame_words import WORDS, reason
from deixis.spatial.run import Run
from deixis.spatial.scene import EVERYTHING

WORDS_TOKENS = 64
SAME_IOU = 0.5  # two boxes that overlap so far are of one thing

# In this order: "what is left of" is no list of everything.
_WHERE = words(
    r"^\W*where(?:'s|\s+is|\s+are|\s+can\s+i\s+(?:see|find))\s+(?:the\s+|an?\s+)?(?P<name>[^,?]+?)\W*$",
    r"^\W*(?P<name>[^,?在]+?)(?:现在)?(?:是)?(?:放)?(?:在|位于)(?:图中(?:的)?)?(?:哪(?:里|儿|个位置)?|什么(?:地方|位置))\W*$",
)
_TO_ANOTHER = re.compile(r"\b(relative|compared|respect|relation|from|to)\b", re.IGNORECASE)
_ALL = words(
    r"^\W*(?:what|which)(?:\s+\w+){0,2}\s+(?:is|are|do\s+you\s+see|can\s+you\s+see|can\s+be\s+seen)(?:\s+there)?\s+"
    r"(?:(?:on|in)\s+(?:the|this)\s+(?:table|desk|picture|image|photo|scene))\W*$",
    r"^\W*(?:桌子?上|图(?:片)?(?:中|里|上)|画面(?:中|里)|照片(?:中|里|上))(?:面)?(?:都)?有(?:什么|哪些)(?:东西|物体|物品)?\W*$",
)
_RELATED = words(
    r"^\W*what(?:'s|\s+(?:is|are|lies|stands|sits|rests))\s+(?:lying\s+|standing\s+|resting\s+)?(?P<relation>"
    r"(?:to\s+the\s+|on\s+the\s+)?(?:left|right)\s+of|on\s+top\s+of|on|above|over|below|under(?:neath)?|beneath|in\s+front\s+of|"
    r"behind|next\s+to|beside)\s+(?:the\s+|an?\s+)?(?P<name>(?:(?!\b(?:or|and)\b)[^,?])+?)\W*$",
    r"^\W*(?P<name>[^,?哪什]+?)的?(?P<relation>左[边侧面]|右[边侧面]|上方|上[面边]?|下[面边方]|前[面边方]|后[面边方]|旁边?)"
    r"(?:都)?(?:是|有|放着|放了|摆着)(?:什么|哪些|哪个)(?:东西|物体|物品)?\W*$",
)
_RELATION_OF: Sequence[tuple[Relation, str]] = (
    ("left_of", r"left|左"),
    ("right_of", r"right|右"),
    ("in_front_of", r"front|前"),
    ("behind", r"behind|后"),
    ("next_to", r"next|beside|旁"),
    ("above", r"above|over|上方"),
    ("under", r"under|beneath|below|下"),
    ("on", r"on|上"),
)
_TEXTS: Mapping[str, Mapping[Language, str]] = {
    "at": {"en": "in the {place} of the picture, at {box} px", "zh": "在图的{place},像素框{box}"},
    "away": {"en": ", {m:.2f} m from the camera", "zh": ",离相机{m:.2f}米"},
    "labelled": {"en": "{label}: {text}", "zh": "{label}:{text}"},
    "where": {"en": "where {a} is", "zh": "{a}在哪里"},
    "all": {"en": "what the picture shows", "zh": "图中有什么"},
    "nothing": {"en": "nothing", "zh": "没有"},
    "perhaps": {"en": "perhaps {a}", "zh": "可能是{a}"},
}
_COLUMNS: Mapping[Language, tuple[str, str, str]] = {"en": ("left", "middle", "right"), "zh": ("左", "中", "右")}
_ROWS: Mapping[Language, tuple[str, str, str]] = {"en": ("upper", "", "lower"), "zh": ("上方", "部", "下方")}
_JOINT: Mapping[Language, str] = {"en": ", ", "zh": "、"}
_END: Mapping[Language, str] = {"en": "; ", "zh": ";"}


@dataclass(frozen=True)
class OpenQuestion:
    """`name` is what it asks about, "" for everything; `relation` is how what is asked for stands to it."""

    kind: Literal["where", "all", "related"]
    name: str = ""
    relation: Relation | None = None


def read_open(question: str, language: Language) -> OpenQuestion | None:
    """What an open question asks; None for any other question."""
    if _ALL[language].search(question):
        return OpenQuestion("all")
    if found := _RELATED[language].search(question):
        said = found["relation"]
        relation = next(name for name, pattern in _RELATION_OF if re.search(pattern, said, re.IGNORECASE))
        return OpenQuestion("related", found["name"].strip(), relation)
    if (found := _WHERE[language].search(question)) and not _TO_ANOTHER.search(found["name"]):
        return OpenQuestion("where", found["name"].strip())
    return None


def answer(run: Run, question: str, asked: OpenQuestion) -> Answer:
    """The answer of the located boxes; confidence is the mean probability of what they are spelled with, not calibrated."""
    reply = run.complete("ask", prompts.ask(question, run.language), WORDS_TOKENS)
    return replace(_located(run, question, asked, " ".join(reply.text.split())), reasoning=reply.reasoning)


def _located(run: Run, question: str, asked: OpenQuestion, said: str) -> Answer:
    language = run.language
    what = asked.name or EVERYTHING[language]
    parsed, objects = run.boxes("locate", prompts.locate(what, language))
    if not objects:
        unread = bool(parsed.problems)
        sure = mean_probability(run.last, [(0, len(run.last.text))]) or 0.5
        text = said if unread else WORDS["absent"][language] if asked.name else _TEXTS["nothing"][language]
        return _answer(run, question, text, "unsure" if unread else "absent", 0.5 if unread else sure, (), ())
    if asked.kind == "where":
        objects = run.with_3d(objects, "locate_3d", prompts.locate_3d(what, language))
        return _whereabouts(run, question, asked, objects, said)
    if asked.kind == "all":
        names = _JOINT[language].join(item.label for item in objects)
        claim = Claim(_TEXTS["all"][language], said, names, None)
        return _answer(run, question, names, names, _mean_score(objects), objects, (claim,))
    if len(objects) > 1:
        return _answer(run, question, reason("many", language, what), "unsure", 0.5, objects, ())
    return _related(run, question, asked, objects[0], said)


def _whereabouts(run: Run, question: str, asked: OpenQuestion, objects: tuple[FoundObject, ...], said: str) -> Answer:
    text = places_in_words(objects, run.camera, run.language)
    claim = Claim(_TEXTS["where"][run.language].format(a=asked.name), said, text, None, subject=0)
    return _answer(run, question, text, text, _mean_score(objects), objects, (claim,))


def places_in_words(objects: Sequence[FoundObject], camera: Camera, language: Language) -> str:
    """Where things are in the camera's picture, and how far from it; by name where there are several."""
    texts = [_place_text(item, camera, language) for item in objects]
    if len(objects) > 1:
        texts = [_TEXTS["labelled"][language].format(label=o.label, text=t) for o, t in zip(objects, texts, strict=True)]
    return _END[language].join(texts)


def _related(run: Run, question: str, asked: OpenQuestion, anchor: FoundObject, said: str) -> Answer:
    """What stands so to the anchor, of everything in the picture. What geometry cannot tell makes the answer `unsure`."""
    language, everything = run.language, EVERYTHING[run.language]
    relation = asked.relation or "on"
    _, found = run.boxes("locate_all", prompts.locate(everything, language))
    others = tuple(item for item in found if iou_px(item.box_px, anchor.box_px) < SAME_IOU)
    objects = run.with_3d((anchor, *others), "locate_3d", prompts.locate_3d(everything, language))
    if objects[0].box_3d is None:
        objects = (*run.with_3d(objects[:1], "locate_3d", prompts.locate_3d(asked.name, language)), *objects[1:])
    held: list[int] = []
    perhaps: list[int] = []
    claims = []
    named = match_label(said, objects[1:])
    for i in range(1, len(objects)):
        measured = _measured(relation, objects[i], objects[0])
        if measured is not None and measured.decided is False and named != i - 1:
            continue
        decided = None if measured is None else measured.decided
        if decided is not False:
            (perhaps if decided is None else held).append(i)
        geometry = {True: "yes", False: "no", None: "undecided"}[decided]
        claim = sentence(language, relation, objects[i].label, objects[0].label)
        model = "yes" if named == i - 1 else "undecided"
        agrees = decided if named == i - 1 else None
        claims.append(Claim(claim, model, geometry, agrees, margin=measured, subject=i, others=(0,)))
    if held or not perhaps:
        text = _JOINT[language].join(objects[i].label for i in held) or _TEXTS["nothing"][language]
        verdict = text if held else "absent"
    else:
        text = _TEXTS["perhaps"][language].format(a=_JOINT[language].join(objects[i].label for i in perhaps))
        verdict = "unsure"
    confidence = 0.5 if verdict == "unsure" else _mean_score([objects[i] for i in (0, *held)])
    shown = [0, *(claim.subject or 0 for claim in claims)]
    claims = [replace(claim, subject=place) for place, claim in enumerate(claims, start=1)]
    return _answer(run, question, text, verdict, confidence, tuple(objects[i] for i in shown), tuple(claims))


def _measured(relation: Relation, subject: FoundObject, other: FoundObject) -> Margin | None:
    try:
        return margin(relation, located(subject), located(other))
    except GeometryError:  # no depth for one of them
        return None


def _place_text(item: FoundObject, camera: Camera, language: Language) -> str:
    corners = ",".join(f"{value:.0f}" for value in item.box_px)
    text = _TEXTS["at"][language].format(place=_third(item.box_px, camera, language), box=corners)
    return text if item.depth_m is None else text + _TEXTS["away"][language].format(m=item.depth_m)


def _third(box_px: BoxPx, camera: Camera, language: Language) -> str:
    """Which ninth of the picture the box's middle lies in: "upper left", "middle", "左上方"."""
    x, y = (box_px[0] + box_px[2]) / 2 / camera.width, (box_px[1] + box_px[3]) / 2 / camera.height
    column, row = _COLUMNS[language][min(int(3 * x), 2)], _ROWS[language][min(int(3 * y), 2)]
    return f"{row} {column}".strip() if language == "en" else column + row


def _mean_score(objects: Sequence[FoundObject]) -> float:
    scores = [item.score for item in objects if item.score is not None]
    return sum(scores) / len(scores) if scores else 0.5


def _answer(
    run: Run,
    question: str,
    text: str,
    verdict: str,
    confidence: float,
    objects: tuple[FoundObject, ...],
    claims: tuple[Claim, ...],
) -> Answer:
    return Answer(question, run.language, text, verdict, confidence, objects, claims, run.camera, run.provenance())
