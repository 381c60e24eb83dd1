"""Answers that geometry decides alone: in another's frame, in metres between things, along lines of sight.

Models are not trained to say these; what one says is kept beside, in the claim. Knows named things with 3D boxes, and what is
asked of them. Does not know how they are found (see in_space.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from deixis.errors import GeometryError
from deixis.geometry import (
    Box3D,
    Frame,
    FrameRelation,
    FrontAxis,
    Interval,
    Margin,
    Offset,
    distance_m,
    line_of_sight,
    margin_in,
    offset,
)
from deixis.geometry.arrangement import upward
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.relation_words import words
from deixis.spatial.language.space_reading import CAMERA, FrameWords, SpaceQuestion

Array = NDArray[np.float64]

# Half-widths of 90% of a centre's errors, as shares of its depth: along its ray and across it. Measured on nano's boxes of pairs
# of things in rendered desks (what both are off by together moves neither against the other).
RAY_DOUBT, SIDE_DOUBT = 0.12, 0.06
NINETY = 1.645  # standard deviations on either side that hold 90%
NEAR_SHARE, NEAR_M = 0.15, 0.02  # a distance is right within such a share of itself, or so many metres
SURE, UNSURE = 0.65, 0.35  # below the first the answer is "unsure", with the second as its confidence
VARIANTS = 100
_POINT_M = 0.02  # whoever looks has a place and no size; a box needs one

# Nouns of things whose front everybody agrees on.
_FRONTED: Mapping[Language, re.Pattern[str]] = words(
    r"(laptop|computer|monitor|screen|display|tv|television|chair|armchair|sofa|couch|desk|wardrobe|cupboard|fridge|car|van|truck|bus|"
    r"bicycle|bike|motorbike|person|man|woman|child|boy|girl|robot|camera|clock|phone|keyboard|printer|oven|microwave|piano)$",
    r"(电脑|显示器|屏幕|电视|椅子?|沙发|书桌|衣柜|冰箱|车|人|孩|相机|钟|手机|键盘|打印机|烤箱|微波炉|钢琴)$",
)
_REASONS: Mapping[str, Mapping[Language, str]] = {
    "close": {"en": "too close to call", "zh": "相差太小,无法判断"},
    "doubtful": {"en": "the boxes are not exact enough to tell", "zh": "三维框不够精确,无法判断"},
    "no_box": {"en": "{a} was found, but not its place in space", "zh": "找到了{a},但不知道它在空间中的位置"},
    "many": {"en": "{a} names more than one thing in the picture", "zh": "图中不止一个{a}"},
    "facing": {"en": "say what the viewer at the {a} faces", "zh": "请说明站在{a}处的人面向什么"},
    "no_front": {
        "en": "a {a} has no front of its own; say what it faces, as in: standing at the {a} and facing …",
        "zh": "{a}没有公认的正面;请说明朝向,例如:站在{a}处面向…",
    },
    "front_unknown": {
        "en": "this model's 3D boxes do not say which side of the {a} is its front; say what it faces, as in: standing at the "
        "{a} and facing …",
        "zh": "该模型的三维框没有说明{a}哪一面是正面;请说明朝向,例如:站在{a}处面向…",
    },
    "level": {
        "en": "from the {a}, that is straight up or down: there is no left or right",
        "zh": "从{a}看是正上或正下方,没有左右之分",
    },
}
_WORDS: Mapping[str, Mapping[Language, str]] = {
    "yes": {"en": "Yes", "zh": "是"},
    "no": {"en": "No", "zh": "否"},
    "blocked": {"en": "No: {a} in the way", "zh": "不能:被{a}挡住"},
    "between": {"en": "Yes: {a}", "zh": "有:{a}"},
    "apart": {"en": "{a} between their surfaces ({b}), {c} between their centres", "zh": "表面相距{a}({b}),中心相距{c}"},
    "side": {"en": "{a} ({b})", "zh": "{a}({b})"},
    "other_side": {"en": "it is on the other side, by {a} ({b})", "zh": "在另一侧,相距{a}({b})"},
    "left_of": {"en": "to the left", "zh": "在左边"},
    "right_of": {"en": "to the right", "zh": "在右边"},
    "above": {"en": "above", "zh": "在上方"},
    "below": {"en": "below", "zh": "在下方"},
    "in_front_of": {"en": "in front", "zh": "在前面"},
    "behind": {"en": "behind", "zh": "在后面"},
    "viewer": {"en": "at the {a}, facing the {b}: {c}", "zh": "站在{a}处面向{b}:{c}"},
    "object": {"en": "from the {a}: {c}", "zh": "从{a}的角度:{c}"},
    "camera": {"en": "camera", "zh": "相机"},
    "self": {"en": "whoever looks", "zh": "观察者"},
}


@dataclass(frozen=True)
class Unsure(Exception):
    """Why geometry cannot tell."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """What geometry makes of a question: the verdict, the words for it, and what the claim says beside the model's own words."""

    verdict: str
    text: str
    confidence: float
    geometry: str = "undecided"
    margin: Margin | None = None
    interval_m: Interval | None = None


