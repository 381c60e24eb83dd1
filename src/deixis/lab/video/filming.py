"""Frames of a video: pictures, ids and depths of things whose poses change, by MuJoCo's renderer.

Knows how to draw the same things again and again. Does not know why they moved, nor what is asked.
"""

from collections.abc import Sequence
from types import TracebackType

import mujoco
import numpy as np
from numpy.typing import NDArray

from deixis.lab.render import compiled_scene, ids_at, visible_groups
from deixis.lab.scene import Placed, Room, Scene, View, quaternion_of


class Filming:
    """A renderer kept open for one set of things. A context manager: its GL context ends with the block."""

    def __init__(self, scene: Scene, room: Room, view: View) -> None:
        self._model, self._owner = compiled_scene(scene, room, view)
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, view.height, view.width)
        self._groups = visible_groups()

    def __enter__(self) -> "Filming":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._renderer.close()

    def place(self, placed: Sequence[Placed], view: View) -> None:
        """Put the things (those of the scene, in its order) and the camera where they are now."""
        for i, one in enumerate(placed, start=1):
            self._model.body_pos[i] = one.position_m
            self._model.body_quat[i] = quaternion_of(one.rotation)
        self._model.cam_pos[0] = view.position_m
        self._model.cam_quat[0] = quaternion_of(view.rotation * [1, -1, -1])  # MuJoCo's camera has y up and looks along -z
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera="eye", scene_option=self._groups)

    def pixels(self) -> NDArray[np.uint8]:
        """The picture (height, width, 3), with shadows."""
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = True
        drawn: NDArray[np.uint8] = self._renderer.render().copy()
        return drawn

    def things(self) -> NDArray[np.int8]:
        """The id of the thing at each pixel (height, width), -1 where there is none."""
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False  # ids have none, and it is drawn nonetheless
        self._renderer.enable_segmentation_rendering()
        drawn = self._renderer.render()
        self._renderer.disable_segmentation_rendering()
        return ids_at(drawn, self._owner)

    def depth_m(self) -> NDArray[np.float32]:
        """Depth along the optical axis (height, width)."""
        self._renderer.enable_depth_rendering()
        depth: NDArray[np.float32] = self._renderer.render().copy()
        self._renderer.disable_depth_rendering()
        return depth
