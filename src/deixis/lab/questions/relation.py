"""Where two or three named things stand to one another: yes or no, and which of two."""

from collections.abc import Mapping, Sequence
from itertools import product

from numpy.random import Generator

from deixis.lab import words
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.pairs import RELATIONS, Indices, Pairs, Relation, pairs_of
from deixis.lab.questions.picture import Picture, as_typed, filled, pick
from deixis.lab.questions.question import Question, written, yes_or_no
from deixis.spatial.language.prompts import Language

# Where a picture offers only one answer for a relation, it is seldom asked: otherwise a glance at the picture (is
# anything stacked at all?) would give the answer away, and one answer would outweigh the other.
ONE_SIDED = 0.08
# A denied "between" is often the same three things in another order, which a guess from their company cannot tell.
SHUFFLED_TRIPLE = 0.5

_WORDS: Mapping[Relation, Mapping[Language, Sequence[str]]] = {
    "left_of": {
        "en": ("to the left of {b}", "left of {b}", "on the left side of {b}", "further left than {b}"),
        "zh": ("在{b}的左边", "在{b}左边", "在{b}的左侧", "位于{b}左侧", "在{b}的左面"),
    },
    "right_of": {
        "en": ("to the right of {b}", "right of {b}", "on the right side of {b}", "further right than {b}"),
        "zh": ("在{b}的右边", "在{b}右边", "在{b}的右侧", "位于{b}右侧", "在{b}的右面"),
    },
    "above": {
        "en": ("above {b}", "somewhere above {b}", "higher up, above {b},"),
        "zh": ("在{b}的上方", "在{b}上方", "位于{b}的上方"),
    },
    "below": {
        "en": ("below {b}", "somewhere below {b}", "lower down, below {b},"),
        "zh": ("在{b}的下方", "在{b}下方", "位于{b}的下方"),
    },
    "in_front_of": {
        "en": ("in front of {b}", "in front of {b}", "nearer to the camera than {b}", "closer to us than {b}"),
        "zh": ("在{b}的前面", "在{b}前面", "在{b}的前方", "位于{b}前方", "比{b}离镜头更近"),
    },
    "behind": {
        "en": ("behind {b}", "behind {b}", "farther from the camera than {b}", "further away than {b}"),
        "zh": ("在{b}的后面", "在{b}后面", "在{b}的后方", "位于{b}后方", "比{b}离镜头更远"),
    },
    "on": {
        "en": ("on {b}", "on top of {b}", "resting on {b}", "standing or lying on {b}"),
        "zh": ("在{b}上", "在{b}上面", "放在{b}上", "放在{b}的上面"),
    },
    "under": {
        "en": ("under {b}", "underneath {b}", "beneath {b}", "directly under {b}"),
        "zh": ("在{b}下面", "在{b}的下面", "被压在{b}下面", "在{b}底下"),
    },
    "next_to": {
        "en": ("next to {b}", "beside {b}", "right next to {b}", "close to {b}"),
        "zh": ("在{b}旁边", "在{b}的旁边", "紧挨着{b}", "挨着{b}", "靠近{b}"),
    },
    "between": {
        "en": ("between {b} and {c}", "in between {b} and {c}", "in the space between {b} and {c}"),
        "zh": ("在{b}和{c}之间", "在{b}与{c}之间", "在{b}和{c}的中间", "位于{b}和{c}之间"),
    },
}
_FRAMES: Phrasings = {
    "en": (
        "{Is} {a} RELATION?",
        "{Is} {a} RELATION?",
        "{Is} {a} RELATION in this picture?",
        "In the picture, {is_} {a} RELATION?",
        "Would you say that {a} {is_} RELATION?",
        "Can you tell me whether {a} {is_} RELATION?",
        "Is it true that {a} {is_} RELATION?",
        "{A} {is_} RELATION, right?",
    ),
    "zh": (
        "{a}RELATION吗？",
        "{a}RELATION吗？",
        "{a}是不是RELATION？",
        "{a}是否RELATION？",
        "图中{a}RELATION吗？",
        "请问{a}RELATION吗？",
        "从画面上看，{a}RELATION吗？",
        "{a}RELATION，对吗？",
    ),
}


def _phrasings(relation: Relation, language: Language) -> tuple[str, ...]:
    return tuple(
        frame.replace("RELATION", phrase).replace(",,", ",").replace(",?", "?")
        for frame, phrase in product(_FRAMES[language], _WORDS[relation][language])
    )


PHRASINGS: Mapping[Relation, Phrasings] = {r: {"en": _phrasings(r, "en"), "zh": _phrasings(r, "zh")} for r in RELATIONS}


