"""Answers about places: where a thing is or was, when it was last seen, what hides it, what it hides, whether it is there.

Knows sightings. Does not know the words of questions.
"""

from __future__ import annotations

from deixis.spatial.video.asked import Asked, MemoryAnswer
from deixis.spatial.video.detection import Sighting
from deixis.spatial.video.event_words import in_english

_RANK = {"visible": 3, "occluded": 2, "out_of_view": 1, "gone": 0}


def where(asked: Asked) -> MemoryAnswer:
    """Of several things that fit the one in sight, else the one seen last."""
    known = _held(asked)
    if not known:
        return asked.absent()
    id_, now = known[0]
    seen = asked.seen(id_, asked.time_s) or now
    name, last = asked.name(id_), asked.shown(seen.time_s)
    citation = asked.cited(seen.time_s, seen.box_px, id_)
    place = asked.place(now.box_px or seen.box_px)
    is_ = "is" if asked.time_s >= asked.until_s - 1e-6 else "was"
    if now.state == "visible":
        text = asked.say(f"{name} {is_} in sight {place}", f"{name}在画面{place}")
    elif now.state == "occluded":
        by = asked.name(now.hidden_by)
        text = asked.say(
            f"{name} {is_} {place}, hidden by {by}; last seen at {last}", f"{name}在画面{place}，被{by}挡住，最后在{last}看到"
        )
    elif now.state == "out_of_view":
        text = asked.say(
            f"{name} {is_} out of view; last seen at {last} {place}", f"{name}在画面之外，最后在{last}于画面{place}看到"
        )
    else:
        text = asked.say(f"{name} was taken away; last seen at {last} {place}", f"{name}被拿走了，最后在{last}于画面{place}看到")
    citations = [citation] + ([asked.cited(now.time_s, now.box_px, id_)] if now.state == "occluded" else [])
    return asked.answer(text, now.state, now.confidence * (0.9 if len(known) > 1 else 1.0), citations)


def last_seen(asked: Asked) -> MemoryAnswer:
    """When and where a thing was last in sight."""
    seen = [(id_, asked.seen(id_, asked.time_s)) for id_ in asked.objects()]
    known = [(id_, sighting) for id_, sighting in seen if sighting is not None]
    if not known:
        return asked.absent()
    id_, last = max(known, key=lambda row: row[1].time_s)
    name, at = asked.name(id_), asked.shown(last.time_s)
    text = asked.say(
        f"{name} was last seen at {at} {asked.place(last.box_px)}",
        f"{name}最后在{at}看到，位于画面{asked.place(last.box_px)}",
    )
    return asked.answer(
        text, f"{asked.cited(last.time_s, None).time_s:.1f} s", last.confidence, [asked.cited(last.time_s, last.box_px, id_)]
    )


def hidden_things(asked: Asked) -> MemoryAnswer:
    """What a thing hides at a time, or ever."""
    hiders = set(asked.objects())
    if not hiders:
        return asked.absent()
    found = []
    for id_ in asked.labels:
        sighting = asked.memory.sighting_at(id_, asked.time_s)
        if sighting is not None and sighting.state == "occluded" and sighting.hidden_by in hiders:
            found.append((id_, sighting))
    if not found and "t" not in asked.words:  # "what did the box hide?": ever
        hid = [
            event for event in asked.events() if event.kind == "is_hidden" and event.objects[1:] and event.objects[1] in hiders
        ]
        names = list(dict.fromkeys(asked.name(event.objects[0]) for event in hid))
        if names:
            return asked.answer(asked.joined(names), asked.joined(names), 0.8, asked.of_events(hid), hid)
    if not found:
        return asked.answer(asked.say("nothing", "什么也没有"), "nothing", 0.7)
    names = [asked.name(id_) for id_, _ in found]
    cited = [asked.cited(sighting.time_s, sighting.box_px, id_) for id_, sighting in found]
    return asked.answer(asked.joined(names), asked.joined(names), min(s.confidence for _, s in found), cited)


