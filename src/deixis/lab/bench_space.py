"""What answers in space are worth: do 90% intervals hold 90%, and is what is said with 90% confidence right nine times in ten.

Knows rows of located things with their truth (calibrate_space.py) and what geometry decides from them. Does not know models.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from deixis.lab.calibrate_space import Row, questions_of, signed_m, things_of
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.space_reading import SpaceQuestion
from deixis.spatial.places.doubts import SpaceDoubt
from deixis.spatial.places.frames import NEAR_M, NEAR_SHARE, Outcome, decide, measured_in
from deixis.spatial.places.variants import Things, Unsure

BINS = (0.0, 0.8, 0.9, 0.95, 0.98, 1.0)  # of confidence


def report(rows: Iterable[Row], doubt: SpaceDoubt) -> dict[str, Any]:
    """Per kind of question: how many, answered right, unsure; intervals' coverage and width; confidence against truth."""
    rows = list(rows)
    said: list[tuple[str, float, bool]] = []  # family, confidence, right
    unsure: dict[str, int] = defaultdict(int)
    intervals: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for row in rows:
        for asked in questions_of(row):
            family = asked.family
            found, true = things_of(row, asked, doubt)
            truth = _truth(asked, true, row["language"])
            outcome = decide(asked, found, row["language"])
            if truth is None:
                continue
            if outcome.verdict == "unsure":
                unsure[family] += 1
                continue
            said.append((family, outcome.confidence, _right(outcome, truth)))
            if asked.kind in ("distance", "offset") and outcome.interval_m is not None and truth.interval_m is not None:
                low, high = outcome.interval_m.low, outcome.interval_m.high
                held = low <= signed_m(truth, outcome) <= high
                intervals[asked.kind].append((held, high - low))
    things = [thing for row in rows for thing in row["things"]]
    families = sorted({name for name, _, _ in said} | set(unsure))
    return {
        "things": len(things),
        "found": sum(thing["found"] is not None for thing in things),
        "families": {name: {**_counted([one for one in said if one[0] == name]), "unsure": unsure[name]} for name in families},
        "intervals": {
            name: {
                "n": len(found_there),
                "coverage": round(float(np.mean([held for held, _ in found_there])), 4),
                "median_width_m": round(float(np.median([width for _, width in found_there])), 4),
            }
            for name, found_there in intervals.items()
        },
        "reliability": reliability(said),
    }


def reliability(said: Sequence[tuple[str, float, bool]]) -> dict[str, Any]:
    """Mean confidence and share of right answers by confidence, and the expected calibration error over these bins."""
    bins, error = [], 0.0
    for low, high in pairwise(BINS):
        inside = [(sure, right) for _, sure, right in said if low < sure <= high]
        if inside:
            sure, right = (float(value) for value in np.mean(inside, axis=0))
            bins.append({"to": high, "n": len(inside), "confidence": round(sure, 4), "right": round(right, 4)})
            error += len(inside) / len(said) * abs(sure - right)
    return {"n": len(said), "ece": round(error, 4), "bins": bins}


def _truth(asked: SpaceQuestion, true: Things, language: Language) -> Outcome | None:
    """What the true boxes say, however narrowly; None where they have no direction."""
    if asked.kind == "relation":
        try:
            verdict = "yes" if measured_in(asked, true, language).value > 0 else "no"
        except Unsure:
            return None
        return Outcome(verdict, verdict, 1.0, verdict)
    outcome = decide(asked, true, language)
    return None if outcome.verdict == "unsure" else outcome


def _right(outcome: Outcome, truth: Outcome) -> bool:
    """The same verdict; a length is right if it is near the true one."""
    lengths = outcome.interval_m, truth.interval_m
    if lengths[0] is None or lengths[1] is None or {outcome.verdict, truth.verdict} & {"yes", "no"}:
        return outcome.verdict == truth.verdict
    return abs(lengths[1].value - lengths[0].value) <= max(NEAR_SHARE * lengths[0].value, NEAR_M)


def _counted(said: Sequence[tuple[str, float, bool]]) -> dict[str, Any]:
    right = sum(one[2] for one in said)
    sure = float(np.mean([one[1] for one in said])) if said else 0.0
    return {"answered": len(said), "right": right, "confidence": round(sure, 4)}
