"""Frames of one container, stream or camera through PyAV: true timestamps, upright, one at a time, keyframe by keyframe.

Knows FFmpeg's containers. Does not choose frames, and does not know how long a video is: `timeline` measures that. A file may
come from a stranger: only its own bytes are read (no playlists, no other protocols), and its header's counts are not believed.
PyAV is imported on first use.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deixis.media.picture import MAX_PIXELS
from deixis.media.reader import Problems
from deixis.media.source import Input, one_line, video_stream

if TYPE_CHECKING:
    from av import VideoFrame as RawFrame

_MAX_BROKEN = 300  # packets in a row that cannot be decoded: ten seconds of nothing
_MIN_GAP_S = 0.5  # nearer than this, decoding on costs no more than a seek
_FIRST_GAP_S = 4.0  # without an index: keyframes are mostly nearer to one another than this
_MAX_STRETCH = 4.0  # pixels less square than this are a broken header


@dataclass(frozen=True)
class Orientation:
    """How stored pixels are laid upright: transposed first, then mirrored left-right and top-bottom."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def of(cls, frame: RawFrame) -> Orientation:
        """From a frame's display matrix (3 × 3, 16.16; a stored point (x, y) is shown at (a·x + c·y, b·x + d·y))."""
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
        if max(abs(b), abs(c)) > max(abs(a), abs(d)):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @property
    def rotation_deg(self) -> int:
        """Clockwise, mirroring aside."""
        if self.transposed:
            return 270 if self.mirrored_y else 90
        return 180 if self.mirrored_y else 0

    def upright(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Stored (h, w, 3) -> as shown, contiguous."""
        turned = pixels.swapaxes(0, 1) if self.transposed else pixels
        return np.ascontiguousarray(turned[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1])


@dataclass(frozen=True, eq=False)
class ContainerStill:
    """A decoded frame in its own colour space."""

    time_s: float
    raw: RawFrame
    orientation: Orientation

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Upright RGB (height, width, 3); shrinking averages areas."""
        width, height = reversed(size) if self.orientation.transposed else size
        shrinks = width < self.raw.width or height < self.raw.height
        rgb = self.raw.reformat(width, height, "rgb24", interpolation="AREA" if shrinks else "BICUBIC")
        return self.orientation.upright(np.asarray(rgb.to_ndarray(), np.uint8))


class ContainerReader:
    """`FrameReader` over an `Input`. Holds what the decoder holds: its reference frames, and one frame a thread."""

    def __init__(self, source: Input, problems: Problems, *, live: bool = False, keyframes: bool = False) -> None:
        """Raises VideoError where the source cannot be opened or has no video."""
        self.decoded = 0
        self._source, self._problems = source, problems
        self._live, self._keyframes = live, keyframes
        self._open()
        rate = self.stream.guessed_rate
        self._tick_s = float(self.stream.time_base or 0) or 1e-6
        self._step_s = 1 / float(rate) if rate else 0.04  # for streams without timestamps
        self._last_s: float | None = None
        self._catching_up = False
        self._seekable = not live
        self._gap_s = _FIRST_GAP_S
        self._broken, self._backward = 0, 0

    @property
    def claims(self) -> tuple[int | None, float | None]:
        """The header's count of frames, and the time at which it says that they end."""
        stream = self.stream
        start_s = (stream.start_time or 0) * self._tick_s
        if stream.duration:
            return stream.frames or None, start_s + stream.duration * self._tick_s
        if self._container.duration and not self._container.streams.audio:  # else it may be the sound's
            return stream.frames or None, self._container.duration / 1e6  # Matroska counts it from 0, others from the start
        return stream.frames or None, None

    @property
    def format(self) -> str:
        """FFmpeg's name of the container."""
        return self._container.format.name

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec."""
        return self.stream.codec_context.name

    @property
    def rate(self) -> float | None:
        """The header's frames a second."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate else None

    @property
    def has_audio(self) -> bool:
        """Whether there is sound."""
        return bool(self._container.streams.audio)

    @property
    def metadata(self) -> dict[str, str]:
        """The container's tags."""
        return dict(self._container.metadata)

    def stretch(self) -> float:
        """Width of a stored pixel over its height."""
        ratio = float(self.stream.sample_aspect_ratio or 1)
        return ratio if 1 / _MAX_STRETCH <= ratio <= _MAX_STRETCH else 1.0

    def read(self) -> ContainerStill | None:
        """The next whole frame. Broken ones and those that run backwards in time are left out, and told of in the problems."""
        for frame in self._frames:
            self.decoded += 1
            if frame.is_corrupt:
                self._note_broken()
                continue
            time_s = self._time_of(frame)
            if self._last_s is not None and time_s <= self._last_s:
                if not self._catching_up:
                    self._backward += 1
                    text = f"{self._backward} frames whose timestamps run backwards were left out, after {self._last_s:.2f} s"
                    self._problems.note("times", text)
                continue
            self._last_s, self._catching_up = time_s, False
            return ContainerStill(time_s, frame, Orientation.of(frame))
        return None

    def seek(self, time_s: float) -> bool:
        """See `FrameReader.seek`. No frame comes twice, and none behind `time_s` comes before the one shown then."""
        import av

        position = self._last_s if self._last_s is not None else -np.inf
        if not self._seekable or time_s - position < _MIN_GAP_S or not self._keyframe_between(position, time_s):
            return False
        self._catching_up = self._last_s is not None
        back_s = 0.0
        while True:
            aim_s = max(time_s - back_s, position)
            try:
                self._container.seek(_stamp(aim_s, self._tick_s), stream=self.stream, backward=True)
                self._frames = self._decode()
                first = next(self._frames, None)
            except av.error.FFmpegError:  # no index, or a stream that only flows: decode on from where we were
                self._restart()
                return True
            if first is not None and (self._time_of(first) <= time_s or aim_s == position):
                self._gap_s *= 2 if self._time_of(first) <= position else 1
                self._frames = _behind(first, self._frames)
                return True
            if aim_s == position or aim_s < 0:
                self._restart()
                return True
            # Nothing there (cut off), or a keyframe that is shown later than it is stored.
            back_s = back_s * 4 or 1.0

    def sizes(self) -> Iterator[tuple[float, int, bool]]:
        """See `Stored.sizes`; ends where the file breaks off. Do not read frames from the same reader."""
        import av

        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                return  # reading the frames notes it
            if packet is None:
                return
            if packet.size and packet.pts is not None and not packet.is_corrupt:
                yield packet.pts * self._tick_s, packet.size, packet.is_keyframe

    def close(self) -> None:
        """Release the file and the decoder."""
        self._frames.close()
        self._container.close()

    def _open(self) -> None:
        self._container = self._source.open()
        self.stream = video_stream(self._container, self._source.name)
        codec = self.stream.codec_context
        # Frames decoded in parallel come late: for a camera only the parts of one frame are.
        codec.thread_type = "SLICE" if self._live else "AUTO"
        codec.options = {"max_pixels": str(2 * MAX_PIXELS)}  # a stream may grow after its header; decoders count margins
        if self._keyframes:
            codec.skip_frame = "NONKEY"
        self._frames = self._decode()

    def _restart(self) -> None:
        """From the beginning, where seeking failed; what was given is left out."""
        self._container.close()
        self._seekable = False
        self._open()

    def _keyframe_between(self, position: float, time_s: float) -> bool:
        """Whether a keyframe lies ahead of `position` and not behind `time_s`; a guess where the index is not whole."""
        entries = self.stream.index_entries
        if 0 < self.stream.frames <= len(entries):
            i = entries.search_timestamp(_stamp(time_s, self._tick_s))
            return i >= 0 and entries[i].timestamp * self._tick_s > position
        return time_s - position > self._gap_s

    def _decode(self) -> Generator[RawFrame]:
        """Frames from where the container stands, in the order in which they are shown."""
        import av

        packets = self._container.demux(self.stream)
        in_a_row = 0
        while in_a_row < _MAX_BROKEN:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self._problems.note(
                    "stopped", f"{self._source.name} broke off after {self._last_s or 0:.2f} s: {one_line(error)}"
                )
                with suppress(av.error.FFmpegError):  # what was read before is still in the decoder
                    yield from self.stream.decode(None)
                return
            if packet is None:
                return
            if packet.is_corrupt:  # cut off: decoding it would lose its neighbours too
                self._note_broken()
                continue
            try:
                yield from packet.decode()
                in_a_row = 0
            except av.error.EOFError:  # flushed twice
                return
            except av.error.FFmpegError:
                in_a_row += 1
                self._note_broken()
        text = f"{self._source.name} cannot be decoded after {self._last_s or 0:.2f} s ({_MAX_BROKEN} broken packets in a row)"
        self._problems.note("stopped", text)

    def _note_broken(self) -> None:
        self._broken += 1
        where = "at the start" if self._last_s is None else f"the last after {self._last_s:.2f} s"
        self._problems.note("broken_frames", f"{self._broken} broken frames were left out, {where}")

    def _time_of(self, frame: RawFrame) -> float:
        if frame.pts is not None and frame.time_base is not None:
            return float(frame.pts * frame.time_base)
        return 0.0 if self._last_s is None else self._last_s + self._step_s


def _behind(first: RawFrame, rest: Generator[RawFrame]) -> Generator[RawFrame]:
    yield first
    yield from rest


def _stamp(time_s: float, tick_s: float) -> int:
    """Whole ticks up to a time, kept within what containers can store."""
    return int(min(max(time_s / tick_s + 1e-3, -(2.0**60)), 2.0**60))
