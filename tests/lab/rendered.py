"""Scenes of both worlds with everything that was drawn of them, made once for all tests."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deixis.geometry import Camera
from deixis.lab.observe import observe, silhouette_arrays, silhouettes_of, stacked
from deixis.lab.render import render
from deixis.lab.scene import Room, Scene, View, furnished_room, sampled_view, settled_scene
from deixis.lab.truth import observed, truth_of

SEED = 820_001
SIZE = (256, 208)


@dataclass(frozen=True, eq=False)
class Shot:
    """One scene as it was drawn: `pixels` (h, w, 3), `things` (h, w) ids, `depth_m` (h, w), and its truth."""

    scene: Scene
    room: Room
    view: View
    pixels: NDArray[np.uint8]
    things: NDArray[np.int8]
    depth_m: NDArray[np.float32]
    truth: dict[str, Any]

    @property
    def camera(self) -> Camera:
        return Camera(**self.truth["camera"])

    @property
    def seen(self) -> list[dict[str, Any]]:
        return [o for o in self.truth["objects"] if o["visible_px"] > 0]


@cache
def shot(world: str, index: int, size: tuple[int, int] = SIZE) -> Shot:
    """Picture `index` of the tests' seed, by the same steps as `deixis lab make`."""
    rng = np.random.default_rng([SEED, index])
    scene = settled_scene(world, rng)
    room, view = furnished_room(scene, rng), sampled_view(scene, rng, *size)
    pixels, things, depth = render(scene, room, view)
    outlines = silhouettes_of(stacked([silhouette_arrays(scene, view)]))
    seen = observe(torch.from_numpy(things)[None], torch.from_numpy(depth)[None], outlines)
    return Shot(scene, room, view, pixels, things, depth, observed(truth_of(SEED, index, scene, view), seen))
