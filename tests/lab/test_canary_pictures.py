"""The canary pictures are what their truth file says: made by the lab, with nothing drawn by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

import deixis
from deixis.lab.make import example
from deixis.media import load_picture

FOLDER = Path(deixis.__file__).parent / "spatial" / "grounding" / "assets" / "canary"
ROWS = json.loads((FOLDER / "truth.json").read_text(encoding="utf-8"))["pictures"]


@pytest.mark.parametrize("row", ROWS, ids=[row["image"] for row in ROWS])
def test_it_can_be_made_again(row) -> None:
    made = example(row["world"], row["seed"], row["index"], (row["width"], row["height"]))
    seen = [{"label": o["label"], "box_px": o["box_px"]} for o in made.truth["objects"] if o["visible_fraction"] > 0.6]
    assert [thing["label"] for thing in seen] == [thing["label"] for thing in row["objects"]]
    np.testing.assert_allclose([t["box_px"] for t in seen], [t["box_px"] for t in row["objects"]], atol=1.5)
    shipped = load_picture(FOLDER / row["image"]).pixels.astype(float)
    assert np.abs(shipped - made.pixels).mean() < 6  # 128 colours
