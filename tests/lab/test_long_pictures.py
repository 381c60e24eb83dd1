"""nano on rendered strips of 3.3:1: with the borders that it is shown, its boxes lie far better than on the strip as it is."""

import numpy as np
import pytest

from deixis.backends import Conversation, resolve_model
from deixis.geometry import iou_px
from deixis.lab.make import example
from deixis.spatial import Deixis
from deixis.spatial.grounding.parse import parse_objects
from deixis.spatial.language import prompts
from deixis.spatial.scene import EVERYTHING

WIDTH, HEIGHT = 1056, 320


@pytest.mark.slow
def test_borders_more_than_halve_what_nano_misses_by() -> None:
    backend = resolve_model("nano")
    session = Deixis(backend)
    bare, bordered = [], []
    for index in range(6):
        made = example("desk", 840_011, index, (WIDTH, HEIGHT))
        truth = [thing["box_px"] for thing in made.truth["objects"] if thing["visible_fraction"] > 0.3]
        said = backend.complete(Conversation.about(made.pixels, prompts.locate(EVERYTHING["en"], "en")), max_new_tokens=900).text
        raw = [item.box_px for item in parse_objects(said, WIDTH, HEIGHT).objects if item.box_px is not None]
        found = [item.box_px for item in session.locate(made.pixels, EVERYTHING["en"]).objects]
        for boxes, overlaps in ((raw, bare), (found, bordered)):
            overlaps += [max((iou_px(box, thing) for box in boxes), default=0.0) for thing in truth]
    assert len(bare) > 20
    assert np.mean(bordered) > np.mean(bare) + 0.2, (np.mean(bare), np.mean(bordered))
