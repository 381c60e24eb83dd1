"""In whose frame "left" is meant: the camera's, an object's own, or that of someone who stands at X and faces Y.

Knows directions and origins. Does not know which relation is asked (see frame_relations.py), nor which things have a front.

"In front of" has two senses. Who looks on (camera, viewer) calls the nearer thing in front; what has a front of its own (a chair,
a screen) has things in front of it that stand on its front side. `has_front` says which sense the frame takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Box3D, Vec3
from deixis.geometry.ground import unit_vector

__all__ = ["CAMERA_UP", "Frame", "FrontAxis", "front_of"]

FrontAxis = Literal["-z", "+z", "-x", "+x"]
CAMERA_UP: Vec3 = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Frame:
    """Right-handed directions in camera coordinates, and a name that every margin repeats.

    `forward` is made level: its part along `up` is taken away. Raises GeometryError where nothing is left.
    """

    name: str
    origin_m: Vec3
    forward: Vec3
    up: Vec3 = CAMERA_UP
    has_front: bool = False

    def __post_init__(self) -> None:
        up = np.array(unit_vector("up", self.up))
        forward = np.array(unit_vector("forward", self.forward))
        level = forward - (forward @ up) * up
        if np.linalg.norm(level) < 1e-6:
            raise GeometryError(f"frame {self.name!r} looks straight up or down; left and right need a level direction")
        object.__setattr__(self, "up", unit_vector("up", up))
        object.__setattr__(self, "forward", unit_vector("forward", level))

    @classmethod
    def of_camera(cls, up: Vec3 = CAMERA_UP) -> Frame:
        """The camera's. Where it looks straight down, forward is the picture's up."""
        vector = unit_vector("up", up)
        return cls("camera", (0.0, 0.0, 0.0), (0.0, -1.0, 0.0) if abs(vector[2]) > 1 - 1e-6 else (0.0, 0.0, 1.0), vector)

    @classmethod
    def of_object(cls, label: str, box: Box3D, up: Vec3 = CAMERA_UP, front: FrontAxis = "-z") -> Frame:
        """The object's own: its left is the left of someone who sits in it and looks out of its front."""
        return cls(f"object: {label}", box.center_m, front_of(box, front), up, has_front=True)

    @classmethod
    def of_viewer(cls, standing_at: str, at_m: Vec3, facing: str, facing_m: Vec3, up: Vec3 = CAMERA_UP) -> Frame:
        """The frame of someone who stands at one place and faces another, both points in camera coordinates."""
        x, y, z = np.subtract(facing_m, at_m).tolist()
        return cls(f"viewer: at {standing_at}, facing {facing}", at_m, (x, y, z), up)

    @property
    def right(self) -> Vec3:
        """Unit vector to the right."""
        return unit_vector("right", np.cross(self.forward, self.up))

    @property
    def axes(self) -> NDArray[np.float64]:
        """Rows right, up, forward: (3, 3)."""
        return np.array([self.right, self.up, self.forward])

    def local_m(self, points_m: ArrayLike) -> NDArray[np.float64]:
        """Camera coordinates (n, 3) → right, up, forward of the frame's origin, (n, 3)."""
        local: NDArray[np.float64] = (np.asarray(points_m, np.float64) - self.origin_m) @ self.axes.T
        return local


def front_of(box: Box3D, front: FrontAxis = "-z") -> Vec3:
    """The direction out of a box's front in camera coordinates. By convention −z of its axes: to the camera when unturned."""
    if front not in get_args(FrontAxis):
        raise GeometryError(f"front axis is {front!r}; expected one of {', '.join(get_args(FrontAxis))}")
    column = np.array(box.rotation)[:, 0 if front[1] == "x" else 2]
    return unit_vector("front", column if front[0] == "+" else -column)
