"""Annotated videos and contact sheets: boxes with labels and states, what happens as captions, times.

Knows watch answers and drawing. Does not know how they were found. A hidden thing is drawn where it is believed to be, dashed.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from deixis.errors import OptionError, VideoError
from deixis.geometry import BoxPx
from deixis.media import Video, VideoFrame
from deixis.spatial.answer import as_percent
from deixis.spatial.language.prompts import Language
from deixis.spatial.showing.draw import PALETTE, Sheet, framed, labelled, with_footer
from deixis.spatial.showing.lettering import Lettering, missing
from deixis.spatial.showing.saving import FORMATS, readable, save_picture
from deixis.spatial.video.detection import Event, Sighting, State, Track
from deixis.spatial.video.event_words import in_chinese
from deixis.spatial.video.watch_answer import WatchAnswer

if TYPE_CHECKING:
    from av import VideoStream

SUFFIXES = (".mp4", *FORMATS)
MAX_SIDE_PX = 960
MAX_FPS = 12.0
MAX_S = 180.0  # of an annotated video: of a longer one the stretches around events are written
MAX_TILES = 12
_CAPTION_S = 1.5  # a caption stays so long after its event
_JOIN_S = 1.5  # a box moves straight between sightings nearer than this
_AROUND_S = 2.0
_BAR, _INK, _SOFT = (24, 26, 31), (255, 255, 255, 255), (176, 182, 194, 255)
_STATES: dict[Language, dict[State, str]] = {
    "en": {"visible": "", "occluded": "hidden", "out_of_view": "out of view", "gone": "taken away"},
    "zh": {"visible": "", "occluded": "被挡住", "out_of_view": "在画面外", "gone": "被拿走"},
}


@dataclass(frozen=True)
class Drawn:
    """What is drawn of one thing at a time."""

    track: Track
    state: State
    box_px: BoxPx | None
    hidden_by: int | None


def checked_film_target(path: str | Path) -> Path:
    """A path that can be written: a video or a picture. Raises OptionError for another suffix or a missing directory."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"cannot save a watched video as {path.name!r}; expected a name that ends in {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"cannot save to {path}; expected a file in a directory that exists")
    return path


def save_watched(video: Video, answer: WatchAnswer, path: str | Path) -> None:
    """An annotated video (.mp4), or a sheet of its key frames (.png, .jpg, .webp); whole or not at all.

    Raises OptionError where the source cannot be read a second time, or for a path that cannot be written.
    """
    path = checked_film_target(path)
    if video.info.live and video.info.codec != "pictures":
        raise OptionError(f"{video.name} flows by and cannot be shown again; save a recording of it")
    if path.suffix.lower() != ".mp4":
        save_picture(contact_sheet(video, answer), path)
        return
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".mp4")
    os.close(handle)
    try:
        _write_film(video, answer, Path(draft))
        readable(Path(draft)).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def at_time(tracks: Sequence[Track], time_s: float) -> list[Drawn]:
    """Everything that is known at a time."""
    found = []
    for track in tracks:
        k = sum(sighting.time_s <= time_s + 1e-6 for sighting in track.sightings) - 1
        if k < 0:
            continue
        now = track.sightings[k]
        following = track.sightings[k + 1] if k + 1 < len(track.sightings) else None
        found.append(Drawn(track, now.state, _between(now, following, time_s), now.hidden_by))
    return found


def annotated(pixels: NDArray[np.uint8], answer: WatchAnswer, time_s: float, scale: float = 1.0) -> Image.Image:
    """A frame with its things; boxes are in pixels of the video, `scale` of which the frame has."""
    sheet = Sheet(pixels.shape[1], pixels.shape[0])
    drawn = [one for one in at_time(answer.tracks, time_s) if one.box_px is not None and one.state in ("visible", "occluded")]
    boxes: list[BoxPx] = []
    for one in drawn:
        assert one.box_px is not None
        x1, y1, x2, y2 = (value * scale for value in one.box_px)
        boxes.append((x1, y1, x2, y2))
        color = PALETTE[one.track.id % len(PALETTE)]
        if one.state == "visible":
            framed(sheet, boxes[-1], color)
        else:
            _dashed(sheet, boxes[-1], color)
    taken: list[BoxPx] = []
    for one, box in zip(drawn, boxes, strict=True):
        labelled(sheet, _caption(one, answer.language), box, PALETTE[one.track.id % len(PALETTE)], taken, boxes)
    return sheet.over(pixels)


