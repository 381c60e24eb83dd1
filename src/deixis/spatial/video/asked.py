"""A question that was read, with the ledger, the language, the names and times that it holds; and its answer.

Knows the ledger's things and times, and how answers are worded. Does not know which questions there are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deixis.geometry import BoxPx
from deixis.spatial.language.prompts import Language
from deixis.spatial.video.detection import Event, EventKind, Sighting
from deixis.spatial.video.event_words import in_chinese, in_english
from deixis.spatial.video.memory import Source, SpatialMemory
from deixis.spatial.video.question_words import ANYTHING, NOWHERE, START, VERBS


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


class Asked:
    """A question that was read: the ledger, the language and the words that it names."""

    def __init__(self, memory: SpatialMemory, language: Language, words: dict[str, str], source: Source | None) -> None:
        self.memory, self.language, self.words = memory, language, words
        rows = memory.query("SELECT id, name, offset_s FROM sources ORDER BY offset_s")
        self.sources = [(row["offset_s"], row["name"]) for row in rows]
        self.labels = {row["id"]: row["label"] for row in memory.query("SELECT id, label FROM objects")}
        now = memory.time_s
        assert now is not None
        # A time is one of the video that was read last, where none is named.
        self.start_s = max((offset for offset, _ in self.sources), default=0.0)
        self.since_s = -math.inf
        if source is not None:
            self.start_s = self.since_s = source.offset_s
            now = source.offset_s + (source.read_until_s or 0.0)
        self.until_s = now
        self.time_s = self.time_of("t")

    def time_of(self, name: str) -> float:
        """The ledger's time of a word: seconds, the start, or (as where nothing was said) the end."""
        said = self.words.get(name)
        if said is None:
            return self.start_s if self.words.get("edge") in START else self.until_s
        return min(self.until_s, float(said) + self.start_s)

    @property
    def timed(self) -> bool:
        """Whether it names a moment."""
        return "t" in self.words or "edge" in self.words

    def events(self) -> tuple[Event, ...]:
        """Those that are asked about."""
        return tuple(e for e in self.memory.events(self.since_s, self.until_s) if e.start_s >= self.since_s - 1e-6)

    def objects(self, name: str = "a") -> list[int]:
        """Ids of the things that a name means: all of its words, or, where nothing has them all, its noun."""
        said = self.words.get(name, "").strip()
        if re.fullmatch(ANYTHING[self.language], said):
            return list(self.labels)
        if self.language == "zh":
            said = in_english(said)
        said = re.sub(r"^(?:the|a|an|any|my|all|some)\s+|\s+ones?$", "", said.lower())
        forms = [said, *([said[:-2]] if said.endswith("es") else []), *([said[:-1]] if said.endswith("s") else [])]
        exact = [id_ for id_, label in self.labels.items() if label.lower() in forms]
        if exact:
            return exact
        wanted = [set(form.split()) for form in forms if form]
        return [id_ for id_, label in self.labels.items() if any(want <= set(label.lower().split()) for want in wanted)]

    def kinds(self) -> tuple[EventKind, ...] | None:
        """What its verb means, or None for one that is not known."""
        verb = self.words.get("verb", "")
        return next((kinds for en, zh, kinds in VERBS if re.search(self.say(rf"\b(?:{en})\b", zh), verb)), None)

    def happened(self) -> list[Event]:
        """The events that its name, its verb and its other name tell of."""
        ids, kinds = set(self.objects()), self.kinds() or ()
        named = self.words.get("b", "")
        others = None if re.fullmatch(NOWHERE[self.language], named) else set(self.objects("b"))
        return [
            event
            for event in self.events()
            if event.kind in kinds and ids & set(event.objects[: 2 if event.kind == "swapped" else 1])
            and (others is None or others & set(event.objects))
        ]  # fmt: skip

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

    def joined(self, names: Sequence[str]) -> str:
        """A list in words."""
        return self.say(", ", "、").join(names)

    def place(self, box_px: BoxPx | None) -> str:
        """A place in the picture in words; its numbers stand in the citation."""
        if box_px is None:
            return ""
        x, y = round((box_px[0] + box_px[2]) / 2), round((box_px[1] + box_px[3]) / 2)
        return self.say(f"at ({x}, {y}) px", f"({x}, {y})像素处")

    def span(self, event: Event) -> str:
        """When an event was."""
        if event.end_s - event.start_s <= 0.2:
            return self.shown(event.start_s)
        return self.say(f"from {self.shown(event.start_s)} to ", f"{self.shown(event.start_s)}到") + self.shown(event.end_s)

    def of_events(self, events: Sequence[Event]) -> list[Citation]:
        """Where to look for events."""
        rows = []
        for event in events:
            at = self.memory.sighting_at(event.objects[0], event.start_s + 0.05)
            rows.append(self.cited(event.start_s, None if at is None else at.box_px, event.objects[0]))
        return rows
