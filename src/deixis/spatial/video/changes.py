"""What one frame changed: all things that are followed with what is held of them, and what hindsight says of earlier frames.

Knows the values that a tracker gives to whoever reads them. Does not know how they come about, nor what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import BoxPx, PointPx
from deixis.spatial.video.camera_motion import STILL
from deixis.spatial.video.detection import Sighting, State


@dataclass(frozen=True)
class Followed:
    """One thing after an update: what is held of it, and how it moved by itself."""

    id: int
    label: str
    sighting: Sighting
    full_box_px: BoxPx  # with its hidden parts
    steady_px: PointPx  # its way with the camera's motion taken out; differences alone mean something
    carried: bool  # what hides it took it along, as far as can be told
    cut: bool  # a part of it is hidden or out of the frame
    now: bool  # this very frame shows it
    first_s: float = -math.inf  # when it was first seen; -inf: it was there when the watching began


@dataclass(frozen=True)
class Revision:
    """What was said of a thing since a time was wrong: it was in this state."""

    id: int
    since_s: float
    state: State


@dataclass(frozen=True)
class Changes:
    """One update. `things` holds all that were ever seen and are not forgotten."""

    time_s: float
    things: Mapping[int, Followed]
    revisions: tuple[Revision, ...] = ()
    camera: NDArray[np.float64] = field(default_factory=lambda: STILL)  # (2, 3): pixels of the last frame to this one's

    @property
    def camera_moved(self) -> bool:
        """Whether it is anything else than `STILL`."""
        return self.camera is not STILL