def relation(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Relations come evenly, and yes and no come evenly within each."""
    pairs = pairs_of(picture)
    for _ in range(3):
        name = pick(RELATIONS, rng)
        case = _case(pairs, name, rng)
        if case is not None:
            members, holds = case
            names = [picture.name(i, language, rng) for i in members]
            text = as_typed(filled(pick(PHRASINGS[name][language], rng), names), rng)
            target = {"relation": name, "holds": holds, "objects": [picture.ids[i] for i in members]}
            return written(
                "relation", language, "ask", text, yes_or_no(holds, language), picture.labels(members, language), target
            )
    return None


def _case(pairs: Pairs, name: Relation, rng: Generator) -> tuple[Indices, bool] | None:
    yes, no = pairs.table(name)
    if not yes and not no:
        return None
    if not yes or not no:
        return None if rng.random() >= ONE_SIDED else (pick(yes or no, rng), bool(yes))
    if rng.random() < 0.5:
        return pick(yes, rng), True
    if name == "between" and rng.random() < SHUFFLED_TRIPLE:
        a, b, c = pick(yes, rng)
        shuffled = (b, a, c) if rng.random() < 0.5 else (c, b, a)
        if shuffled in pairs.denied_triples:
            return shuffled, False
    if name in ("on", "under", "above", "below") and rng.random() < 0.5:
        a, b = pick(yes, rng)[:2]
        if (b, a) in no:
            return (b, a), False
    return pick(no, rng), False


CHOICES: Mapping[str, Phrasings] = {
    "left": {
        "en": (
            "Which of the two is further left, {a} or {b}?",
            "Which is further to the left, {a} or {b}?",
            "What is more to the left: {a} or {b}?",
            "{A} or {b}: which one is on the left?",
            "Of {a} and {b}, which is the one on the left?",
            "In the picture, which is further left: {a} or {b}?",
        ),
        "zh": (
            "{a}和{b}，哪个更靠左？",
            "{a}和{b}哪个在左边？",
            "{a}与{b}相比，哪一个更靠左边？",
            "图中{a}和{b}，哪个在左侧？",
            "更靠左的是{a}还是{b}？",
            "左边的是{a}还是{b}？",
        ),
    },
    "right": {
        "en": (
            "Which of the two is further right, {a} or {b}?",
            "Which is further to the right, {a} or {b}?",
            "What is more to the right: {a} or {b}?",
            "{A} or {b}: which one is on the right?",
            "Of {a} and {b}, which is the one on the right?",
            "In the picture, which is further right: {a} or {b}?",
        ),
        "zh": (
            "{a}和{b}，哪个更靠右？",
            "{a}和{b}哪个在右边？",
            "{a}与{b}相比，哪一个更靠右边？",
            "图中{a}和{b}，哪个在右侧？",
            "更靠右的是{a}还是{b}？",
            "右边的是{a}还是{b}？",
        ),
    },
    "front": {
        "en": (
            "Which of the two is further to the front, {a} or {b}?",
            "Which stands in front of the other, {a} or {b}?",
            "What is further forward: {a} or {b}?",
            "{A} or {b}: which one is in front?",
            "Of {a} and {b}, which is the one in front?",
            "In the picture, which is in front: {a} or {b}?",
        ),
        "zh": (
            "{a}和{b}，哪个更靠前？",
            "{a}和{b}哪个在前面？",
            "{a}与{b}相比，哪一个更靠前？",
            "图中{a}和{b}，哪个在前方？",
            "更靠前的是{a}还是{b}？",
            "前面的是{a}还是{b}？",
        ),
    },
    "back": {
        "en": (
            "Which of the two is further back, {a} or {b}?",
            "Which stands behind the other, {a} or {b}?",
            "What is further to the back: {a} or {b}?",
            "{A} or {b}: which one is behind?",
            "Of {a} and {b}, which is the one further back?",
            "In the picture, which is further back: {a} or {b}?",
        ),
        "zh": (
            "{a}和{b}，哪个更靠后？",
            "{a}和{b}哪个在后面？",
            "{a}与{b}相比，哪一个更靠后？",
            "图中{a}和{b}，哪个在后方？",
            "更靠后的是{a}还是{b}？",
            "后面的是{a}还是{b}？",
        ),
    },
}
_CHOICE_OF: Mapping[str, Relation] = {"left": "left_of", "right": "right_of", "front": "in_front_of", "back": "behind"}


def relation_choice(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """Which of two named things is further left, right, to the front or back; either may be named first."""
    side = pick(tuple(CHOICES), rng)
    cases = pairs_of(picture).table(_CHOICE_OF[side])[0]
    if not cases:
        return None
    winner, other = pick(cases, rng)
    members = (winner, other) if rng.random() < 0.5 else (other, winner)
    names = [picture.name(i, language, rng) for i in members]
    text = as_typed(filled(pick(CHOICES[side][language], rng), names), rng)
    label = picture.label(winner, language)
    target = {
        "side": side,
        "label": label,
        "category": words.category_label(picture.categories[winner], language),
        "category_unique": picture.category_counts[picture.categories[winner]] == 1,
        "object": picture.ids[winner],
        "objects": [picture.ids[i] for i in members],
    }
    return written("relation_choice", language, "ask", text, label, picture.labels(members, language), target)


def _together(parts: Mapping[str, Phrasings] | Mapping[Relation, Phrasings]) -> Phrasings:
    return {language: tuple(t for p in parts.values() for t in p[language]) for language in ("en", "zh")}


KINDS: Mapping[str, Kind] = {
    "relation": Kind(relation, _together(PHRASINGS)),
    "relation_choice": Kind(relation_choice, _together(CHOICES)),
}
