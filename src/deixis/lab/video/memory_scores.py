"""How well a watcher kept who is who, in which state, and where: the scores of one clip.

Knows the measures, each defined where it is taken. Does not know how tracking works; events have their own (event_scores.py).
"""

from collections.abc import Iterator
from typing import Any

from deixis.geometry import iou_px
from deixis.lab.video.case import VideoCase
from deixis.lab.video.truth import Seen
from deixis.lab.video.watched import SAME_IOU, Watched
from deixis.spatial.video.detection import Sighting

BACK_S = 1.0  # a thing that comes back is recognised within this time
LEAST_AWAY_S = 0.4  # shorter absences are no occlusion
ASKED_EVERY_S = 2.0  # "where is it now" is asked of every thing this often

Score = dict[str, Any]  # {"measure", "right": bool, and where it was}


def identity_scores(case: VideoCase, seen: Watched) -> Iterator[Score]:
    """``identity_occluded``, ``identity_out_of_view``: one score a return. Of each absence of at least LEAST_AWAY_S after which
    the thing shows again: is the track that shows it within BACK_S the one that showed it last before?
    ``identity_open``: one score a frame in which a thing shows, as it did in the frame before: is its track still the same?
    """
    for i in range(len(case.clip.things)):
        history = case.history(i)
        k = 0
        while k < len(history):
            end = k
            while end + 1 < len(history) and (history[end + 1].state == "visible") == (history[k].state == "visible"):
                end += 1
            if history[k].state == "visible":
                for j in range(k + 1, end + 1):
                    before, now = seen.track_of[j - 1].get(i), seen.track_of[j].get(i)
                    yield score("identity_open", before is not None and before == now, case, j, i)
            elif k > 0 and end + 1 < len(history):
                away_s = case.frames[end + 1].time_s - case.frames[k].time_s
                limit = case.frames[end + 1].time_s + BACK_S
                back = next((seen.track_of[j].get(i) for j in range(end + 1, len(history))
                             if i in seen.track_of[j] and case.frames[j].time_s <= limit), None)  # fmt: skip
                states = [h.state for h in history[k : end + 1]]
                kind = "occluded" if "occluded" in states else "out_of_view" if "out_of_view" in states else "gone"
                if away_s >= LEAST_AWAY_S:
                    kept = back is not None and back == seen.last_track(k - 1, i)
                    yield score(f"identity_{kind}", kept, case, end + 1, i, since_s=case.frames[k].time_s)
            k = end + 1


def state_scores(case: VideoCase, seen: Watched) -> Iterator[Score]:
    """``state``: one score for each thing and frame since it was first seen: is the state that the memory holds of it,
    hindsight included, the true one? ``state_live``: without hindsight. ``state_<s>``: the former where the truth is s. A thing
    that the room hides (fallen behind the table) may be held to be occluded, out of view or gone: no watcher can tell.
    """
    for i in range(len(case.clip.things)):
        for k, truth in enumerate(case.history(i)):
            if truth.state is None:
                continue
            by_room = truth.state == "occluded" and truth.hidden_by is None
            for name, hindsight in (("state", True), ("state_live", False)):
                held = seen.state(k, i, hindsight)
                right = held == truth.state or (by_room and held in ("occluded", "out_of_view", "gone"))
                yield score(name, right, case, k, i, held=held, truth=truth.state)
                if hindsight:
                    yield score(f"state_{truth.state}", right, case, k, i, held=held, truth=truth.state)


def where_scores(case: VideoCase, seen: Watched) -> Iterator[Score]:
    """``where_now``: asked of every thing every ASKED_EVERY_S and at the end, with what was known at that time. Right where

    visible      the box held overlaps the true one (IoU at least 0.5)
    occluded     it is held to be occluded, and either by what hides it, or with the middle of its box inside its true outline
    out_of_view, gone   it is held to be that
    ``where_unseen`` are those of them in which it is not visible. What the room hides counts as in ``state_scores``.
    """
    step = case.frames[1].time_s - case.frames[0].time_s
    asked = {*range(round(ASKED_EVERY_S / step), len(case.frames), round(ASKED_EVERY_S / step)), len(case.frames) - 1}
    for k in sorted(asked):
        for i, truth in enumerate(case.frames[k].things):
            if truth.state is None:
                continue
            held = seen.sighting(k, i)
            by = None if held is None else seen.thing_of(k, held.hidden_by)
            right = held is not None and _right_place(truth, held, by)
            found = {"held": held and held.state, "by": by, "truth": truth.state, "truly_by": truth.hidden_by}
            yield score("where_now", right, case, k, i, **found)
            if truth.state != "visible":
                yield score("where_unseen", right, case, k, i, **found)


def _right_place(truth: Seen, held: Sighting, by: int | None) -> bool:
    if truth.state == "visible":
        boxes = (truth.box_px, held.box_px)
        return held.state == "visible" and None not in boxes and iou_px(*boxes) >= SAME_IOU  # type: ignore[arg-type]
    if truth.state == "occluded" and truth.hidden_by is None:
        return held.state != "visible"
    if truth.state != held.state or truth.state != "occluded":
        return truth.state == held.state
    if by == truth.hidden_by:
        return True
    if held.box_px is None:
        return False
    x, y = (held.box_px[0] + held.box_px[2]) / 2, (held.box_px[1] + held.box_px[3]) / 2
    x1, y1, x2, y2 = truth.full_box_px
    return x1 <= x <= x2 and y1 <= y <= y2


def score(measure: str, right: bool, case: VideoCase, k: int, i: int, **more: Any) -> Score:
    """One score about thing i in frame k."""
    at = {"clip": case.clip.index, "time_s": case.frames[k].time_s, "thing": i, "label": case.labels[i]}
    return {"measure": measure, "right": bool(right), **at, **more}


def memory_scores(case: VideoCase, seen: Watched) -> list[Score]:
    """All scores of one clip that need tracks alone."""
    return [*identity_scores(case, seen), *state_scores(case, seen), *where_scores(case, seen)]
