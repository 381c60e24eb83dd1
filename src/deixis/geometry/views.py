"""A picture as a model is shown it: cut out, bordered, resized, tiled; and the exact way back for points, boxes and the camera.

Knows the affine map of each axis by itself. Does not know pixels' colours: whoever shows the view cuts and resizes the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deixis.errors import GeometryError
from deixis.geometry.boxes import BoxPx, PointPx, checked_box
from deixis.geometry.camera import Camera

__all__ = ["View", "padded_to_aspect", "tiles"]


@dataclass(frozen=True)
class View:
    """The window (x1, y1, x2, y2) of a picture, whole pixels that may leave it (a border), shown as width × height pixels.

    Raises GeometryError for a window or a size without pixels.
    """

    window_px: tuple[int, int, int, int]
    width: int
    height: int

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = checked_box(self.window_px)
        if not all(value == int(value) for value in (x1, y1, x2, y2)) or x1 == x2 or y1 == y2:
            raise GeometryError(f"window is {self.window_px}; expected whole pixels with x1 < x2 and y1 < y2")
        if self.width < 1 or self.height < 1:
            raise GeometryError(f"view is {self.width}×{self.height}; expected at least one pixel each way")

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the view for one of the picture, along x and along y."""
        x1, y1, x2, y2 = self.window_px
        return self.width / (x2 - x1), self.height / (y2 - y1)

    def point_to_view(self, point_px: Sequence[float]) -> PointPx:
        """A picture's point → the view's."""
        (x, y), (sx, sy) = point_px, self.scale
        return (x - self.window_px[0]) * sx, (y - self.window_px[1]) * sy

    def point_to_picture(self, point_px: Sequence[float]) -> PointPx:
        """A view's point → the picture's; undoes `point_to_view`."""
        (x, y), (sx, sy) = point_px, self.scale
        return x / sx + self.window_px[0], y / sy + self.window_px[1]

    def box_to_view(self, box_px: Sequence[float]) -> BoxPx:
        """A picture's box → the view's. Nothing is cut."""
        x1, y1, x2, y2 = checked_box(box_px)
        return *self.point_to_view((x1, y1)), *self.point_to_view((x2, y2))

    def box_to_picture(self, box_px: Sequence[float]) -> BoxPx:
        """A view's box → the picture's; undoes `box_to_view`."""
        x1, y1, x2, y2 = checked_box(box_px)
        return *self.point_to_picture((x1, y1)), *self.point_to_picture((x2, y2))

    def camera_of_view(self, camera: Camera) -> Camera:
        """The camera that would have taken the view."""
        x1, y1, x2, y2 = self.window_px
        outside = max(0, -x1), max(0, -y1), max(0, x2 - camera.width), max(0, y2 - camera.height)
        whole = camera.padded(*outside)
        window = x1 + outside[0], y1 + outside[1], x2 + outside[0], y2 + outside[1]
        return whole.cropped(*window).resized(self.width, self.height)


def padded_to_aspect(width: int, height: int, longest: float) -> View:
    """The whole picture, with borders on both sides of its shorter way where its sides differ by more than `longest` to 1.

    The borders are alike, to the pixel, so that a model that takes the middle of what it sees for the principal point is right.
    """
    if longest < 1:
        raise GeometryError(f"longest aspect ratio is {longest:g}; expected 1 or more")
    padded = max(width, math.ceil(height / longest)), max(height, math.ceil(width / longest))
    left, top = (padded[0] - width) // 2, (padded[1] - height) // 2
    return View((-left, -top, padded[0] - left, padded[1] - top), *padded)


def tiles(width: int, height: int, longest: float, overlap: float = 0.2) -> tuple[View, ...]:
    """Windows that cover a picture and are no longer than `longest` to 1, neighbours sharing `overlap` of a tile or more.

    One window, the whole, where the picture is short enough. What is larger than the shared part may be cut in every tile.
    """
    if longest < 1 or not 0 <= overlap < 1:
        raise GeometryError(
            f"tiles have {longest:g} to 1 and share {overlap:g}; expected 1 or more, and a share from 0 to below 1"
        )
    long, short = max(width, height), min(width, height)
    length = min(long, int(short * longest))
    count = 1 if length == long else math.ceil((long - length) / max(1.0, length * (1 - overlap))) + 1
    starts = [round(i * (long - length) / max(1, count - 1)) for i in range(count)]
    if width >= height:
        return tuple(View((start, 0, start + length, height), length, height) for start in starts)
    return tuple(View((0, start, width, start + length), width, length) for start in starts)
