"""How far things are: metres to one, and which is nearest or farthest. From the camera, along its line of sight axis.

Depth is the truth's: the mean over a thing's visible surface. Answers in metres hold for the virtual camera.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.picture import Picture, as_typed, filled, pick
from deixis.lab.questions.question import Question, meters, written
from deixis.spatial.language.prompts import Language

# The first is nearer (farther) than the second by this share of the larger depth.
DEPTH_GAP_SHARE = 0.06
TWO_NAMED = 0.4  # how often "which is closest" is asked of two named things

Extreme = Literal["nearest", "farthest"]

NEAREST: Phrasings = {
    "en": (
        "Which object is closest to the camera?",
        "What is the nearest object?",
        "Which object is nearest to the viewer?",
        "What is closest to us?",
        "Name the object that is nearest to the camera.",
        "Of all the objects in the picture, which is the closest?",
        "Which thing is the least far away?",
    ),
    "zh": (
        "哪个物体离镜头最近？",
        "离相机最近的是什么？",
        "图中最近的物体是哪个？",
        "哪个东西离我们最近？",
        "离观察者最近的物体是什么？",
        "所有物体中，哪一个最近？",
        "距离最近的是哪个物体？",
    ),
}
FARTHEST: Phrasings = {
    "en": (
        "Which object is farthest from the camera?",
        "What is the farthest object?",
        "Which object is furthest from the viewer?",
        "What is furthest away from us?",
        "Name the object that is farthest from the camera.",
        "Of all the objects in the picture, which is the farthest?",
        "Which thing is the most distant?",
    ),
    "zh": (
        "哪个物体离镜头最远？",
        "离相机最远的是什么？",
        "图中最远的物体是哪个？",
        "哪个东西离我们最远？",
        "离观察者最远的物体是什么？",
        "所有物体中，哪一个最远？",
        "距离最远的是哪个物体？",
    ),
}
NEARER: Phrasings = {
    "en": (
        "Which is closer to the camera, {a} or {b}?",
        "Which of the two is nearer, {a} or {b}?",
        "What is closer to us: {a} or {b}?",
        "{A} or {b}: which one is nearer to the camera?",
        "Of {a} and {b}, which is closer?",
        "In the picture, which is nearer: {a} or {b}?",
    ),
    "zh": (
        "{a}和{b}，哪个离镜头更近？",
        "{a}和{b}哪个更近？",
        "{a}与{b}相比，哪一个离相机更近？",
        "离我们更近的是{a}还是{b}？",
        "更近的是{a}还是{b}？",
        "图中{a}和{b}，哪个距离更近？",
    ),
}
FARTHER: Phrasings = {
    "en": (
        "Which is farther from the camera, {a} or {b}?",
        "Which of the two is farther away, {a} or {b}?",
        "What is further from us: {a} or {b}?",
        "{A} or {b}: which one is farther from the camera?",
        "Of {a} and {b}, which is farther away?",
        "In the picture, which is more distant: {a} or {b}?",
    ),
    "zh": (
        "{a}和{b}，哪个离镜头更远？",
        "{a}和{b}哪个更远？",
        "{a}与{b}相比，哪一个离相机更远？",
        "离我们更远的是{a}还是{b}？",
        "更远的是{a}还是{b}？",
        "图中{a}和{b}，哪个距离更远？",
    ),
}
DEPTH: Phrasings = {
    "en": (
        "How far {is_} {a} from the camera?",
        "How far away {is_} {a}?",
        "What is the distance from the camera to {a}?",
        "How many metres {is_} {a} from the camera?",
        "What is the depth of {a} in meters?",
        "At what distance {is_} {a}?",
        "How far {is_} {a}, in meters?",
    ),
    "zh": (
        "{a}离镜头有多远？",
        "{a}有多远？",
        "相机到{a}的距离是多少？",
        "{a}距离相机多少米？",
        "{a}的深度是多少米？",
        "{a}离我们多远？",
        "从镜头到{a}有多少米？",
    ),
}


def _ranges(picture: Picture) -> list[float]:
    """Straight-line distances to the middle of what shows: where they and depths disagree, nothing is asked."""
    found: list[float] | None = picture.tables.get("ranges")
    if found is None:
        camera = picture.truth["camera"]
        middle = (picture.boxes_px[:, :2] + picture.boxes_px[:, 2:]) / 2
        slopes = (middle - (camera["cx"], camera["cy"])) / (camera["fx"], camera["fy"])
        stretched = np.array(picture.depths_m) * np.sqrt(1 + (slopes * slopes).sum(1))
        found = picture.tables["ranges"] = stretched.tolist()
    return found


def _plainly_nearer(picture: Picture, a: int, b: int) -> bool:
    depths, ranges = picture.depths_m, _ranges(picture)
    return depths[b] - depths[a] >= DEPTH_GAP_SHARE * depths[b] and ranges[a] < ranges[b]


def _of_all(picture: Picture, kind: Extreme) -> int | None:
    """The thing that is plainly the nearest (farthest) of all that are there, if it can be named."""
    there = picture.indices_there
    if len(there) < 2:
        return None
    depths = picture.depths_m
    if kind == "nearest":
        best = min(there, key=lambda i: depths[i])
        plain = all(_plainly_nearer(picture, best, i) for i in there if i != best)
    else:
        best = max(there, key=lambda i: depths[i])
        plain = all(_plainly_nearer(picture, i, best) for i in there if i != best)
    return best if plain and picture.nameable[best] else None


def _extreme(kind: Extreme, picture: Picture, rng: Generator, language: Language) -> Question | None:
    named = picture.nameable_indices
    two = len(named) >= 2 and rng.random() < TWO_NAMED
    if two:
        a = pick(named, rng)
        b = pick(named, rng)
        if a == b:
            return None
        if _plainly_nearer(picture, a, b):
            best = a if kind == "nearest" else b
        elif _plainly_nearer(picture, b, a):
            best = b if kind == "nearest" else a
        else:
            return None
        names = [picture.name(i, language, rng) for i in (a, b)]
        text = filled(pick((NEARER if kind == "nearest" else FARTHER)[language], rng), names)
        members: tuple[int, ...] = (a, b)
        labels = picture.labels(members, language)
    else:
        found = _of_all(picture, kind)
        if found is None:
            return None
        best = found
        text = pick((NEAREST if kind == "nearest" else FARTHEST)[language], rng)
        members, labels = (best,), ()
    label = picture.label(best, language)
    target = {
        "label": label,
        "category": words.category_label(picture.categories[best], language),
        "category_unique": picture.category_counts[picture.categories[best]] == 1,
        "object": picture.ids[best],
        "objects": [picture.ids[i] for i in members],
        "among": "two" if two else "all",
    }
    return written(kind, language, "ask", as_typed(text, rng), label, labels, target)


def nearest(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Which thing is closest, of all or of two named."""
    return _extreme("nearest", picture, rng, language)


def farthest(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Which thing is farthest, of all or of two named."""
    return _extreme("farthest", picture, rng, language)


def depth(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Metres to one thing, in the virtual camera."""
    if not picture.nameable_indices:
        return None
    index = pick(picture.nameable_indices, rng)
    depth_m = picture.depths_m[index]
    virtual_m = depth_m * picture.virtual_factor
    text = as_typed(filled(pick(DEPTH[language], rng), [picture.name(index, language, rng)]), rng)
    target = {
        "depth_m": depth_m,
        "virtual_depth_m": virtual_m,
        "virtual_factor": picture.virtual_factor,
        "objects": [picture.ids[index]],
    }
    return written("depth", language, "ask", text, meters(virtual_m, language), [picture.label(index, language)], target)


def _both(first: Phrasings, second: Phrasings) -> Phrasings:
    return {language: (*first[language], *second[language]) for language in ("en", "zh")}


KINDS: Mapping[str, Kind] = {
    "nearest": Kind(nearest, _both(NEAREST, NEARER)),
    "farthest": Kind(farthest, _both(FARTHEST, FARTHER)),
    "depth": Kind(depth, DEPTH),
}
