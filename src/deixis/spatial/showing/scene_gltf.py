"""A scene as glTF 2.0 binary (.glb): oriented boxes with names and colours, the camera and its frustum. Written by trimesh.

Knows glTF's axes (x right, y up, z towards the viewer; metres) and node names. Does not know how the scene was found.
glTF's cameras have no principal point of their own: the frustum is exact, the camera node looks along the optical axis. Each
object's node carries id, label, box_px and score as `extras`, the camera node its intrinsics and their source.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import Camera
from deixis.spatial.scene import SCHEMA, Scene, unique_names
from deixis.spatial.showing.draw import PALETTE

RESERVED = ("world", "camera", "frustum")  # node names of the scene's own; an object called "camera" becomes "camera (2)"
TO_GLTF = np.diag([1.0, -1.0, -1.0, 1.0])  # camera frame (y down, z forward) to glTF: half a turn about x
_VERTICES, _INDICES = 34_962, 34_963  # what a buffer view is for; trimesh leaves it out
OPACITY = 0.45  # boxes are hulls, and things stand behind one another


def scene_glb(scene: Scene) -> bytes:
    """The scene as one .glb file. Objects without a 3D box are not in it; the JSON has them."""
    import trimesh

    made = trimesh.Scene()
    names = unique_names((item.label for item in scene.objects), RESERVED)
    extras: dict[str, dict[str, Any]] = {"camera": dict(scene.camera.to_json())}
    for i, (item, name) in enumerate(zip(scene.objects, names, strict=True)):
        if item.box_3d is None:
            continue
        placed = np.eye(4)
        placed[:3, :3], placed[:3, 3] = item.box_3d.rotation, item.box_3d.center_m
        box = trimesh.creation.box(extents=item.box_3d.size_m)
        box.visual = trimesh.visual.TextureVisuals(material=_material(trimesh, name, PALETTE[i % len(PALETTE)]))
        # glTF wants node matrices that decompose: a rotation and a translation do.
        made.add_geometry(box, node_name=name, geom_name=name, transform=TO_GLTF @ placed)
        extras[name] = {"id": i, **item.to_json()}
    lines = trimesh.load_path(frustum_lines_m(scene.camera, frustum_depth_m(scene)))
    made.add_geometry(lines, node_name="frustum", geom_name="frustum", transform=TO_GLTF)
    made.camera = trimesh.scene.Camera(
        name="camera", resolution=(scene.camera.width, scene.camera.height), focal=(scene.camera.fx, scene.camera.fy)
    )
    made.camera_transform = np.eye(4)  # glTF's cameras look along −z, which is the camera frame's +z after TO_GLTF

    def complete(tree: dict[str, Any]) -> None:
        tree["asset"] = {"version": "2.0", "generator": "Deixis", "extras": {"schema": SCHEMA, "picture": scene.picture.name}}
        for camera in tree["cameras"]:  # trimesh gives the ratio of the angles; glTF wants that of the picture's sides
            camera["perspective"] |= {
                "aspectRatio": scene.camera.width / scene.camera.fx * scene.camera.fy / scene.camera.height,
                "yfov": 2 * math.atan(scene.camera.height / 2 / scene.camera.fy),
            }
        for primitive in (part for mesh in tree["meshes"] for part in mesh["primitives"]):
            for accessor in primitive["attributes"].values():
                _view_of(tree, accessor)["target"] = _VERTICES
            if "indices" in primitive:
                _view_of(tree, primitive["indices"])["target"] = _INDICES
        for node in tree["nodes"]:
            if node.get("name") in extras:
                node["extras"] = extras[node["name"]]

    exported = trimesh.exchange.gltf.export_glb(made, include_normals=True, tree_postprocessor=complete)
    return bytes(exported)


def _view_of(tree: dict[str, Any], accessor: int) -> dict[str, Any]:
    view: dict[str, Any] = tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]
    return view


def frustum_depth_m(scene: Scene) -> float:
    """How far the frustum is drawn: a little beyond the farthest corner of any box; 1 m where there is none."""
    corners = [item.box_3d.corners_m()[:, 2].max() for item in scene.objects if item.box_3d is not None]
    return 1.1 * max([float(z) for z in corners if z > 0], default=1 / 1.1)


def frustum_lines_m(camera: Camera, depth_m: float) -> NDArray[np.float64]:
    """The eight edges of the viewing pyramid as segments (8, 2, 3) in the camera frame."""
    w, h = camera.width, camera.height
    far = camera.unproject([(0, 0), (w, 0), (w, h), (0, h)], np.full(4, depth_m))  # (4, 3)
    rays = np.stack([np.zeros_like(far), far], axis=1)
    return np.concatenate([rays, np.stack([far, np.roll(far, -1, axis=0)], axis=1)])


def _material(trimesh: Any, name: str, color: tuple[int, int, int]) -> Any:
    linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c > 10 else c / 255 / 12.92 for c in color]  # glTF's factors are linear
    return trimesh.visual.material.PBRMaterial(
        name=name,
        baseColorFactor=[*(round(255 * c) for c in linear), round(255 * OPACITY)],
        metallicFactor=0.0,
        roughnessFactor=0.9,
        alphaMode="BLEND",
        doubleSided=True,
    )
