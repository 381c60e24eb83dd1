"""Truth lines without a renderer: upright boxes on a table, some stacked, drawn as coarse rectangles for hiding."""

from typing import Any

import numpy as np
from numpy.random import Generator

from deixis.lab.worlds import load_world

GRID = 160  # the coarse picture's width in cells


def synthetic_truth(rng: Generator, world: str = "desk") -> dict[str, Any]:
    width, height = ((640, 480), (512, 512), (384, 640))[int(rng.integers(3))]
    focal = float(rng.uniform(0.7, 1.3)) * max(width, height)
    pitch = np.deg2rad(rng.uniform(3, 88))
    roll = np.deg2rad(rng.uniform(-5, 5))
    # Camera axes in world coordinates (z up), looking along +y and down.
    forward = np.array([0, np.cos(pitch), -np.sin(pitch)])
    right = np.array([1.0, 0, 0])
    down = np.cross(forward, right)
    right, down = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    world_from_camera = np.stack([right, down, forward], axis=1)
    eye = -forward * rng.uniform(0.8, 1.6)
    camera_from_world = world_from_camera.T
    objects = _placed(rng, world)
    for o in objects:
        _project(o, camera_from_world, eye, focal, width, height)
    _hide(objects, width, height)
    gravity = camera_from_world @ np.array([0, 0, -1.0])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = world_from_camera, eye
    for o in objects:
        del o["world_m"], o["yaw"], o["half"]
    return {
        "image": "000000.png",
        "world": world,
        "seed": 1,
        "index": 0,
        "camera": {
            "fx": focal,
            "fy": focal,
            "cx": width / 2,
            "cy": height / 2,
            "width": width,
            "height": height,
            "source": "user",
        },
        "pose": {
            "height_m": float(eye[2]),
            "pitch_deg": float(np.rad2deg(pitch)),
            "roll_deg": float(np.rad2deg(roll)),
            "gravity": gravity.tolist(),
            "T_world_camera": pose.tolist(),
        },
        "objects": objects,
    }


def _placed(rng: Generator, world: str) -> list[dict[str, Any]]:
    vocabulary = load_world(world).colors
    categories = list(vocabulary)
    objects: list[dict[str, Any]] = []
    for i in range(int(rng.integers(2, 13))):
        category = objects[-1]["category"] if objects and rng.random() < 0.25 else categories[int(rng.integers(len(categories)))]
        colors = vocabulary[category]
        color = colors[int(rng.integers(len(colors)))]
        half = rng.uniform(0.02, 0.12, 3) * np.array([1, 1, 0.7])
        carrier = int(rng.integers(i)) if i and rng.random() < 0.2 else -1
        free = not any(carrier in o["rests_on"] for o in objects) and carrier != -1
        if free:
            below = objects[carrier]
            half[:2] = np.minimum(half[:2], below["half"][:2] * 0.8)
            ground, bottom = below["world_m"][:2], below["top_m"]
        else:
            carrier, bottom = -1, 0.0
            ground = rng.uniform((-0.45, -0.35), (0.45, 0.35))
        objects.append(
            {
                "id": i,
                "category": category,
                "color": color,
                "label": f"{color} {category}",
                "world_m": np.array([*ground, bottom + half[2]]),
                "half": half,
                "yaw": float(rng.uniform(-1, 1)) * np.pi,
                "bottom_m": float(bottom),
                "top_m": float(bottom + 2 * half[2]),
                "rests_on": [carrier],
                "touches": [] if carrier == -1 else [carrier],
            }
        )
    return objects


def _project(o: dict[str, Any], camera_from_world: Any, eye: Any, focal: float, width: int, height: int) -> None:
    c, s = np.cos(o["yaw"]), np.sin(o["yaw"])
    rotation = camera_from_world @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    center = camera_from_world @ (o["world_m"] - eye)
    signs = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = center + (signs * o["half"]) @ rotation.T
    px = corners[:, :2] / np.maximum(corners[:, 2:], 0.05) * focal + np.array([width, height]) / 2
    low, high = np.clip(px.min(0), 0, (width, height)), np.clip(px.max(0), 0, (width, height))
    o["amodal_box_px"] = [float(v) for v in (*low, *high)]
    o["center_m"] = center.tolist()
    b = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    a = np.arctan2(rotation[2, 1], rotation[2, 2])
    g = np.arctan2(rotation[1, 0], rotation[0, 0])
    o["box_3d"] = [float(v) for v in (*center, *(2 * o["half"]), a / np.pi, b / np.pi, g / np.pi)]
    o["depth_m"] = float(center[2] - 0.5 * o["half"].mean())


def _hide(objects: list[dict[str, Any]], width: int, height: int) -> None:
    """Paint from far to near on a coarse grid; every silhouette is its box."""
    cell = width / GRID
    rows = round(height / cell)
    owner = np.full((rows, GRID), -1)
    silhouettes = {}
    for o in sorted(objects, key=lambda o: -o["depth_m"]):
        x1, y1, x2, y2 = np.rint(np.array(o["amodal_box_px"]) / cell).astype(int)
        silhouettes[o["id"]] = (slice(y1, y2), slice(x1, x2))
        owner[silhouettes[o["id"]]] = o["id"]
    for o in objects:
        inside = owner[silhouettes[o["id"]]]
        ys, xs = np.nonzero(owner == o["id"])
        o["visible_px"] = int(len(xs) * cell * cell)
        o["visible_fraction"] = float(len(xs) / inside.size) if inside.size else 0.0
        if len(xs):
            ends = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            o["box_px"] = [float(min(v * cell, side)) for v, side in zip(ends, (width, height) * 2, strict=True)]
            middle = len(xs) // 2
            o["point_px"] = [float((xs[middle] + 0.5) * cell), float((ys[middle] + 0.5) * cell)]
        else:
            o["box_px"], o["point_px"], o["depth_m"] = None, None, None
        hiders, counts = np.unique(inside, return_counts=True)
        pairs = zip(hiders.tolist(), counts.tolist(), strict=True)
        o["occluders"] = [[hider, n / inside.size] for hider, n in pairs if hider not in (o["id"], -1)]
