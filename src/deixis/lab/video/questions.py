"""Questions about a video whose truth is known, with exact answers, in English and Chinese.

Knows wordings and which cases are clear: what is ambiguous is not asked. Does not know pixels or models. The same Question as for
pictures, so that training mixes both; a new kind is one function and one line in KINDS.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from deixis.errors import OptionError
from deixis.lab import words
from deixis.lab.questions.kind import Phrasings
from deixis.lab.questions.picture import Name, as_typed, definite, filled, pick
from deixis.lab.questions.question import Question, written, yes_or_no
from deixis.lab.video.case import VideoCase
from deixis.lab.video.events import EXITS, TrueEvent
from deixis.spatial.language.prompts import LANGUAGES, Language

CLEAR_GAP_S = 0.5  # movers are put in order only if their starts lie this far apart
LISTED = 3  # movers in an order
IN_SIGHT: Mapping[Language, str] = {"en": "in sight", "zh": "看得见"}
OUT_OF_VIEW: Mapping[Language, str] = {"en": "out of the picture", "zh": "在画面外"}
GONE: Mapping[Language, str] = {"en": "taken away", "zh": "被拿走了"}
BEHIND: Mapping[Language, str] = {"en": "hidden by the {x}", "zh": "被{x}挡住"}

WHERE: Phrasings = {
    "en": ("Where {is_} {a} now?", "Where {is_} {a} at the end?", "Where would I find {a} now?"),
    "zh": ("{a}现在在哪里？", "最后{a}在哪儿？", "现在到哪里找{a}？"),
}
HIDDEN_BY: Phrasings = {
    "en": ("What hides {a} at {t} s?", "What is {a} hidden by at {t} s?", "Which object covers {a} at {t} s?"),
    "zh": ("{t}秒时什么挡住了{a}？", "第{t}秒，{a}被什么遮住？", "{t}秒时{a}在什么后面或下面？"),
}
FIRST: Phrasings = {
    "en": ("What moves first?", "Which object is the first to move?", "Who moved first?"),
    "zh": ("什么最先移动？", "哪个物体先动？", "谁先动了？"),
}
ORDER: Phrasings = {
    "en": (
        "In which order do {a}, {b} and {c} move?",
        "Put in order of moving: {a}, {b}, {c}.",
        "Who moves when: {a}, {b} or {c}?",
    ),
    "zh": ("{a}、{b}和{c}按什么顺序移动？", "按移动的先后排列：{a}、{b}、{c}。", "{a}、{b}、{c}谁先谁后？"),
}
FALLS: Phrasings = {
    "en": ("When {does} {a} fall?", "At what time {does} {a} fall?", "At which second {does} {a} begin to fall?"),
    "zh": ("{a}什么时候掉下去？", "{a}在第几秒掉落？", "{a}从几秒开始下落？"),
}
COUNT: Phrasings = {
    "en": (
        "How many objects can be seen at {t} s?",
        "How many things are visible at {t} s?",
        "Count the visible objects at {t} s.",
    ),
    "zh": ("{t}秒时能看到几个物体？", "第{t}秒画面里有几样东西？", "数一数{t}秒时看得见的物体。"),
}
CAUSE: Phrasings = {
    "en": (
        "What makes {a} move at {t} s?",
        "What causes {a} to move at {t} s?",
        "Why {does} {a} move at {t} s: what sets it off?",
    ),
    "zh": ("{t}秒时是什么使{a}移动？", "{a}在{t}秒为什么动了，被什么带动？", "是什么让{a}在{t}秒动起来的？"),
}
LAST_SEEN: Phrasings = {
    "en": ("When {is_} {a} last seen?", "At what time can {a} be seen for the last time?", "Until when {is_} {a} visible?"),
    "zh": ("最后一次看到{a}是什么时候？", "{a}最后出现在第几秒？", "{a}到几秒还看得见？"),
}
MOVED: Phrasings = {
    "en": ("{Does} {a} move?", "{Is} {a} moved during the video?", "{Does} {a} change places?"),
    "zh": ("{a}动过吗？", "视频里{a}移动了吗？", "{a}换过位置吗？"),
}


def seconds(time_s: float, language: Language) -> str:
    """ "3.2 s", "3.2秒"."""
    return f"{time_s:.1f} s" if language == "en" else f"{time_s:.1f}秒"


class Asked:
    """One case, tabulated for questions. A thing is asked about only if no other shares its label."""

    def __init__(self, case: VideoCase) -> None:
        self.case = case
        self.unique = [i for i, label in enumerate(case.labels) if case.labels.count(label) == 1]
        self.seen = [i for i in self.unique if any(s.state == "visible" for s in case.history(i))]
        self.moves: dict[int, TrueEvent] = {}  # the first movement of each thing
        for event in case.events:
            if event.kind == "moves" and event.shown:
                self.moves.setdefault(event.objects[0], event)

    def name(self, i: int, language: Language, rng: Generator) -> Name:
        thing = self.case.clip.things[i]
        return definite(thing.color, thing.category, language, rng)

    def label(self, i: int, language: Language) -> str:
        thing = self.case.clip.things[i]
        return words.label(thing.color, thing.category, language)


Make = Callable[[Asked, Generator, Language], Question | None]  # None: this video has no clear case


def _one(
    kind: str,
    asked: Asked,
    i: int,
    answer: str,
    phrasings: Phrasings,
    rng: Generator,
    language: Language,
    time_s: float | None = None,
    **target: object,
) -> Question:
    """A question about one thing."""
    when = {} if time_s is None else {"t": f"{time_s:.1f}"}
    text = filled(pick(phrasings[language], rng), [asked.name(i, language, rng)], **when)
    told = {"objects": [i], **({} if time_s is None else {"time_s": time_s}), **target}
    return written(kind, language, "ask", as_typed(text, rng), answer, [asked.label(i, language)], told)


def where_now(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """Where a thing is when the video ends; mostly one that is not in sight."""
    last = asked.case.frames[-1].things
    known = [i for i in asked.seen if last[i].state != "occluded" or last[i].hidden_by in asked.unique]
    away = [i for i in known if last[i].state != "visible"]
    pool = away if away and rng.random() < 0.8 else known
    if not pool:
        return None
    i = pick(pool, rng)
    state, by = last[i].state, last[i].hidden_by
    answer = {"visible": IN_SIGHT, "out_of_view": OUT_OF_VIEW, "gone": GONE}.get(str(state), BEHIND)[language]
    if by is not None:
        answer = answer.format(x=asked.label(by, language))
    box = list(last[i].box_px or ()) or None
    return _one("video_where", asked, i, answer, WHERE, rng, language, state=state, hidden_by=by, box_px=box)


def hidden_by(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """What hides a thing at a time in the middle of its absence."""
    spans = [
        (k, i)
        for i in asked.seen
        for k in range(2, len(asked.case.frames) - 2)
        if all(
            (s := asked.case.frames[j].things[i]).state == "occluded" and s.hidden_by in asked.unique for j in (k - 2, k, k + 2)
        )
    ]
    if not spans:
        return None
    k, i = pick(spans, rng)
    by = asked.case.frames[k].things[i].hidden_by
    assert by is not None
    time_s = asked.case.frames[k].time_s
    return _one("video_hidden_by", asked, i, asked.label(by, language), HIDDEN_BY, rng, language, time_s, by=by)


def _in_order(asked: Asked) -> list[tuple[float, int]]:
    return sorted((event.start_s, i) for i, event in asked.moves.items())


def first_mover(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """Who moves first, if it is plain."""
    order = _in_order(asked)
    if not order or order[0][1] not in asked.unique or (len(order) > 1 and order[1][0] - order[0][0] < CLEAR_GAP_S):
        return None
    text = as_typed(pick(FIRST[language], rng), rng)
    answer = asked.label(order[0][1], language)
    return written("video_first", language, "ask", text, answer, [answer], {"objects": [order[0][1]], "time_s": order[0][0]})


def order_of_movers(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """Three movers in the order in which they first move."""
    order = [(t, i) for t, i in _in_order(asked) if i in asked.unique]
    if len(order) < LISTED:
        return None
    chosen = [order[k] for k in sorted(rng.permutation(len(order))[:LISTED])]
    if any(b[0] - a[0] < CLEAR_GAP_S for a, b in pairwise(chosen)):
        return None
    mixed = [chosen[k][1] for k in rng.permutation(LISTED)]
    text = filled(pick(ORDER[language], rng), [asked.name(i, language, rng) for i in mixed])
    names = [asked.label(i, language) for _, i in chosen]
    answer = (", " if language == "en" else "、").join(names)
    return written("video_order", language, "ask", as_typed(text, rng), answer, names, {"objects": [i for _, i in chosen]})


def falls_at(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """When a thing falls that falls once."""
    falls = [e for e in asked.case.events if e.kind == "falls" and e.shown]
    once = [e for e in falls if e.objects[0] in asked.unique and sum(f.objects == e.objects for f in falls) == 1]
    if not once:
        return None
    event = pick(once, rng)
    answer = seconds(event.start_s, language)
    return _one("video_falls", asked, event.objects[0], answer, FALLS, rng, language, start_s=event.start_s, end_s=event.end_s)


def count_at(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """How many things show at a time at which that does not change."""
    states = [tuple(s.state == "visible" for s in f.things) for f in asked.case.frames]
    steady = [k for k in range(1, len(states) - 1) if states[k - 1] == states[k] == states[k + 1]]
    if not steady:
        return None
    k = pick(steady, rng)
    shown = [i for i, there in enumerate(states[k]) if there]
    time_s = asked.case.frames[k].time_s
    text = as_typed(pick(COUNT[language], rng).format(t=f"{time_s:.1f}"), rng)
    return written(
        "video_count", language, "ask", text, str(len(shown)), [], {"objects": shown, "count": len(shown), "time_s": time_s}
    )


def cause(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """What set a thing off: what hit it, or what took it along."""
    found = [(e.start_s, e.objects[1], e.objects[0]) for e in asked.case.events if e.kind == "hits" and e.shown]
    found += [(e.start_s, e.objects[0], e.objects[1]) for e in asked.case.events if e.kind == "carried_by"]
    clear = [row for row in found if row[1] in asked.unique and row[2] in asked.unique]
    if not clear:
        return None
    time_s, i, by = pick(clear, rng)
    return _one("video_cause", asked, i, asked.label(by, language), CAUSE, rng, language, round(time_s, 1), by=by)


def last_seen(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """When a thing was last seen that is not in sight at the end."""
    away = [i for i in asked.seen if asked.case.frames[-1].things[i].state != "visible"]
    if not away:
        return None
    i = pick(away, rng)
    time_s = max(f.time_s for f in asked.case.frames if f.things[i].state == "visible")
    return _one("video_last_seen", asked, i, seconds(time_s, language), LAST_SEEN, rng, language, last_s=time_s)


def moved(asked: Asked, rng: Generator, language: Language) -> Question | None:
    """Whether a thing moves in the room: yes and no evenly."""
    still = [i for i in asked.seen if not any(e.kind in ("moves", *EXITS) and e.objects[0] == i for e in asked.case.events)]
    holds = rng.random() < 0.5
    pool = [i for i in asked.moves if i in asked.unique] if holds else still
    if not pool:
        return None
    return _one("video_moved", asked, pick(pool, rng), yes_or_no(holds, language), MOVED, rng, language, holds=holds)


KINDS: Mapping[str, Make] = {
    "video_where": where_now,
    "video_hidden_by": hidden_by,
    "video_first": first_mover,
    "video_order": order_of_movers,
    "video_falls": falls_at,
    "video_count": count_at,
    "video_cause": cause,
    "video_last_seen": last_seen,
    "video_moved": moved,
}


def ask_about(
    case: VideoCase, rng: np.random.Generator, *, languages: Sequence[Language] = LANGUAGES, kinds: Iterable[str] | None = None
) -> list[Question]:
    """One question of each kind and language about a video, where it has a clear case. The same case and generator state give the
    same questions. Raises OptionError for a kind that does not exist.
    """
    chosen = tuple(KINDS if kinds is None else kinds)
    unknown = [k for k in chosen if k not in KINDS]
    if unknown:
        raise OptionError(f"no video question kind {unknown[0]!r}; choose from {', '.join(KINDS)}")
    asked = Asked(case)
    made = [KINDS[name](asked, rng, language) for name in chosen for language in languages]
    return [question for question in made if question is not None]
