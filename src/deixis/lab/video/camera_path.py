"""How the camera of a video moves: it stands still, pans over the desk and back, or slowly goes around it.

Knows viewpoints over time. Does not know things.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deixis.lab.scene import View

Array = NDArray[np.float64]
Move = Literal["still", "pan", "orbit"]
MOVES: tuple[Move, ...] = ("still", "still", "pan", "orbit")


@dataclass(frozen=True)
class CameraPath:
    """``view`` at time 0; ``reach_rad`` is how far a pan turns to each side, or how far an orbit goes in ``seconds``."""

    view: View
    move: Move
    reach_rad: float
    seconds: float
    center_m: Array  # (3,) what an orbit goes around

    def at(self, time_s: float) -> View:
        """The view at a time."""
        if self.move == "still":
            return self.view
        share = time_s / self.seconds
        turn = _about_z(self.reach_rad * (np.sin(2 * np.pi * share) if self.move == "pan" else share))
        if self.move == "pan":
            return replace(self.view, rotation=turn @ self.view.rotation)
        around = self.center_m + turn @ (self.view.position_m - self.center_m)
        return replace(self.view, position_m=around, rotation=turn @ self.view.rotation)


def drawn_path(rng: np.random.Generator, move: Move, centers_m: Array, size: tuple[int, int], seconds: float) -> CameraPath:
    """A camera that frames things at ``centers_m`` (things, 3) and some room around them."""
    width, height = size
    middle = centers_m.mean(0)
    spread = float(np.linalg.norm(centers_m - middle, axis=1).max()) + 0.14
    pitch, azimuth = np.radians(rng.uniform(18, 52)), rng.uniform(-np.pi, np.pi)
    focal = float(rng.uniform(0.85, 1.25)) * max(size)
    distance = float(np.clip(spread / rng.uniform(0.8, 1.0) * 2 * focal / min(size), 0.6, 2.6))
    forward = np.array([np.cos(pitch) * np.cos(azimuth), np.cos(pitch) * np.sin(azimuth), -np.sin(pitch)])
    right = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    view = View(middle - forward * distance, np.stack([right, np.cross(forward, right), forward], -1), focal, width, height)
    side = 1.0 if rng.random() < 0.5 else -1.0
    half_view = np.arctan(width / 2 / focal)
    reach = side * (half_view * rng.uniform(0.5, 0.95) if move == "pan" else np.radians(rng.uniform(20, 50)))
    return CameraPath(view, move, float(reach), seconds, middle)


def projected(points_m: Array, view: View) -> tuple[Array, Array]:
    """Pixels (n, 2) and depths (n,) of world points (n, 3); pixels mean little where the depth is not positive."""
    seen = (points_m - view.position_m) @ view.rotation
    depth = seen[:, 2]
    pixels = seen[:, :2] / np.maximum(depth, 0.01)[:, None] * view.focal_px + [view.width / 2, view.height / 2]
    return pixels, depth


def _about_z(angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
