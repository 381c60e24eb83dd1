"""The things of each planned moment: from the index where they are known, else from a detector; fed into the ledger in order.

Knows plans, the index, frames and detectors. Does not know questions. A frame that looks like the one located before it is not
located again. What was fed stays: broken off at any moment, the next run goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deixis.errors import GeometryError, PictureError
from deixis.media import Video, VideoFrame
from deixis.media.sampling import shown_size
from deixis.spatial.run import CameraLike
from deixis.spatial.scene import EVERYTHING
from deixis.spatial.video.detection import Detection, Detector, appearance_of
from deixis.spatial.video.index import Look, Plan, VideoIndex
from deixis.spatial.video.memory import Source, SpatialMemory
from deixis.spatial.video.survey import SAME, SIDE_PX, Tell, change, thumbnail

if TYPE_CHECKING:
    from deixis.spatial.deixis import Deixis


# Of 34 boxes of nano's below this 28 were wrong, most of them shadows of what moves; of 598 above it 29 (three rendered clips, of
# which one took no part in the choice). A thing that is missed now and then stays known; one that never was moves and hides.
LEAST_SCORE = 0.7


class ModelDetector:
    """The model's own boxes: it is asked for all objects of a frame. With a camera also for their places in metres.

    Boxes of which the embedded checkpoint is not sure are left out; what other models' scores are worth is not known.
    """

    def __init__(self, deixis: Deixis, camera: CameraLike | None = None) -> None:
        self._deixis, self._camera = deixis, camera
        card = deixis.backend.card
        self.name = f"{card.name} {card.identity}".strip() + ("" if camera is None else f" camera {camera}")
        self._least = LEAST_SCORE if card.knows else 0.0
        self.problems = 0  # frames whose answer could not be read whole

    def __call__(self, pixels: NDArray[np.uint8], time_s: float) -> list[Detection]:
        """See `Detector`."""
        del time_s
        found = self._deixis.locate(
            Image.fromarray(pixels), EVERYTHING["en"], three_d=self._camera is not None, camera=self._camera
        )
        self.problems += bool(found.provenance.problems)
        detections = []
        for item in found.objects:
            place = None if self._camera is None or item.box_3d is None else item.box_3d.center_m
            score = 1.0 if item.score is None else item.score
            if score < self._least:
                continue
            try:
                detections.append(
                    Detection(
                        item.label, item.box_px, score, appearance_of(pixels, item.box_px),
                        None if place is None else (float(place[0]), float(place[1]), float(place[2])),
                    )
                )  # fmt: skip
            except (GeometryError, PictureError):  # a box without an area says nothing
                self.problems += 1
        return detections


@dataclass
class Fed:
    """What a run did: `asked` frames were located, `reused` looked as before, `known` were in the index. Mutable."""

    asked: int = 0
    reused: int = 0
    known: int = 0
    locate_ms: float = 0.0
    stopped_s: float | None = None  # where frames ended before the plan did


class Feeder:
    """Brings one video's moments into a ledger."""

    def __init__(
        self,
        video: Video,
        detector: Detector,
        name: str,
        memory: SpatialMemory,
        source: Source,
        index: VideoIndex,
        number: int,
        fed: Fed,
    ) -> None:
        """`name` says which detector it is, `number` which video of the index; `fed` goes on counting."""
        self._video, self._detector, self._name = video, detector, name
        self._memory, self._source, self._index, self._number = memory, source, index, number
        self._size = (video.info.width, video.info.height)
        self._thumb: NDArray[np.float64] | None = None
        self._last: tuple[Detection, ...] = ()
        self.fed = fed

    def run(self, plan: Plan, tell: Tell) -> None:
        """All moments of a plan, in order."""
        known = self._index.looks(self._number, self._name, plan.times_s)
        self.fed.known = self.fed.known or len(known)
        missing = [t for t in plan.times_s if t not in known]
        frames = self._video.frames(times=missing) if missing else iter(())
        for k, wanted_s in enumerate(plan.times_s):
            look = known.get(wanted_s)
            if look is None:
                frame = next(frames, None)
                if frame is None:
                    self.fed.stopped_s = wanted_s
                    break
                look = self._looked(frame, wanted_s)
                self._index.write_look(self._number, self._name, look)
            self._feed(look)
            tell((k + 1) / len(plan.times_s))

    def run_live(self, frames: Iterable[VideoFrame], limit: int, tell: Tell) -> None:
        """Frames as they come, at most so many."""
        for k, frame in enumerate(frames):
            look = self._looked(frame, frame.time_s)
            self._index.write_look(self._number, self._name, look)
            self._feed(look)
            tell((k + 1) / limit)
            if k + 1 >= limit:
                self.fed.stopped_s = frame.time_s
                break

    def _looked(self, frame: VideoFrame, wanted_s: float) -> Look:
        thumb = thumbnail(_small(frame.pixels))
        if self._thumb is not None and self._thumb.shape == thumb.shape and change(self._thumb, thumb) < SAME / 2:
            self.fed.reused += 1
            return Look(wanted_s, frame.time_s, self._last, True)
        started = time.perf_counter()
        self._last, self._thumb = tuple(self._detector(frame.pixels, frame.time_s)), thumb
        self.fed.locate_ms += (time.perf_counter() - started) * 1000
        self.fed.asked += 1
        return Look(wanted_s, frame.time_s, self._last)

    def _feed(self, look: Look) -> None:
        at_s = look.wanted_s if look.reused else look.time_s  # a frame that stands for minutes is seen at each of them
        self._memory.observe(at_s, look.detections, self._size, self._source)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As a survey sees it."""
    size = shown_size(pixels.shape[1], pixels.shape[0], SIDE_PX, None, 1)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def shown(video: Video, times_s: Sequence[float], max_pixels: int) -> Iterator[VideoFrame]:
    """Frames for a model that sees clips: each once, small."""
    last_s = None
    for frame in video.frames(times=times_s, max_pixels=max_pixels):
        if frame.time_s != last_s:
            yield frame
        last_s = frame.time_s
