"""MuJoCo's own renderer (EGL): the reference picture, segmentation and depth of a scene.

Knows how to draw a Scene in a Room from a View. Does not know what the pixels mean.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

from deixis.lab import textures
from deixis.lab.scene import Light, Room, Scene, Surface, View, add_parts

NEAR_M, FAR_M = 0.02, 30.0


def render(scene: Scene, room: Room, view: View) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.float32]]:
    """Draw with shadows and four samples a pixel; ids and depths by one, at its centre.

    Returns the picture (height, width, 3), the id of the thing at each pixel (height, width; -1 is none) and the
    depth along the optical axis in metres (height, width).
    """
    model, owner = compiled_scene(scene, room, view)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, view.height, view.width) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = True
        renderer.update_scene(data, camera="eye", scene_option=visible_groups())
        pixels = renderer.render().copy()
    # Not every driver leaves out multisampling when it is told to: between two things a mean of their ids would name a third.
    model.vis.quality.offsamples = 0
    with mujoco.Renderer(model, view.height, view.width) as renderer:
        renderer.update_scene(data, camera="eye", scene_option=visible_groups())
        renderer.enable_segmentation_rendering()
        drawn = renderer.render()
        renderer.disable_segmentation_rendering()
        renderer.enable_depth_rendering()
        depth = renderer.render().copy()
    return pixels, ids_at(drawn, owner), depth


def ids_at(drawn: NDArray[np.int32], owner: NDArray[np.int8]) -> NDArray[np.int8]:
    """Ids of things (height, width; -1 is none) in a segmentation (height, width, 2), given each geom's owner."""
    # The enum itself would be compared object by object: half a second a picture.
    geoms = np.where(drawn[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM), drawn[..., 0], len(owner))
    return np.append(owner, np.int8(-1))[geoms]


def visible_groups() -> mujoco.MjvOption:
    """Draw what is seen, and not what only collides."""
    option = mujoco.MjvOption()
    option.geomgroup[:] = [1, 1, 0, 0, 0, 0]
    return option


def compiled_scene(scene: Scene, room: Room, view: View) -> tuple[mujoco.MjModel, NDArray[np.int8]]:
    """The model to draw, and for each geom the id of its thing (-1 for the room)."""
    spec = mujoco.MjSpec()
    spec.stat.extent = 1.0
    spec.visual.map.znear, spec.visual.map.zfar = NEAR_M, FAR_M
    spec.visual.global_.offwidth, spec.visual.global_.offheight = view.width, view.height
    spec.visual.headlight.active = 0
    spec.visual.quality.shadowsize = 2048
    for number, surface in enumerate(room.surfaces):
        _add_surface(spec, surface, f"surface-{number}")
    owner = [-1] * len(room.surfaces)
    for number, placed in enumerate(scene.placed):
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, placed.rotation.ravel())
        body = spec.worldbody.add_body(pos=placed.position_m, quat=quat)
        add_parts(spec, body, placed.thing.parts)
        owner += [number] * len(placed.thing.parts)
    for light in room.lights:
        _add_light(spec, light)
    eye = np.empty(4)
    mujoco.mju_mat2Quat(eye, (view.rotation * [1, -1, -1]).ravel())  # MuJoCo's camera has y up and looks along -z
    spec.worldbody.add_camera(name="eye", pos=view.position_m, quat=eye, fovy=view.fovy_deg)
    return spec.compile(), np.array(owner, np.int8)


def _add_surface(spec: mujoco.MjSpec, surface: Surface, name: str) -> None:
    if spec.texture(surface.texture) is None:
        add_texture(spec, surface.texture)
    looks = {"rgba": [*surface.rgb, 1], "specular": surface.specular, "shininess": 0.3}
    material = spec.add_material(name=name, texrepeat=texture_repeat(surface), **looks)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = surface.texture
    drawn_only = {"contype": 0, "conaffinity": 0, "group": 1}
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=surface.half_size_m, pos=surface.position_m, material=name, **drawn_only
    )


def add_texture(spec: mujoco.MjSpec, name: str) -> None:
    """Add one of ``textures.NAMES`` as a texture asset."""
    side = textures.SIDE
    asset = spec.add_texture(name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=side, height=side, nchannel=3)
    asset.data = textures.texture(name).tobytes()


def texture_repeat(surface: Surface) -> tuple[float, float]:
    """How often the texture repeats across the surface's larger faces."""
    across = sorted(surface.half_size_m)[-2:]
    return 2 * across[0] * surface.repeat, 2 * across[1] * surface.repeat


def _add_light(spec: mujoco.MjSpec, light: Light) -> None:
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_SPOT if light.spot else mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        castshadow=light.spot,
        pos=light.position_m,
        dir=light.direction,
        diffuse=light.diffuse,
        ambient=[light.ambient] * 3,
        specular=[light.specular] * 3,
        cutoff=light.cutoff_deg,
        exponent=1.0,
    )
