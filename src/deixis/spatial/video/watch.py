"""`watch`: a video and a question in, an answer with moments to look at out.

Knows the order of steps: survey, plan, locate, remember, ask. Does not know how each is done. The ledger answers; what it does
not understand is put to a model that knows clips, and a model that does not says so. What was read once stays in the ledger and
the index beside it: the next question about the same file decodes and locates nothing.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from deixis.errors import OptionError
from deixis.media import Folder, Video, VideoSource, open_video
from deixis.spatial.answer import Provenance
from deixis.spatial.language.prompts import Language
from deixis.spatial.language.reading import read_question
from deixis.spatial.run import LIMITED_NOTE, CameraLike
from deixis.spatial.video.asking import MemoryAnswer
from deixis.spatial.video.clip_asking import ask_with_clip
from deixis.spatial.video.detection import Detector, Event, Track
from deixis.spatial.video.index import Plan, VideoIndex, index_beside
from deixis.spatial.video.locating import Fed, Feeder, ModelDetector
from deixis.spatial.video.memory import Source, SpatialMemory
from deixis.spatial.video.plan import FRAMES, adaptive_plan, even_plan
from deixis.spatial.video.survey import survey
from deixis.spatial.video.watch_answer import WatchAnswer

if TYPE_CHECKING:
    from deixis.spatial.deixis import Deixis

Progress = Callable[[str, float], None]  # the step, and the share of it that is done
LIVE_FPS = 1.0  # of a source without an end
_WHAT_HAPPENED = re.compile(
    r"^(?:what (?:happens|happened|is happening|events? (?:are|were) there)|describe (?:the video|what happens)|"
    r"list (?:all )?(?:the )?events)\b|发生了?(?:什么|哪些)|有哪些事件|描述.{0,4}视频",
    re.IGNORECASE,
)
_NOTES: dict[str, dict[Language, str]] = {
    "kept": {
        "en": "read before: nothing was decoded or located again",
        "zh": "此前已读过:没有再次解码或定位",
    },
    "resumed": {"en": "the ledger held a part of it: reading went on from {at:.1f} s", "zh": "台账中已有一部分:从{at:.1f}秒继续"},
    "stopped": {"en": "frames ended at {at:.1f} s: the answer is about what came before", "zh": "画面在{at:.1f}秒中断"},
    "limit": {
        "en": "the source goes on, but {n} frames are the limit: read up to {at:.1f} s; --frames allows more",
        "zh": "来源仍在继续,但上限为{n}帧:读到{at:.1f}秒;可用--frames增加",
    },
    "unread": {"en": "{n} frames' lists of objects could not be read whole", "zh": "{n}帧的物体列表无法完整读取"},
    "rate": {
        "en": "the pictures' times of change do not ascend with their names: taken as one a second; --fps says otherwise",
        "zh": "图片的修改时间与名称顺序不一致:按每秒一张处理;可用--fps指定",
    },
}  # fmt: skip


class WatchOptions(TypedDict, total=False):
    """What may be said to `watch` by name."""

    fps: float | None
    frames: int | None
    memory: SpatialMemory | str | Path | None
    index: VideoIndex | None
    detector: Detector | None
    progress: Progress | None


@dataclass(frozen=True)
class Reading:
    """How a video was read into a ledger."""

    source: Source
    fed: Fed
    notes: tuple[str, ...]
    complete: bool


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
    (default 120). `memory` is an open ledger or a path to one; with a path the index lies beside it. `camera` (fx, fy, cx, cy in
    the video's pixels) adds places in metres. `detector` replaces the model's own boxes. Raises VideoError, QuestionError,
    CameraError, OptionError, or what the backend raises.
    """
    started = time.perf_counter()
    asked = read_question(question)
    if frames is not None and frames < 2:
        raise OptionError(f"frames is {frames}; expected at least 2")
    if fps is not None and not 0 < fps <= 1000:
        raise OptionError(f"fps is {fps}; expected more than 0 and at most 1000")
    tell = progress or _untold
    with ExitStack() as opened:
        video, notes = (source, []) if isinstance(source, Video) else open_source(source, fps, asked.language)
        opened.callback(video.close)
        if index is None:
            beside = ":memory:" if memory is None or isinstance(memory, SpatialMemory) else index_beside(memory)
            ledger = memory if isinstance(memory, SpatialMemory) else opened.enter_context(SpatialMemory(memory or ":memory:"))
            index = VideoIndex(beside)
            opened.callback(index.close)
        else:
            ledger = memory if isinstance(memory, SpatialMemory) else opened.enter_context(SpatialMemory(memory or ":memory:"))
        timings: dict[str, float] = {}
        finder = detector or ModelDetector(deixis, camera)
        read = _read(video, finder, ledger, index, asked.language, fps, frames, tell, timings)
        notes += read.notes
        step = time.perf_counter()
        said = ledger.ask(asked.text)
        if said is None and _WHAT_HAPPENED.search(asked.text):
            said = _what_happened(ledger, read.source, asked.language)
        timings["ask"] = (time.perf_counter() - step) * 1000
        card = deixis.backend.card
        if said is None:
            step = time.perf_counter()
            tell("ask", 0.0)
            events = _events(ledger, read.source)
            said, why = ask_with_clip(deixis.backend, video, asked, events)
            notes += why
            timings["ask_model"] = (time.perf_counter() - step) * 1000
        if card.knows and detector is None:
            knows = card.knows if asked.language == "en" else "渲染的场景"
            notes.append(LIMITED_NOTE[asked.language].format(name=card.name, knows=knows))
        if unread := getattr(finder, "problems", 0):
            notes.append(_NOTES["unread"][asked.language].format(n=unread))
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
            events=_events(ledger, read.source),
            tracks=_tracks(ledger, read.source),
            name=video.name,
            info=video.info,
            complete=read.complete,
            frames={"located": read.fed.asked, "same": read.fed.reused, "known": read.fed.known},
            provenance=Provenance(card.name, card.why, timings, tuple(notes)),
        )