@dataclass(frozen=True)
class Things:
    """The named objects in space, and everything else that was found there, by label. `front` is where boxes have theirs."""

    boxes: Mapping[str, Box3D]
    bystanders: Sequence[tuple[str, Box3D]] = ()
    front: FrontAxis | None = None

    def place(self, name: str) -> Box3D:
        """The box of a thing; of the camera a small one at its centre."""
        return Box3D((0.0, 0.0, 0.0), (_POINT_M,) * 3) if name == CAMERA else self.boxes[name]


def decide(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """The answer of geometry; verdict "unsure" with the reason where it has none. Every name must be among the things."""
    try:
        return _DECIDE[asked.kind](asked, things, language)
    except Unsure as unsure:
        return Outcome("unsure", unsure.reason, UNSURE)


def reason(name: str, language: Language, about: str = "") -> str:
    """One of the reasons for "unsure", in words."""
    return _REASONS[name][language].format(a=about)


def metres(value: float, language: Language) -> str:
    """A length for people."""
    return f"{value:.2f} m" if language == "en" else f"{value:.2f}米"


def framed(words: FrameWords, claim: str, language: Language) -> str:
    """A claim with the frame in which it is meant."""
    if words.kind == "camera":
        return claim
    kind = "viewer" if words.facing is not None else "object"
    at, facing = (name or _WORDS["camera"][language] for name in (words.at, words.facing or CAMERA))
    return _WORDS[kind][language].format(a=at, b=facing, c=claim)


def whoever_looks(words: FrameWords, language: Language) -> str:
    """The second thing of a relation to whoever looks, by name."""
    return words.at if words.kind == "object" and words.at else _WORDS["self"][language]


def frame_of(words: FrameWords, things: Things, language: Language) -> Frame:
    """The frame in space. Raises Unsure where it has no direction: no front is known, or nothing is said to be faced."""
    up = _up(things)
    if words.kind == "camera":
        return Frame.of_camera(up)
    if words.kind == "viewer" and words.facing is None:
        raise Unsure(reason("facing", language, words.at))
    try:
        if words.facing is None:
            axis = _front_axis(words.at, things, language)
            return Frame.of_object(words.at, things.place(words.at), up, axis)
        places = [things.place(name).center_m for name in (words.at, words.facing)]
        frame = Frame.of_viewer(words.at or "camera", places[0], words.facing or "camera", places[1], up)
    except GeometryError as error:
        raise Unsure(reason("level", language, words.at or _WORDS["camera"][language])) from error
    return replace(frame, name=f"object: {words.at}", has_front=True) if words.kind == "object" else frame


def _relation(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    measured, probability = _held(asked, things, language)
    verdict = "yes" if measured.decided else "no"
    return Outcome(verdict, _WORDS[verdict][language], probability, verdict, measured)


def _choice(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    measured, probability = _held(asked, things, language)
    chosen = asked.subject if measured.decided else str(asked.other)
    return Outcome(chosen, chosen, probability, chosen, measured)


def _held(asked: SpaceQuestion, things: Things, language: Language) -> tuple[Margin, float]:
    """The margin of the relation and how probably its sign is right. Raises Unsure where that is not decided."""
    relation = cast(FrameRelation, asked.relation)
    front = _front_axis(asked.subject, things, language) if relation == "facing" else "-z"

    def measure(these: Things) -> Margin:
        frame = frame_of(asked.frame, these, language)
        if asked.other is None:  # in front of whoever looks is what they face, not what is nearer to them
            frame = replace(frame, has_front=True)
        other = these.place(asked.frame.at if asked.other is None else asked.other)
        return margin_in(frame, relation, these.place(asked.subject), other, front=front)

    measured = measure(things)
    if measured.decided is None:
        raise Unsure(reason("close", language))
    return measured, _sure(lambda these: (measure(these).value > 0) == measured.decided, things, language)


def _distance(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    gap, gaps = _gap(asked, things)
    apart = _offset(asked, things, language)
    said = metres(gap.value, language)
    text = _WORDS["apart"][language].format(a=said, b=_range(gap, language), c=metres(apart.centers_m.value, language))
    if apart.direction is not None:
        text += ", " + _WORDS[apart.direction][language]
    return Outcome(said, text, _close(gaps, gap.value), said, interval_m=gap)


def _within(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    gap, gaps = _gap(asked, things)
    found = f"{metres(gap.value, language)} ({_range(gap, language)})"
    nearer = _probability(gaps < (asked.limit_m or 0.0))
    if max(nearer, 1 - nearer) < SURE:
        return Outcome("unsure", f"{reason('doubtful', language)}: {found}", UNSURE, interval_m=gap)
    verdict = "yes" if (nearer > 0.5) != asked.beyond else "no"
    return Outcome(verdict, f"{_WORDS[verdict][language]}: {found}", max(nearer, 1 - nearer), verdict, interval_m=gap)


def _aside(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """How far along one direction of the frame the centres are apart."""

    def along(these: Things) -> float:
        apart = _offset(asked, these, language)
        parts = {"left_of": apart.right_m, "right_of": apart.right_m, "above": apart.up_m, "below": apart.up_m}
        part = parts.get(str(asked.relation), apart.forward_m).value
        nearer_is_front = asked.frame.kind != "object"
        return -part if asked.relation in ("left_of", "below", "in_front_of" if nearer_is_front else "behind") else part

    value, values = along(things), np.array([along(these) for these in _variants(things)])
    if (sure := _probability(values * value > 0)) < SURE:
        raise Unsure(f"{reason('close', language)}: {metres(value, language)}")
    part = _spread(abs(value), values * math.copysign(1, value))
    text = _WORDS["side" if value > 0 else "other_side"][language].format(
        a=metres(part.value, language), b=_range(part, language)
    )
    if value < 0:
        return Outcome("no", text, sure, "no", interval_m=part)
    said = metres(value, language)
    return Outcome(said, text, _close(values, value), said, interval_m=part)


def _sight(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """Whether most straight lines between two things are free of everything else that was found."""
    ends = (asked.subject, str(asked.other))
    share, blockers = _free(things, ends)
    clear = share > 0.5
    probability = _sure(lambda these: (_free(these, ends)[0] > 0.5) == clear, things, language)
    verdict = "yes" if clear else "no"
    if clear:
        return Outcome(verdict, _WORDS["yes"][language], probability, verdict)
    names = (", " if language == "en" else "、").join(dict.fromkeys(blockers))
    return Outcome(verdict, _WORDS["blocked"][language].format(a=names), probability, verdict)


def _free(things: Things, ends: tuple[str, str]) -> tuple[float, list[str]]:
    """The share of lines between two things' upper halves that meet nothing, and what the others meet, most met first."""
    boxes = [box for _, box in things.bystanders]
    up = np.array(_up(things))
    starts, stops = (_lookouts(things.place(name), up) for name in ends)
    sights = [line_of_sight(start, stop, boxes) for start in starts for stop in stops]
    met = [i for sight in sights for i in sight.blocked_by]
    order = sorted(set(met), key=met.count, reverse=True)
    return sum(sight.clear for sight in sights) / len(sights), [things.bystanders[i][0] for i in order]


def _lookouts(box: Box3D, up: Array) -> list[Array]:
    """A box's middle, and the middles of what lies between it and its four upper corners."""
    middle = np.array(box.center_m)
    corners = sorted(box.corners_m(), key=lambda corner: float(corner @ up))[4:]
    return [middle, *((middle + corner) / 2 for corner in corners)]


def _gap(asked: SpaceQuestion, things: Things) -> tuple[Interval, Array]:
    """The distance between two things' surfaces, and what it is in each variant."""

    def between(these: Things) -> float:
        return distance_m(these.place(asked.subject), these.place(str(asked.other)))

    gaps = np.array([between(these) for these in _variants(things)])
    return _spread(between(things), gaps), gaps


def _spread(value: float, values: Array) -> Interval:
    """The value and where 90% of its variants lie."""
    low, high = np.quantile(values, (0.05, 0.95)).tolist()
    return Interval(min(low, value), value, max(high, value))


def _close(values: Array, value: float) -> float:
    """The probability that a length is right: within a share of itself, or as near as boxes are drawn."""
    return _probability(np.abs(values - value) <= max(NEAR_SHARE * value, NEAR_M))


def _probability(hits: NDArray[np.bool_]) -> float:
    """A share of the variants that is neither 0 nor 1, since they are few."""
    return (int(np.count_nonzero(hits)) + 1) / (len(hits) + 2)


def _offset(asked: SpaceQuestion, things: Things, language: Language) -> Offset:
    a, b = things.place(asked.subject), things.place(str(asked.other))
    doubts = [np.abs(box.center_m) * RAY_DOUBT + np.array([1, 1, 0]) * SIDE_DOUBT * box.center_m[2] for box in (a, b)]
    x, y, z = np.hypot(*doubts).tolist()  # errors of two things are taken as independent
    return offset(frame_of(asked.frame, things, language), a, b, (x, y, z))


def _front_axis(name: str, things: Things, language: Language) -> FrontAxis:
    if not _FRONTED[language].search(name):
        raise Unsure(reason("no_front", language, name))
    if things.front is None:
        raise Unsure(reason("front_unknown", language, name))
    return things.front


def _sure(agrees: Callable[[Things], bool], things: Things, language: Language) -> float:
    """The share of variants that agree. Raises Unsure where hardly more than half do."""
    votes = []
    for these in _variants(things):
        try:
            votes.append(agrees(these))
        except Unsure:  # a frame that has no direction any more agrees with nothing
            votes.append(False)
    probability = _probability(np.array(votes))
    if probability < SURE:
        raise Unsure(reason("doubtful", language))
    return probability


def _variants(things: Things) -> Iterator[Things]:
    """The things where they may be as well, within the boxes' doubt; the same ones each time."""
    rng = np.random.default_rng(0)
    for _ in range(VARIANTS):
        moved = {name: _moved(box, rng) for name, box in things.boxes.items()}
        yield replace(things, boxes=moved, bystanders=[(label, _moved(box, rng)) for label, box in things.bystanders])


def _moved(box: Box3D, rng: np.random.Generator) -> Box3D:
    x, y, z = box.center_m
    along, *across = rng.normal(size=3) / NINETY
    aside = SIDE_DOUBT * z
    moved = np.array([x, y, z]) * (1 + RAY_DOUBT * along) + np.array([aside * across[0], aside * across[1], 0.0])
    return replace(box, center_m=(float(moved[0]), float(moved[1]), float(moved[2])))


def _up(things: Things) -> tuple[float, float, float]:
    boxes = [*things.boxes.values(), *(box for _, box in things.bystanders)]
    x, y, z = upward(*boxes).tolist() if boxes else (0.0, -1.0, 0.0)
    return x, y, z


def _range(interval: Interval, language: Language) -> str:
    low, high = f"{interval.low:.2f}", metres(interval.high, language)
    return f"{low} to {high}" if language == "en" else f"{low}到{high}"


_DECIDE: Mapping[str, Callable[[SpaceQuestion, Things, Language], Outcome]] = {
    "relation": _relation,
    "choice": _choice,
    "distance": _distance,
    "within": _within,
    "offset": _aside,
    "sight": _sight,
}
