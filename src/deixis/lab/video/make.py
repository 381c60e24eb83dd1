"""Videos with their truth: what ``deixis lab make --world video`` writes.

Knows the way from a seed to an .mp4, its truth and its questions. Does not know models.
"""

import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deixis.errors import OptionError
from deixis.lab.video.case import VideoCase
from deixis.lab.video.clip import clip_of
from deixis.lab.video.events import events_of
from deixis.lab.video.questions import ask_about
from deixis.lab.video.truth import frames_of

FPS = 10.0
KBIT_S = 1500


def filmed(seed: int, index: int, size: tuple[int, int], fps: float = FPS) -> tuple[VideoCase, list[NDArray[np.uint8]]]:
    """Clip ``index`` with its truth and its pictures (height, width, 3), one a frame."""
    clip = clip_of(seed, index, size)
    pictures: list[NDArray[np.uint8]] = []
    frames = frames_of(clip, fps, pictures=pictures)
    return VideoCase(clip, tuple(frames), tuple(events_of(clip, frames))), pictures


def make(seed: int, count: int, size: tuple[int, int], out: Path, fps: float = FPS) -> Iterator[int]:
    """Write 000000.mp4 … and truth.jsonl to ``out``; yields how many are done.

    Raises OptionError where ``out`` holds a truth, or for a size that the codec cannot hold.
    """
    target = out / "truth.jsonl"
    if target.exists():
        raise OptionError(f"{target} exists already: choose another folder or remove it")
    if size[0] % 2 or size[1] % 2:
        raise OptionError(f"size is {size[0]}x{size[1]}: a video's sides must be even")
    out.mkdir(parents=True, exist_ok=True)
    partial = out / "truth.jsonl.part"
    with partial.open("w", encoding="utf-8") as lines:
        for index in range(count):
            case, pictures = filmed(seed, index, size, fps)
            name = f"{index:06d}.mp4"
            write_video(out / name, pictures, fps)
            questions = ask_about(case, np.random.default_rng([seed, index, 1]))
            line = {"video": name, "fps": fps, **case.truth(), "questions": [q.to_json() for q in questions]}
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            yield index + 1
    partial.rename(target)


def write_video(path: Path, pictures: Sequence[NDArray[np.uint8]], fps: float) -> None:
    """An MPEG-4 file of pictures (height, width, 3); picture k has the timestamp k / fps."""
    import av

    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", KBIT_S * 1000
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
