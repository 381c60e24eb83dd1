"""Accuracy on pictures never trained on: a table per kind of question, and the same per language.

Knows kinds, scores and averages. Does not know how a model answers: it asks a Backend with the prompts that ``Deixis`` sends.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from deixis.backends import Backend, Conversation
from deixis.lab.make import example
from deixis.lab.questions import Question
from deixis.lab.scoring import IOU_2D, IOU_3D, Score, score

Row = dict[str, float | None]  # None: nothing to measure (no box overlapped a true one)
# What the table calls them -> the kinds of questions that count.
FAMILIES: dict[str, tuple[str, ...]] = {
    "locate": ("locate_one", "locate_kind", "locate_all"),
    "point": ("point",),
    "relation": ("relation", "relation_choice"),
    "occlusion": ("occlusion_hidden", "occlusion_pair", "occlusion_by"),
    "visibility": ("visibility",),
    "nearest_farthest": ("nearest", "farthest"),
    "count": ("count",),
    "exists": ("exists",),
    "absent": ("absent", "locate_absent"),
    "depth": ("depth",),
    "viewpoint": ("viewpoint",),
    "tilt": ("tilt",),
    "box_3d": ("box_3d",),
    "evidence": ("evidence", "evidence_3d"),
}
MAX_NEW_TOKENS = {"ask": 24}
BOXES_TOKENS = 640


def asked(questions: list[Question], index: int) -> list[Question]:
    """One language a picture, in turn: every kind is asked in both over the run, and a run takes half as long."""
    language = ("en", "zh")[index % 2]
    return [q for q in questions if q.language == language and q.kind not in FAMILIES["evidence"]]


def scored(backend: Backend, world: str, seed: int, count: int, size: tuple[int, int], first: int = 0) -> Iterator[list[Score]]:
    """The scores of each picture's questions."""
    for index in range(first, first + count):
        made = example(world, seed, index, size)
        scores = []
        for question in asked(made.questions, index):
            limit = MAX_NEW_TOKENS.get(question.prompt_kind, BOXES_TOKENS)
            reply = backend.complete(Conversation.about(made.pixels, question.prompt), max_new_tokens=limit)
            scores.append(score(question, reply.text))
        yield scores


def table(scores: list[Score]) -> dict[str, Row]:
    """Averages per family. ``n`` counts things for boxes and points, questions for the rest."""
    by_kind: dict[str, list[Score]] = defaultdict(list)
    for s in scores:
        by_kind[s["kind"]].append(s)
    rows = {family: [s for kind in kinds for s in by_kind[kind]] for family, kinds in FAMILIES.items()}
    return {family: _row(family, found) for family, found in rows.items() if found}


def report(scores: list[Score]) -> dict[str, Any]:
    """``kinds`` over all scores and ``languages`` in the same shape."""
    languages = sorted({s["language"] for s in scores})
    return {"kinds": table(scores), "languages": {x: table([s for s in scores if s["language"] == x]) for x in languages}}


def _row(family: str, scores: list[Score]) -> Row:
    if family in ("locate", "box_3d"):
        ious = [iou for s in scores for iou in s["ious"]]
        row: Row = {"n": len(ious), "mean_iou": _mean(ious)}
        if family == "locate":
            edges = [e for s in scores for e in s["edges_px"]]
            row |= {
                "iou50": _mean([i >= IOU_2D for i in ious]),
                "median_edge_px": round(float(np.median(edges)), 2) if edges else None,
            }
            row |= {"extra": sum(s["extra"] for s in scores), "whole_answer": _mean([s["correct"] for s in scores])}
        else:
            row |= {"iou25": _mean([i >= IOU_3D for i in ious])}
        return row
    if family == "point":
        expected = sum(s["expected"] for s in scores)
        return {"n": expected, "accuracy": round(sum(s["hits"] for s in scores) / max(expected, 1), 4)}
    row = {"n": len(scores), "accuracy": _mean([s["correct"] for s in scores])}
    for name, short in (("relative_error", "mean_relative_error"), ("absolute_error", "mean_absolute_error")):
        if errors := [s[name] for s in scores if s.get(name) is not None]:
            row[short] = _mean(errors)
    if unread := sum(not s["read"] for s in scores):
        row["unread"] = unread
    return row


def _mean(values: list[Any]) -> float:
    return round(float(np.mean(values)), 4)
