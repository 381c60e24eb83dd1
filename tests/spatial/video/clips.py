"""Small videos of coloured squares with a detector that reads their colours: exact, and quick."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from deixis.spatial.video.detection import Detection

SIZE = (160, 120)
COLORS = {"red cup": (220, 30, 30), "blue box": (30, 60, 220)}
Place = Callable[[float], tuple[float, float] | None]


def picture(places: dict[str, tuple[float, float] | None]) -> NDArray[np.uint8]:
    """Grey, with a square of 20 px (the cup) or 40 px (the box, drawn last) at each place."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    for label, color in COLORS.items():
        if (at := places.get(label)) is not None:
            half = 10 if label == "red cup" else 20
            x, y = (round(value) for value in at)
            pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = color
    return pixels


def covered_at(time_s: float) -> dict[str, tuple[float, float] | None]:
    """The box comes from the right between 2 s and 3 s, and covers the cup from then on."""
    x = 130 - 80 * min(max(time_s - 2, 0.0), 1.0)
    return {"red cup": (50, 60), "blue box": (x, 60)}


def write(
    path: Path, places: Callable[[float], dict[str, tuple[float, float] | None]], times: list[float], gop: int = 12
) -> Path:
    """An MP4 whose frames stand at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate, stream.gop_size = *SIZE, "yuv420p", 2_000_000, gop
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_s in times:
            frame = av.VideoFrame.from_ndarray(picture(places(time_s)), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


class ColorDetector:
    """Boxes of the known colours. `asked` holds the times at which it was asked."""

    name = "colors"

    def __init__(self) -> None:
        self.asked: list[float] = []

    def __call__(self, pixels: NDArray[np.uint8], time_s: float) -> list[Detection]:
        self.asked.append(time_s)
        found = []
        for label, color in COLORS.items():
            rows, columns = np.nonzero(np.abs(pixels.astype(int) - color).sum(axis=2) < 150)
            if len(rows) > 40:
                box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
                found.append(Detection(label, box))
        return found
