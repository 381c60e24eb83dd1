"""The values that travel from frames to answers: detections, sightings, tracks and events; and a thing's colours.

Knows boxes, times, labels and small colour histograms. Does not know who finds the boxes, nor how they are linked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deixis.errors import GeometryError, PictureError
from deixis.geometry import BoxPx, Vec3, checked_box, clipped_px
from deixis.spatial.language.prompts import Language

State = Literal["visible", "occluded", "out_of_view", "gone"]
EventKind = Literal[
    "appears",
    "leaves",
    "moves",
    "stops",
    "is_hidden",
    "is_revealed",
    "is_taken_out",
    "is_put_in",
    "falls",
    "hits",
    "causes",
    "carried_by",
    "swapped",
]

_HUES, _SATURATIONS, _VALUES = 12, 2, 4  # coloured pixels by hue and saturation, then greys by value
_GREY = 0.18  # saturation below which a hue means nothing
_PIXELS_READ = 4_096  # of a crop: a regular grid of about as many pixels says the same as all of them


@dataclass(frozen=True)
class Detection:
    """One thing in one frame. `appearance` is `appearance_of` its crop, or () where nobody looked at the pixels."""

    label: str
    box_px: BoxPx
    score: float = 1.0
    appearance: tuple[float, ...] = ()
    center_m: Vec3 | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box_px", checked_box(self.box_px))
        if not 0 <= self.score <= 1:
            raise GeometryError(f"score of {self.label!r} is {self.score}; expected 0 to 1")
        numbers = (*self.appearance, *(self.center_m or ()))
        if not all(math.isfinite(number) for number in numbers):
            raise GeometryError(f"appearance or place of {self.label!r} holds a number that is not finite")


@dataclass(frozen=True)
class Sighting:
    """What is held of a thing at a time. The box of a hidden thing is where it is believed to be; None where that is nowhere."""

    time_s: float
    box_px: BoxPx | None
    state: State
    center_m: Vec3 | None = None
    hidden_by: int | None = None
    confidence: float = 1.0


@dataclass(frozen=True)
class Track:
    """One thing with all that was held of it, in order of time."""

    id: int
    label: str
    sightings: tuple[Sighting, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract of `watch --json`: label and boxes with time and state."""
        boxes = [{"t_s": s.time_s, "box_px": s.box_px and list(s.box_px), "state": s.state} for s in self.sightings]
        return {"id": self.id, "label": self.label, "boxes": boxes}


@dataclass(frozen=True)
class Event:
    """Something that happened. `objects`: to whom, then by or with whom. Its key stays while its end moves on."""

    start_s: float
    end_s: float
    kind: EventKind
    description: Mapping[Language, str]
    objects: tuple[int, ...]
    confidence: float = 1.0

    @property
    def key(self) -> tuple[str, tuple[int, ...], float]:
        """What makes it the same event when it is told again with a later end."""
        return self.kind, self.objects, round(self.start_s, 3)

    def to_json(self, language: Language = "en") -> dict[str, Any]:
        """The contract of `watch --json`."""
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "kind": self.kind,
            "description": self.description[language],
            "objects": list(self.objects),
            "confidence": round(self.confidence, 3),
        }


class Detector(Protocol):
    """Whoever finds the things of a frame: truth, the embedded checkpoint, another model."""

    def __call__(self, pixels: NDArray[np.uint8], time_s: float) -> Sequence[Detection]:
        """Detections in `pixels` (height, width, 3) RGB, the frame at `time_s`."""


def appearance_of(pixels: NDArray[np.uint8], box_px: Sequence[float]) -> tuple[float, ...]:
    """A histogram of hue, saturation and value of the crop, 28 numbers that sum to 1.

    `pixels` (height, width, 3) RGB. The middle of the box counts more than its rim, where the background shows; a part of a thing
    of one colour has the histogram of the whole. Raises PictureError for other shapes or a box outside of the picture.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise PictureError(f"pixels are {pixels.dtype} {pixels.shape}; expected uint8 (height, width, 3)")
    inside = clipped_px(box_px, pixels.shape[1], pixels.shape[0])
    if inside is None:
        raise PictureError(f"box {list(box_px)} shows nothing of the {pixels.shape[1]}×{pixels.shape[0]} picture")
    x1, y1, x2, y2 = (math.floor(inside[0]), math.floor(inside[1]), math.ceil(inside[2]), math.ceil(inside[3]))
    step = max(1, math.isqrt((x2 - x1) * (y2 - y1) // _PIXELS_READ))
    crop = pixels[y1:y2:step, x1:x2:step].astype(np.float64) / 255  # (h, w, 3)
    rows, columns = (1.2 - np.abs(np.linspace(-1, 1, n)) if n > 1 else np.ones(1) for n in crop.shape[:2])
    weights = (rows[:, None] * columns[None, :]).ravel()
    red, green, blue = crop.reshape(-1, 3).T
    value, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    chroma = value - low
    safe = np.where(chroma > 0, chroma, 1)
    sector = np.where(
        value == red, (green - blue) / safe % 6, np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    )
    saturation = chroma / np.where(value > 0, value, 1)
    coloured = (saturation >= _GREY) & (value > 0.1)
    # A pixel is shared between the two hues that it lies between: light that shifts it a little shifts the histogram a little.
    place = sector / 6 * _HUES
    hue, share = np.floor(place).astype(int) % _HUES, place % 1
    strong = (saturation > 0.55).astype(int)
    bins = np.zeros(_HUES * _SATURATIONS + _VALUES)
    for which, part in ((hue, 1 - share), ((hue + 1) % _HUES, share)):
        np.add.at(bins, (which * _SATURATIONS + strong)[coloured], (weights * part)[coloured])
    grey = np.minimum((value * _VALUES).astype(int), _VALUES - 1)
    np.add.at(bins, (_HUES * _SATURATIONS + grey)[~coloured], weights[~coloured])
    return tuple((bins / bins.sum()).round(5).tolist())
