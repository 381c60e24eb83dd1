"""What a source of frames is: its facts, its frames one after the other in time, and what went wrong with it.

Knows no container and no camera: `container` and `live` implement it, `sampling` chooses from it, `video` shows it to users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ProblemKind = Literal["cut_off", "broken_frames", "stopped", "times", "broken_picture", "other_size"]


@dataclass(frozen=True)
class VideoProblem:
    """Why frames are missing: `text` is one sentence for users. Everything that was read stays good.

    cut_off: ends before its header says; broken_frames: some cannot be decoded; stopped: reading broke off; times: timestamps
    that run backwards; broken_picture, other_size: pictures of a folder that were left out.
    """

    kind: ProblemKind
    text: str


class Problems:
    """The problems of one video; each kind stands once, with its latest text, however often the video is read."""

    def __init__(self) -> None:
        self._texts: dict[ProblemKind, str] = {}

    def note(self, kind: ProblemKind, text: str) -> None:
        """Add a problem, or tell it anew."""
        self._texts[kind] = text

    @property
    def found(self) -> tuple[VideoProblem, ...]:
        """All of them, in the order in which they were first noted."""
        return tuple(VideoProblem(kind, text) for kind, text in self._texts.items())


@dataclass(frozen=True)
class VideoInfo:
    """What a video is. Times are measured from its frames' timestamps, not taken from its header.

    `width` and `height` are of the upright picture with square pixels. `start_s` is the first frame's time on the container's
    own timeline, on which all times are given; `duration_s` reaches to the end of the last frame, and is None for a live source.
    `fps` is an average. `rotation_deg` is the clockwise turn that the container asks for, already applied to frames.
    `variable_rate` is judged from the start and the end of the file. `frames_claimed` is the header's number, unchecked.
    """

    width: int
    height: int
    start_s: float
    duration_s: float | None
    fps: float | None
    codec: str
    rotation_deg: int = 0
    variable_rate: bool | None = None
    frames_claimed: int | None = None
    has_audio: bool = False

    @property
    def live(self) -> bool:
        """Whether its end is not known."""
        return self.duration_s is None

    @property
    def end_s(self) -> float | None:
        """When the last frame ends, on the container's timeline."""
        return None if self.duration_s is None else self.start_s + self.duration_s


class Still(Protocol):
    """One frame that is not in colour yet."""

    @property
    def time_s(self) -> float: ...

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Upright RGB (height, width, 3) of `size` = (width, height), a fresh array."""


class FrameReader(Protocol):
    """One pass over a source. Frames come in strictly ascending time; at most a few are in memory at once."""

    @property
    def decoded(self) -> int:
        """Frames decoded so far, whether given or passed over."""

    def read(self) -> Still | None:
        """The next frame; None at the end, also where it was reached by a problem."""

    def seek(self, time_s: float) -> bool:
        """Go to a keyframe at or before `time_s`, if one lies ahead and that saves decoding. Whether it moved."""

    def close(self) -> None: ...


@runtime_checkable
class Stored(Protocol):
    """A reader of something encoded: what each frame cost to write down says where something happens, before any is decoded."""

    def sizes(self) -> Iterator[tuple[float, int, bool]]:
        """Time, bytes, and whether it is stored whole, of each frame from where the reader stands, in the order of storage."""
