"""Answers that geometry decides alone: in another's frame, in metres between things, along lines of sight.

Models are not trained to say these; what one says is kept beside, in the claim. Knows named things with 3D boxes, and what is
asked of them. Does not know how they are found (see in_space.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
    Vec3,
    distance_m,
    line_of_sight,
    margin_in,
    offset,
)
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.space_reading import FrameWords, SpaceQuestion
from deixis.spatial.places.doubts import SpaceDoubt
from deixis.spatial.places.frame_words import FRONTED, WORDS, metres, reason, stretch
from deixis.spatial.places.variants import Things, Unsure, agreement, probability, spread, variants

Array = NDArray[np.float64]

NEAR_SHARE, NEAR_M = 0.15, 0.02  # a distance is right within such a share of itself, or so many metres
SURE, UNSURE = 0.65, 0.35  # below the first the answer is "unsure", with the second as its confidence


@dataclass(frozen=True)
class Outcome:
    """What geometry makes of a question: the verdict, the words for it, and what the claim says beside the model's own words."""

    verdict: str
    text: str
    confidence: float
    geometry: str = "undecided"
    margin: Margin | None = None
    interval_m: Interval | None = None


def decide(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """The answer of geometry; verdict "unsure" with the reason where it has none. Every name must be among the things."""
    try:
        return _DECIDE[asked.kind](asked, things, language)
    except Unsure as unsure:
        return Outcome("unsure", unsure.reason, UNSURE)


def frame_of(words: FrameWords, things: Things, language: Language) -> Frame:
    """The frame in space. Raises Unsure where it has no direction: no front is known, or nothing is said to be faced."""
    up = things.up
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
        raise Unsure(reason("level", language, words.at or WORDS["camera"][language])) from error
    return replace(frame, name=f"object: {words.at}", has_front=True) if words.kind == "object" else frame


def _relation(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    measured, sure = _decided(asked, things, language)
    verdict = "yes" if measured.decided else "no"
    return Outcome(verdict, WORDS[verdict][language], sure, verdict, measured)


def _choice(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    measured, sure = _decided(asked, things, language)
    chosen = asked.subject if measured.decided else str(asked.other)
    return Outcome(chosen, chosen, sure, chosen, measured)


def measured_in(asked: SpaceQuestion, things: Things, language: Language) -> Margin:
    """The margin of the relation that is asked about. Raises Unsure where its frame has no direction."""
    relation = cast(FrameRelation, asked.relation)
    front = _front_axis(asked.subject, things, language) if relation == "facing" else "-z"
    frame = frame_of(asked.frame, things, language)
    if asked.other is None:  # in front of whoever looks is what they face, not what is nearer to them
        frame = replace(frame, has_front=True)
    other = things.place(asked.frame.at if asked.other is None else asked.other)
    return margin_in(frame, relation, things.place(asked.subject), other, front=front)


def held(asked: SpaceQuestion, things: Things, language: Language) -> tuple[Margin, float]:
    """The margin, and how probably its sign is right, however small that is. Raises Unsure where it is too close to call."""
    measured = measured_in(asked, things, language)
    if measured.decided is None:
        raise Unsure(reason("close", language))
    return measured, agreement(lambda these: (measured_in(asked, these, language).value > 0) == measured.decided, things)


def _decided(asked: SpaceQuestion, things: Things, language: Language) -> tuple[Margin, float]:
    measured, sure = held(asked, things, language)
    return measured, _enough(sure, language)


def _distance(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    gap, half = _gap(asked, things)
    apart = _offset(asked, things, language)
    said = metres(gap.value, language)
    text = WORDS["apart"][language].format(a=said, b=stretch(gap, language), c=metres(apart.centers_m.value, language))
    if apart.direction is not None:
        text += ", " + WORDS[apart.direction][language]
    sure = things.doubt.within(max(NEAR_SHARE * gap.value, NEAR_M), half)
    return Outcome(said, text, sure, said, interval_m=gap)


def _within(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    gap, half = _gap(asked, things)
    found = f"{metres(gap.value, language)} ({stretch(gap, language)})"
    slack = (asked.limit_m or 0.0) - gap.value
    sure = (1 + things.doubt.within(abs(slack), half)) / 2  # errors go either way
    if sure < SURE:
        return Outcome("unsure", f"{reason('doubtful', language)}: {found}", UNSURE, interval_m=gap)
    verdict = "yes" if (slack > 0) != asked.beyond else "no"
    return Outcome(verdict, f"{WORDS[verdict][language]}: {found}", sure, verdict, interval_m=gap)


def _aside(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """How far along one direction of the frame the centres are apart."""

    def along(these: Things) -> float:
        apart = _offset(asked, these, language)
        parts = {"left_of": apart.right_m, "right_of": apart.right_m, "above": apart.up_m, "below": apart.up_m}
        part = parts.get(str(asked.relation), apart.forward_m).value
        nearer_is_front = asked.frame.kind != "object"
        return -part if asked.relation in ("left_of", "below", "in_front_of" if nearer_is_front else "behind") else part

    value, values = along(things), np.array([along(these) for these in variants(things)])
    if (sure := probability(values * value > 0, things.doubt)) < SURE:
        raise Unsure(f"{reason('close', language)}: {metres(value, language)}")
    part = spread(abs(value), values * math.copysign(1, value), things.doubt.offset_scale)
    text = WORDS["side" if value > 0 else "other_side"][language].format(
        a=metres(part.value, language), b=stretch(part, language)
    )
    if value < 0:
        return Outcome("no", text, sure, "no", interval_m=part)
    said = metres(value, language)
    return Outcome(said, text, _close(values, value, things.doubt), said, interval_m=part)


def _sight(asked: SpaceQuestion, things: Things, language: Language) -> Outcome:
    """Whether most straight lines between two things are free of everything else that was found."""
    ends = (asked.subject, str(asked.other))
    share, blockers = _free(things, ends)
    clear = share > 0.5
    sure = _enough(agreement(lambda these: (_free(these, ends)[0] > 0.5) == clear, things), language)
    verdict = "yes" if clear else "no"
    if clear:
        return Outcome(verdict, WORDS["yes"][language], sure, verdict)
    names = (", " if language == "en" else "、").join(dict.fromkeys(blockers))
    return Outcome(verdict, WORDS["blocked"][language].format(a=names), sure, verdict)


def _free(things: Things, ends: tuple[str, str]) -> tuple[float, list[str]]:
    """The share of lines between two things' upper halves that meet nothing, and what the others meet, most met first."""
    boxes = [box for _, box in things.bystanders]
    up = np.array(things.up)
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


def _gap(asked: SpaceQuestion, things: Things) -> tuple[Interval, float]:
    """The distance between two things' surfaces with its 90% interval, and the interval's half-width."""
    a, b = things.place(asked.subject), things.place(str(asked.other))
    gap = distance_m(a, b)
    half = things.doubt.gap.at(gap, max(a.center_m[2], b.center_m[2], 0.0))
    return Interval(max(gap - half, 0.0), gap, gap + half), half


def _close(values: Array, value: float, doubt: SpaceDoubt) -> float:
    """The probability that a length is right: within a share of itself, or as near as boxes are drawn."""
    return probability(np.abs(values - value) <= max(NEAR_SHARE * value, NEAR_M), doubt)


def _enough(sure: float, language: Language) -> float:
    """Raises Unsure where hardly more than half of the variants agree."""
    if sure < SURE:
        raise Unsure(reason("doubtful", language))
    return sure


def _offset(asked: SpaceQuestion, things: Things, language: Language) -> Offset:
    a, b = things.place(asked.subject), things.place(str(asked.other))
    x, y, z = np.hypot(_doubt_m(a, things.doubt), _doubt_m(b, things.doubt)).tolist()  # independent errors
    return offset(frame_of(asked.frame, things, language), a, b, (x, y, z))


def _doubt_m(box: Box3D, doubt: SpaceDoubt) -> Vec3:
    """Half-widths of a centre along the camera's axes."""
    depth, away = abs(box.center_m[2]), math.hypot(*box.center_m)
    aside = doubt.side.at(0.0, depth)
    x, y, z = (doubt.ray.at(0.0, depth) * abs(part) / max(away, 1e-9) for part in box.center_m)
    return x + aside, y + aside, z


def _front_axis(name: str, things: Things, language: Language) -> FrontAxis:
    if not FRONTED[language].search(name):
        raise Unsure(reason("no_front", language, name))
    if things.front is None:
        raise Unsure(reason("front_unknown", language, name))
    return things.front


_DECIDE: Mapping[str, Callable[[SpaceQuestion, Things, Language], Outcome]] = {
    "relation": _relation,
    "choice": _choice,
    "distance": _distance,
    "within": _within,
    "offset": _aside,
    "sight": _sight,
}
