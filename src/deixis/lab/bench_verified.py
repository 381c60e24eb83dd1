"""Bare answers and verified ones of the same model side by side: errors, confidence, intervals, absences and time.

Knows truths, answers and averages. Does not know how an answer is verified. A bare answer is what the model says when it is asked
once; a verified one is all of `Deixis.ask`. The harder half: something asked about shows less than half of itself, or the picture
holds more than eight things.

Time is measured as a user meets it, who asks one question about a new picture: on every `TIMED_EVERY`th picture each question
goes to an engine that has seen nothing, once bare and once verified. The other pictures are seen once and asked about many times,
which changes no answer and saves most of the run.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from deixis.backends import Backend
from deixis.backends.local import LocalBackend
from deixis.errors import OptionError
from deixis.lab.bench import FAMILIES, asked
from deixis.lab.calibrate import camera_of, edges, right
from deixis.lab.make import Example, example
from deixis.lab.questions import Question
from deixis.spatial import Answer, Deixis
from deixis.spatial.language.values import parse_value

Row = dict[str, Any]
MEASURED = ("relation", "occlusion", "nearest_farthest", "absent")
CHECKED = MEASURED[:3]  # of which the promise of fewer errors speaks
TIMED_EVERY = 10
HARD_FRACTION, HARD_COUNT = 0.5, 8
BINS = 10


def rows_of(backend: Backend, world: str, seed: int, count: int, size: tuple[int, int], first: int = 0) -> Iterator[list[Row]]:
    """Each picture's rows, one a question."""
    families = {kind: family for family in MEASURED for kind in FAMILIES[family]}
    session = Deixis(backend)
    for index in range(first, first + count):
        made = example(world, seed, index, size)
        timed = index % TIMED_EVERY == 0 and isinstance(backend, LocalBackend)
        yield [
            {"index": index, "family": families[question.kind], **_asked(session, made, question, timed)}
            for question in asked(made.questions, index)
            if question.kind in families and question.prompt_kind == "ask"
        ]


def _asked(session: Deixis, made: Example, question: Question, timed: bool) -> Row:
    row: Row = {"kind": question.kind, "language": question.language, "hard": is_hard(made, question), "timed": timed}
    row["absent"] = question.kind == "absent"
    camera = camera_of(made)
    for name, evidence in (("bare", False), ("verified", True)):
        asking = _like_new(session) if timed else session
        started = time.perf_counter()
        answer = asking.ask(made.pixels, question.question, camera=camera, evidence=evidence)
        took_s = time.perf_counter() - started
        row[name] = {"s": round(took_s, 4), **_judged(question, answer)}
        if evidence:
            row["calibrated"] = answer.calibrated
            row["inside"] = [low <= true <= high for low, _, high, true in edges(answer.objects, made, question.language)]
    return row


def _like_new(session: Deixis) -> Deixis:
    fresh = Deixis.__new__(Deixis)
    fresh.backend = session.backend.fresh() if isinstance(session.backend, LocalBackend) else session.backend
    fresh.calibration, fresh.load_ms = session.calibration, session.load_ms
    return fresh


def _judged(question: Question, answer: Answer) -> Row:
    unsure = answer.verdict == "unsure"
    return {
        "right": not unsure and right(question, answer.answer, question.language),
        "unsure": unsure,
        "absent": not unsure and parse_value(answer.answer, question.language).kind == "absent",
        "confidence": round(answer.confidence, 4),
    }


def read_rows(path: Path) -> list[Row]:
    """Rows of an earlier run. Raises OptionError for a file that is none."""
    try:
        rows: list[Row] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if all({"family", "bare", "verified", "inside"} <= set(row) for row in rows):
            return rows
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(f"{path} holds no rows ({error}); give files that `deixis bench verified --rows` wrote") from error
    raise OptionError(f"{path} holds no rows of answers; give files that `deixis bench verified --rows` wrote")


def is_hard(made: Example, question: Question) -> bool:
    """Whether something asked about shows less than half of itself, or the picture holds more than eight things."""
    things = {thing["id"]: thing for thing in made.truth["objects"] if thing["visible_px"] > 0}
    fractions = [things[number]["visible_fraction"] for number in question.target["objects"] if number in things]
    return len(things) > HARD_COUNT or min(fractions, default=1.0) < HARD_FRACTION


def report(rows: list[Row]) -> dict[str, Any]:
    """`all` and `harder`, in the same shape; the time of bare and verified answers to a new picture; how many are calibrated."""
    timed = [row for row in rows if row["timed"]]
    seconds = {
        name: round(float(np.mean([row[name]["s"] for row in timed])), 3) if timed else None for name in ("bare", "verified")
    }
    ratio = None if not timed else round(sum(r["verified"]["s"] for r in timed) / sum(r["bare"]["s"] for r in timed), 2)
    return {
        "calibrated": _share(sum(row["calibrated"] for row in rows), len(rows)),
        "seconds": {**seconds, "ratio": ratio, "questions": len(timed)},
        "all": part(rows),
        "harder": part([row for row in rows if row["hard"]]),
    }


def part(rows: list[Row]) -> dict[str, Any]:
    """Errors per family and of all that are checked; calibration, intervals and absences."""
    families: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        families[row["family"]].append(row)
        if row["family"] in CHECKED:
            families["checked"].append(row)
    inside = [held for row in rows for held in row["inside"]]
    return {
        "families": {family: _errors(families[family]) for family in (*MEASURED, "checked") if families[family]},
        "ece": {name: calibration_error(rows, name) for name in ("bare", "verified")},
        "interval_coverage": {"n": len(inside), "share": _share(sum(inside), len(inside))},
        "absent": {name: _absences(rows, name) for name in ("bare", "verified")},
    }


def _errors(rows: list[Row]) -> Row:
    """`wrong`: answers that were given and are not right. `fewer`: the share of bare errors that verification takes away."""
    bare = sum(not row["bare"]["right"] for row in rows)
    unsure = sum(row["verified"]["unsure"] for row in rows)
    wrong = sum(not row["verified"]["right"] for row in rows) - unsure
    return {
        "n": len(rows),
        "bare_wrong": bare,
        "wrong": wrong,
        "unsure": unsure,
        "fewer": _share(bare - wrong, bare),
        "fewer_counting_unsure": _share(bare - wrong - unsure, bare),
    }


def calibration_error(rows: list[Row], name: str) -> float | None:
    """Expected calibration error of the answers that were given: ten bins of equal width, weighted by what is in them."""
    given = [row[name] for row in rows if not row[name]["unsure"]]
    if not given:
        return None
    confidence = np.array([one["confidence"] for one in given])
    correct = np.array([one["right"] for one in given], dtype=np.float64)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(float(np.sum(confidence[bins == b] - correct[bins == b]))) for b in range(BINS)]
    return round(sum(gaps) / len(given), 4)


def _absences(rows: list[Row], name: str) -> Row:
    """Of questions that take for granted what may not be there: nearest and farthest do not."""
    asked_of = [row for row in rows if row["family"] != "nearest_farthest"]
    said = sum(row[name]["absent"] for row in asked_of)
    true = sum(row["absent"] for row in asked_of)
    both = sum(row[name]["absent"] and row["absent"] for row in asked_of)
    return {"said": said, "true": true, "precision": _share(both, said), "recall": _share(both, true)}


def _share(part_: int, whole: int) -> float | None:
    return round(part_ / whole, 4) if whole else None
