"""Answers about events: who moved, in which order, when something happened, how often, what caused it, what happened meanwhile.

Knows events. Does not know the words of questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from deixis.spatial.video.asked import Asked, MemoryAnswer
from deixis.spatial.video.detection import Event

_TOLD = 10  # events that an answer tells; the others are counted
_JUST_S = 0.6  # "at 5 s" may be said of what begins or ends so near


def _movers(asked: Asked) -> list[Event]:
    """First motions of each thing that moved by itself or was moved, in order."""
    first: dict[int, Event] = {}
    for event in asked.events():
        if event.kind in ("moves", "falls", "carried_by") and event.objects[0] not in first:
            first[event.objects[0]] = event
    return sorted(first.values(), key=lambda event: event.start_s)


def moved(asked: Asked) -> MemoryAnswer:
    """How many things moved, or which."""
    movers = _movers(asked)
    if not movers:
        return asked.answer(asked.say("nothing moved", "没有东西移动"), "0" if "number" in asked.words else "nothing", 0.8)
    names = [asked.name(event.objects[0]) for event in movers]
    text = asked.joined(
        [
            asked.say(f"{name} ({asked.shown(e.start_s)})", f"{name}（{asked.shown(e.start_s)}）")
            for name, e in zip(names, movers, strict=True)
        ]
    )
    if "number" in asked.words:
        return asked.answer(f"{len(names)}: {text}", str(len(names)), 0.8, asked.of_events(movers), movers)
    return asked.answer(text, asked.joined(names), 0.8, asked.of_events(movers), movers)


def order(asked: Asked) -> MemoryAnswer:
    """Who moved, the first first."""
    movers = _movers(asked)
    if not movers:
        return asked.answer(asked.say("nothing moved", "没有东西移动"), "nothing", 0.8)
    names = [asked.name(event.objects[0]) for event in movers]
    return asked.answer(asked.joined(names), asked.joined(names), _apart(movers), asked.of_events(movers), movers)


def first_or_last(asked: Asked) -> MemoryAnswer:
    """Who moved first, or last."""
    movers = _movers(asked)
    if not movers:
        return asked.answer(asked.say("nothing moved", "没有东西移动"), "nothing", 0.8)
    mover = movers[-1] if "last" in asked.words else movers[0]
    name = asked.name(mover.objects[0])
    text = asked.say(f"{name}, from {asked.shown(mover.start_s)}", f"{name}，从{asked.shown(mover.start_s)}开始")
    return asked.answer(text, name, _apart(movers), asked.of_events([mover]), [mover])


def _apart(movers: Sequence[Event]) -> float:
    """An order is as sure as the beginnings are apart."""
    gaps = [b.start_s - a.start_s for a, b in pairwise(movers)]
    return 0.95 if not gaps or min(gaps) > 0.3 else 0.7


def cause(asked: Asked) -> MemoryAnswer:
    """What moved a thing: what touched or carried it, where that was seen."""
    ids = set(asked.objects())
    if not ids:
        return asked.absent()
    for event in asked.events():
        subject = event.objects[1:2] if event.kind in ("causes", "hits") else event.objects[:1]
        if event.kind in ("causes", "carried_by") and subject and subject[0] in ids:
            by = event.objects[0] if event.kind == "causes" else event.objects[1]
            text = asked.say(
                f"{asked.name(by)}, at {asked.shown(event.start_s)}", f"{asked.name(by)}，在{asked.shown(event.start_s)}"
            )
            return asked.answer(text, asked.name(by), event.confidence, asked.of_events([event]), [event])
    moved = [event for event in asked.events() if event.kind in ("moves", "falls") and event.objects[0] in ids]
    if not moved:
        return asked.answer(asked.say("it did not move", "它没有动"), "nothing", 0.8)
    text = asked.say("nothing in view touched it before it moved", "画面中没有东西在它移动前碰到它")
    return asked.answer(text, "unsure", 0.5, asked.of_events(moved[:1]), moved[:1])


def met(asked: Asked) -> MemoryAnswer:
    """What a thing hit, or set in motion."""
    ids = set(asked.objects())
    if not ids:
        return asked.absent()
    found = [e for e in asked.events() if e.kind in ("hits", "causes") and e.objects[0] in ids and len(e.objects) > 1]
    if not found:
        return asked.answer(asked.say("nothing", "什么也没有"), "nothing", 0.7)
    names = list(dict.fromkeys(asked.name(e.objects[1]) for e in found))
    who, at = asked.joined(names), asked.shown(found[0].start_s)
    text = asked.say(f"{who}, at {at}", f"{who}，在{at}")
    return asked.answer(text, asked.joined(names), min(e.confidence for e in found), asked.of_events(found), found)


def moment(asked: Asked) -> MemoryAnswer | None:
    """When it happened first; all that are meant are cited."""
    if asked.kinds() is None:
        return None
    if not asked.objects():
        return asked.absent()
    found = asked.happened()
    if not found:
        return asked.answer(asked.say("that did not happen", "没有发生"), "absent", 0.7)
    first = found[0]
    text = asked.say(f"{asked.span(first)}: {first.description['en']}", f"{asked.span(first)}：{first.description['zh']}")
    if len(found) > 1:
        later = asked.joined([asked.shown(event.start_s) for event in found[1:_TOLD]])
        text += asked.say(f"; again at {later}", f"；又在{later}")
    verdict = f"{asked.cited(first.start_s, None).time_s:.1f} s"
    return asked.answer(text, verdict, first.confidence, asked.of_events(found), found)


def did(asked: Asked) -> MemoryAnswer | None:
    """Whether it ever happened."""
    if asked.kinds() is None:
        return None
    if not asked.objects():
        return asked.absent()
    found = asked.happened()
    if not found:
        return asked.answer(asked.say("no, that was not seen", "否，没有看到"), "no", 0.7)
    told = asked.say(f"yes, {asked.span(found[0])}", f"是，{asked.span(found[0])}")
    return asked.answer(told, "yes", found[0].confidence, asked.of_events(found), found)


def how_often(asked: Asked) -> MemoryAnswer | None:
    """How many times it happened."""
    if asked.kinds() is None:
        return None
    if not asked.objects():
        return asked.absent()
    found = asked.happened()
    text = str(len(found))
    if found:
        text += asked.say(": ", "：") + asked.joined([asked.shown(event.start_s) for event in found[:_TOLD]])
    return asked.answer(text, str(len(found)), min((e.confidence for e in found), default=0.7), asked.of_events(found), found)


def what_happened(asked: Asked) -> MemoryAnswer | None:
    """Everything, or what was at a time, between two, before or after something else."""
    events = list(asked.events())
    if "rel" in asked.words:
        if asked.kinds() is None:
            return None
        if not asked.objects():
            return asked.absent()
        known = asked.happened()
        if not known:
            return asked.answer(asked.say("that did not happen", "没有发生"), "absent", 0.7)
        if asked.words["rel"] in ("before", "之前", "前", "以前"):
            events = [e for e in events if e.end_s <= known[0].start_s + 1e-6 and e not in known][-_TOLD:]
        else:
            events = [e for e in events if e.start_s >= known[0].end_s - 1e-6 and e not in known]
    elif asked.timed:
        low, high = (asked.time_s, asked.time_of("u")) if "u" in asked.words else (asked.time_s - _JUST_S, asked.time_s + _JUST_S)
        events = [e for e in events if e.end_s >= low and e.start_s <= high]
    if not events:
        return asked.answer(asked.say("nothing happened", "什么也没有发生"), "nothing", 0.7)
    return asked.answer(
        _told(asked, events), f"{len(events)}", min(e.confidence for e in events), asked.of_events(events), events
    )


def _told(asked: Asked, events: Sequence[Event]) -> str:
    """The first of them in words; that a thing stops is the end of its moving."""
    ends = {(e.objects[0], round(e.end_s, 2)) for e in asked.events() if e.kind == "moves"}
    told = [e for e in events if e.kind != "stops" or (e.objects[0], round(e.start_s, 2)) not in ends]
    lines = [f"{asked.span(e)}{asked.say(': ', '：')}{e.description[asked.language]}" for e in told[:_TOLD]]
    text = asked.say("; ", "；").join(lines)
    more = len(told) - _TOLD
    return text if more <= 0 else text + asked.say(f"; and {more} more", f"；另有{more}件")
