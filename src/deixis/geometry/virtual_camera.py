"""The camera that a model imagines, and the way from its metres to those of the camera that took the picture.

Knows Omni3D's virtual camera (Brazil et al., CVPR 2023): all training depths are rescaled as if every picture had been taken
with one focal length, so the model answers in that camera's depths. Does not know which models were trained so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from deixis.errors import CameraError, GeometryError
from deixis.geometry.box3d import Box3D
from deixis.geometry.camera import Camera

__all__ = ["VirtualCamera"]


@dataclass(frozen=True)
class VirtualCamera:
    """A model's camera, given by its focal length over the picture's longer side; 1.0 sees 53°.

    Depth changes hands: z_real = z_virtual · f_real / f_virtual. Sizes and rotation are the same in both, and so are X and Y
    where the principal point is the picture's middle, which is where a model that is told no camera takes it to be. Elsewhere
    X and Y follow, so that the box keeps its place in the picture.
    Raises CameraError for a ratio that is not positive and finite.
    """

    focal_over_long_side: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.focal_over_long_side) and self.focal_over_long_side > 0):
            raise CameraError(f"virtual focal length over longer side is {self.focal_over_long_side}; expected a positive number")

    def focal_px(self, camera: Camera) -> float:
        """The virtual focal length in pixels of the camera's whole picture. A crop has its own: take the one shown."""
        return self.focal_over_long_side * max(camera.width, camera.height)

    def depth_factor(self, camera: Camera) -> float:
        """Real depth over virtual depth. Pixels that are not square have the geometric mean of fx and fy."""
        return math.sqrt(camera.fx * camera.fy) / self.focal_px(camera)

    def to_real(self, box: Box3D, camera: Camera) -> Box3D:
        """A box as the model said it → the same box in the frame of the camera that took the picture, in metres."""
        z_m = box.center_m[2] * self.depth_factor(camera)
        return _moved(box, camera, z_m, z_m)

    def to_virtual(self, box: Box3D, camera: Camera) -> Box3D:
        """A box in the camera's frame → as the model would say it; undoes `to_real`."""
        return _moved(box, camera, box.center_m[2] / self.depth_factor(camera), -box.center_m[2])

    def depth_to_real(self, depth_virtual_m: float, camera: Camera) -> float:
        """A depth as the model said it → metres along the real camera's axis."""
        if not (math.isfinite(depth_virtual_m) and depth_virtual_m > 0):
            raise GeometryError(f"depth is {depth_virtual_m} m; expected a positive finite number")
        return depth_virtual_m * self.depth_factor(camera)


def _moved(box: Box3D, camera: Camera, z_m: float, shift_at_m: float) -> Box3D:
    """The box at another depth, and aside by what the principal point is off the picture's middle at depth `shift_at_m`."""
    x, y, _ = box.center_m
    x += (camera.width / 2 - camera.cx) / camera.fx * shift_at_m
    y += (camera.height / 2 - camera.cy) / camera.fy * shift_at_m
    return replace(box, center_m=(x, y, z_m))
