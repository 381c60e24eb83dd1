"""In which coordinates a model answers: found out, kept, converted, or refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from deixis.backends import Conversation, FakeBackend, ModelCard
from deixis.errors import BackendError
from deixis.media import load_picture
from deixis.spatial import Deixis
from deixis.spatial.grounding import canary
from deixis.spatial.grounding.canary import Scale, canaries, full_of, known_grounding, measure_grounding, measured_and_kept
from deixis.spatial.grounding.shown import shown_whole


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(canary, "_MEASURED", {})
    return tmp_path / "cache"


class Pointer(FakeBackend):
    """Knows where everything is, and says so in its own scale, `off` pixels wrong at random."""

    def __init__(self, scale: Scale, off: float = 0.0, identity: str = "pointer") -> None:
        super().__init__(self._say, card=ModelCard("pointer", identity=identity))
        self.scale, self.off, self.rng = scale, off, random.Random(4)
        self.truth = {shown_whole(one.picture).pixels.tobytes(): one for one in canaries()}

    def _say(self, conversation: Conversation) -> str:
        pixels = conversation.turns[0].parts[0]
        assert not isinstance(pixels, str)
        h, w = pixels.shape[:2]
        full = full_of(self.scale, w, h)
        one = self.truth.get(pixels.tobytes())
        if one is None:  # a user's picture: one thing, in its middle
            boxes = [(w / 4, h / 4, w / 2, h / 2)]
        else:
            boxes = [shown_whole(one.picture).view.box_to_view(box) for box in one.boxes_px]
        rows = []
        for box in boxes:
            moved = [value + self.rng.gauss(0, self.off) for value in box]
            said = [round(value * top / side) for value, top, side in zip(moved, full * 2, (w, h, w, h), strict=True)]
            rows.append({"bbox_2d": said, "label": "thing"})
        return json.dumps(rows)


def test_the_pictures_have_the_shapes_and_the_things() -> None:
    shapes = [(one.picture.width / one.picture.height, len(one.boxes_px)) for one in canaries()]
    assert [round(shape, 2) for shape, _ in shapes] == [1.0, 1.78, 3.3, 0.5]
    assert sum(count for _, count in shapes) >= 20
    folder = Path(canary.__file__).parent / "assets" / "canary"
    assert all(path.stat().st_size < 64_000 for path in folder.iterdir())


@pytest.mark.parametrize("scale", get_args(Scale))
@pytest.mark.parametrize("off", [0.0, 2.0])
def test_the_scale_is_found(scale: Scale, off: float) -> None:
    found = measure_grounding(Pointer(scale, off))
    # A thousandth cannot be told by boxes that are two pixels off: then the scale is Qwen3-VL's own.
    assert found.scale == ("0-1000" if (scale, off) == ("0-999", 2.0) else scale)
    assert found.iou > (0.97 if off == 0 else 0.7) and found.pictures == 4
    assert found.scale in found.text and found.to_json()["tried"][found.scale] == pytest.approx(found.iou, abs=1e-4)


@pytest.mark.parametrize("scale", get_args(Scale))
def test_other_scales_are_converted_and_said(scale: Scale) -> None:
    picture = load_picture(np.zeros((400, 600, 3), np.uint8))
    found = Deixis(Pointer(scale)).locate(picture, "the thing")
    np.testing.assert_allclose(found.objects[0].box_px, (150, 100, 300, 200), atol=1)
    assert any(scale in note for note in found.provenance.notes) == (scale != "0-1000")
    assert list(found.provenance.timings_ms) == ["grounding", "locate", "total"]


def test_a_model_is_measured_once_on_a_machine(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = load_picture(np.zeros((400, 600, 3), np.uint8))
    asked = []
    for _ in range(2):
        backend = Pointer("pixels")
        Deixis(backend).locate(picture, "the thing")
        asked.append(len(backend.asked))
        monkeypatch.setattr(canary, "_MEASURED", {})  # as in another process
    assert asked == [5, 1]
    (kept,) = (empty_cache / "deixis" / "grounding").iterdir()
    for broken in ("{", "[]", kept.read_text().replace('"pixels"', '"inches"'), kept.read_text().replace("canaries", "c")):
        kept.write_text(broken)
        assert known_grounding("pointer", None) is None
    other = Pointer("pixels", identity="another")
    Deixis(other).locate(picture, "the thing")
    assert len(other.asked) == 5


def test_an_outcome_beside_the_checkpoint_travels_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Pointer("0-1000")
    backend._card = ModelCard("pointer", identity="weights:1", directory=tmp_path)
    found = measured_and_kept(backend, beside=True)
    monkeypatch.setattr(canary, "_MEASURED", {})
    assert (tmp_path / canary.BESIDE).is_file()
    again = known_grounding("weights:1", tmp_path)
    assert again is not None and (again.scale, again.iou) == (found.scale, pytest.approx(found.iou, abs=1e-4))
    assert known_grounding("weights:2", tmp_path) is None


def test_a_cache_that_cannot_be_written_costs_nothing_in_this_process(empty_cache: Path) -> None:
    empty_cache.write_text("a file where a directory belongs")
    backend = Pointer("0-1000")
    session = Deixis(backend)
    for _ in range(2):
        session.locate(load_picture(np.zeros((400, 600, 3), np.uint8)), "the thing")
    assert len(backend.asked) == 6


@pytest.mark.parametrize("reply", ["I see a desk.", '[{"bbox_2d": [1, 2, 9, 9], "label": "x"}]', "[]"])
def test_a_model_that_does_not_point_is_refused_with_figures(reply: str) -> None:
    backend = FakeBackend({"": reply}, card=ModelCard("blind", identity="blind"))
    for _ in range(2):
        with pytest.raises(BackendError, match=r"mean IoU of 0\.0\d at best \(as 0-1000 0\.0\d, .*expected 0\.3"):
            Deixis(backend).locate(load_picture(np.zeros((400, 600, 3), np.uint8)), "the thing")
    assert len(backend.asked) == 4


def test_a_model_without_identity_is_not_measured() -> None:
    backend = FakeBackend({"": "[]"})
    Deixis(backend).locate(load_picture(np.zeros((400, 600, 3), np.uint8)), "the thing")
    assert len(backend.asked) == 1


@pytest.mark.slow
def test_nano_points_at_things() -> None:
    from deixis.backends import resolve_model

    found = measure_grounding(resolve_model("nano"))
    assert found.scale == "0-1000" and found.iou > 0.5
