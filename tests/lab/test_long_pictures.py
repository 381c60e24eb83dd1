"""nano on rendered strips of 3.3:1, with the borders that it is shown: its boxes come back to where the things are."""

import numpy as np
import pytest

from deixis.geometry import iou_px
from deixis.lab.make import example
from deixis.spatial import Deixis
from deixis.spatial.scene import EVERYTHING

WIDTH, HEIGHT = 1056, 320


@pytest.mark.slow
def test_boxes_on_bordered_strips_lie_where_things_are() -> None:
    session = Deixis("nano")
    overlaps = []
    for index in range(6):
        made = example("desk", 840_011, index, (WIDTH, HEIGHT))
        truth = [thing["box_px"] for thing in made.truth["objects"] if thing["visible_fraction"] > 0.3]
        found = [item.box_px for item in session.locate(made.pixels, EVERYTHING["en"]).objects]
        overlaps += [max((iou_px(box, thing) for box in found), default=0.0) for thing in truth]
    assert len(overlaps) > 20
    assert np.mean(overlaps) > 0.85, np.mean(overlaps)  # 0.91
