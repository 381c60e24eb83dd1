"""Small videos made with PyAV whose every frame shows its own number, so that a test knows which frame it was given."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

COLUMNS, ROWS, CELL_PX = 5, 3, 16
WIDTH, HEIGHT = COLUMNS * CELL_PX, ROWS * CELL_PX


def drawn(number: int) -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3): the number's bits as black and white cells, the lowest at the top left."""
    bits = np.array([(number >> bit) & 1 for bit in range(COLUMNS * ROWS)], np.uint8).reshape(ROWS, COLUMNS)
    return np.repeat((bits * 200 + 20).repeat(CELL_PX, 0).repeat(CELL_PX, 1)[..., None], 3, axis=2)


def number_of(pixels: NDArray[np.uint8]) -> int:
    """The number that a frame shows, at any size, if it is upright."""
    rows = (np.arange(ROWS) * 2 + 1) * pixels.shape[0] // (2 * ROWS)
    columns = (np.arange(COLUMNS) * 2 + 1) * pixels.shape[1] // (2 * COLUMNS)
    bits = pixels[np.ix_(rows, columns)].mean(axis=-1).ravel() > 120
    return int(sum(1 << bit for bit in np.flatnonzero(bits).tolist()))


def write_clip(
    path: Path | str,
    frames: int,
    *,
    rate: Fraction | int = 30,
    stamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    container: str | None = None,
    gop: int = 12,
    b_frames: int = 2,
    rotation: tuple[float, bool, bool] | None = None,
    stored: str = "upright",
    aspect: Fraction | None = None,
    sound: bool = False,
    faststart: bool = False,
) -> Path:
    """Frames 0, 1, 2, …; `stamps` are their times in ticks of `time_base` (default: i / rate).

    `rotation` is (degrees counter-clockwise, mirrored left-right, mirrored top-bottom) as the container tells it, and `stored` a
    numpy expression's name of how the pixels were laid before: what a phone held so has stored.
    """
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", format=container, options=options) as output:
        quality = {"preset": "ultrafast", "bf": str(b_frames)} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=rate, options=quality)
        picture = STORED[stored](drawn(0))
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", gop
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        if sound:
            _add_sound(output)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(STORED[stored](drawn(i))), format="rgb24")
            frame.pts = i if stamps is None else stamps[i]
            frame.time_base = time_base or 1 / Fraction(rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return Path(path)


STORED = {
    "upright": lambda pixels: pixels,
    "turned left": lambda pixels: np.rot90(pixels, 1),
    "turned right": lambda pixels: np.rot90(pixels, -1),
    "upside down": lambda pixels: np.rot90(pixels, 2),
    "mirrored": lambda pixels: pixels[:, ::-1],
}


def write_sound(path: Path) -> Path:
    """A file without any picture."""
    with av.open(str(path), "w") as output:
        _add_sound(output)
    return path


def _add_sound(output: av.container.OutputContainer) -> None:
    stream = output.add_stream("aac", rate=16_000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 16_000, 0
    output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def patched(data: bytes, box: bytes, offset: int, value: int) -> bytes:
    """A file with one 32-bit number changed, `offset` bytes behind a box's name; big-endian as in MP4, little in AVI."""
    at = data.index(box) + len(box) + offset
    order = "<" if data.startswith(b"RIFF") else ">"
    return data[:at] + struct.pack(f"{order}I", value) + data[at + 4 :]
