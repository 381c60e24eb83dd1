"""Which frames of a source are looked at: every one, a rate, given times, or where the picture changes.

Knows readers and times. Does not know containers. Every function is lazy, and holds two undecoded-to-colour frames at most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deixis.media.reader import FrameReader, Still

_SAME_S = 1e-6  # below any container's tick: differences of float arithmetic
_SCENE_SIZE = (64, 36)
_BINS = 4  # a colour channel
_BLOCKS = 2  # a side: a histogram for each quarter of the picture tells movement from change


def every(reader: FrameReader, from_s: float, to_s: float) -> Iterator[Still]:
    """All frames with from_s <= time_s <= to_s."""
    reader.seek(from_s)
    while (still := reader.read()) is not None and still.time_s <= to_s + _SAME_S:
        if still.time_s >= from_s - _SAME_S:
            yield still


def at_times(reader: FrameReader, times_s: Sequence[float]) -> Iterator[Still]:
    """For each of the ascending times the frame shown then: the last that began by it, or the first frame before all of them."""
    cursor = _Cursor(reader)
    for time_s in times_s:
        if (still := cursor.shown_at(time_s)) is None:
            return
        yield still


def at_rate(reader: FrameReader, fps: float, from_s: float, to_s: float) -> Iterator[Still]:
    """The frames shown at from_s, from_s + 1/fps, … up to to_s; each at most once, however long it is shown."""
    cursor = _Cursor(reader)
    step, time_s = 0, from_s
    while time_s <= to_s + _SAME_S and (still := cursor.shown_at(time_s)) is not None:
        yield still
        if cursor.following is None:
            return
        # One division leads past a frame that stands for hours; a loop over the steps might never end.
        step = max(step + 1, math.ceil((cursor.following.time_s - from_s - _SAME_S) * fps))
        time_s = from_s + step / fps


def thinned(reader: FrameReader, fps: float, from_s: float, to_s: float) -> Iterator[Still]:
    """For live sources: the first frame in each 1/fps seconds, given as soon as it is there."""
    due = from_s
    for still in every(reader, from_s, to_s):
        if still.time_s >= due - _SAME_S:
            yield still
            due = from_s + (math.floor((still.time_s - from_s + _SAME_S) * fps) + 1) / fps


def scene_changes(reader: FrameReader, threshold: float, from_s: float, to_s: float) -> Iterator[Still]:
    """The first frame, and each whose colours differ from the frame before by more than `threshold` (0 same, 1 nothing alike)."""
    before: NDArray[np.float64] | None = None
    for still in every(reader, from_s, to_s):
        now = color_histogram(still.pixels(_SCENE_SIZE))
        if before is None or np.abs(now - before).sum() / 2 > threshold:
            yield still
        before = now


def color_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shares of 64 colours in each quarter of a picture (h, w, 3): (256,), sum 1."""
    coarse = (pixels // (256 // _BINS)).astype(np.intp)
    color = (coarse[..., 0] * _BINS + coarse[..., 1]) * _BINS + coarse[..., 2]  # (h, w)
    height, width = color.shape
    block = (np.arange(height) * _BLOCKS // height)[:, None] * _BLOCKS + np.arange(width) * _BLOCKS // width  # (h, w)
    counts = np.bincount((block * _BINS**3 + color).ravel(), minlength=_BLOCKS**2 * _BINS**3)
    return np.asarray(counts / counts.sum())


def shown_size(width: int, height: int, max_side: int | None, max_pixels: int | None, least: int) -> tuple[int, int]:
    """(width, height) with the same shape within the limits; never enlarged, and no side below `least` pixels."""
    scale = 1.0
    if max_side is not None:
        scale = min(scale, max_side / max(width, height))
    if max_pixels is not None:
        scale = min(scale, math.sqrt(max_pixels / (width * height)))
    rounded: Callable[[float], int] = round if max_pixels is None else math.floor
    return tuple(min(side, max(least, rounded(side * scale))) for side in (width, height))  # type: ignore[return-value]


class _Cursor:
    """A reader with the frame shown now and the one that follows."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self._shown = reader.read()
        self.following = reader.read()

    def shown_at(self, time_s: float) -> Still | None:
        """The last frame that began by `time_s`; the first where none has; None without any frame. Times must ascend."""
        if self._is_over(time_s) and self._reader.seek(time_s):
            # Kept in case that nothing can be read behind the keyframe: then the file is cut off there, and this was its last.
            self._shown, self.following = self.following, self._reader.read()
        while self._is_over(time_s):
            self._shown, self.following = self.following, self._reader.read()
        return self._shown

    def _is_over(self, time_s: float) -> bool:
        return self.following is not None and self.following.time_s <= time_s + _SAME_S
