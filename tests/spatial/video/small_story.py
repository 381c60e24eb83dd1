"""A video of eleven seconds in boxes: a box comes over a red cup, takes it along, and a ball rolls into another one."""

from __future__ import annotations

import numpy as np

from deixis.spatial.video.detection import Detection
from deixis.spatial.video.memory import SpatialMemory

SIZE = (640, 480)


def frame(t: float) -> list[Detection]:
    """What is seen at a time."""
    box_x = float(np.interp(t, [2, 3, 6, 8], [60, 200, 200, 420]))
    cup_x = float(np.interp(t, [6, 8], [200, 420]))
    hidden = abs(box_x - cup_x) < 40
    red = float(np.interp(t, [4, 5], [120, 250]))
    blue = float(np.interp(t, [5, 7], [290, 460]))
    found = [
        Detection("blue box", (box_x - 60, 100, box_x + 60, 220)),
        Detection("red ball", (red - 20, 380, red + 20, 420)),
        Detection("blue ball", (blue - 20, 380, blue + 20, 420)),
        Detection("green lamp", (560, 60, 610, 160)),
    ]
    if not hidden:
        found.append(
            Detection(
                "red cup", (max(cup_x - 20, box_x + 60 if box_x < cup_x and box_x + 60 > cup_x - 20 else 0), 170, cup_x + 20, 215)
            )
        )
    return found


def told(path: str = ":memory:", until_s: float = 10.0, start_s: float = 0.0) -> SpatialMemory:
    """The ledger after it, five frames a second."""
    memory = SpatialMemory(path)
    source = memory.source("story.mp4", "abc")
    for k in range(round(start_s * 5), round(until_s * 5) + 1):
        memory.observe(k / 5, frame(k / 5), SIZE, source)
    return memory
