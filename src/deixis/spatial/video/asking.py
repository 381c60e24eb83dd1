"""Questions in words about what was seen, answered from the ledger alone, with the moment and the box that bear it out.

Knows a small table of questions in English and Chinese, and the ledger. Does not know models: what it does not read is
answered with None, and the caller asks a model. An answer is as sure as the ledger is; "absent" is what was never seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from deixis.geometry import BoxPx
from deixis.spatial.language.prompts import Language, guess_language
from deixis.spatial.language.relation_words import words
from deixis.spatial.language.values import half_width
from deixis.spatial.video.detection import Event, EventKind, Sighting
from deixis.spatial.video.event_words import in_chinese, in_english
from deixis.spatial.video.memory import SpatialMemory

_MAX_QUESTION = 500
_NEAR_S = 0.6  # what is asked "at 12 s" may be said of a moment as far from it as this


@dataclass(frozen=True)
class Citation:
    """The picture and place to look at: time of the ledger, time of its source, box in pixels."""

    time_s: float
    box_px: BoxPx | None
    object: int | None = None
    source: str = ""


@dataclass(frozen=True)
class MemoryAnswer:
    """An answer in the question's language. `verdict` is a state, a label, a number, a time, "absent" or "unsure"."""

    text: str
    verdict: str
    confidence: float
    citations: tuple[Citation, ...] = ()
    events: tuple[Event, ...] = ()
    language: Language = "en"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        cited = [
            {"time_s": c.time_s, "box_px": c.box_px and list(c.box_px), "object": c.object, "source": c.source}
            for c in self.citations
        ]
        events = [event.to_json(self.language) for event in self.events]
        return {"answer": self.text, "verdict": self.verdict, "confidence": self.confidence, "citations": cited, "events": events}


_A, _B = r"(?:the |a |an |any |my )?(?P<a>[\w' -]{1,60}?)", r"(?:the |a |an )?(?P<b>[\w' -]{1,60}?)"
_ZA, _ZB = r"(?P<a>[^,?.在了最是]{1,20}?)", r"(?P<b>[^,?.在了最]{1,20}?)"
_AT_EN = (
    r"(?:\s*(?:at|after|@|in second|when t ?=)?\s*(?:second |time |t ?= ?)?(?P<t>\d+(?:\.\d+)?)\s*(?:s|sec|second|seconds)?)?"
)
_AT_ZH = r"(?:在?第?(?P<t>\d+(?:\.\d+)?)\s*(?:s|秒)钟?(?:的?时候?|时刻)?,?)?"
_END = r"\s*[?.!]*\s*$"

_VERBS: tuple[tuple[str, str, tuple[EventKind, ...]], ...] = (
    (r"fall|drop|fell|falls|drops|falling", r"掉|落|跌|摔", ("falls",)),
    (
        r"start\w* (?:to )?mov\w*|begin\w* (?:to )?mov\w*|mov(?:e|es|ed|ing)|roll\w*|slid\w*",
        r"开始(?:移|运)?动|移动|滚|滑|动",
        ("moves",),
    ),
    (r"stop\w*|come\w* to rest|halt\w*", r"停", ("stops",)),
    (r"hidden|hides|hid|cover\w*|occlude\w*|disappear\w*|go\w* behind", r"[挡遮盖藏]|消失", ("is_hidden",)),
    (r"reveal\w*|reappear\w*|uncover\w*|come\w* (?:out|back)", r"露出|重新出现|再次出现", ("is_revealed", "appears")),
    (r"taken (?:out|away)|remov\w*|tak\w* away", r"拿走|取走|移走|拿出", ("is_taken_out",)),
    (r"put (?:in|back|down)|added|placed", r"放[进入回下]", ("is_put_in",)),
    (r"leav\w*|left (?:the )?(?:view|frame|picture)|exit\w*|go\w* out", r"离开", ("leaves",)),
    (r"appear\w*|enter\w*|com\w* into", r"出现|进入", ("appears", "is_put_in")),
    (r"hit\w*|collid\w*|bump\w*|touch\w*", r"撞|碰", ("hits",)),
    (r"carri\w*|carry\w*", r"带走|带着|搬", ("carried_by",)),
    (r"swap\w*|exchang\w*|switch\w*", r"交换|互换|调换", ("swapped",)),
)


