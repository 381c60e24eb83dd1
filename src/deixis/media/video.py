"""A video: what it is, and its frames upright in RGB with their true times, lazily.

Knows which frames are wanted. Does not know where they come from (`opening` does), nor models. All times are on the container's
own timeline: the first frame of a file that starts at 3.2 s has time_s 3.2, which is what players show after 3.2 s of waiting.
Memory holds a few frames, however long the source. What goes wrong in the middle ends the frames or leaves some out, and stands
in `Video.problems`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deixis.errors import OptionError, VideoError
from deixis.media.picture import MIN_SIDE_PX
from deixis.media.reader import FrameReader, Problems, Still, Stored, VideoInfo, VideoProblem
from deixis.media.sampling import at_rate, at_times, every, scene_changes, shown_size, thinned

_TICK_S = 0.001  # at the very end nothing is shown any more


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One frame: its true time, upright RGB pixels (height, width, 3) uint8, read-only, and its number among those given."""

    time_s: float
    pixels: NDArray[np.uint8] = field(repr=False)
    index: int


class Video:
    """An opened video. Nothing is decoded but what `frames` is asked for; several passes are independent of one another."""

    def __init__(
        self,
        name: str,
        info: VideoInfo,
        problems: Problems,
        reader: Callable[[bool], FrameReader],
        *,
        data: Path | bytes | None = None,
        held: FrameReader | None = None,
    ) -> None:
        """Use `open_video`. `reader` starts a pass (True: keyframes alone); `held` is a live source's first pass."""
        self.name = name
        self.info = info
        self._problems = problems
        self._reader = reader
        self._data = data
        self._held = held
        self._sha256 = ""
        self._past: int = 0
        self._passes: list[FrameReader] = []

    @property
    def problems(self) -> tuple[VideoProblem, ...]:
        """What was found wrong so far; complete once the frames were read."""
        return self._problems.found

    @property
    def frames_decoded(self) -> int:
        """What all passes have cost so far."""
        return self._past + sum(reader.decoded for reader in self._passes)

    @property
    def stored(self) -> bool:
        """Whether it is a file, or a file's bytes: the same at every look."""
        return self._data is not None

    @property
    def sha256(self) -> str:
        """Of the file's bytes, read once in pieces. Raises VideoError where there is no file."""
        if not self._sha256:
            if self._data is None:
                raise VideoError(f"{self.name} is no file; only a file's bytes have a hash")
            if isinstance(self._data, bytes):
                self._sha256 = hashlib.sha256(self._data).hexdigest()
            else:
                try:
                    with self._data.open("rb") as file:
                        self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    raise VideoError(f"{self.name} cannot be read: {error.strerror or error}") from None
        return self._sha256

    def frames(
        self,
        *,
        fps: float | None = None,
        count: int | None = None,
        times: Sequence[float] | None = None,
        scene_changes: float | None = None,
        keyframes: bool = False,
        from_s: float | None = None,
        to_s: float | None = None,
        max_side: int | None = None,
        max_pixels: int | None = None,
    ) -> Iterator[VideoFrame]:
        """Frames in ascending time, lazily; all of them, or chosen by one of the first five arguments.

        fps: those shown at every 1/fps s from the start (or `from_s`), each at most once; of a live source the first that is
        new at each. count: evenly from the first to the last, each at most once. times: for each of these ascending times the
        frame shown then (before the first: the first; behind the end: the last), so that a frame may come twice. scene_changes:
        the first, and each that differs from its neighbour by more than this share of its colours (0 to 1; cuts lie above 0.3).
        keyframes: those stored whole, which cost least. from_s and to_s limit all but `times`. max_side and max_pixels shrink
        frames while they are decoded, shape kept. Raises OptionError for arguments that do not fit, VideoError where a file
        that was there has gone.
        """
        modes = {"fps": fps, "count": count, "times": times, "scene_changes": scene_changes, "keyframes": keyframes or None}
        given = [mode for mode, value in modes.items() if value is not None]
        if len(given) > 1:
            raise OptionError(f"frames are asked for by {' and '.join(given)}; expected one of them")
        for label, value, least in (
            ("fps", fps, 0),
            ("count", count, 0),
            ("max_side", max_side, 0),
            ("max_pixels", max_pixels, 0),
        ):
            if value is not None and not least < value < math.inf:
                raise OptionError(f"{label} is {value}; expected more than {least}")
        if scene_changes is not None and not 0 <= scene_changes <= 1:
            raise OptionError(f"scene_changes is {scene_changes}; expected a share of colours from 0 to 1")
        first_s = self.info.start_s if from_s is None else float(from_s)
        last_s = math.inf if to_s is None else float(to_s)
        if not first_s <= last_s:
            raise OptionError(f"frames are asked for from {first_s:g} s to {last_s:g} s; expected times that ascend")
        if times is not None:
            if from_s is not None or to_s is not None:
                raise OptionError("times says which frames; leave out from_s and to_s")
            wanted = [float(time_s) for time_s in times]
            if not all(map(math.isfinite, wanted)) or wanted != sorted(wanted):
                raise OptionError("times must be finite and ascend; sort them first")
            return self._given(lambda reader: at_times(reader, wanted), max_side, max_pixels)
        if count is not None:
            return self._given(_once(self._even_times(count, first_s, last_s)), max_side, max_pixels)
        return self._given(self._chooser(fps, scene_changes, first_s, last_s), max_side, max_pixels, keyframes=keyframes)

    def sizes(self) -> Iterator[tuple[float, int, bool]]:
        """Time, bytes and whether it is a keyframe, of each frame of a file as it is stored, without decoding any; of a source
        that is no file, nothing. Where much is written, much changes.
        """
        if self.info.live:
            return
        reader = self._reader(False)
        try:
            if isinstance(reader, Stored):
                yield from reader.sizes()
        finally:
            reader.close()

    def close(self) -> None:
        """Let go of a live source; files are open only while frames are read."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _chooser(
        self, fps: float | None, threshold: float | None, first_s: float, last_s: float
    ) -> Callable[[FrameReader], Iterator[Still]]:
        if fps is not None:
            if self.info.end_s is None:
                return lambda reader: thinned(reader, fps, first_s, last_s)
            until_s = min(last_s, self.info.end_s - _TICK_S)
            return lambda reader: at_rate(reader, fps, first_s, until_s)
        if threshold is not None:
            return lambda reader: scene_changes(reader, threshold, first_s, last_s)
        return lambda reader: every(reader, first_s, last_s)

    def _even_times(self, count: int, first_s: float, last_s: float) -> list[float]:
        if self.info.end_s is None:
            raise OptionError(f"{self.name} has no known end, so its frames cannot be spread over it; ask for fps or times")
        # The last frame begins before the end; asked for at the end it is found without knowing when.
        return [float(t) for t in np.linspace(first_s, min(last_s, self.info.end_s), count)]

    def _given(
        self,
        choose: Callable[[FrameReader], Iterator[Still]],
        max_side: int | None,
        max_pixels: int | None,
        *,
        keyframes: bool = False,
    ) -> Iterator[VideoFrame]:
        size = shown_size(self.info.width, self.info.height, max_side, max_pixels, MIN_SIDE_PX)
        if keyframes:
            self.close()
        reader, self._held = self._held or self._reader(keyframes), None
        self._passes.append(reader)
        try:
            for index, still in enumerate(choose(reader)):
                pixels = still.pixels(size)
                pixels.setflags(write=False)
                yield VideoFrame(still.time_s, pixels, index)
        finally:
            self._passes.remove(reader)
            self._past += reader.decoded
            reader.close()


def _once(times_s: Sequence[float]) -> Callable[[FrameReader], Iterator[Still]]:
    """The frames shown at ascending times, each at most once."""

    def choose(reader: FrameReader) -> Iterator[Still]:
        before: Still | None = None
        for still in at_times(reader, times_s):
            if still is not before:
                yield still
            before = still

    return choose
