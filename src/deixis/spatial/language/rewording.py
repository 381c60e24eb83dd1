"""The same claim in other words: asked straight, the other way round, as its opposite, as a choice. English and Chinese.

A closed table of relation words; the things keep the labels that the model itself gave them. Does not know pictures or models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from deixis.geometry import Relation
from deixis.spatial.language.prompts import Language

How = Literal["straight", "inverse", "opposite", "choice", "exists", "other_language"]


@dataclass(frozen=True)
class Reworded:
    """A question whose answer bears on a claim.

    "yes" speaks for the claim, or against it where `denies`. With `options` it is answered by one of the two, and the first
    speaks for the claim. `sided`: left and right are named, which a mirrored picture exchanges.
    """

    how: How
    question: str
    denies: bool = False
    options: tuple[str, str] | None = None
    sided: bool = False


Retell = Callable[[Sequence[str], Language], Reworded]  # a claim about things of these names, asked straight


_CONVERSE: Mapping[Relation, Relation] = {
    "left_of": "right_of",
    "right_of": "left_of",
    "above": "below",
    "below": "above",
    "in_front_of": "behind",
    "behind": "in_front_of",
    "on": "under",
    "under": "on",
    "next_to": "next_to",
}
# Of these, "B is left of A" says that A is not left of B; two things may both not be on one another.
_OPPOSED = frozenset({"left_of", "right_of", "in_front_of", "behind", "above", "below", "on", "under"})
_SIDED = frozenset({"left_of", "right_of"})

_STRAIGHT: Mapping[Language, Mapping[Relation, str]] = {
    "en": {
        "left_of": "{Is} {a} to the left of {b}?",
        "right_of": "{Is} {a} to the right of {b}?",
        "above": "{Is} {a} above {b}?",
        "below": "{Is} {a} below {b}?",
        "in_front_of": "{Is} {a} in front of {b}?",
        "behind": "{Is} {a} behind {b}?",
        "on": "{Is} {a} on top of {b}?",
        "under": "{Is} {a} underneath {b}?",
        "next_to": "{Is} {a} next to {b}?",
        "between": "{Is} {a} between {b} and {c}?",
    },
    "zh": {
        "left_of": "{a}在{b}的左边吗？",
        "right_of": "{a}在{b}的右边吗？",
        "above": "{a}在{b}的上方吗？",
        "below": "{a}在{b}的下方吗？",
        "in_front_of": "{a}在{b}的前面吗？",
        "behind": "{a}在{b}的后面吗？",
        "on": "{a}放在{b}的上面吗？",
        "under": "{a}在{b}下面吗？",
        "next_to": "{a}在{b}的旁边吗？",
        "between": "{a}在{b}和{c}之间吗？",
    },
}
_WHICH: Mapping[Language, Mapping[Relation, str]] = {
    "en": {
        "left_of": "Which of the two is further left, {a} or {b}?",
        "right_of": "Which of the two is further right, {a} or {b}?",
        "in_front_of": "Which is closer to the camera, {a} or {b}?",
        "behind": "Which is farther from the camera, {a} or {b}?",
        "nearest": "Which is closer to the camera, {a} or {b}?",
        "farthest": "Which is farther from the camera, {a} or {b}?",
    },
    "zh": {
        "left_of": "{a}和{b}，哪个更靠左？",
        "right_of": "{a}和{b}，哪个更靠右？",
        "in_front_of": "{a}和{b}，哪个离镜头更近？",
        "behind": "{a}和{b}，哪个离镜头更远？",
        "nearest": "{a}和{b}，哪个离镜头更近？",
        "farthest": "{a}和{b}，哪个离镜头更远？",
    },
}
_HIDDEN: Mapping[Language, Sequence[str]] = {
    "en": ("{Is} {a} partly hidden?", "Is something covering part of {a}?"),
    "zh": ("{a}被遮挡了吗？", "有东西挡住了{a}吗？"),
}
_HIDDEN_BY: Mapping[Language, Sequence[str]] = {
    "en": ("{Is} {a} partly hidden by {b}?", "Is part of {a} hidden behind {b}?"),
    "zh": ("{a}被{b}挡住了一部分吗？", "{a}是否被{b}部分遮挡？"),
}
_EXISTS: Mapping[Language, str] = {"en": "{Is} there {a} in the picture?", "zh": "图中有{a}吗？"}
_WHAT_HIDES: Mapping[Language, Sequence[str]] = {
    "en": ("What hides {a}?", "Which object blocks the view of {a}?", "What is blocking {a}?"),
    "zh": ("什么挡住了{a}？", "哪个物体挡住了{a}的一部分？", "{a}被什么遮挡了？"),
}
_EXTREMES: Mapping[Language, Mapping[Relation, Sequence[str]]] = {
    "en": {
        "nearest": ("Which object is closest to the camera?", "What is closest to us?"),
        "farthest": ("Which object is farthest from the camera?", "What is furthest away from us?"),
    },
    "zh": {
        "nearest": ("哪个物体离镜头最近？", "哪个东西离我们最近？"),
        "farthest": ("哪个物体离镜头最远？", "哪个东西离我们最远？"),
    },
}


def relation_reworded(relation: Relation, labels: Sequence[str], language: Language) -> tuple[Reworded, ...]:
    """Questions about "labels[0] relation labels[1]" (and labels[2] for between; nearest and farthest of the two)."""
    words = _STRAIGHT[language]
    if relation == "between":
        a, b, c = labels
        told = [("straight", (a, b, c), False), ("inverse", (a, c, b), False), ("opposite", (b, a, c), True)]
        return tuple(Reworded(how, _filled(words["between"], of, language), denies) for how, of, denies in told)  # type: ignore[arg-type]
    a, b = labels
    found: list[Reworded] = []
    plain: Relation = {"nearest": "in_front_of", "farthest": "behind"}.get(relation, relation)  # type: ignore[assignment]
    converse, sided = _CONVERSE[plain], plain in _SIDED
    found.append(Reworded("straight", _filled(words[plain], (a, b), language), sided=sided))
    found.append(Reworded("inverse", _filled(words[converse], (b, a), language), sided=sided))
    if plain in _OPPOSED:
        found.append(Reworded("opposite", _filled(words[plain], (b, a), language), denies=True, sided=sided))
    if which := _WHICH[language].get(relation):
        found.append(Reworded("choice", _filled(which, (b, a), language), options=(a, b), sided=sided))
    return tuple(found)


def hidden_reworded(labels: Sequence[str], language: Language) -> tuple[Reworded, ...]:
    """Questions about "labels[0] is partly hidden", or "by labels[1]" where there is a second."""
    templates = (_HIDDEN if len(labels) == 1 else _HIDDEN_BY)[language]
    return tuple(Reworded("straight", _filled(template, labels, language)) for template in templates)


def relation_straight(relation: Relation, labels: Sequence[str], language: Language) -> Reworded:
    """ "Is labels[0] relation labels[1]?" """
    return relation_reworded(relation, labels, language)[0]


def hidden_straight(labels: Sequence[str], language: Language) -> Reworded:
    """ "Is labels[0] partly hidden (by labels[1])?" """
    return hidden_reworded(labels, language)[0]


def exists_reworded(labels: Sequence[str], language: Language) -> Reworded:
    """ "Is there a red cup in the picture?" """
    return Reworded("exists", _filled(_EXISTS[language], labels, language, definite=False))


def what_hides(label: str, language: Language) -> tuple[str, ...]:
    """ "What hides the cup?" in several ways."""
    return tuple(_filled(template, (label,), language) for template in _WHAT_HIDES[language])


def which_extreme(relation: Relation, language: Language) -> tuple[str, ...]:
    """ "Which object is nearest?", or farthest, in several ways."""
    return tuple(_EXTREMES[language][relation])


def _filled(template: str, labels: Sequence[str], language: Language, definite: bool = True) -> str:
    first = labels[0].rpartition(" ")[2].lower()
    plural = first.endswith("s") and not first.endswith("ss")  # "headphones are"; a guess that a wrong verb does not harm
    article = "the " if definite else "" if plural else "an " if labels[0][:1].lower() in tuple("aeio") else "a "
    names = [f"{article}{label}" if language == "en" else label for label in labels]
    return template.format(Is="Are" if plural else "Is", **dict(zip("abc", names, strict=False)))
