"""Answers about numbers: how many there are, how that changed, which things there are.

Knows sightings over time. Does not know the words of questions.
"""

from __future__ import annotations

from deixis.spatial.video.asked import Asked, MemoryAnswer

_TOLD = 12  # changes that an answer tells


def count(asked: Asked) -> MemoryAnswer:
    """How many there are at a time, in sight or hidden."""
    found = []
    for id_ in asked.objects():
        sighting = asked.memory.sighting_at(id_, asked.time_s)
        if sighting is not None and sighting.state in ("visible", "occluded"):
            found.append((id_, sighting))
    seen = sum(sighting.state == "visible" for _, sighting in found)
    hidden = len(found) - seen
    number = seen if "visible" in asked.words else len(found)
    text = str(number)
    if hidden and "visible" not in asked.words:
        text += asked.say(f": {seen} in sight and {hidden} hidden", f"：{seen}个可见，{hidden}个被挡住")
    cited = [asked.cited(asked.time_s, sighting.box_px, id_) for id_, sighting in found]
    return asked.answer(text, str(number), 0.9 if not hidden else 0.8, cited)


def count_over_time(asked: Asked) -> MemoryAnswer:
    """The number at the start and at each of its changes; what is hidden is counted as long as it is believed to be there."""
    ids = asked.objects()
    if not ids:
        return asked.absent()
    counted = ("visible",) if "visible" in asked.words else ("visible", "occluded")
    moments = {s.time_s for id_ in ids for s in asked.memory.sightings(id_) if asked.since_s <= s.time_s <= asked.until_s}
    changes: list[tuple[float, int]] = []
    for time_s in sorted(moments):
        states = [s.state for id_ in ids if (s := asked.memory.sighting_at(id_, time_s)) is not None]
        number = sum(state in counted for state in states)
        if not changes or changes[-1][1] != number:
            changes.append((time_s, number))
    if not changes:
        return asked.absent()
    told = [asked.say(f"{n} from {asked.shown(t)}", f"{asked.shown(t)}起{n}个") for t, n in changes[:_TOLD]]
    if (more := len(changes) - _TOLD) > 0:
        told.append(asked.say(f"and {more} more changes", f"另有{more}次变化"))
    verdict = ", ".join(str(n) for _, n in changes[:_TOLD])
    return asked.answer(asked.joined(told), verdict, 0.8, [asked.cited(t, None) for t, _ in changes[:_TOLD]])


def listed(asked: Asked) -> MemoryAnswer:
    """The things there are, at a time or at all."""
    ids = list(asked.labels)
    if asked.timed:
        then = {id_: asked.memory.sighting_at(id_, asked.time_s) for id_ in ids}
        ids = [id_ for id_, s in then.items() if s is not None and s.state == "visible"]
    if not ids:
        return asked.answer(asked.say("nothing", "什么也没有"), "nothing", 0.7)
    names = asked.joined([asked.name(id_) for id_ in ids])
    cited = [(id_, asked.seen(id_, asked.time_s)) for id_ in ids]
    return asked.answer(names, names, 0.8, [asked.cited(s.time_s, s.box_px, id_) for id_, s in cited if s is not None])
