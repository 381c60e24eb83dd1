"""The camera that a photograph's EXIF data tells of.

Knows EXIF tags (CIPA DC-008, Exif 2.32) and the camera model. Does not know pixels. Data that is absent, partial or impossible
gives no camera rather than a wrong one: whoever needs a camera then takes an assumed one, and says so.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping
from typing import Any, SupportsFloat

from PIL import ExifTags, Image

from deixis.geometry import Camera, sensor_width_mm

__all__ = ["BROKEN", "camera_from_tags", "read_exif"]

# What Pillow raises on broken data of any kind; a header that claims too much ends in MemoryError.
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)

_FULL_FRAME_DIAGONAL_MM = math.hypot(36, 24)
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # FocalPlaneResolutionUnit: inch, cm, mm, µm
_PLAUSIBLE_FOV_DEG = (2.0, 170.0)  # a long telephoto lens, a wide rectilinear one
_SAME_SHAPE = 0.02  # by how much the aspect ratio may differ from the recorded one before the picture counts as cropped


def read_exif(image: Image.Image) -> tuple[int, dict[int, Any]]:
    """Orientation (1 to 8; 1 where unknown) and the photograph's own tags with the camera's name; none where EXIF is corrupt.

    Corrupt EXIF says nothing, and says it of the camera alone: the pixels beside it are good.
    """
    try:
        exif = image.getexif()
        orientation, tags = exif.get(ExifTags.Base.Orientation), dict(exif.get_ifd(ExifTags.IFD.Exif))
        if isinstance(model := exif.get(ExifTags.Base.Model), str):
            tags[ExifTags.Base.Model] = model
    except BROKEN:
        return 1, {}
    return (orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1), tags


def camera_from_tags(tags: Mapping[int, Any], width: int, height: int) -> Camera | None:
    """A centred camera with square pixels for the picture as shown (width × height, after orientation), or None.

    First the 35 mm equivalent: the picture's diagonal stands for the diagonal of a 36 × 24 mm frame, as CIPA DCG-001 defines it.
    Else focal length and focal-plane resolution; else focal length and the sensor of the camera of that name.
    A picture whose shape differs from the recorded one has been cropped: None.
    """
    recorded = [_positive(tags.get(tag)) or 0.0 for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)]
    if not _same_shape(recorded, width, height):
        return None
    equivalent_mm = _positive(tags.get(ExifTags.Base.FocalLengthIn35mmFilm))
    focal_mm = _positive(tags.get(ExifTags.Base.FocalLength))
    per_unit = _positive(tags.get(ExifTags.Base.FocalPlaneXResolution))
    unit_mm = _UNIT_MM.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, 2))
    if equivalent_mm:
        focal_px = equivalent_mm / _FULL_FRAME_DIAGONAL_MM * math.hypot(width, height)
    elif focal_mm and per_unit and unit_mm and all(recorded):
        focal_px = focal_mm * per_unit / unit_mm * max(width, height) / max(recorded)
    elif focal_mm and (sensor_mm := sensor_width_mm(str(tags.get(ExifTags.Base.Model, "")))):
        focal_px = focal_mm / sensor_mm * max(width, height)
    else:
        return None
    fov_deg = math.degrees(2 * math.atan(max(width, height) / 2 / focal_px))
    if not _PLAUSIBLE_FOV_DEG[0] < fov_deg < _PLAUSIBLE_FOV_DEG[1]:
        return None
    return Camera(focal_px, focal_px, width / 2, height / 2, width, height, "exif")


def _same_shape(recorded: list[float], width: int, height: int) -> bool:
    """Whether the recorded sides, if any, have the picture's aspect ratio, either way round (orientation may have turned it)."""
    if not all(recorded):
        return True
    return abs(max(recorded) / min(recorded) / (max(width, height) / min(width, height)) - 1) <= _SAME_SHAPE


def _positive(value: object) -> float | None:
    """A tag's number if it is one, finite and above zero; cameras write 0 and 0/0 for "unknown"."""
    if not isinstance(value, SupportsFloat):
        return None
    try:
        number = float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
