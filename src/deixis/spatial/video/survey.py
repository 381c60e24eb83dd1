"""Where in a video something changes, found without a model: small pictures compared, and the sizes of stored frames.

Knows pixels of thumbnails and bytes. Does not know things. A short video is read once at a low rate. Of a long one only keyframes
are decoded; between two that differ, and where more bytes than usual were stored, it is read at that rate. What moves between two
keyframes, leaves all as it was and costs no bytes is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deixis.media import Video
from deixis.spatial.video.index import Sample, Span

Array = NDArray[np.float64]
Tell = Callable[[float], None]  # the share that is done, 0 to 1

SIDE_PX = 96  # of thumbnails, the longer side
RATE = 5.0  # thumbnails a second where all are read
LONG_S = 600.0  # from here on keyframes are read first
SAME = 0.012  # change of a block's mean below which two pictures are the same: noise and encoding
_BLOCK_PX = 8
_PAD_S = 0.6  # before and after a change: a tracker needs to see what was at rest
_NEAR_S = 2.0  # spans nearer to each other are one
_BIN_S = 1.0
_BURST, _BURST_SHARE = 6.0, 0.04  # deviations above the usual bytes a second, and at least this share of a keyframe
_MOST_READ_S = 3_600.0  # of the spans: beyond, those that change most are read, the others stay as they are


def thumbnail(pixels: NDArray[np.uint8]) -> Array:
    """Mean colours of 8 × 8 blocks of a small picture (h, w, 3), 0 to 1: (rows, columns, 3)."""
    rows, columns = max(1, pixels.shape[0] // _BLOCK_PX), max(1, pixels.shape[1] // _BLOCK_PX)
    edges = [np.linspace(0, size, n, endpoint=False).astype(int) for size, n in zip(pixels.shape, (rows, columns), strict=False)]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float64), edges[0], axis=0), edges[1], axis=1)
    areas = np.outer(np.diff([*edges[0], pixels.shape[0]]), np.diff([*edges[1], pixels.shape[1]]))
    blocks: Array = sums / areas[..., None] / 255
    return blocks


def change(before: Array, now: Array) -> float:
    """Of the block that changed most, once what all changed alike (the light) is taken out; with that, where all is new."""
    step = now - before
    light = np.median(step, axis=(0, 1))
    return float(np.abs(step - light).mean(axis=2).max())


def look_of(thumb: Array) -> int:
    """64 bits: which of neighbouring places is brighter. Pictures that look alike differ in few."""
    grey = thumb.mean(axis=2)
    rows = np.linspace(0, grey.shape[0] - 1, 8).round().astype(int)
    columns = np.linspace(0, grey.shape[1] - 1, 9).round().astype(int)
    small = grey[np.ix_(rows, columns)]
    return int("".join("1" if bit else "0" for bit in (small[:, 1:] > small[:, :-1]).ravel()), 2)


def survey(video: Video, tell: Tell | None = None) -> tuple[list[Sample], list[Span]]:
    """Samples in order of time, and the spans in which something changes, padded. Memory grows with neither's pictures."""
    tell = tell or _untold
    end_s, start_s = video.info.end_s, video.info.start_s
    assert end_s is not None
    if end_s - start_s <= LONG_S:
        samples = list(_samples(video, Span(start_s, end_s), tell))
        return samples, merged(_changed(samples), start_s, end_s)
    samples, before, suspects = [], None, burst_spans(video.sizes())
    for frame in video.frames(keyframes=True, max_side=SIDE_PX):
        thumb = thumbnail(frame.pixels)
        differs = 0.0 if before is None else change(before, thumb)
        if differs > SAME:
            suspects.append(Span(samples[-1].time_s, frame.time_s, differs))
        samples.append(Sample(frame.time_s, look_of(thumb), differs))
        before = thumb
        tell(0.5 * (frame.time_s - start_s) / (end_s - start_s))
    # What differs is read again; a span without bursts that was found by its ends holds the change somewhere.
    spans: list[Span] = []
    read_s = 0.0
    for suspect in sorted(_narrowed(suspects, start_s, end_s), key=lambda span: -span.change):
        read_s += suspect.seconds
        if read_s > _MOST_READ_S:
            spans.append(suspect)
            continue
        finer = list(_samples(video, suspect, _untold))
        samples += finer[1:]
        spans += _changed(finer)
        tell(0.5 + 0.5 * min(1.0, read_s / _MOST_READ_S))
    return sorted(samples, key=lambda sample: sample.time_s), merged(spans, start_s, end_s)


def burst_spans(sizes: Iterable[tuple[float, int, bool]]) -> list[Span]:
    """Seconds in which more was stored than usual. `sizes` as `Video.sizes` gives them; keyframes alone tell nothing."""
    bins: dict[int, int] = {}
    whole: list[int] = []
    for time_s, size, key in sizes:
        if key:
            whole.append(size)
        else:
            at = int(time_s // _BIN_S)
            bins[at] = bins.get(at, 0) + size
    if not bins or not whole:
        return []
    values = np.array(list(bins.values()), np.float64)
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    least = usual + max(_BURST * spread, _BURST_SHARE * float(np.median(whole)))
    return [Span(at * _BIN_S, (at + 1) * _BIN_S, 1.0) for at, value in sorted(bins.items()) if value > least]


def merged(spans: Sequence[Span], start_s: float, end_s: float, pad_s: float = _PAD_S) -> list[Span]:
    """Padded, kept within the video, and joined where they touch or nearly do; in order of time."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start_s):
        low, high = max(start_s, span.start_s - pad_s), min(end_s, span.end_s + pad_s)
        if out and low - out[-1].end_s <= _NEAR_S:
            out[-1] = Span(out[-1].start_s, max(out[-1].end_s, high), max(out[-1].change, span.change))
        elif high > low:
            out.append(Span(low, high, span.change))
    return out


def _narrowed(suspects: Sequence[Span], start_s: float, end_s: float) -> list[Span]:
    """Where bursts tell when it happened between two keyframes that differ, they stand for these."""
    bursts = [span for span in suspects if span.seconds <= _BIN_S]
    others = [
        span for span in suspects
        if span.seconds > _BIN_S and not any(b.start_s < span.end_s and b.end_s > span.start_s for b in bursts)
    ]  # fmt: skip
    return merged([*bursts, *others], start_s, end_s, 1.5)


def _samples(video: Video, span: Span, tell: Tell) -> Iterator[Sample]:
    before: Array | None = None
    # The frame before the span may stand for long: it is what the first change is measured against.
    for frame in video.frames(fps=RATE, from_s=span.start_s, to_s=span.end_s, max_side=SIDE_PX):
        thumb = thumbnail(frame.pixels)
        yield Sample(frame.time_s, look_of(thumb), 0.0 if before is None else change(before, thumb))
        before = thumb
        tell((frame.time_s - span.start_s) / max(span.seconds, 1e-9))


def _untold(share: float) -> None:
    del share


def _changed(samples: Sequence[Sample]) -> list[Span]:
    return [
        Span(max(a.time_s, b.time_s - 2 / RATE), b.time_s, b.change) for a, b in pairwise(samples) if b.change > SAME
    ]  # a frame that stood for long changed only at its end
