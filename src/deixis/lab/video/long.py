"""A video of hours in which little happens: one desk, a few happenings, and long stretches in which nothing moves.

Knows how rest is stretched: what happens is rendered and filmed as always, and between two happenings the last picture stands,
at a low rate and in a light that drifts slowly. True times are known for every event. Does not know who watches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deixis.errors import OptionError
from deixis.lab.scene import Placed, Scene, furnished_room
from deixis.lab.video.case import VideoCase, true_detections
from deixis.lab.video.clip import THINGS_FROM, Clip, set_up
from deixis.lab.video.events import TrueEvent, events_of
from deixis.lab.video.happenings import HAPPENINGS
from deixis.lab.video.truth import frames_of
from deixis.spatial.video.detection import Detection, Detector

FPS = 10.0  # where something happens
STILL_FPS = 1.0
GOP = 120  # frames: two minutes of rest
PLANTED = ("roll", "push", "take_out", "put_in", "cover", "carry", "take_away", "reveal", "carry_along", "swap", "drop")
REST_S = 2.0  # of real rest between two happenings; the stretched one is cut in at its middle
LIGHT = 0.02  # how far the light drifts
LIGHT_S = 3_600.0


@dataclass(frozen=True)
class Planted:
    """One happening: its kind, and when it begins and ends in the long video."""

    kind: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class LongCase:
    """A short case and how it is stretched: at clip time ``cuts_s[i]`` the picture stands for ``stills_s[i]``."""

    case: VideoCase
    cuts_s: tuple[float, ...]
    stills_s: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Of the long video."""
        return self.case.frames[-1].time_s + sum(self.stills_s)

    def stretched(self, clip_s: float) -> float:
        """The time in the long video of a time in the clip."""
        return clip_s + sum(still for cut, still in zip(self.cuts_s, self.stills_s, strict=True) if cut < clip_s)

    def clip_time(self, time_s: float) -> float:
        """The time in the clip that is shown at a time of the long video."""
        for cut, still in zip(self.cuts_s, self.stills_s, strict=True):
            if time_s <= cut:
                break
            time_s = max(cut, time_s - still)
        return time_s

    @property
    def planted(self) -> tuple[Planted, ...]:
        """What was done, in order of time."""
        return tuple(Planted(d.kind, self.stretched(d.start_s), self.stretched(d.end_s)) for d in self.case.clip.deeds)

    def events_of(self, planted: Planted) -> list[TrueEvent]:
        """The events that show while it is done, in the clip's own time."""
        low, high = self.clip_time(planted.start_s) - 0.2, self.clip_time(planted.end_s) + 0.2
        return [e for e in self.case.events if e.shown and low <= e.start_s <= high]

    def detector(self) -> Detector:
        """The truth's own boxes, whatever the picture."""
        times = np.array([frame.time_s for frame in self.case.frames])

        def truth(pixels: NDArray[np.uint8], time_s: float) -> Sequence[Detection]:
            del pixels
            k = int(np.abs(times - self.clip_time(time_s)).argmin())
            return [detection for _, detection in true_detections(self.case, self.case.frames[k])]

        return truth


def long_case(seed: int, happenings: int, seconds: float, size: tuple[int, int]) -> tuple[LongCase, list[NDArray[np.uint8]]]:
    """A video of ``seconds`` with so many happenings spread over it, and the pictures of its clip, one a frame.

    Raises OptionError where it is too short for them.
    """
    rng = np.random.default_rng([seed, 77])
    while True:
        director, floor_m, bounce = set_up(rng, "put_in", "still", size, 1e6)
        director.wait(REST_S)
        for turn in range(4 * happenings):
            if len(director.deeds) == happenings:
                break
            first = [PLANTED[(len(director.deeds) + turn) % len(PLANTED)], *rng.permutation(PLANTED).tolist()]
            if any(HAPPENINGS[name](director) for name in first):
                director.wait(REST_S)
        if len(director.deeds) == happenings:
            break
    poses = [director.stage.pose(i) for i in range(len(director.things))]
    placed = tuple(Placed(t, p, r) for t, (p, r) in zip(director.things, poses, strict=True))
    scene = Scene(THINGS_FROM, director.stage.table_half_m, floor_m, placed)
    room = furnished_room(scene, rng)
    clip = Clip(seed, 0, scene, room, director.camera, director.stage.motion(), tuple(director.deeds), bounce)
    pictures: list[NDArray[np.uint8]] = []
    frames = frames_of(clip, FPS, pictures=pictures)
    case = VideoCase(clip, tuple(frames), tuple(events_of(clip, frames)))
    left = seconds - frames[-1].time_s
    if left < 10 * happenings:
        raise OptionError(f"{seconds:g} s are too short for {happenings} happenings: they take {frames[-1].time_s:.0f} s")
    cuts = [d.start_s - REST_S / 2 for d in clip.deeds] + [frames[-1].time_s - 0.3]
    shares = rng.uniform(0.5, 1.5, len(cuts))
    stills = left * shares / shares.sum()
    return LongCase(case, tuple(cuts), tuple(float(s) for s in stills)), pictures


def write_long(path: Path, case: LongCase, pictures: Sequence[NDArray[np.uint8]]) -> int:
    """The long video as MPEG-4 with true times; returns the number of its frames."""
    import av

    base = Fraction(1, 1000)
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=int(FPS))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", GOP
        stream.options = {"preset": "ultrafast", "crf": "24"} if stream.codec_context.name == "libx264" else {}
        stream.codec_context.time_base = base

        def put(picture: NDArray[np.uint8], time_s: float) -> None:
            gain = 1 + LIGHT * np.sin(2 * np.pi * time_s / LIGHT_S)
            table = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(table[picture], format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), base
            container.mux(stream.encode(frame))

        stills = list(zip(case.cuts_s, case.stills_s, strict=True))
        for frame, picture in zip(case.case.frames, pictures, strict=True):
            if stills and frame.time_s > stills[0][0]:
                cut, still = stills.pop(0)
                begun = case.stretched(cut)
                for k in range(1, int(still * STILL_FPS)):
                    put(picture, begun + k / STILL_FPS)
                    count += 1
            put(picture, case.stretched(frame.time_s))
            count += 1
        container.mux(stream.encode())
    return count
