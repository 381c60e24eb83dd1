"""A video of a conversation as frames with their times: as a clip, or as pictures for servers that take no clips.

Knows how Qwen3-VL samples videos: 2 frames a second by default, at least four. Does not know who reads them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deixis.media import open_video

MIN_FRAMES = 4


def clip_of(data: bytes, fps: float, max_frames: int) -> dict[str, Any]:
    """A video as Qwen3-VL reads it: `fps` frames a second, from 4 to `max_frames`, with their times. Raises VideoError."""
    frames = _frames(data, fps, max_frames)
    frames = frames * 2 if len(frames) == 1 else frames  # read two by two
    return {"type": "video", "frames": [pixels for _, pixels in frames], "timestamps_s": [time_s for time_s, _ in frames]}


def clip_parts(data: bytes, fps: float, max_frames: int) -> Iterator[dict[str, Any]]:
    """The same as pictures of a chat completion, each behind its time in the words of Qwen3-VL's own videos."""
    for time_s, pixels in _frames(data, fps, max_frames):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
        encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
        yield {"type": "text", "text": f"<{time_s:.1f} seconds>"}
        yield {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{encoded}"}}


def _frames(data: bytes, fps: float, max_frames: int) -> list[tuple[float, NDArray[np.uint8]]]:
    video = open_video(data)
    count = min(max(round((video.info.duration_s or 0.0) * fps), MIN_FRAMES), max_frames)
    return [(frame.time_s, frame.pixels) for frame in video.frames(count=count)]
