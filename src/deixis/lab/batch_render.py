"""Thousands of scenes a launch, by MuJoCo Warp's ray-casting batch renderer.

Knows how to lay any Scene into a fixed pool of geoms, since all worlds of a launch share one model: every world gets
sizes, poses, colours, textures, lights and a camera of its own, and what it does not need is parked out of sight.
Agrees with ``render.render``: same masks, depth and boxes (a test, on a GPU where there is one, else on the CPU).
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.lab import textures
from deixis.lab.render import add_texture, texture_repeat
from deixis.lab.scene import N_LIGHTS, N_SURFACES, Room, Scene, View, add_frustum_mesh, part_rotation
from deixis.lab.thing import FRUSTUMS

# Slots of each shape. A scene that needs more is left out (``pool_row`` returns None); under 1% of scenes do.
POOL = {"box": 76, "cylinder": 40, "sphere": 14, "capsule": 44, "ellipsoid": 26, "frustum": 12}
PARKED_M = (0.0, 0.0, -0.012)  # inside the table's top, as a speck

_TYPE = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "frustum": mujoco.mjtGeom.mjGEOM_MESH,
}
_FIRST = dict(zip(POOL, np.cumsum([N_SURFACES, *POOL.values()]).tolist(), strict=False))
N_GEOMS = N_SURFACES + sum(POOL.values())


@cache
def pool_model() -> mujoco.MjModel:
    """The one model that every world of a launch shares."""
    spec = mujoco.MjSpec()
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 30.0
    spec.visual.headlight.active = 0
    for name in textures.NAMES:
        add_texture(spec, name)
    for row in range(len(FRUSTUMS)):
        add_frustum_mesh(spec, row)
    world = spec.worldbody
    for k in range(N_SURFACES):
        material = spec.add_material(name=f"surface-{k}", rgba=[1, 1, 1, 1], specular=0.1, shininess=0.3)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = textures.NAMES[0]
        world.add_geom(type=_TYPE["box"], size=[1, 1, 1], pos=[0, 0, -5 - k], material=f"surface-{k}", contype=0, conaffinity=0)
    for shape, count in POOL.items():
        for k in range(count):
            extra = {"meshname": f"frustum-{k % len(FRUSTUMS)}"} if shape == "frustum" else {}
            world.add_geom(
                type=_TYPE[shape],
                size=[0.03, 0.03, 0.03],
                pos=[0.1 * k, 0, 1],
                rgba=[1, 0, 0, 1],
                contype=0,
                conaffinity=0,
                **extra,
            )
    for k in range(N_LIGHTS):
        kind = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL if k == 1 else mujoco.mjtLightType.mjLIGHT_SPOT
        world.add_light(
            type=kind, castshadow=k != 1, pos=[0, 0, 2], dir=[0, 0, -1], exponent=1.0, ambient=[0.1] * 3, specular=[0.1] * 3
        )
    world.add_camera(name="eye", pos=[0, 0, 1], fovy=45)
    return spec.compile()


@cache
def _frustum_frames() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the compiler moved each mesh's frame: (n, 3) and (n, 3, 3) in the part's frame."""
    model = pool_model()
    frames = np.zeros((model.nmesh, 3, 3))
    for k in range(model.nmesh):
        flat = np.empty(9)
        mujoco.mju_quat2Mat(flat, model.mesh_quat[k])
        frames[k] = flat.reshape(3, 3)
    return model.mesh_pos.copy(), frames