def _untold(step: str, share: float) -> None:
    del step, share


def open_source(source: VideoSource, fps: float | None, language: Language) -> tuple[Video, list[str]]:
    """The video; a folder's pictures get times that ascend."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        folder = Folder(Path(source), fps=fps)
        if fps is None:
            times = [time_s for time_s, _ in folder.listed()]
            if any(b <= a for a, b in pairwise(times)):
                return open_video(replace(folder, fps=1.0)), [_NOTES["rate"][language]]
        return open_video(folder), []
    return open_video(source), []


def _read(
    video: Video,
    detector: Detector,
    ledger: SpatialMemory,
    index: VideoIndex,
    language: Language,
    fps: float | None,
    frames: int | None,
    tell: Progress,
    timings: dict[str, float],
) -> Reading:
    """Everything that the plan asks for is in the ledger afterwards."""
    info = video.info
    key = content_key(video)
    name = getattr(detector, "name", type(detector).__qualname__)
    number = index.video(key, video.name, {"width": info.width, "height": info.height, "duration_s": info.duration_s})
    source = ledger.source(video.name, key)
    settings = f"fps={fps} frames={frames}"
    plan = index.plan(number, name, settings)
    feeder = Feeder(video, detector, name, ledger, source, index, number)
    notes: list[str] = []
    if plan is not None and plan.until_s is not None and (source.read_until_s or -math.inf) >= plan.until_s:
        told = (*plan.notes, *plan.problems, _NOTES["kept"][language])
        return Reading(source, feeder.fed, told, not plan.problems)
    if source.read_until_s is not None:
        notes.append(_NOTES["resumed"][language].format(at=source.read_until_s))
    if info.live:
        return _read_live(video, feeder, ledger, source, language, fps, frames, tell, timings)
    if plan is None:
        started = time.perf_counter()
        plan = _planned(video, index, number, fps, frames, language, lambda share: tell("survey", share))
        index.write_plan(number, name, settings, plan)
        timings["survey"] = (time.perf_counter() - started) * 1000
    started = time.perf_counter()
    feeder.run(plan, lambda share: tell("locate", share))
    timings["locate"] = (time.perf_counter() - started) * 1000
    source = ledger.source(video.name, key)
    problems = [problem.text for problem in video.problems]
    if feeder.fed.stopped_s is not None:
        problems.append(_NOTES["stopped"][language].format(at=source.read_until_s or 0.0))
    plan = replace(plan, problems=tuple(problems), until_s=source.read_until_s)
    index.write_plan(number, name, settings, plan)
    return Reading(source, feeder.fed, (*plan.notes, *problems, *notes), not problems)


def _read_live(
    video: Video,
    feeder: Feeder,
    ledger: SpatialMemory,
    source: Source,
    language: Language,
    fps: float | None,
    frames: int | None,
    tell: Progress,
    timings: dict[str, float],
) -> Reading:
    """A source whose end is not known: frames as they come."""
    started, limit = time.perf_counter(), frames or FRAMES
    rate = fps or LIVE_FPS
    feeder.run_live(video.frames(fps=rate), limit, lambda share: tell("locate", share))
    timings["locate"] = (time.perf_counter() - started) * 1000
    notes = [problem.text for problem in video.problems]
    stopped = feeder.fed.stopped_s
    if stopped is not None:
        notes.append(_NOTES["limit"][language].format(n=limit, at=stopped))
    return Reading(ledger.source(source.name, source.hash), feeder.fed, tuple(notes), not notes)


def _planned(
    video: Video,
    index: VideoIndex,
    number: int,
    fps: float | None,
    frames: int | None,
    language: Language,
    tell: Callable[[float], None],
) -> Plan:
    start_s, end_s = video.info.start_s, video.info.end_s
    assert end_s is not None
    if fps is not None:
        return even_plan(start_s, end_s, fps, frames, language)
    if not index.surveyed(number):
        index.write_survey(number, *survey(video, tell))
    return adaptive_plan(start_s, end_s, index.spans(number), frames or FRAMES, language)


def content_key(video: Video) -> str:
    """What makes two videos the same: a file's bytes; else the name and the moment, for what flows by is never the same."""
    if video.info.codec == "pictures" or video.info.live:
        return hashlib.sha256(f"{video.name} {time.time_ns()}".encode()).hexdigest()
    return video.sha256


