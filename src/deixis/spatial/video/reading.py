"""How a video gets into a ledger: surveyed, planned, located, fed; once for all questions, and again where one asks for more.

Knows the order of these steps, and what of them was done before. Does not know questions. A ledger holds a video as one plan
reads it: read by another plan it is read anew, from the index where that knows the moments; a ledger that went on with other
videos keeps what it has, and the new reading stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from deixis.media import Folder, Video, VideoSource, open_still, open_video
from deixis.media.live import SUFFIXES
from deixis.spatial.language.prompts import Language
from deixis.spatial.video.detection import Detector
from deixis.spatial.video.index import Plan, VideoIndex
from deixis.spatial.video.locating import Fed, Feeder
from deixis.spatial.video.memory import Source, SpatialMemory
from deixis.spatial.video.plan import FRAMES, adaptive_plan, even_plan
from deixis.spatial.video.survey import survey

Progress = Callable[[str, float], None]  # the step, and the share of it that is done
T = TypeVar("T")
LIVE_FPS = 1.0  # of a source without an end
_NOTES: dict[str, dict[Language, str]] = {
    "kept": {
        "en": "read before: nothing was decoded or located again",
        "zh": "此前已读过:没有再次解码或定位",
    },
    "resumed": {"en": "the ledger held a part of it: reading went on from {at:.1f} s", "zh": "台账中已有一部分:从{at:.1f}秒继续"},
    "beside": {
        "en": "the ledger went on with other videos: this reading stands beside it and is not kept there",
        "zh": "台账后来记录了其他视频:这次读取不写入台账",
    },
    "again": {
        "en": "looked again at {n} moments around what was asked after, from {a:.1f} s to {b:.1f} s",
        "zh": "围绕所问内容又看了{n}个时刻,从{a:.1f}秒到{b:.1f}秒",
    },
    "stopped": {"en": "frames ended at {at:.1f} s: the answer is about what came before", "zh": "画面在{at:.1f}秒中断"},
    "limit": {
        "en": "the source goes on, but {n} frames are the limit: read up to {at:.1f} s; --frames allows more",
        "zh": "来源仍在继续,但上限为{n}帧:读到{at:.1f}秒;可用--frames增加",
    },
    "rate": {
        "en": "the pictures' times of change do not ascend with their names: taken as one a second; --fps says otherwise",
        "zh": "图片的修改时间与名称顺序不一致:按每秒一张处理;可用--fps指定",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How a video was read: into which memory, as which source of it, by which plan (None for a source without an end)."""

    memory: SpatialMemory
    source: Source
    plan: Plan | None
    fed: Fed
    notes: tuple[str, ...]
    complete: bool


