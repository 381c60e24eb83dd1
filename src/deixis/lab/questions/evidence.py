"""The objects that bear an answer out, as 2D or 3D boxes: the second question to the model after a human's first.

Knows the kinds that humans ask. The objects stand in the order of mention; absent ones are left out.
"""

from collections.abc import Mapping
from typing import Literal

from numpy.random import Generator

from deixis.lab.questions import counting, distance, occlusion, relation, viewpoint
from deixis.lab.questions.kind import Kind, Phrasings
from deixis.lab.questions.locate import boxes_3d_target, boxes_3d_text
from deixis.lab.questions.picture import Picture, pick
from deixis.lab.questions.question import Question, box_row, fenced, written
from deixis.spatial.language.prompts import Language

# How often each kind of human question is the one whose evidence is asked. Relations need evidence most.
_FAMILIES: Mapping[str, Kind] = {
    **relation.KINDS,
    **occlusion.KINDS,
    **distance.KINDS,
    **counting.KINDS,
    **viewpoint.KINDS,
}
_SHARES: Mapping[str, int] = {"relation": 6, "relation_choice": 2, "absent": 2, "count": 2, "exists": 2}
_DRAW = tuple(kind for kind in _FAMILIES for _ in range(_SHARES.get(kind, 1)))
_TRIES = 4


def evidence_of(picture: Picture, question: Question, prompt_kind: Literal["evidence", "evidence_3d"]) -> Question:
    """The evidence question that belongs to a human question about the same picture."""
    members = [picture.index_of[i] for i in question.target["objects"]]
    language = question.language
    own = picture.labels(members, language)
    target: dict[str, object]
    if prompt_kind == "evidence":
        boxes = [picture.boxes_norm1000[i] for i in members]
        answer = fenced([box_row(box, label) for box, label in zip(boxes, own, strict=True)])
        target = {
            "objects": list(question.target["objects"]),
            "labels": list(own),
            "boxes_norm1000": boxes,
            "boxes_px": [picture.objects[i]["box_px"] for i in members],
            "size": [picture.width, picture.height],
        }
    else:
        answer = boxes_3d_text(picture, members, language)
        target = boxes_3d_target(picture, members, language)
    target["of"] = question.kind
    return written(prompt_kind, language, prompt_kind, question.question, answer, question.labels, target)


def _asked(picture: Picture, rng: Generator, language: Language) -> Question | None:
    for _ in range(_TRIES):
        question = _FAMILIES[pick(_DRAW, rng)].make(picture, rng, language)
        if question is not None:
            return question
    return None


def evidence(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The 2D boxes behind a human's question."""
    question = _asked(picture, rng, language)
    return None if question is None else evidence_of(picture, question, "evidence")


def evidence_3d(picture: Picture, rng: Generator, language: Language) -> Question | None:
    """The 3D boxes behind a human's question."""
    question = _asked(picture, rng, language)
    return None if question is None else evidence_of(picture, question, "evidence_3d")


_ALL: Phrasings = {
    language: tuple(t for kind in _FAMILIES.values() for t in kind.phrasings[language]) for language in ("en", "zh")
}

KINDS: Mapping[str, Kind] = {
    "evidence": Kind(evidence, _ALL),
    "evidence_3d": Kind(evidence_3d, _ALL),
}
