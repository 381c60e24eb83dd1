"""What an answer claims, set beside what the located boxes say. Frame: the camera.

Knows relations and boxes. Does not know prompts or models: it gets the reading, the value and the objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

from deixis.errors import GeometryError
from deixis.geometry import Frame, FrameRelation, Located, Margin, Relation, gap_px, margin, margin_in
from deixis.spatial.answer import Claim, FoundObject
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import QuestionKind, Reading
from deixis.spatial.language.relation_words import AnyRelation, relation_in
from deixis.spatial.language.values import Value

# A depth that the model says in words and one that its 3D box has are the same within this share.
DEPTH_SHARE, DEPTH_DOUBT = 0.15, 0.05
# Boxes further apart than this share of their mean size hide nothing of one another.
APART_SHARE = 0.1
_RELATION_WORDS = 40  # characters of an answer that is a relation ("to the left") rather than a sentence

SENTENCES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "left_of": "{a} is left of {b}",
        "right_of": "{a} is right of {b}",
        "above": "{a} is above {b}",
        "below": "{a} is below {b}",
        "in_front_of": "{a} is in front of {b}",
        "behind": "{a} is behind {b}",
        "on": "{a} is on {b}",
        "under": "{a} is under {b}",
        "next_to": "{a} is next to {b}",
        "between": "{a} is between {b} and {c}",
        "inside": "{a} is inside {b}",
        "near": "{a} is near {b}",
        "far": "{a} is far from {b}",
        "touching": "{a} touches {b}",
        "aligned": "{a} is aligned with {b}",
        "facing": "{a} faces {b}",
        "sees": "nothing stands between {a} and {b}",
        "apart": "{a} is {c} from {b}",
        "within": "{a} is less than {c} from {b}",
        "beyond": "{a} is more than {c} from {b}",
        "nearest": "{a} is nearest to the camera",
        "farthest": "{a} is farthest from the camera",
        "exists": "the picture shows {a}",
        "all": "the picture shows everything that the question names",
        "count": "the number of things asked for is {a}",
        "depth": "{a} is {b} from the camera",
        "hides": "{a} hides part of {b}",
        "named": "what the question names",
    },
    "zh": {
        "left_of": "{a}在{b}左边",
        "right_of": "{a}在{b}右边",
        "above": "{a}在{b}上方",
        "below": "{a}在{b}下方",
        "in_front_of": "{a}在{b}前面",
        "behind": "{a}在{b}后面",
        "on": "{a}在{b}上",
        "under": "{a}在{b}下面",
        "next_to": "{a}在{b}旁边",
        "between": "{a}在{b}和{c}之间",
        "inside": "{a}在{b}里面",
        "near": "{a}在{b}附近",
        "far": "{a}离{b}很远",
        "touching": "{a}碰到{b}",
        "aligned": "{a}与{b}对齐",
        "facing": "{a}面向{b}",
        "sees": "{a}和{b}之间没有遮挡",
        "apart": "{a}离{b}{c}",
        "within": "{a}离{b}不到{c}",
        "beyond": "{a}离{b}超过{c}",
        "nearest": "{a}离相机最近",
        "farthest": "{a}离相机最远",
        "exists": "图中有{a}",
        "all": "图中有问题提到的所有物体",
        "count": "所问物体的数量是{a}",
        "depth": "{a}离相机{b}",
        "hides": "{a}挡住了{b}的一部分",
        "named": "问题提到的物体",
    },
}


def claims_of(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> tuple[Claim, ...]:
    """The claims in an answer that boxes can speak to; none for questions about the camera, or unknown ones."""
    make = _CLAIMS.get(reading.kind)
    if value.kind == "unsure":
        return ()
    if reading.takes_for_granted and (value.kind == "absent" or not objects):
        return (_all_there(reading, value, objects),)
    if make is None:
        return ()
    claim = make(reading, value, objects)
    return () if claim is None else (claim,)


def located(item: FoundObject) -> Located:
    """The object as geometry reads it. Depth is that of the 3D box, which `Located` takes from the box itself."""
    return Located(item.label, item.box_px, item.box_3d)


def _relation(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim | None:
    relation = reading.relation
    if relation is None:
        return None
    needed = 3 if relation == "between" else 2
    if relation in ("nearest", "farthest"):
        if value.kind == "label" and len(objects) < needed:
            return _lone_choice(reading, relation, value, objects)
    elif len(objects) < needed:
        # "What is left of the book?" names the book alone, and that was found.
        return None if value.kind == "label" and objects else _all_there(reading, value, objects)
    if value.kind == "label":
        chosen = match_label(value.label, objects)
        if chosen is None:
            # "Is it left or right of …?" is answered by the relation itself.
            named = relation_in(value.label, reading.language)
            if named is None or len(value.label) > _RELATION_WORDS:
                return None
            yes = replace(value, kind="yes")
            return _relation(replace(reading, relation=named[0], choice=False), yes, objects)
        others = tuple(i for i in range(len(objects)) if i != chosen)
        members = (chosen, *others) if relation in ("nearest", "farthest") else (chosen, *others[: needed - 1])
        said = "yes"
    elif value.kind in ("yes", "no"):
        members = reading.roles([item.label for item in objects[:needed]])
        said = value.kind
    else:
        return None
    said_so = sentence(reading.language, relation, *(objects[i].label for i in members))
    measured = _measured(relation, [located(objects[i]) for i in members])
    if measured is None or measured.decided is None:
        return Claim(said_so, said, "undecided", None, margin=measured, subject=members[0], others=members[1:])
    holds = "yes" if measured.decided else "no"
    return Claim(said_so, said, holds, holds == said, margin=measured, subject=members[0], others=members[1:])


def _all_there(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim:
    """What a question takes for granted: that all it names is in the picture. Any answer but "absent" says so, too."""
    said = "no" if value.kind == "absent" else "yes"
    most = 3 if reading.relation == "between" else 2 if reading.kind in ("relation", "hidden") else 1
    found = "yes" if len(objects) >= most else "no"
    if reading.kind == "hidden" and len(objects) == 1:
        found = "undecided"  # "is it hidden?" names one thing, "does it hide that?" two
    agrees = None if found == "undecided" else said == found
    return Claim(sentence(reading.language, "all"), said, found, agrees)


def _lone_choice(reading: Reading, relation: AnyRelation, value: Value, objects: Sequence[FoundObject]) -> Claim:
    """The model lists what it chose; with nothing beside it there is nothing to compare."""
    chosen = match_label(value.label, objects)
    name = value.label if chosen is None else objects[chosen].label
    return Claim(sentence(reading.language, relation, name), "yes", "undecided", None, subject=chosen)


def _measured(relation: AnyRelation, things: Sequence[Located]) -> Margin | None:
    """None where geometry cannot tell, which the claim then says: no depth for one of them, or no side that is its front."""
    try:
        if relation in get_args(Relation):
            return margin(cast(Relation, relation), things[0], *things[1:])
        boxes = [thing.box_3d for thing in things if thing.box_3d is not None]
        if relation == "facing" or len(boxes) < len(things):
            return None
        return margin_in(Frame.of_camera(), cast(FrameRelation, relation), boxes[0], *boxes[1:])
    except GeometryError:
        return None


def _exists(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim | None:
    if value.kind not in ("yes", "no", "absent"):
        return None
    said = "yes" if value.kind == "yes" else "no"
    found = "yes" if objects else "no"
    name = objects[0].label if objects else SENTENCES[reading.language]["named"]
    return Claim(sentence(reading.language, "exists", name), said, found, said == found, subject=0 if objects else None)


def _count(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim | None:
    number = 0 if value.kind in ("absent", "no") else value.number
    if number is None:
        return None
    said, found = f"{number:g}", str(len(objects))
    return Claim(sentence(reading.language, "count", said), said, found, said == found)


def _depth(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim | None:
    if value.number is None or value.unit != "m" or not objects:
        return None
    said = f"{value.number:.2f} m" if reading.language == "en" else f"{value.number:.2f}米"
    said_so = sentence(reading.language, "depth", objects[0].label, said)
    depth_m = objects[0].depth_m
    if depth_m is None:
        return Claim(said_so, said, "undecided", None, subject=0)
    found = f"{depth_m:.2f} m" if reading.language == "en" else f"{depth_m:.2f}米"
    off = abs(depth_m - value.number) / max(depth_m, value.number, 1e-9)
    agrees = None if abs(off - DEPTH_SHARE) < DEPTH_DOUBT else off < DEPTH_SHARE
    return Claim(said_so, said, found, agrees, subject=0)


def _hidden(reading: Reading, value: Value, objects: Sequence[FoundObject]) -> Claim | None:
    """Who hides whom can only be checked where both were located: things far apart in the picture hide nothing."""
    if len(objects) < 2 or value.kind not in ("yes", "no", "label"):
        return None
    front = match_label(value.label, objects) if value.kind == "label" else int(reading.hidden_by)
    if front is None:
        return None
    said = "no" if value.kind == "no" else "yes"
    back = next(i for i in range(len(objects)) if i != front)
    a, b = located(objects[front]), located(objects[back])
    said_so = sentence(reading.language, "hides", a.label, b.label)
    size = sum(side for box in (a.box_px, b.box_px) for side in (box[2] - box[0], box[3] - box[1])) / 4
    members: dict[str, Any] = {"subject": front, "others": (back,)}
    if gap_px(a.box_px, b.box_px) > APART_SHARE * size:
        return Claim(said_so, said, "no", said == "no", **members)
    nearer = _measured("in_front_of", [a, b])
    if nearer is None or nearer.decided is None or (nearer.decided and said == "no"):
        # What is nearer and overlaps may hide the other or pass beside it: boxes say so much and no more.
        return Claim(said_so, said, "undecided", None, margin=nearer, **members)
    return Claim(said_so, said, "yes" if nearer.decided else "no", nearer.decided == (said == "yes"), margin=nearer, **members)


_CLAIMS: Mapping[QuestionKind, Callable[[Reading, Value, Sequence[FoundObject]], Claim | None]] = {
    "relation": _relation,
    "exists": _exists,
    "count": _count,
    "depth": _depth,
    "hidden": _hidden,
}


def match_label(said: str, objects: Sequence[FoundObject]) -> int | None:
    """The object that an answer names: the same label, one inside the other, or the only one that shares its last word."""
    wanted = _plain(said)
    labels = [_plain(item.label) for item in objects]
    if wanted in labels:
        return labels.index(wanted)
    inside = [i for i, label in enumerate(labels) if label and (label in wanted or (wanted and wanted in label))]
    if inside:
        return max(inside, key=lambda i: len(labels[i]))
    noun = wanted.rpartition(" ")[2]
    same = [i for i, label in enumerate(labels) if noun and label.rpartition(" ")[2] == noun]
    return same[0] if len(same) == 1 else None


def _plain(label: str) -> str:
    words = label.lower().replace("的", "").strip(" .,。").split()
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("the", "a", "an") else words)


def sentence(language: Language, name: str, *labels: str) -> str:
    """What a claim says, by the name of its relation in `SENTENCES`."""
    padded = (*labels, "?", "?", "?")
    return SENTENCES[language][name].format(a=padded[0], b=padded[1], c=padded[2])
