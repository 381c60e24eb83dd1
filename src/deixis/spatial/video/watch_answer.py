"""What `watch` answers with, and its JSON (the contract of `watch --json`). Does not know how it was found.

Times are the video's own seconds: the first frame of a file that starts at 3.2 s is at 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deixis.media import VideoInfo
from deixis.spatial.answer import Provenance
from deixis.spatial.language.prompts import Language
from deixis.spatial.video.asked import Citation
from deixis.spatial.video.detection import Event, Sighting, Track

MAX_BOXES = 200  # of a track in JSON; changes of state go first
MAX_EVENTS = 500


@dataclass(frozen=True)
class WatchAnswer:
    """The answer to a question about a video.

    `verdict` is a state, a label, a number, a time, yes, no, "absent" or "unsure". `citations`: the moments to look at.
    `cited` are the events that bear the answer, `events` all of this video in order of time, `tracks` its things.
    `complete` is False where not all of the video was read, and a note then says why.
    """

    question: str
    language: Language
    answer: str
    verdict: str
    confidence: float
    citations: tuple[Citation, ...]
    cited: tuple[Event, ...]
    events: tuple[Event, ...]
    tracks: tuple[Track, ...]
    name: str
    info: VideoInfo
    complete: bool
    frames: Mapping[str, int]  # located, same, known: how many frames were looked at in which way
    provenance: Provenance

    def with_load_ms(self, load_ms: float) -> WatchAnswer:
        """The same with the time that the model took to load."""
        return replace(self, provenance=self.provenance.with_load_ms(load_ms))

    def with_notes(self, notes: Sequence[str]) -> WatchAnswer:
        """The same with more to know of it."""
        return replace(self, provenance=replace(self.provenance, notes=(*notes, *self.provenance.notes)))

    @property
    def shown_events(self) -> tuple[Event, ...]:
        """Those that bear the answer, and as many others as are shown."""
        keys = {event.key for event in self.cited}
        others = [event for event in self.events if event.key not in keys][: MAX_EVENTS - min(len(keys), MAX_EVENTS)]
        return tuple(sorted([*self.cited, *others], key=lambda event: event.start_s))

    def to_json(self) -> dict[str, Any]:
        """See ../shared/DESIGN.md, and beside it: verdict, confidence, citations, video."""
        keys = {event.key for event in self.cited}
        labels = {track.id: track.label for track in self.tracks}
        return {
            "answer": self.answer,
            "verdict": self.verdict,
            "confidence": round(self.confidence, 4),
            "citations": [
                {
                    "picture": c.source,
                    "t_s": c.time_s,
                    "box_px": c.box_px and _rounded(c.box_px),
                    "label": labels.get(-1 if c.object is None else c.object),
                }
                for c in self.citations
            ],
            "events": [
                {**event.to_json(self.language), "bears_answer": event.key in keys} for event in self.shown_events
            ],
            "tracks": [
                {
                    "id": track.id,
                    "label": track.label,
                    "boxes": [
                        {"t_s": round(s.time_s, 3), "box_px": s.box_px and _rounded(s.box_px), "state": s.state}
                        for s in thinned(track.sightings, MAX_BOXES)
                    ],
                }
                for track in self.tracks
            ],
            "video": {
                "name": self.name,
                "width": self.info.width,
                "height": self.info.height,
                "start_s": round(self.info.start_s, 4),
                "duration_s": self.info.duration_s and round(self.info.duration_s, 4),
                "fps": self.info.fps and round(self.info.fps, 4),
                "complete": self.complete,
                "frames": dict(self.frames),
            },
            **self.provenance.to_json(),
        }  # fmt: skip


def thinned(sightings: Sequence[Sighting], most: int) -> list[Sighting]:
    """At most so many: first, last, changes of state, and of the others evenly."""
    if len(sightings) <= most:
        return list(sightings)
    keep = {0, len(sightings) - 1}
    changes = [k for k in range(1, len(sightings)) if sightings[k].state != sightings[k - 1].state]
    keep |= set(changes[: most // 2])
    rest = [k for k in range(len(sightings)) if k not in keep]
    room = max(0, most - len(keep))
    keep |= {rest[int(k * len(rest) / room)] for k in range(room)} if room else set()
    return [sightings[k] for k in sorted(keep)]


def _rounded(box_px: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in box_px]