class Reader:
    """Reads one video for one question. A context manager: what it read beside the ledger ends with it."""

    def __init__(
        self,
        video: Video,
        detector: Detector,
        ledger: SpatialMemory,
        index: VideoIndex,
        language: Language,
        *,
        fps: float | None,
        frames: int | None,
        tell: Progress,
    ) -> None:
        self._video, self._detector, self._ledger, self._index = video, detector, ledger, index
        self._language, self._fps, self._frames, self._tell = language, fps, frames, tell
        self._name = getattr(detector, "name", type(detector).__qualname__)
        self._key = content_key(video)
        info = video.info
        about = {"width": info.width, "height": info.height, "duration_s": info.duration_s}
        self._number = index.video(self._key, video.name, about)
        self._settings = f"fps={fps} frames={frames}"
        self._beside: SpatialMemory | None = None
        self.timings: dict[str, float] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._beside is not None:
            self._beside.close()

    def read(self) -> Reading:
        """Everything that the plan asks for is in a memory afterwards."""
        source = self._ledger.source(self._video.name, self._key)
        if self._video.info.live:
            return self._read_live(source)
        plan = self._index.plan(self._number, self._name, self._settings)
        if plan is None:
            plan = self._timed("survey", self._planned)
            self._index.write_plan(self._number, self._name, self._settings, plan)
        elif plan.until_s is not None and source.plan == self._digest(plan) and _until(source) >= plan.until_s:
            told = (*self._of(plan), *plan.problems, self._said("kept"))
            return Reading(self._ledger, source, plan, Fed(), told, not plan.problems)
        return self._carried_out(plan, "locate", Fed())

    def again(self, reading: Reading, times_s: Sequence[float]) -> Reading:
        """The same video with more moments, which from now on belong to its plan."""
        assert reading.plan is not None
        merged = tuple(sorted({*reading.plan.times_s, *times_s}))
        note = self._said("again", n=len(times_s), a=times_s[0], b=times_s[-1])
        plan = Plan(merged, reading.plan.notes, reading.plan.problems)
        self._index.write_plan(self._number, self._name, self._settings, plan)
        more = self._carried_out(plan, "again", reading.fed)
        return replace(more, notes=tuple(dict.fromkeys([*reading.notes, *more.notes, note])))

    def _carried_out(self, plan: Plan, step: str, fed: Fed) -> Reading:
        memory, notes = self._ledger, self._of(plan)
        source = memory.source(self._video.name, self._key)
        if not memory.begin(source, self._digest(plan)):
            memory = self._beside = self._beside or SpatialMemory()
            memory.begin(memory.source(self._video.name, self._key), self._digest(plan))
            notes.append(self._said("beside"))
        source = memory.source(self._video.name, self._key)
        if source.read_until_s is not None:
            notes.append(self._said("resumed", at=source.read_until_s))
        feeder = Feeder(self._video, self._detector, self._name, memory, source, self._index, self._number, fed)
        self._timed(step, lambda: feeder.run(plan, lambda share: self._tell(step, share)))
        source = memory.source(self._video.name, self._key)
        problems = list(dict.fromkeys([*plan.problems, *(problem.text for problem in self._video.problems)]))
        if fed.stopped_s is not None:
            problems.append(self._said("stopped", at=_until(source)))
        plan = replace(plan, problems=tuple(problems), until_s=source.read_until_s)
        self._index.write_plan(self._number, self._name, self._settings, plan)
        return Reading(memory, source, plan, fed, (*notes, *problems), not problems)

    def _read_live(self, source: Source) -> Reading:
        """A source whose end is not known: frames as they come."""
        limit, fed = self._frames or FRAMES, Fed()
        feeder = Feeder(self._video, self._detector, self._name, self._ledger, source, self._index, self._number, fed)
        frames = self._video.frames(fps=self._fps or LIVE_FPS)
        self._timed("locate", lambda: feeder.run_live(frames, limit, lambda share: self._tell("locate", share)))
        notes = [problem.text for problem in self._video.problems]
        if fed.stopped_s is not None:
            notes.append(self._said("limit", n=limit, at=fed.stopped_s))
        return Reading(self._ledger, self._ledger.source(source.name, source.hash), None, fed, tuple(notes), not notes)

    def _planned(self) -> Plan:
        start_s, end_s = self._video.info.start_s, self._video.info.end_s
        assert end_s is not None
        if self._fps is not None:
            return even_plan(start_s, end_s, self._fps, self._frames)
        if not self._index.surveyed(self._number):
            self._index.write_survey(self._number, *survey(self._video, lambda share: self._tell("survey", share)))
        return adaptive_plan(start_s, end_s, self._index.spans(self._number), self._frames or FRAMES)

    def _digest(self, plan: Plan) -> str:
        """What a ledger keeps of a plan: who looked when."""
        return hashlib.sha256(json.dumps([self._name, plan.times_s]).encode()).hexdigest()

    def _timed(self, step: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        self.timings[step] = (time.perf_counter() - started) * 1000
        return done

    def _of(self, plan: Plan) -> list[str]:
        return [note[self._language] for note in plan.notes]

    def _said(self, note: str, **values: float) -> str:
        return _NOTES[note][self._language].format(**values)


def _until(source: Source) -> float:
    return -math.inf if source.read_until_s is None else source.read_until_s


def open_source(source: VideoSource, fps: float | None, language: Language, kept: bool) -> tuple[Video, list[str]]:
    """The video; a folder's pictures get times that ascend. A single picture is one where a ledger keeps it beside others."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        folder = Folder(Path(source), fps=fps)
        if fps is None:
            times = [time_s for time_s, _ in folder.listed()]
            if any(b <= a for a, b in pairwise(times)):
                return open_video(replace(folder, fps=1.0)), [_NOTES["rate"][language]]
        return open_video(folder), []
    if kept and isinstance(source, str | Path) and Path(source).suffix.lower() in SUFFIXES and Path(source).is_file():
        return open_still(source), []
    return open_video(source), []


def content_key(video: Video) -> str:
    """What makes two videos the same: a file's bytes; of an address how it begins and how long it is; what flows by is never the
    same again.
    """
    if video.info.codec == "pictures" or video.info.live:
        return hashlib.sha256(f"{video.name} {time.time_ns()}".encode()).hexdigest()
    if video.stored:
        return video.sha256
    first = next((frame.pixels.tobytes() for frame in video.frames()), b"")
    return hashlib.sha256(f"{video.name} {video.info}".encode() + first).hexdigest()
