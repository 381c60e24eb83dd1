"""How well a watcher told what happened, when, in which order and why: the scores of one clip.

Knows the measures, each defined where it is taken. Does not know how events are found.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from deixis.lab.video.case import VideoCase
from deixis.lab.video.events import ENTRIES, EXITS, TrueEvent
from deixis.lab.video.memory_scores import Score
from deixis.lab.video.watched import Watched
from deixis.spatial.video.detection import Event

NEAR_S = 3.0  # an event told within this of its time was told
CLEAR_GAP_S = 0.5  # two things that begin to move closer together have no order
GROUPS: Mapping[str, str] = {**dict.fromkeys(EXITS, "out"), **dict.fromkeys(ENTRIES, "in")}
SCORED = ("moves", "falls", "hits", "is_hidden", "is_revealed", "out", "in", "carried_by", "swapped")
BOTH = ("hits", "carried_by", "swapped")  # who with whom counts too
LASTING = ("moves", "carried_by", "swapped")  # whose ends count too
BY_ROOM: Mapping[str, str] = {"is_hidden": "out", "is_revealed": "in"}  # behind the table's edge, or below the picture's?


def event_scores(case: VideoCase, seen: Watched) -> Iterator[Score]:
    """``event_<group>`` for each true event that shows: right if one of its group, about the same things, was told with a start
    within NEAR_S; ``error_s`` of its start and, where it lasts, ``end_error_s``. Each told event answers for one true one, the
    nearest pairs first. ``false_<group>`` for each told event that answers for none: right if a true one (shown or not) of its
    group and things touches it within NEAR_S, so that a movement told in two parts is no lie. What the room hides may also be
    told to have left or been taken out, and to have come back (``state_scores`` says why).
    """
    told = [
        (group, who, e) for e in seen.events if (group := GROUPS.get(e.kind, e.kind)) in SCORED for who in [_who(case, seen, e)]
    ]
    true = [(_groups(e), _things(e.kind, e.objects), e) for e in case.events]
    shown = [row for row in true if row[2].shown and row[0][0] in SCORED]
    pairs = sorted(
        (abs(e.start_s - t.start_s), n, m)
        for n, (groups, who, t) in enumerate(shown)
        for m, (group, told_who, e) in enumerate(told)
        if group in groups and who == told_who
    )
    answer: dict[int, int] = {}
    for error, n, m in pairs:
        if n not in answer and m not in answer.values() and error <= NEAR_S:
            answer[n] = m
    for n, ((group, *_), _, t) in enumerate(shown):
        found = told[answer[n]][2] if n in answer else None
        errors: dict[str, float] = {}
        if found is not None:
            errors["error_s"] = abs(found.start_s - t.start_s)
            if group in LASTING:
                errors["end_error_s"] = abs(found.end_s - t.end_s)
        yield _score(f"event_{group}", found is not None, case, t, **errors)
    for m, (group, who, e) in enumerate(told):
        if m not in answer.values():
            near = any(
                group in row[0] and who == row[1] and e.start_s <= row[2].end_s + NEAR_S and row[2].start_s <= e.end_s + NEAR_S
                for row in true
            )
            yield _score(f"false_{group}", near, case, e, told=e.description["en"])


def _groups(event: TrueEvent) -> tuple[str, ...]:
    """Its own group, then others under which it may be told."""
    group = GROUPS.get(event.kind, event.kind)
    return (group, BY_ROOM[group]) if group in BY_ROOM and len(event.objects) == 1 else (group,)


def _things(kind: str, objects: Sequence[int | None]) -> tuple[int | None, ...]:
    """Whom an event must be about to be the same."""
    if kind == "swapped":
        return tuple(sorted(objects, key=lambda i: -1 if i is None else i))
    return tuple(objects) if kind in BOTH else tuple(objects[:1])


def _who(case: VideoCase, seen: Watched, event: Event) -> tuple[int | None, ...]:
    """The things that an event's tracks were when it ended."""
    k = max((k for k, f in enumerate(case.frames) if f.time_s <= event.end_s + 0.5), default=0)
    return _things(event.kind, [seen.thing_of(k, track) for track in event.objects])


def question_scores(case: VideoCase, seen: Watched) -> Iterator[Score]:
    """``first_mover``: the thing whose first movement was told to begin first, where the truth is clear (CLEAR_GAP_S).
    ``order``: each pair of movers whose true starts lie CLEAR_GAP_S apart: told in the right order. ``cause``: each true hit that
    shows and each thing carried along under a cover: some event says that this one set that one off (hits, causes, carried_by).
    ``count``: how many things are held to be visible in each tenth frame.
    """
    true: dict[int, TrueEvent] = {}
    for t in case.events:
        if t.kind == "moves" and t.shown:
            true.setdefault(t.objects[0], t)
    told: dict[int | None, float] = {}
    for e in sorted((e for e in seen.events if e.kind == "moves"), key=lambda e: e.start_s):
        told.setdefault(_who(case, seen, e)[0], e.start_s)
    order = sorted(true.values(), key=lambda t: t.start_s)
    if order and (len(order) == 1 or order[1].start_s - order[0].start_s >= CLEAR_GAP_S):
        first = min(told, key=lambda i: told[i], default=None)
        yield _score("first_mover", first == order[0].objects[0], case, order[0])
    for a, b in combinations(order, 2):
        if b.start_s - a.start_s >= CLEAR_GAP_S:
            i, j = a.objects[0], b.objects[0]
            yield _score("order", i in told and j in told and told[i] < told[j], case, b)
    causes = [(e, (*e.objects[:2],)) for e in seen.events if e.kind in ("hits", "causes")]
    causes += [(e, (e.objects[1], e.objects[0])) for e in seen.events if e.kind == "carried_by"]
    for t in case.events:
        if t.kind in ("hits", "carried_by") and t.shown:
            by, who = t.objects if t.kind == "hits" else t.objects[::-1]
            near = [pair for e, pair in causes if abs(e.start_s - t.start_s) <= NEAR_S]
            k = next(k for k, f in enumerate(case.frames) if f.time_s >= t.start_s or k == len(case.frames) - 1)
            found = any((seen.thing_of(k, a), seen.thing_of(k, b)) == (by, who) for a, b in near)
            yield _score("cause", found, case, t)
    for k in range(10, len(case.frames), 10):
        held = sum(f.sighting.state == "visible" for f in seen.held[k].values())
        truth = sum(s.state == "visible" for s in case.frames[k].things)
        yield {"measure": "count", "right": held == truth, "clip": case.clip.index, "time_s": case.frames[k].time_s}


def _score(measure: str, right: bool, case: VideoCase, event: TrueEvent | Event, **more: object) -> Score:
    at = {"clip": case.clip.index, "time_s": round(event.start_s, 2), "end_s": round(event.end_s, 2), "things": event.objects}
    return {"measure": measure, "right": bool(right), "kind": event.kind, **at, **more}
