"""A pinhole camera that remembers where its numbers came from.

Knows projection and how intrinsics follow a resize, a crop or a border. Does not know lens distortion, poses or pictures.

Frame: x right, y down, z forward, metres. Pixels are continuous coordinates: pixel i covers [i, i + 1), so the principal point of
a centred camera is (width / 2, height / 2) and a resize is a plain multiplication, without half-pixel terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import CameraError, GeometryError

__all__ = ["Camera", "CameraJson", "CameraSource"]

CameraSource = Literal["exif", "user", "estimated", "assumed"]
ASSUMED_FOV_DEG = 60.0


class CameraJson(TypedDict):
    """A camera as it stands in `--json` output and in a world's truth; `Camera(**d)` reads it back."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    source: CameraSource


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels for a picture of width × height pixels. The principal point may lie outside (after a crop).

    Raises CameraError for focal lengths or sides that are zero, negative or not finite, and for an unknown source.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    source: CameraSource = "user"

    def __post_init__(self) -> None:
        for name in ("fx", "fy", "cx", "cy"):
            value = _as_float(name, getattr(self, name))
            if name in ("fx", "fy") and value <= 0:
                raise CameraError(f"camera {name} is {value:g}; a focal length is a positive number of pixels")
            object.__setattr__(self, name, value)  # numpy scalars become plain floats, so that to_json is JSON
        for name in ("width", "height"):
            value = _as_float(name, getattr(self, name))
            if value <= 0 or value != int(value):
                raise CameraError(f"camera {name} is {value:g}; expected a positive whole number of pixels")
            object.__setattr__(self, name, int(value))
        if self.source not in get_args(CameraSource):
            raise CameraError(f"camera source is {self.source!r}; expected one of {', '.join(get_args(CameraSource))}")

    @classmethod
    def from_fov(
        cls, width: int, height: int, fov_deg: float, axis: Literal["x", "y", "long"] = "long", source: CameraSource = "user"
    ) -> Camera:
        """A centred camera with square pixels whose field of view along one axis (or the longer side) is `fov_deg` degrees.

        Square pixels on purpose: one angle applied to width and to height gives fx ≠ fy on every picture that is not square.
        """
        if not 0.0 < fov_deg < 180.0:
            raise CameraError(f"field of view is {fov_deg:g} degrees; expected more than 0 and less than 180")
        sides = {"x": width, "y": height, "long": max(width, height)}
        if axis not in sides:
            raise CameraError(f"field-of-view axis is {axis!r}; expected x, y or long")
        focal = sides[axis] / 2 / math.tan(math.radians(fov_deg) / 2)
        return cls(focal, focal, width / 2, height / 2, width, height, source)

    @classmethod
    def assumed(cls, width: int, height: int) -> Camera:
        """The camera taken when nothing is known: 60° along the longer side, square pixels, centred."""
        return cls.from_fov(width, height, ASSUMED_FOV_DEG, "long", "assumed")

    @classmethod
    def from_text(cls, text: str, width: int, height: int) -> Camera:
        """A user's `FX,FY,CX,CY` in pixels, for a picture of width × height."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 4 or not all(parts):
            raise CameraError(f"camera is {text!r}, {len(parts)} numbers; expected four, FX,FY,CX,CY in pixels")
        fx, fy, cx, cy = (_as_float(name, part) for name, part in zip(("fx", "fy", "cx", "cy"), parts, strict=True))
        return cls(fx, fy, cx, cy, width, height, "user")

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Camera:
        """Read what `to_json` wrote."""
        expected = CameraJson.__annotations__
        if set(values) != set(expected):
            raise CameraError(f"camera has {', '.join(sorted(values)) or 'nothing'}; expected {', '.join(expected)}")
        return cls(**cast(CameraJson, values))

    def to_json(self) -> CameraJson:
        """Plain numbers and the source, ready for `json.dumps`."""
        return {
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "width": self.width,
            "height": self.height,
            "source": self.source,
        }

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The (3, 3) matrix K with pixel ~ K · point."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points_m: ArrayLike) -> NDArray[np.float64]:
        """Camera-frame points (n, 3) in metres → (n, 2) pixels, which may lie outside the picture.

        Raises GeometryError for a point at or behind the camera: it has no image. `Box3D.project` clips before it projects.
        """
        points = _rows("points_m", points_m, 3)
        depth = points[:, 2]
        behind = int(np.sum(depth <= 0))
        if behind:
            raise GeometryError(f"{behind} of {len(points)} points lie at or behind the camera (z ≤ 0); clip them first")
        return points[:, :2] / depth[:, None] * (self.fx, self.fy) + (self.cx, self.cy)  # (n, 2)

    def unproject(self, px: ArrayLike, depth_m: ArrayLike) -> NDArray[np.float64]:
        """Pixels (n, 2) and depths (n,) in metres along the optical axis (z, not the ray's length) → (n, 3) points."""
        pixels = _rows("px", px, 2)
        depth = np.asarray(depth_m, dtype=np.float64)
        if depth.shape != (len(pixels),) or not np.all(np.isfinite(depth)) or not np.all(depth > 0):
            raise GeometryError(f"depth_m has shape {depth.shape}; expected {len(pixels)} positive finite depths, one a pixel")
        slopes = (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        return np.concatenate([slopes * depth[:, None], depth[:, None]], axis=1)  # (n, 3)

    def resized(self, width: int, height: int) -> Camera:
        """The camera of the same picture, resized to width × height pixels (each axis by its own factor)."""
        x, y = width / self.width, height / self.height
        return replace(self, fx=self.fx * x, fy=self.fy * y, cx=self.cx * x, cy=self.cy * y, width=width, height=height)

    def cropped(self, x1: int, y1: int, x2: int, y2: int) -> Camera:
        """The camera of the crop [x1, x2) × [y1, y2), whole pixels inside the picture."""
        if not (0 <= x1 < x2 <= self.width and 0 <= y1 < y2 <= self.height):
            raise CameraError(f"crop ({x1}, {y1}, {x2}, {y2}) is empty or leaves the {self.width}×{self.height} picture")
        return replace(self, cx=self.cx - x1, cy=self.cy - y1, width=x2 - x1, height=y2 - y1)

    def padded(self, left: int, top: int, right: int, bottom: int) -> Camera:
        """The camera of the picture with a border of so many pixels on each side; undoes `cropped`."""
        if min(left, top, right, bottom) < 0:
            raise CameraError(f"border ({left}, {top}, {right}, {bottom}) is negative; use cropped to cut pixels away")
        return replace(
            self, cx=self.cx + left, cy=self.cy + top, width=self.width + left + right, height=self.height + top + bottom
        )


def _as_float(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise CameraError(f"camera {name} is {value!r}; expected a number of pixels") from None
    if not math.isfinite(number):
        raise CameraError(f"camera {name} is {number}; expected a finite number of pixels")
    return number


def _rows(name: str, values: ArrayLike, columns: int) -> NDArray[np.float64]:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != columns or not np.all(np.isfinite(rows)):
        raise GeometryError(f"{name} has shape {rows.shape}; expected (n, {columns}) finite numbers")
    return rows
