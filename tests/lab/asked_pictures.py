"""Questions about synthetic pictures, asked once for all tests, and how tests look things up in a truth."""

import time
from functools import cache
from typing import Any

import numpy as np

from deixis.lab import words
from deixis.lab.questions import Question, ask_everything
from deixis.lab.words import COLORS
from tests.lab.synthetic_truth import synthetic_truth

PICTURES = 300


@cache
def asked_pictures() -> list[tuple[dict[str, Any], list[Question]]]:
    """(truth, its questions) of as many pictures of both worlds. Prints how long a question takes."""
    rng = np.random.default_rng(20)
    truths = [synthetic_truth(rng, world) for world in ("desk", "primitives") for _ in range(PICTURES // 2)]
    start = time.perf_counter()
    rows = [(truth, ask_everything(truth, rng, per_kind=2)) for truth in truths]
    seconds = time.perf_counter() - start
    count = sum(len(questions) for _, questions in rows)
    print(f"{count} questions, {seconds / count * 1e6:.0f} µs each, {seconds / PICTURES * 1e3:.2f} ms a picture")
    return rows


def of_kind(asked, *kinds):
    found = [(truth, q) for truth, questions in asked for q in questions if q.kind in kinds]
    assert found
    return found


def by_id(truth):
    return {o["id"]: o for o in truth["objects"]}


def visible(truth):
    return [o for o in truth["objects"] if o["visible_px"] > 0]


def clear(o):
    return o["visible_px"] >= 60 and o["visible_fraction"] >= 0.25


def label_of(o, language):
    return o["label"] if language == "en" else COLORS[o["color"]] + words.CATEGORIES[o["category"]].zh[0]
