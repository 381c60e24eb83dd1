"""How long a video really is, and how even its frames come: from packets' timestamps at its start and its end.

Knows containers. Does not decode. Headers lie (a billion frames, no rate, the length before a cut): here they only help to find
the end quickly.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from deixis.errors import VideoError
from deixis.media.source import Input, video_stream

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

_LOOK = 120  # packets judged at each end
_REORDERED = 8
_PLAUSIBLE_FPS = (0.001, 2000.0)


@dataclass(frozen=True)
class Timeline:
    """`end_s`: when the last frame ends; None where the end cannot be reached."""

    end_s: float | None
    fps: float | None
    variable_rate: bool | None


def measure(source: Input, start_s: float) -> Timeline:
    """Read a few packets at the start and at the end; all of them (without decoding) where the container cannot seek."""
    container = source.open()
    try:
        stream = video_stream(container, source.name)
        tick_s = float(stream.time_base or 0) or 1e-6
        head = _Stamps(tick_s)
        whole = head.add(container, stream, _LOOK)
        tail = _Stamps(tick_s)
        if not whole:
            _to_the_end(container, stream, source, tail)
        count = head.count if whole else _indexed(stream, tail)
        fps = _sane(stream.guessed_rate) or _sane(stream.average_rate) or head.rate()  # a closed container's streams are gone
    finally:
        container.close()
    if not whole and not tail.count and source.kind == "file":
        container = source.open()
        try:
            tail = _Stamps(tick_s)
            tail.add(container, video_stream(container, source.name), None)
        finally:
            container.close()
        count = tail.count
    if not whole and not tail.count:
        return Timeline(None, head.rate(), head.uneven())
    ends = max(head, tail, key=lambda stamps: stamps.latest_s)
    judged = [uneven for uneven in (head.uneven(), tail.uneven()) if uneven is not None]
    variable = any(judged) if judged else None
    if not head.stamps:  # no timestamps at all: the frames' number and the rate tell
        return Timeline(start_s + (count or 0) / (fps or 25.0), fps or 25.0, None)
    if variable:
        fps = (count - 1) / (ends.latest_s - start_s) if count and count > 1 and ends.latest_s > start_s else None
    step_s = ends.duration_s or (1 / fps if fps else 0.0)
    return Timeline(ends.latest_s + step_s, fps, variable)


class _Stamps:
    """Presentation times of packets, the latest of them, and the spacing of the last few."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s = tick_s
        self.stamps: deque[int] = deque(maxlen=_LOOK)
        self.count = 0
        self.whole = False  # whether these are all packets of a file without a cut
        self.latest_s = -math.inf
        self.duration_s = 0.0

    def add(self, container: InputContainer, stream: VideoStream, limit: int | None) -> bool:
        """Read up to `limit` packets from where the container stands; whether that reached the end of what can be read."""
        import av

        packets = container.demux(stream)
        corrupt = False
        while limit is None or self.count < limit:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError):
                return True  # what cannot be read is not part of the video
            if packet is None:
                self.whole = limit is not None and not corrupt
                return True
            corrupt = corrupt or packet.is_corrupt
            if not packet.size or packet.is_discard or packet.is_corrupt:
                continue
            self.count += 1
            if packet.pts is not None:
                self.stamps.append(packet.pts)
                if packet.pts * self._tick_s > self.latest_s:
                    self.latest_s = packet.pts * self._tick_s
                    self.duration_s = (packet.duration or 0) * self._tick_s
        return False

    def _gaps(self) -> list[float]:
        ordered = sorted(self.stamps)
        if (
            not self.whole
        ):  # frames are stored in another order than they are shown in: at the ends their neighbours may be missing
            ordered = ordered[_REORDERED:-_REORDERED]
        return sorted((late - early) * self._tick_s for early, late in pairwise(ordered))

    def uneven(self) -> bool | None:
        """Whether the frames come at varying distances; None where too few are known."""
        gaps = self._gaps()
        if len(gaps) < 2:
            return None
        return gaps[-1] - gaps[0] > max(2.5 * self._tick_s, 0.25 * gaps[len(gaps) // 2])

    def rate(self) -> float | None:
        """Frames a second, by the middle distance."""
        gaps = self._gaps()
        return 1 / gaps[len(gaps) // 2] if gaps and gaps[len(gaps) // 2] > 0 else None


def _to_the_end(container: InputContainer, stream: VideoStream, source: Input, tail: _Stamps) -> None:
    """Read the packets behind the last keyframe that lies within the file."""
    import av

    entries = stream.index_entries
    stamp = 2**62
    if len(entries) and source.bytes is not None:
        low, high = 0, len(entries)
        while low < high:  # positions ascend: how many entries lie within the file
            middle = (low + high) // 2
            if entries[middle].pos + entries[middle].size <= source.bytes:
                low = middle + 1
            else:
                high = middle
        if 0 < low < len(entries):
            stamp = entries[low - 1].timestamp
    try:
        container.seek(stamp, stream=stream, backward=True)
    except (av.error.FFmpegError, VideoError):
        return
    tail.add(container, stream, None)


def _indexed(stream: VideoStream, tail: _Stamps) -> int | None:
    """The number of frames, where the index lists them all."""
    entries = stream.index_entries
    return len(entries) if tail.count and len(entries) == stream.frames else None


def _sane(rate: Fraction | None) -> float | None:
    return float(rate) if rate and _PLAUSIBLE_FPS[0] <= rate <= _PLAUSIBLE_FPS[1] else None


__all__ = ["Timeline", "measure"]
