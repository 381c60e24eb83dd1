"""Scenes for tests: a fake model that sees a book on a box and a cup beside them, or things with hostile names."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from deixis.backends import FakeBackend, ModelCard
from deixis.geometry import Box3D, Camera
from deixis.media import Picture, load_picture
from deixis.spatial import Deixis
from deixis.spatial.scene import Scene

CARD = ModelCard("nano", "named by the caller", virtual_focal=1.0, knows="rendered worlds")
CAMERA = Camera(640, 640, 320, 240, 640, 480, "user")  # nano's virtual camera: depths stay as they are
PICTURE = load_picture(np.full((480, 640, 3), 128, np.uint8), name="grey.png")
HOSTILE = "</script><img src=x onerror=alert(1)><!-- {{importmap}} ${1} \u2028 & '\" `"
# A box on the table, a book on it, a cup to the right of both and farther away; y points down.
BOXES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("box", (-0.2, 0.15, 1.0, 0.2, 0.1, 0.2, 0, 0, 0)),
    ("book", (-0.2, 0.08, 1.0, 0.15, 0.04, 0.15, 0, 0.1, 0)),
    ("cup", (0.3, 0.15, 1.4, 0.1, 0.1, 0.1, 0, 0, 0)),
)


def backend_of(boxes: Sequence[tuple[str, Sequence[float]]]) -> FakeBackend:
    """A model that lists these boxes, in 2D where they project to and in 3D."""
    flat, deep = [], []
    for label, numbers in boxes:
        px = Box3D.from_qwen(numbers).project(CAMERA)
        assert px is not None
        norm = [round(v * 1000 / side) for v, side in zip(px, (640, 480, 640, 480), strict=True)]
        flat.append({"bbox_2d": norm, "label": label})
        deep.append({"bbox_3d": list(numbers), "label": label})
    return FakeBackend({"3D": json.dumps(deep), "": json.dumps(flat)}, card=CARD)


def scene_of_boxes(boxes: Sequence[tuple[str, Sequence[float]]] = BOXES, picture: Picture = PICTURE) -> Scene:
    """The scene that Deixis makes of them."""
    return Deixis(backend_of(boxes)).scene(picture, camera=CAMERA)