def pool_row(scene: Scene, room: Room, view: View) -> dict[str, NDArray[Any]] | None:
    """One world's arrays for the pool, or None where the scene needs more slots than there are."""
    size = np.full((N_GEOMS, 3), 1e-4, np.float32)
    position = np.tile(np.array(PARKED_M, np.float32), (N_GEOMS, 1))
    rotation = np.tile(np.eye(3, dtype=np.float32), (N_GEOMS, 1, 1))
    rgba = np.zeros((N_GEOMS, 4), np.float32)
    mesh = np.zeros(N_GEOMS, np.int32)
    owner = np.full(N_GEOMS + 1, -1, np.int8)  # last: no geom at all
    for k, surface in enumerate(room.surfaces):
        size[k], position[k], rgba[k] = surface.half_size_m, surface.position_m, (*surface.rgb, 1.0)
    offsets, frames = _frustum_frames()
    used = dict.fromkeys(POOL, 0)
    for number, placed in enumerate(scene.placed):
        for part in placed.thing.parts:
            if used[part.shape] == POOL[part.shape]:
                return None
            k = _FIRST[part.shape] + used[part.shape]
            used[part.shape] += 1
            turn = part_rotation(placed, part)
            center = placed.position_m + placed.rotation @ np.asarray(part.position)
            if part.shape == "frustum":
                row = FRUSTUMS.index(part.size)
                mesh[k], center, turn = row, center + turn @ offsets[row], turn @ frames[row]
            size[k], position[k], rotation[k], rgba[k], owner[k] = part.size, center, turn, part.rgba, number
    lights = room.lights
    return {
        "size": size,
        "position": position,
        "rotation": rotation,
        "rgba": rgba,
        "mesh": mesh,
        "owner": owner,
        "texture": np.array([textures.NAMES.index(s.texture) for s in room.surfaces], np.int32),
        "repeat": np.array([texture_repeat(s) for s in room.surfaces], np.float32),
        "specular": np.array([s.specular for s in room.surfaces], np.float32),
        "light_position": np.array([x.position_m for x in lights], np.float32),
        "light_direction": np.array([x.direction for x in lights], np.float32),
        "light_diffuse": np.array([x.diffuse for x in lights], np.float32),
        "light_ambient": np.array([[x.ambient] * 3 for x in lights], np.float32),
        "light_specular": np.array([[x.specular] * 3 for x in lights], np.float32),
        "light_cutoff": np.array([x.cutoff_deg for x in lights], np.float32),
        "eye_position": view.position_m.astype(np.float32),
        "eye_rotation": (view.rotation * [1, -1, -1]).astype(np.float32),
        "fovy": np.array(view.fovy_deg, np.float32),
    }


@dataclass(frozen=True)
class Frames:
    """``pixels`` (b, 3, h, w) in [0, 1]; ``things`` (b, h, w) int8, -1 none; ``depth_m`` (b, h, w). On the device."""

    pixels: Tensor
    things: Tensor
    depth_m: Tensor