def contact_sheet(video: Video, answer: WatchAnswer) -> Image.Image:
    """Key frames with their times: the first, where things happen, what the answer cites, the last."""
    times = key_times(answer)
    frames = list(video.frames(times=times)) if not video.info.live else _nearest(video, times)
    if not frames:
        raise VideoError(f"{video.name} has no frame left to show")
    columns = min(len(frames), 3 if len(frames) > 4 else 2)
    side = 480 if columns == 3 else 640
    tiles = []
    for time_s, frame in zip(times, frames, strict=False):
        size, scale = _size(frame.pixels, side)
        small = np.asarray(Image.fromarray(frame.pixels).resize(size, Image.Resampling.LANCZOS))
        starting = [e for e in answer.shown_events if abs(e.start_s - time_s) < 0.3]
        tiles.append(_with_bar(annotated(small, answer, time_s, scale), time_s, starting, answer.language))
    width, height = tiles[0].width, max(tile.height for tile in tiles)
    rows = math.ceil(len(tiles) / columns)
    gap = 6
    sheet = Image.new("RGB", (columns * width + (columns - 1) * gap, rows * height + (rows - 1) * gap), _BAR)
    for k, tile in enumerate(tiles):
        sheet.paste(tile, ((k % columns) * (width + gap), (k // columns) * (height + gap)))
    return with_footer(sheet, answer.question, [f"{answer.answer}  ·  {as_percent(answer.confidence)}"])


def key_times(answer: WatchAnswer) -> list[float]:
    """At most twelve moments, ascending: what bears the answer goes first, then other events, evenly."""
    start_s = answer.info.start_s
    last_s = max((s.time_s for track in answer.tracks for s in track.sightings), default=start_s)
    chosen = [start_s, last_s, *(c.time_s for c in answer.citations), *(e.start_s for e in answer.cited)]
    others = [e.start_s for e in answer.events]
    for least in (0.4, 0.0):
        room = MAX_TILES - len(_apart(chosen, 0.2))
        more = [t for t in others if all(abs(t - c) > least for c in chosen)]
        if room > 0 and more:
            chosen += [more[round(k)] for k in np.linspace(0, len(more) - 1, min(room, len(more)))]
    return _apart(chosen, 0.2)[:MAX_TILES]


def spans_shown(answer: WatchAnswer) -> list[tuple[float, float]]:
    """What an annotated video holds: all of a short one, of a long one the stretches around its events."""
    start_s, end_s = answer.info.start_s, answer.info.end_s
    if end_s is None or end_s - start_s <= MAX_S:
        return [(start_s, math.inf if end_s is None else end_s)]
    spans: list[tuple[float, float]] = []
    left = MAX_S
    for event in sorted(answer.shown_events, key=lambda event: (event not in answer.cited, event.start_s)):
        low, high = max(start_s, event.start_s - _AROUND_S), min(end_s, event.end_s + _AROUND_S)
        if high - low <= left:
            spans.append((low, high))
            left -= high - low
    joined: list[tuple[float, float]] = []
    for low, high in sorted(spans or [(start_s, start_s + MAX_S)]):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return joined


def _write_film(video: Video, answer: WatchAnswer, path: Path) -> None:
    import av

    rate = min(MAX_FPS, video.info.fps or MAX_FPS)
    with av.open(str(path), "w", format="mp4") as container:
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        stream = cast("VideoStream", container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000)))
        stream.pix_fmt, stream.bit_rate = "yuv420p", 3_000_000
        base, shift_s, last = Fraction(1, 1000), None, -1
        for low, high in spans_shown(answer):
            before_s = 0.0 if shift_s is None else last / 1000 + 1 / rate  # spans follow each other without a gap
            shift_s = None
            for frame in video.frames(from_s=low, to_s=high, fps=rate) if math.isfinite(high) else video.frames():
                image = _film_frame(frame, answer)
                if shift_s is None:
                    shift_s = frame.time_s - before_s
                if last < 0:
                    stream.width, stream.height = image.size
                raw = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
                raw.pts, raw.time_base = max(last + 1, round((frame.time_s - shift_s) * 1000)), base
                last = raw.pts
                container.mux(stream.encode(raw))
        if last < 0:
            raise VideoError(f"{video.name} has no frame left to show")
        container.mux(stream.encode())


def _film_frame(frame: VideoFrame, answer: WatchAnswer) -> Image.Image:
    size, scale = _size(frame.pixels, MAX_SIDE_PX, least=640)
    pixels = np.asarray(Image.fromarray(frame.pixels).resize(size, Image.Resampling.BICUBIC))
    now = [e for e in answer.events if e.start_s - 1e-6 <= frame.time_s <= max(e.end_s, e.start_s + _CAPTION_S)]
    image = _with_bar(annotated(pixels, answer, frame.time_s, scale), frame.time_s, now, answer.language)
    return image.crop((0, 0, image.width - image.width % 2, image.height - image.height % 2))


def _with_bar(image: Image.Image, time_s: float, events: Sequence[Event], language: Language) -> Image.Image:
    """The picture with the time and what happens on a strip of fixed height below."""
    letters = Lettering(round(max(12.0, image.width * 0.024)))
    pad = round(letters.size * 0.5)
    sheet = Image.new("RGB", (image.width, image.height + 2 * pad + 2 * letters.height), _BAR)
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    stamp = f"{time_s:.1f} s" if language == "en" else f"{time_s:.1f}秒"
    letters.draw(pen, (pad, image.height + pad), stamp, _INK)
    told = {"en": "; ", "zh": "；"}[language].join(event.description[language] for event in events)
    left = pad * 3 + letters.width("00000.0 s")
    for k, line in enumerate(letters.wrapped(told, image.width - left - pad)[:2]):
        letters.draw(pen, (left, image.height + pad + k * letters.height), line, _SOFT)
    return sheet


def _caption(one: Drawn, language: Language) -> str:
    label = in_chinese(one.track.label) if language == "zh" else one.track.label
    lost = missing(label)
    label = "".join(char for char in label if char not in lost).strip() or f"#{one.track.id}"
    state = _STATES[language][one.state]
    return f"{label} · {state}" if state else label


def _dashed(sheet: Sheet, box: BoxPx, color: tuple[int, int, int]) -> None:
    """A box of short strokes."""
    x1, y1, x2, y2 = box
    dash = max(4.0, 3 * sheet.line_px)
    for (ax, ay), (bx, by) in pairwise([(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]):
        length = math.dist((ax, ay), (bx, by))
        for k in range(int(length / (2 * dash)) + 1):
            a, b = min(1.0, 2 * k * dash / max(length, 1e-9)), min(1.0, (2 * k + 1) * dash / max(length, 1e-9))
            ends = [(ax + a * (bx - ax), ay + a * (by - ay)), (ax + b * (bx - ax), ay + b * (by - ay))]
            sheet.lines(ends, (0, 0, 0, 110), sheet.line_px + 1.2)
            sheet.lines(ends, (*color, 255), sheet.line_px)


def _between(now: Sighting, following: Sighting | None, time_s: float) -> BoxPx | None:
    if now.box_px is None or following is None or following.box_px is None or now.state != following.state:
        return now.box_px
    gap = following.time_s - now.time_s
    if not 0 < gap <= _JOIN_S:
        return now.box_px
    share = (time_s - now.time_s) / gap
    x1, y1, x2, y2 = (a + share * (b - a) for a, b in zip(now.box_px, following.box_px, strict=True))
    return x1, y1, x2, y2


def _size(pixels: NDArray[np.uint8], most: int, least: int = 0) -> tuple[tuple[int, int], float]:
    """A size within `most`, and at least `least` where the picture is smaller; with its scale."""
    longest = max(pixels.shape[:2])
    scale = min(1.0, most / longest) if longest > least else least / longest
    scale = most / longest if not least else scale
    width, height = (2 * max(1, round(side * scale / 2)) for side in (pixels.shape[1], pixels.shape[0]))
    return (width, height), width / pixels.shape[1]


def _apart(times: Sequence[float], least_s: float) -> list[float]:
    kept: list[float] = []
    for time_s in sorted(times):
        if not kept or time_s - kept[-1] >= least_s:
            kept.append(time_s)
    return kept


def _nearest(video: Video, times: Sequence[float]) -> list[VideoFrame]:
    """Of a folder, whose end is not known: the pictures at or before the times."""
    found: list[VideoFrame] = []
    last: VideoFrame | None = None
    wanted: Iterator[float] = iter(times)
    due = next(wanted, None)
    for frame in video.frames():
        while due is not None and last is not None and frame.time_s > due + 1e-6:
            found.append(last)
            due = next(wanted, None)
        last = frame
    while due is not None and last is not None:
        found.append(last)
        due = next(wanted, None)
    return found