def answered(memory: SpatialMemory, question: str) -> MemoryAnswer | None:
    """None for a question that is not one of these, is empty or long."""
    plain = half_width(question).strip()
    if not plain or len(plain) > _MAX_QUESTION or memory.time_s is None:
        return None
    language = guess_language(plain)
    if language == "en":
        plain = re.sub(r"\s+", " ", plain.lower())
    else:
        plain = re.sub(r"\s+", "", re.sub(r"^请?问?", "", plain))
    for patterns, answer in _QUESTIONS:
        if match := patterns[language].search(plain):
            found = {key.rstrip("_"): value for key, value in match.groupdict().items() if value is not None}
            return answer(_Asked(memory, language, found))
    return None


class _Asked:
    """A question that was read: the ledger, the language and the words that it names."""

    def __init__(self, memory: SpatialMemory, language: Language, words_: dict[str, str]) -> None:
        self.memory, self.language, self.words = memory, language, words_
        rows = memory.query("SELECT id, name, offset_s FROM sources ORDER BY offset_s")
        self.sources = [(row["offset_s"], row["name"]) for row in rows]
        self.labels = {row["id"]: row["label"] for row in memory.query("SELECT id, label FROM objects")}
        now = memory.time_s
        assert now is not None
        said = words_.get("t")
        # A time is one of the video that was read last.
        self.time_s = now if said is None else float(said) + max((offset for offset, _ in self.sources), default=0.0)

    def objects(self, name: str = "a") -> list[int]:
        """Ids of the things that a name means: all of its words, or, where nothing has them all, its noun."""
        said = self.words.get(name, "").strip()
        if self.language == "zh":
            said = in_english(said)
        said = re.sub(r"^(?:the|a|an|any|my|all)\s+", "", said.lower())
        forms = [said, *([said[:-2]] if said.endswith("es") else []), *([said[:-1]] if said.endswith("s") else [])]
        exact = [id_ for id_, label in self.labels.items() if label.lower() in forms]
        if exact:
            return exact
        wanted = [set(form.split()) for form in forms if form]
        return [id_ for id_, label in self.labels.items() if any(want <= set(label.lower().split()) for want in wanted)]

    def name(self, id_: int | None) -> str:
        label = self.labels.get(id_ if id_ is not None else -1)
        if label is None:
            return self.say("something", "别的东西")
        return in_chinese(label) if self.language == "zh" else f"the {label}"

    def say(self, en: str, zh: str) -> str:
        return en if self.language == "en" else zh

    def cited(self, time_s: float, box_px: BoxPx | None, object_: int | None = None) -> Citation:
        """With the source that was read at that time."""
        offset, name = max((row for row in self.sources if row[0] <= time_s + 1e-6), default=(0.0, ""))
        return Citation(round(time_s - offset, 3), box_px, object_, name)

    def seen(self, id_: int, until_s: float) -> Sighting | None:
        """When it was last in sight by a time."""
        found = self.memory.query(
            "SELECT MIN(end_s, :t) AS at, x1, y1, x2, y2, confidence FROM sightings WHERE object = :id AND state = 'visible' "
            "AND start_s <= :t ORDER BY start_s DESC LIMIT 1",
            {"id": id_, "t": until_s + 1e-6},
        )
        if not found:
            return None
        row = found[0]
        return Sighting(row["at"], (row["x1"], row["y1"], row["x2"], row["y2"]), "visible", None, None, row["confidence"])

    def absent(self) -> MemoryAnswer:
        said = self.words.get("a", "")
        return self.answer(f"no {said} was seen" if self.language == "en" else f"没有看到{said}", "absent", 0.8)

    def answer(
        self, text: str, verdict: str, confidence: float, citations: Sequence[Citation] = (), events: Sequence[Event] = ()
    ) -> MemoryAnswer:
        text = text[:1].upper() + text[1:] + self.say(".", "。")
        return MemoryAnswer(text, verdict, round(min(confidence, 0.99), 3), tuple(citations), tuple(events), self.language)

    def shown(self, time_s: float) -> str:
        """A time as an answer writes it: of its source."""
        return f"{self.cited(time_s, None).time_s:.1f} s" if self.language == "en" else f"{self.cited(time_s, None).time_s:.1f}秒"

    def of_events(self, events: Sequence[Event]) -> list[Citation]:
        """Where to look for events."""
        rows = []
        for event in events:
            at = self.memory.sighting_at(event.objects[0], event.start_s + 0.05)
            rows.append(self.cited(event.start_s, None if at is None else at.box_px, event.objects[0]))
        return rows