def _shifted(event: Event, offset_s: float) -> Event:
    return replace(event, start_s=event.start_s - offset_s, end_s=event.end_s - offset_s)


def _events(ledger: SpatialMemory, source: Source) -> tuple[Event, ...]:
    """Of this video, in its own time."""
    until_s = source.offset_s + (source.read_until_s or 0.0)
    found = ledger.events(source.offset_s, until_s + 1e-6)
    return tuple(_shifted(event, source.offset_s) for event in found if event.start_s >= source.offset_s - 1e-6)


def _tracks(ledger: SpatialMemory, source: Source) -> tuple[Track, ...]:
    """Of this video, in its own time."""
    low, high = source.offset_s - 1e-6, source.offset_s + (source.read_until_s or 0.0) + 1e-6
    tracks = []
    for track in ledger.tracks():
        inside = [replace(s, time_s=s.time_s - source.offset_s) for s in track.sightings if low <= s.time_s <= high]
        if any(s.box_px is not None and s.state == "visible" for s in inside):
            tracks.append(replace(track, sightings=tuple(inside)))
    return tuple(tracks)


def _what_happened(ledger: SpatialMemory, source: Source, language: Language) -> MemoryAnswer:
    """All events in order, the first of them in words."""
    events = [replace(e, start_s=e.start_s + source.offset_s, end_s=e.end_s + source.offset_s) for e in _events(ledger, source)]
    if not events:
        return MemoryAnswer({"en": "Nothing happened.", "zh": "什么也没有发生。"}[language], "nothing", 0.7, language=language)
    told = [f"{event.start_s - source.offset_s:.1f} s: {event.description[language]}" for event in events[:8]]
    more = len(events) - len(told)
    rest = "" if not more else {"en": f"; and {more} more", "zh": f";另有{more}件"}[language]
    sure = min(event.confidence for event in events)
    return MemoryAnswer("; ".join(told) + rest, f"{len(events)}", sure, (), tuple(events), language)