def who_hides(asked: Asked) -> MemoryAnswer:
    """What stands before a thing."""
    for id_ in asked.objects():
        sighting = asked.memory.sighting_at(id_, asked.time_s)
        if sighting is not None and sighting.state == "occluded":
            by = asked.name(sighting.hidden_by)
            return asked.answer(by, by, sighting.confidence, [asked.cited(sighting.time_s, sighting.box_px, id_)])
    return asked.answer(asked.say("nothing", "没有东西"), "nothing", 0.7) if asked.objects() else asked.absent()


def _held(asked: Asked) -> list[tuple[int, Sighting]]:
    """What is held then of the things that a name means, the most certain first."""
    rows = [(id_, asked.memory.sighting_at(id_, asked.time_s)) for id_ in asked.objects()]
    known = [(id_, sighting) for id_, sighting in rows if sighting is not None]
    return sorted(known, key=lambda row: (_RANK[row[1].state], row[1].time_s), reverse=True)


def where_then(asked: Asked) -> MemoryAnswer | None:
    """Where a thing was before or after something happened to it."""
    if asked.kinds() is None:
        return None
    if not asked.objects():
        return asked.absent()
    events = asked.happened()
    if not events:
        return asked.answer(asked.say("that did not happen", "没有发生"), "absent", 0.7)
    before = asked.words["rel"] in ("before", "之前", "前", "以前")
    asked.time_s = max(asked.start_s, events[0].start_s - 0.3) if before else min(asked.until_s, events[0].end_s + 0.3)
    return where(asked)


def state(asked: Asked) -> MemoryAnswer | None:
    """Whether a thing is hidden, in sight, there or gone at a time. None in Chinese for a name that may be a whole sentence."""
    known = _held(asked)
    if not known:
        said = asked.words["a"]
        return None if asked.language == "zh" and in_english(said) == said else asked.absent()
    now = known[0][1]
    said = asked.words.get("state", "there")
    if any(word in said for word in ("hid", "cover", "occlu", "挡", "遮", "盖", "藏")):
        holds = now.state == "occluded"
    elif any(word in said for word in ("visible", "sight", "seen", "看", "可见")):
        holds = now.state == "visible"
    elif any(word in said for word in ("gone", "away", "拿走")):
        holds = now.state == "gone"
    else:
        holds = now.state in ("visible", "occluded")
    told = where(asked)
    yes = asked.say("yes", "是") if holds else asked.say("no", "否")
    text = asked.say(f"{yes}: {told.text[:1].lower()}{told.text[1:-1]}", f"{yes}：{told.text[:-1]}")
    return asked.answer(text, "yes" if holds else "no", told.confidence, told.citations)


def how_long_hidden(asked: Asked) -> MemoryAnswer:
    """Seconds in all, and how often."""
    ids = asked.objects()
    if not ids:
        return asked.absent()
    spans: list[tuple[float, float]] = []
    for id_ in ids[:1]:
        found = [s for s in asked.memory.sightings(id_) if asked.since_s <= s.time_s <= asked.until_s]
        for k, sighting in enumerate(found):
            if sighting.state == "occluded":
                until = found[k + 1].time_s if k + 1 < len(found) else asked.until_s
                if spans and spans[-1][1] >= sighting.time_s - 1e-6:
                    spans[-1] = (spans[-1][0], until)
                else:
                    spans.append((sighting.time_s, until))
    if not spans:
        return asked.answer(asked.say("it was never hidden", "没有被挡住过"), "0.0 s", 0.7)
    seconds = sum(b - a for a, b in spans)
    told = asked.joined([f"{asked.shown(a)}–{asked.shown(b)}" for a, b in spans])
    text = asked.say(f"{seconds:.1f} s: {told}", f"{seconds:.1f}秒：{told}")
    return asked.answer(text, f"{seconds:.1f} s", 0.8, [asked.cited(a, None, ids[0]) for a, _ in spans])