def _where(asked: _Asked) -> MemoryAnswer:
    ids = asked.objects()
    rows = [(id_, asked.memory.sighting_at(id_, asked.time_s)) for id_ in ids]
    known = [(id_, sighting) for id_, sighting in rows if sighting is not None]
    if not known:
        return asked.absent()
    # Of several that fit the one in sight, else the one seen last.
    rank = {"visible": 3, "occluded": 2, "out_of_view": 1, "gone": 0}
    id_, now = max(known, key=lambda row: (rank[row[1].state], row[1].time_s))
    seen = asked.seen(id_, asked.time_s) or now
    name, last = asked.name(id_), asked.shown(seen.time_s)
    citation = asked.cited(seen.time_s, seen.box_px, id_)
    place = _place(asked, now.box_px or seen.box_px)
    if now.state == "visible":
        text = asked.say(f"{name} is in sight {place}", f"{name}在画面{place}")
    elif now.state == "occluded":
        by = asked.name(now.hidden_by)
        text = asked.say(
            f"{name} is {place}, hidden by {by}; last seen at {last}", f"{name}在画面{place}，被{by}挡住，最后在{last}看到"
        )
    elif now.state == "out_of_view":
        text = asked.say(
            f"{name} is out of view; last seen at {last} {place}", f"{name}在画面之外，最后在{last}于画面{place}看到"
        )
    else:
        text = asked.say(f"{name} was taken away; last seen at {last} {place}", f"{name}被拿走了，最后在{last}于画面{place}看到")
    citations = [citation] + ([asked.cited(now.time_s, now.box_px, id_)] if now.state == "occluded" else [])
    return asked.answer(text, now.state, now.confidence * (0.9 if len(known) > 1 else 1.0), citations)


def _place(asked: _Asked, box_px: BoxPx | None) -> str:
    """A place in the picture in words; its numbers stand in the citation."""
    if box_px is None:
        return ""
    x, y = round((box_px[0] + box_px[2]) / 2), round((box_px[1] + box_px[3]) / 2)
    return asked.say(f"at ({x}, {y}) px", f"({x}, {y})像素处")


def _last_seen(asked: _Asked) -> MemoryAnswer:
    seen = [(id_, asked.seen(id_, asked.time_s)) for id_ in asked.objects()]
    known = [(id_, sighting) for id_, sighting in seen if sighting is not None]
    if not known:
        return asked.absent()
    id_, last = max(known, key=lambda row: row[1].time_s)
    name, at = asked.name(id_), asked.shown(last.time_s)
    text = asked.say(
        f"{name} was last seen at {at} {_place(asked, last.box_px)}",
        f"{name}最后在{at}看到，位于画面{_place(asked, last.box_px)}",
    )
    return asked.answer(
        text, f"{asked.cited(last.time_s, None).time_s:.1f} s", last.confidence, [asked.cited(last.time_s, last.box_px, id_)]
    )