class BatchRenderer:
    """Renders ``worlds`` scenes at once at any of ``sizes`` (width, height). One per process and device.

    ``smooth`` sizes are drawn with 2×2 rays a pixel, averaged, as MuJoCo's own renderer smooths edges; four times the work.
    """

    def __init__(self, worlds: int, sizes: list[tuple[int, int]], device: str = "cuda:0", smooth: bool = False) -> None:
        import warp as wp

        wp.config.quiet, wp.config.log_level = True, logging.WARNING  # the older and the newer name for it
        import mujoco_warp as mjw
        from mujoco_warp._src.bvh import compute_bvh_group_roots  # private: one reason why [gpu-lab] pins mujoco-warp

        self.worlds, self.device = worlds, device
        self._wp, self._mjw, self._find_roots = wp, mjw, compute_bvh_group_roots
        self._fine = 2 if smooth else 1
        host = pool_model()
        data = mujoco.MjData(host)
        mujoco.mj_forward(host, data)
        with wp.ScopedDevice(device):
            self._model = mjw.put_model(host)
            self._data = mjw.put_data(host, data, nworld=worlds)
            self._contexts = {
                size: mjw.create_render_context(
                    host,
                    nworld=worlds,
                    cam_res=(size[0] * self._fine, size[1] * self._fine),
                    render_rgb=True,
                    render_depth=True,
                    render_seg=True,
                    use_shadows=True,
                    shadow_light_fraction=0.05,  # as dark as MuJoCo's own shadows
                    use_precomputed_rays=False,
                )
                for size in sizes
            }
            m, d = self._model, self._data
            b, g, n = worlds, N_GEOMS, N_SURFACES
            self._slots = {
                "size": self._own(m, "geom_size", (b, g), wp.vec3),
                "rgba": self._own(m, "geom_rgba", (b, g), wp.vec4),
                "mesh": self._own(m, "geom_dataid", (b, g), wp.int32),
                "repeat": self._own(m, "mat_texrepeat", (b, n), wp.vec2),
                "specular": self._own(m, "mat_specular", (b, n), wp.float32),
                "light_diffuse": self._own(m, "light_diffuse", (b, N_LIGHTS), wp.vec3),
                "light_ambient": self._own(m, "light_ambient", (b, N_LIGHTS), wp.vec3),
                "light_specular": self._own(m, "light_specular", (b, N_LIGHTS), wp.vec3),
                "light_cutoff": self._own(m, "light_cutoff", (b, N_LIGHTS), wp.float32),
                "fovy": self._own(m, "cam_fovy", (b, 1), wp.float32),
                "position": self._own(d, "geom_xpos", (b, g), wp.vec3),
                "rotation": self._own(d, "geom_xmat", (b, g), wp.mat33),
                "light_position": self._own(d, "light_xpos", (b, N_LIGHTS), wp.vec3),
                "light_direction": self._own(d, "light_xdir", (b, N_LIGHTS), wp.vec3),
                "eye_position": self._own(d, "cam_xpos", (b, 1), wp.vec3),
                "eye_rotation": self._own(d, "cam_xmat", (b, 1), wp.mat33),
            }
            roles = wp.zeros((b, n, m.mat_texid.shape[2]), dtype=wp.int32)
            self._roles = wp.to_torch(roles)
            self._roles.fill_(-1)
            m.mat_texid = roles

    def _own(self, target: Any, field: str, shape: tuple[int, int], dtype: Any) -> Tensor:
        """Give ``target`` an array with a row for each world; returns it as a tensor to write into."""
        array = self._wp.zeros(shape, dtype=dtype)
        setattr(target, field, array)
        return self._wp.to_torch(array)  # type: ignore[no-any-return]

    def render(self, rows: dict[str, NDArray[Any]], size: tuple[int, int]) -> Frames:
        """Draw at most ``worlds`` scenes, all at one size. ``rows``: stacked rows of ``pool_row``."""
        n, fine = len(rows["size"]), self._fine
        width, height = size[0] * fine, size[1] * fine
        if n > self.worlds:
            raise ValueError(f"{n} scenes for {self.worlds} worlds")
        repeat = np.minimum(np.arange(self.worlds), n - 1)  # worlds beyond n draw the last scene again
        arrays = {k: torch.from_numpy(v[repeat]) for k, v in rows.items()}
        for name, slot in self._slots.items():
            slot.copy_(arrays[name].reshape(slot.shape), non_blocking=True)
        self._roles[:, :, 1] = arrays["texture"].to(self._roles.device)
        owner = arrays["owner"].to(self._roles.device)
        wp, context = self._wp, self._contexts[size]
        with wp.ScopedDevice(self.device), _shared_stream(wp, self.device):
            self._mjw.refit_bvh(self._model, self._data, context)
            # Other things stand elsewhere in each round: the old tree, refitted, would be slow to search.
            context.bvh.rebuild()
            wp.launch(self._find_roots, dim=self.worlds, inputs=[context.bvh.id], outputs=[context.group_root])
            self._mjw.render(self._model, self._data, context)
            colour = wp.to_torch(context.rgb_data)[:n].reshape(n, height, width)
            depth = wp.to_torch(context.depth_data)[:n].reshape(n, height, width)
            drawn = wp.to_torch(context.seg_data)[:n].reshape(n, height, width, 2)[..., 0]
        pixels = torch.stack([(colour.view(torch.int32) >> shift) & 255 for shift in (16, 8, 0)], 1).float() / 255
        if fine > 1:
            pixels = torch.nn.functional.avg_pool2d(pixels, fine)
            depth, drawn = depth[:, ::fine, ::fine], drawn[:, ::fine, ::fine]
        geom = torch.where(drawn < 0, N_GEOMS, drawn).long()
        things = owner[:n].gather(1, geom.flatten(1)).reshape(geom.shape)
        return Frames(pixels, things, depth.clone())


def _shared_stream(wp: Any, device: str) -> AbstractContextManager[Any]:
    """Warp on torch's stream, so that their work stays in order without waiting."""
    if device == "cpu":
        return nullcontext()
    stream: AbstractContextManager[Any] = wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device)))
    return stream
