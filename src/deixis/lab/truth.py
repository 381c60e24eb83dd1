"""The exact truth of a picture, as one JSON-ready dict (a line of truth.jsonl without its questions).

Knows scenes, views and observations. Does not know questions.
"""

from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import Viewpoint
from deixis.lab.observe import Observation
from deixis.lab.scene import Placed, Scene, View

Array = NDArray[np.float64]

# The 24 ways to name a box's axes without mirroring it.
_NAMINGS = np.array(
    [
        m
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
        if np.linalg.det(m := np.eye(3)[list(order)].T * signs) > 0
    ]
)


def truth_of(seed: int, index: int, scene: Scene, view: View) -> dict[str, Any]:
    """All of the truth that needs no pixels; ``observed`` adds the rest."""
    gravity = view.rotation.T @ [0.0, 0.0, -1.0]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = view.rotation, view.position_m
    return {
        "world": scene.world,
        "seed": seed,
        "index": index,
        "camera": {
            "fx": round(view.focal_px, 4),
            "fy": round(view.focal_px, 4),
            "cx": view.width / 2,
            "cy": view.height / 2,
            "width": view.width,
            "height": view.height,
            "source": "user",
        },
        "pose": {
            "height_m": round(float(view.position_m[2]), 4),
            "pitch_deg": round(view.pitch_deg, 2),
            "roll_deg": round(Viewpoint(tuple(gravity)).roll_deg, 2),
            "gravity": _rounded(gravity),
            "T_world_camera": [_rounded(r) for r in pose],
        },
        "objects": [_thing(i, p, view, gravity) for i, p in enumerate(scene.placed)],
    }


def observed(truth: dict[str, Any], seen: Observation, row: int = 0) -> dict[str, Any]:
    """``truth`` with what the camera saw of each thing; ``row`` is the picture's place in the batch."""
    things = []
    for thing in truth["objects"]:
        i = thing["id"]
        hidden = seen.hidden_by[row, i]
        things.append(
            {
                **thing,
                "box_px": _rounded(seen.box_px[row, i], 1),
                "visible_fraction": round(float(seen.visible_fraction[row, i]), 3),
                "visible_px": int(seen.visible_px[row, i]),
                "point_px": _rounded(seen.point_px[row, i], 1),
                "depth_m": round(float(seen.depth_m[row, i]), 4),
                "occluders": [[k, round(float(hidden[k]), 3)] for k in np.argsort(-hidden[:-1]).tolist() if hidden[k] > 0.005],
            }
        )
    return {**truth, "objects": things}


def _thing(i: int, placed: Placed, view: View, gravity: Array) -> dict[str, Any]:
    thing = placed.thing
    low, high = thing.bounds
    middle = placed.position_m + placed.rotation @ ((low + high) / 2)
    center = view.rotation.T @ (middle - view.position_m)
    rotation, size = upright_box(view.rotation.T @ placed.rotation, high - low, gravity, thing.symmetry)
    reach = np.abs(placed.rotation[2]) @ (high - low) / 2
    return {
        "id": i,
        "category": thing.category,
        "color": thing.color,
        "label": f"{thing.color} {thing.category}",
        "amodal_box_px": _rounded(_amodal(placed, view), 1),
        "center_m": _rounded(center),
        "box_3d": _rounded([*center, *size, *half_turns(rotation)]),
        "bottom_m": round(float(middle[2] - reach), 4),
        "top_m": round(float(middle[2] + reach), 4),
        "rests_on": list(placed.rests_on),
        "touches": list(placed.touches),
    }


def _amodal(placed: Placed, view: View) -> Array:
    points = np.concatenate([p.extent_points() for p in placed.thing.parts])
    seen = (points @ placed.rotation.T + placed.position_m - view.position_m) @ view.rotation
    px = seen[:, :2] / np.maximum(seen[:, 2:], 0.01) * view.focal_px + [view.width / 2, view.height / 2]
    return np.concatenate([px.min(0), px.max(0)])


def upright_box(rotation: Array, size: Array, gravity: Array, symmetry: str) -> tuple[Array, Array]:
    """One name for each box: of the 24 ways to name its axes, the one whose y is closest to gravity and whose turn about it
    is at most 45 degrees from the camera's. Round things turn not at all. Rotations are camera from box, sizes full.
    """
    heading = np.cross(gravity, [0.0, 0.0, 1.0])  # camera's right, made level
    heading = heading / np.linalg.norm(heading) if np.linalg.norm(heading) > 1e-3 else np.array([1.0, 0.0, 0.0])
    heading = heading if heading[0] > 0 else -heading
    level = np.stack([heading, gravity, np.cross(heading, gravity)], -1)
    best = max(_NAMINGS, key=lambda m: 3 * (rotation @ m)[:, 1] @ gravity + (rotation @ m)[:, 0] @ heading)
    turned, sizes = rotation @ best, np.abs(best.T) @ size
    if symmetry == "round" and abs(rotation[:, 2] @ gravity) > 0.99:
        turned = level
    return turned, sizes


def half_turns(rotation: Array) -> tuple[float, float, float]:
    """Angles (a, b, c) in half-turns with R = Rz(c) Ry(b) Rx(a): the order of Qwen3-VL's bbox_3d."""
    b = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    a = np.arctan2(rotation[2, 1], rotation[2, 2])
    c = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(a / np.pi), float(b / np.pi), float(c / np.pi)


def _rounded(values: Any, digits: int = 4) -> list[float]:
    return [round(float(v), digits) for v in values]
