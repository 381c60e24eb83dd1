"""`watch`: a video and a question in, an answer with moments to look at out.

Knows the order of steps: read, ask, look again where the answer lies, ask again. Does not know how each is done. The ledger
answers; what it does not understand is put to a model that knows clips, and a model that does not says so. What was read once
stays in the ledger and the index beside it: the next question about the same file decodes and locates nothing.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from deixis.errors import OptionError
from deixis.media import Video, VideoSource
from deixis.spatial.answer import Provenance
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import read_question
from deixis.spatial.run import LIMITED_NOTE, CameraLike
from deixis.spatial.video.clip_asking import ask_with_clip
from deixis.spatial.video.detection import Detector, Event, Track
from deixis.spatial.video.index import VideoIndex, index_beside
from deixis.spatial.video.locating import ModelDetector
from deixis.spatial.video.looking_again import moments_around
from deixis.spatial.video.memory import SpatialMemory
from deixis.spatial.video.reading import Progress, Reader, Reading, open_source
from deixis.spatial.video.watch_answer import WatchAnswer

if TYPE_CHECKING:
    from deixis.spatial.deixis import Deixis

_UNREAD: dict[Language, str] = {
    "en": "{n} frames' lists of objects could not be read whole",
    "zh": "{n}帧的物体列表无法完整读取",
}


class WatchOptions(TypedDict, total=False):
    """What may be said to `watch` by name."""

    fps: float | None
    frames: int | None
    memory: SpatialMemory | str | Path | None
    index: VideoIndex | None
    detector: Detector | None
    progress: Progress | None


def watch(
    deixis: Deixis,
    source: VideoSource | Video,
    question: str,
    camera: CameraLike | None = None,
    *,
    fps: float | None = None,
    frames: int | None = None,
    memory: SpatialMemory | str | Path | None = None,
    index: VideoIndex | None = None,
    detector: Detector | None = None,
    progress: Progress | None = None,
) -> WatchAnswer:
    """Answer a question about a video: a file, a folder of pictures, an address, a webcam's number.

    `fps` frames a second are located, all over the video; without it they are chosen where something changes, at most `frames`
    (default 120), and the question looks again at up to 24 more around the moments that bear its answer, where the first look was
    coarse. `memory` is an open ledger or a path to one; with a path the index lies beside it. `camera` (fx, fy, cx, cy in the
    video's pixels) adds places in metres. `detector` replaces the model's own boxes. Raises VideoError, QuestionError,
    CameraError, OptionError, or what the backend raises.
    """
    started = time.perf_counter()
    asked = read_question(question)
    if frames is not None and frames < 2:
        raise OptionError(f"frames is {frames}; expected at least 2")
    if fps is not None and not 0 < fps <= 1000:
        raise OptionError(f"fps is {fps}; expected more than 0 and at most 1000")
    with ExitStack() as opened:
        video, notes = (source, []) if isinstance(source, Video) else open_source(source, fps, asked.language, memory is not None)
        opened.callback(video.close)
        if index is None:
            beside = ":memory:" if memory is None or isinstance(memory, SpatialMemory) else index_beside(memory)
            ledger = memory if isinstance(memory, SpatialMemory) else opened.enter_context(SpatialMemory(memory or ":memory:"))
            index = VideoIndex(beside)
            opened.callback(index.close)
        else:
            ledger = memory if isinstance(memory, SpatialMemory) else opened.enter_context(SpatialMemory(memory or ":memory:"))
        finder = detector or ModelDetector(deixis, camera)
        reader = opened.enter_context(
            Reader(video, finder, ledger, index, asked.language, fps=fps, frames=frames, tell=progress or _untold)
        )
        read = reader.read()
        step = time.perf_counter()
        said = read.memory.ask(asked.text, read.source)
        if said is not None and fps is None and (more := moments_around(video, read, said)):
            read = reader.again(read, more)
            said = read.memory.ask(asked.text, read.source)
        timings = reader.timings
        timings["ask"] = (time.perf_counter() - step) * 1000 - timings.get("again", 0.0)
        notes += read.notes
        card = deixis.backend.card
        if said is None:
            step = time.perf_counter()
            (progress or _untold)("ask", 0.0)
            said, why = ask_with_clip(deixis.backend, video, asked, _events(read))
            notes += why
            timings["ask_model"] = (time.perf_counter() - step) * 1000
        if card.knows and detector is None:
            knows = card.knows if asked.language == "en" else "渲染的场景"
            notes.append(LIMITED_NOTE[asked.language].format(name=card.name, knows=knows))
        if unread := getattr(finder, "problems", 0):
            notes.append(_UNREAD[asked.language].format(n=unread))
        timings["total"] = (time.perf_counter() - started) * 1000
        offset = read.source.offset_s
        return WatchAnswer(
            question=asked.text,
            language=asked.language,
            answer=said.text,
            verdict=said.verdict,
            confidence=said.confidence,
            citations=said.citations,
            cited=tuple(_shifted(event, offset) for event in said.events),
            events=_events(read),
            tracks=_tracks(read),
            name=video.name,
            info=video.info,
            complete=read.complete,
            frames={"located": read.fed.asked, "same": read.fed.reused, "known": read.fed.known},
            provenance=Provenance(card.name, card.why, timings, tuple(notes)),
        )


def _untold(step: str, share: float) -> None:
    del step, share


def _shifted(event: Event, offset_s: float) -> Event:
    return replace(event, start_s=event.start_s - offset_s, end_s=event.end_s - offset_s)


def _events(read: Reading) -> tuple[Event, ...]:
    """Of this video, in its own time."""
    source = read.source
    until_s = source.offset_s + (source.read_until_s or 0.0)
    found = read.memory.events(source.offset_s, until_s + 1e-6)
    return tuple(_shifted(event, source.offset_s) for event in found if event.start_s >= source.offset_s - 1e-6)


def _tracks(read: Reading) -> tuple[Track, ...]:
    """Of this video, in its own time."""
    source = read.source
    low, high = source.offset_s - 1e-6, source.offset_s + (source.read_until_s or 0.0) + 1e-6
    tracks = []
    for track in read.memory.tracks():
        inside = [replace(s, time_s=s.time_s - source.offset_s) for s in track.sightings if low <= s.time_s <= high]
        if any(s.box_px is not None and s.state == "visible" for s in inside):
            tracks.append(replace(track, sightings=tuple(inside)))
    return tuple(tracks)