def _hidden_things(asked: _Asked) -> MemoryAnswer:
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
            event
            for event in asked.memory.events()
            if event.kind == "is_hidden" and event.objects[1:] and event.objects[1] in hiders
        ]
        names = list(dict.fromkeys(asked.name(event.objects[0]) for event in hid))
        if names:
            return asked.answer(_joined(asked, names), _joined(asked, names), 0.8, asked.of_events(hid), hid)
    if not found:
        return asked.answer(asked.say("nothing", "什么也没有"), "nothing", 0.7)
    names = [asked.name(id_) for id_, _ in found]
    cited = [asked.cited(sighting.time_s, sighting.box_px, id_) for id_, sighting in found]
    return asked.answer(_joined(asked, names), _joined(asked, names), min(s.confidence for _, s in found), cited)


def _joined(asked: _Asked, names: Sequence[str]) -> str:
    return asked.say(", ", "、").join(names)


def _who_hides(asked: _Asked) -> MemoryAnswer:
    for id_ in asked.objects():
        sighting = asked.memory.sighting_at(id_, asked.time_s)
        if sighting is not None and sighting.state == "occluded":
            by = asked.name(sighting.hidden_by)
            return asked.answer(by, by, sighting.confidence, [asked.cited(sighting.time_s, sighting.box_px, id_)])
    return asked.answer(asked.say("nothing", "没有东西"), "nothing", 0.7) if asked.objects() else asked.absent()


def _movers(asked: _Asked) -> list[Event]:
    """First motions of each thing that moved by itself or was moved, in order."""
    first: dict[int, Event] = {}
    for event in asked.memory.events():
        if event.kind in ("moves", "falls", "carried_by") and event.objects[0] not in first:
            first[event.objects[0]] = event
    return sorted(first.values(), key=lambda event: event.start_s)


def _order(asked: _Asked) -> MemoryAnswer:
    movers = _movers(asked)
    if not movers:
        return asked.answer(asked.say("nothing moved", "没有东西移动"), "nothing", 0.8)
    names = [asked.name(event.objects[0]) for event in movers]
    return asked.answer(_joined(asked, names), _joined(asked, names), _apart(movers), asked.of_events(movers), movers)


def _first_or_last(asked: _Asked) -> MemoryAnswer:
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


def _count(asked: _Asked) -> MemoryAnswer:
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


def _cause(asked: _Asked) -> MemoryAnswer:
    ids = set(asked.objects())
    if not ids:
        return asked.absent()
    for event in asked.memory.events():
        subject = event.objects[1:2] if event.kind in ("causes", "hits") else event.objects[:1]
        if event.kind in ("causes", "carried_by") and subject and subject[0] in ids:
            by = event.objects[0] if event.kind == "causes" else event.objects[1]
            text = asked.say(
                f"{asked.name(by)}, at {asked.shown(event.start_s)}", f"{asked.name(by)}，在{asked.shown(event.start_s)}"
            )
            return asked.answer(text, asked.name(by), event.confidence, asked.of_events([event]), [event])
    moved = [event for event in asked.memory.events() if event.kind in ("moves", "falls") and event.objects[0] in ids]
    if not moved:
        return asked.answer(asked.say("it did not move", "它没有动"), "nothing", 0.8)
    text = asked.say("nothing in view touched it before it moved", "画面中没有东西在它移动前碰到它")
    return asked.answer(text, "unsure", 0.5, asked.of_events(moved[:1]), moved[:1])


def _moment(asked: _Asked) -> MemoryAnswer | None:
    ids, verb = set(asked.objects()), asked.words.get("verb", "")
    if not ids:
        return asked.absent()
    kinds = next((kinds for en, zh, kinds in _VERBS if re.search(asked.say(rf"\b(?:{en})\b", zh), verb)), None)
    if kinds is None:
        return None
    others = set(asked.objects("b")) if asked.words.get("b") else None
    found = [
        event
        for event in asked.memory.events()
        if event.kind in kinds and ids & set(event.objects[: 2 if event.kind == "swapped" else 1])
        and (others is None or others & set(event.objects))
    ]  # fmt: skip
    if not found:
        return asked.answer(asked.say("that did not happen", "没有发生"), "absent", 0.7)
    first = found[0]
    when = asked.shown(first.start_s)
    if first.end_s - first.start_s > 0.2:
        when = asked.say(f"from {when} to {asked.shown(first.end_s)}", f"{when}到{asked.shown(first.end_s)}")
    text = f"{when}: {first.description[asked.language]}" if asked.language == "en" else f"{when}：{first.description['zh']}"
    verdict = f"{asked.cited(first.start_s, None).time_s:.1f} s"
    return asked.answer(text, verdict, first.confidence, asked.of_events(found), found)


