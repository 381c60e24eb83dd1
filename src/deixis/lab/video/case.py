"""A clip with its truth, ready to be asked about: what benchmarks and questions read.

Knows how clip, frames and events belong together. Does not know pixels or who is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deixis.lab.video.clip import WORLD, Clip, clip_of
from deixis.lab.video.events import TrueEvent, events_of
from deixis.lab.video.truth import Frame, Seen, frames_of
from deixis.spatial.video.detection import Detection

Size = tuple[int, int]
BENCH_SIZE: Size = (320, 240)
BENCH_FPS = 5.0


@dataclass(frozen=True)
class VideoCase:
    """One clip, every frame's truth, and what happened."""

    clip: Clip
    frames: tuple[Frame, ...]
    events: tuple[TrueEvent, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """ "red cup" of each thing; look-alikes share theirs."""
        return tuple(f"{t.color} {t.category}" for t in self.clip.things)

    @property
    def size(self) -> Size:
        """Of the picture, width and height in pixels."""
        return self.clip.camera.view.width, self.clip.camera.view.height

    def history(self, i: int) -> list[Seen]:
        """Thing i in every frame."""
        return [f.things[i] for f in self.frames]

    def truth(self) -> dict[str, Any]:
        """A line of truth.jsonl, without the name of the video and the questions."""
        view = self.clip.camera.view
        camera = {"fx": round(view.focal_px, 4), "fy": round(view.focal_px, 4), "cx": view.width / 2, "cy": view.height / 2}
        things = self.clip.things
        return {
            "world": WORLD,
            "seed": self.clip.seed,
            "index": self.clip.index,
            "camera": {**camera, "width": view.width, "height": view.height, "source": "user"},
            "camera_move": self.clip.camera.move,
            "table_half_m": [round(v, 4) for v in self.clip.scene.table_half_m],
            "floor_m": round(self.clip.scene.floor_m, 4),
            "objects": [
                {"id": i, "category": t.category, "color": t.color, "label": label}
                for i, (t, label) in enumerate(zip(things, self.labels, strict=True))
            ],
            "events": [e.to_json() for e in self.events],
            "frames": [f.to_json() for f in self.frames],
        }


def case_of(seed: int, index: int, fps: float = BENCH_FPS, size: Size = BENCH_SIZE) -> VideoCase:
    """Clip ``index`` of a seed with its truth at ``fps``, without colours."""
    clip = clip_of(seed, index, size)
    frames = frames_of(clip, fps)
    return VideoCase(clip, tuple(frames), tuple(events_of(clip, frames)))


def cases(seed: int, count: int, first: int = 0, size: Size = BENCH_SIZE, fps: float = BENCH_FPS) -> Iterator[VideoCase]:
    """Cases ``first`` to ``first + count`` - 1 of a seed."""
    for index in range(first, first + count):
        yield case_of(seed, index, fps, size)


def true_detections(case: VideoCase, frame: Frame) -> list[tuple[int, Detection]]:
    """What a perfect detector would report in a frame, with the thing that each is: boxes of what shows, and labels."""
    found = []
    for i, seen in enumerate(frame.things):
        if seen.state == "visible" and seen.box_px is not None:
            found.append((i, Detection(case.labels[i], seen.box_px)))
    return found