_ANY_VERB_EN = (
    r"(?P<verb>(?:is |was |gets? |get |got |be |being |are )?(?:" + "|".join(en for en, _, _ in _VERBS) + r")\b[\w ]*?)"
)
_ANY_VERB_ZH = (
    r"(?P<verb>(?:被[^,?.]{0,8}?|开始|(?:从|向|往)[^,?.]{1,6}?)?(?:" + "|".join(zh for _, zh, _ in _VERBS) + r")[^,?.]{0,6}?)"
)

_Answer = Callable[[_Asked], MemoryAnswer | None]
_QUESTIONS: tuple[tuple[dict[Language, re.Pattern[str]], _Answer], ...] = (
    (
        words(
            rf"^(?:when|where|at what time) (?:was|were|is) {_A} (?:last (?:seen|visible)|seen last|seen for the last time){_END}"
            rf"|^(?:when|where) did (?:you|we|i) last see (?:the |a )?(?P<a_>[\w' -]{{1,60}}?){_END}",
            rf"^(?:什么时候|何时|哪里|在哪里)?最后(?:一次)?(?:看到|看见|见到){_ZA}(?:是)?(?:在)?(?:什么时候|何时|几秒|哪里|第几秒)?{_END}"
            rf"|^(?P<a_>[^,?.在了最是]{{1,20}}?)(?:是)?(?:什么时候|何时)?最后(?:一次)?(?:是)?(?:在)?(?:什么时候|何时|第?几秒)?(?:被)?"
            rf"(?:看到|看见|出现|见到)(?:的)?{_END}",
        ),
        _last_seen,
    ),
    (
        words(
            rf"^(?:where|in (?:what|which) place) (?:is|are|was|were|did) {_A}"
            r"(?: (?:be|now|right now|at the moment|at present|currently|go))?"
            rf"{_AT_EN}{_END}",
            rf"^{_AT_ZH}(?:现在|目前|此刻|这时)?{_ZA}(?:现在|目前|此刻)?(?:是)?"
            rf"{_AT_ZH.replace('<t>', '<t_>')}(?:在|去了?|到了?){_AT_ZH.replace('<t>', '<t__>')}"
            rf"(?:哪里|哪儿|什么地方|什么位置|哪|何处)(?:了)?{_END}",
        ),
        _where,
    ),
    (
        words(
            rf"^what (?:did|does|is|was|do) {_A} (?:hide|hiding|cover|covering|occlude|occluding|conceal)\w*{_AT_EN}{_END}"
            rf"|^what (?:is|was) (?:hidden|covered|occluded) (?:by|behind|under) (?:the |a )?(?P<a_>[\w' -]{{1,60}}?)"
            rf"{_AT_EN.replace('<t>', '<t_>')}{_END}",
            rf"^{_AT_ZH}{_ZA}(?:在?(?P<t_>\d+(?:\.\d+)?)(?:s|秒)时?)?(?:挡住|遮住|盖住|遮挡|藏|挡|遮)(?:了|着|的)?(?:是)?(?:什么|哪些?)(?:东西)?{_END}",
        ),
        _hidden_things,
    ),
    (
        words(
            rf"^(?:what|who|which \w+) (?:is |was )?(?:hides?|hid|hiding|covers?|covered|covering|occludes?) (?:the |a )?"
            rf"(?P<a>[\w' -]{{1,60}}?){_AT_EN}{_END}",
            rf"^{_AT_ZH}(?:什么|谁)(?:东西)?(?:挡住|遮住|盖住|遮挡|挡|遮)(?:了|着)?{_ZA}{_END}|^(?P<a_>[^,?.]{{1,20}}?)被(?:什么|谁)(?:东西)?"
            rf"(?:挡|遮|盖)[住着了]*{_END}",
        ),
        _who_hides,
    ),
    (
        words(
            r"\b(?:who|what|which(?: \w+)?) (?:\w+ )?(?:mov(?:e|ed|es)|started (?:moving|to move)|rolled) (?P<first>first)\b"
            r"|\b(?:who|what|which(?: \w+)?) (?:mov(?:e|ed|es)|started (?:moving|to move)) (?P<last>last)\b"
            r"|\bwhat was the (?P<first_>first) (?:thing )?to move\b",
            r"(?:谁|什么|哪个\S{0,4}?)(?P<first>最先|首先|先|第一个)(?:开始)?(?:移|运)?动|(?:谁|什么|哪个\S{0,4}?)(?P<last>最后)(?:开始)?(?:移|运)?动",
        ),
        _first_or_last,
    ),
    (
        words(
            r"\b(?:in )?(?:what|which) order\b.*\bmov|\border (?:of|in which)\b.*\bmov",
            r"(?:按|以)?(?:什么|怎样的?|何种)(?:样的)?(?:顺序|次序|先后)[^?]*动|动的?(?:先后)?(?:顺序|次序)",
        ),
        _order,
    ),
    (
        words(
            rf"^how many {_A} (?P<visible>can be seen|are visible|were visible|can you see)?"
            r"(?:are|were|was|is)?(?: there)?(?: in \w+(?: \w+)?)?"
            rf"{_AT_EN}{_END}",
            rf"^{_AT_ZH}(?:的?时候?)?(?:画面[上中里]|图[中里])?(?P<visible>能看到|看得到)?(?:一共|共)?有?(?:多少|几)(?:个|只|本|把|支|辆|块)?"
            rf"{_ZA}{_END}",
        ),
        _count,
    ),
    (
        words(
            rf"^(?:what|who|which \w+) (?:caused|made|makes|causes|set|pushed|moved|hit) {_A}"
            rf"(?: (?:to )?(?:move|roll|fall|start)\w*| in motion)?{_END}"
            rf"|^why did (?:the |a )?(?P<a_>[\w' -]{{1,60}}?) (?:move|roll|fall|start)\w*{_END}",
            rf"^(?:是)?(?:什么|谁)(?:东西)?(?:让|使|导致|推动|撞到?|碰到?|引起)了?{_ZA}(?:开始)?(?:移动|运动|滚动|动|动起来|掉落|的)?了?{_END}"
            rf"|^(?P<a_>[^,?.]{{1,20}}?)为什么(?:会)?(?:移动|运动|滚动|动|掉)\S{{0,3}}{_END}",
        ),
        _cause,
    ),
    (
        words(
            rf"^(?:when|at what (?:time|moment|second)) (?:do|does|did|is|was|were|are) {_A} {_ANY_VERB_EN}"
            rf"(?: (?:by|with|the|behind|under|into) {_B})?{_END}"
            rf"|^(?:find|show|give|tell)(?: me)? (?:the )?(?:moment|time|second|point)s? "
            r"(?:when|at which|where|that) (?:the |a )?"
            rf"(?P<a_>[\w' -]{{1,60}}?) {_ANY_VERB_EN.replace('<verb>', '<verb_>')}(?: (?:by|with|behind|under|into) (?:the )?"
            rf"(?P<b_>[\w' -]{{1,40}}?))?{_END}",
            rf"^(?:请?(?:找出|找到|指出|给出))?(?P<a>[^,?.在了最是被]{{1,20}}?)(?:是)?(?:在)?(?:什么时候|何时|第?几秒){_ANY_VERB_ZH}(?:的|了)?{_END}"
            rf"|^(?:请?(?:找出|找到|指出|给出)){_ZA.replace('<a>', '<a_>')}{_ANY_VERB_ZH.replace('<verb>', '<verb_>')}(?:的|了)?"
            rf"(?:那一刻|时刻|瞬间|时候|时间){_END}",
        ),
        _moment,
    ),
)  # fmt: skip
