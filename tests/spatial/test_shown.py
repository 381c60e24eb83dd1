"""Very long pictures: what a model is shown of them, and the exact way back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from deixis.backends import Conversation, FakeBackend, ModelCard
from deixis.geometry import Box3D, Camera, View, iou_px
from deixis.media import Picture, load_picture
from deixis.spatial import Deixis
from deixis.spatial.answer import FoundObject
from deixis.spatial.grounding.shown import BORDERED, LONGEST, Shown, joined, shown_for_lists, shown_whole

THING_PX = (700.0, 60.0, 760.0, 100.0)
RED = (255, 0, 0)


def picture(width: int, height: int, *things: tuple[float, float, float, float]) -> Picture:
    pixels = np.full((height, width, 3), 40, np.uint8)
    for x1, y1, x2, y2 in things:
        pixels[int(y1) : int(y2), int(x1) : int(x2)] = RED
    return load_picture(pixels)


def red_box(pixels: np.ndarray) -> tuple[int, int, int, int] | None:
    """The red thing as a model would see it in what it is shown; None where there is none."""
    y, x = np.nonzero((pixels == RED).all(-1))
    return None if len(x) == 0 else (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)


def sees_red(conversation: Conversation) -> str:
    """Says where red is, in 0–1000 of what it is shown; in 3D at z = 2 m of a camera of f = longer side, centred."""
    pixels = conversation.turns[0].parts[0]
    assert not isinstance(pixels, str)
    h, w = pixels.shape[:2]
    box = red_box(pixels)
    if box is None:
        return "[]"
    if "3D" in conversation.text:
        cx, cy = (box[0] + box[2]) / 2 - w / 2, (box[1] + box[3]) / 2 - h / 2
        size = [(box[2] - box[0]) * 2 / max(w, h), (box[3] - box[1]) * 2 / max(w, h), 1e-3]
        center = [cx * 2 / max(w, h), cy * 2 / max(w, h), 2]
        return json.dumps([{"bbox_3d": [*center, *size, 0, 0, 0], "label": "red"}])
    norm = [value * 1000 / side for value, side in zip(box, (w, h, w, h), strict=True)]
    return json.dumps([{"bbox_2d": norm, "label": "red"}])


SIZES = [(1584, 480), (480, 1584), (1501, 600), (4000, 500), (500, 4001)]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_boxes_come_back_to_the_picture(width: int, height: int) -> None:
    thing = (width * 0.55, height * 0.2, width * 0.55 + 60, height * 0.2 + 40)
    thing = tuple(float(int(value)) for value in thing)  # type: ignore[assignment]
    backend = FakeBackend(sees_red, card=ModelCard("exact", virtual_focal=1.0))
    found = Deixis(backend).locate(picture(width, height, thing), "red things")
    assert len(found.objects) == 1
    np.testing.assert_allclose(found.objects[0].box_px, thing, atol=1e-6)
    for asked in backend.asked:
        h, w = asked.turns[0].parts[0].shape[:2]  # type: ignore[union-attr]
        assert max(w, h) <= LONGEST * min(w, h)


def test_3d_boxes_and_camera_come_back_too() -> None:
    thing = (1100.0, 60.0, 1160.0, 100.0)
    shown = picture(1584, 480, thing)
    for camera in (Camera.from_fov(1584, 480, 70), Camera(900, 900, 700, 300, 1584, 480)):
        backend = FakeBackend(sees_red, card=ModelCard("exact", virtual_focal=1.0))
        (item,) = Deixis(backend).locate(shown, "red things", three_d=True, camera=camera).objects
        assert item.box_3d is not None and item.depth_m == pytest.approx(2 * camera.fx / 1584)
        seen = item.box_3d.project(camera)
        assert seen is not None and iou_px(seen, thing) > 0.98


def test_what_is_not_long_is_shown_as_it_is() -> None:
    for size in ((640, 480), (1000, 400), (400, 1000)):
        whole = picture(*size)
        (shown,) = shown_for_lists(whole)
        assert shown.pixels is whole.pixels and shown.view.window_px == (0, 0, *size)


def test_a_long_picture_gets_borders_on_both_sides() -> None:
    whole = picture(1584, 480, THING_PX)
    shown = shown_whole(whole)
    assert shown.pixels.shape == (792, 1584, 3) and BORDERED == 2.0
    assert (shown.pixels[:156] == 127).all() and (shown.pixels[636:] == 127).all()
    assert np.array_equal(shown.pixels[156:636], whole.pixels)
    assert shown.box_in_picture((0, 0, 1584, 100), whole) is None


def test_a_view_inside_is_cut_out() -> None:
    whole = picture(100, 50, (10, 10, 20, 20))
    assert np.array_equal(Shown.of(whole, View((10, 5, 40, 25), 30, 20)).pixels, whole.pixels[5:25, 10:40])


def test_a_box_in_the_border_is_left_out_and_named() -> None:
    backend = FakeBackend({"": '[{"bbox_2d": [0, 0, 900, 100], "label": "ghost"}]'})
    found = Deixis(backend).locate(picture(1584, 480), "things")
    assert (found.objects, found.absent) == ((), False)
    assert [problem.kind for problem in found.provenance.problems] == ["out_of_view"]


def item(label: str, x1: float, x2: float) -> FoundObject:
    return FoundObject(label, (x1, 10, x2, 90), 0.9, ((x1 - 1, x1 + 1), (9, 11), (x2 - 1, x2 + 1), (89, 91)))


def test_tiles_give_each_thing_once_and_whole() -> None:
    left, right = View((0, 0, 200, 100), 200, 100), View((140, 0, 340, 100), 200, 100)
    cut = joined([(left, (item("a", 20, 60), item("b", 150, 200))), (right, (item("b", 150, 260), item("c", 300, 330)))])
    assert [(thing.label, thing.box_px[0], thing.box_px[2]) for thing in cut] == [("a", 20, 60), ("b", 150, 260), ("c", 300, 330)]
    assert cut[1].interval_px is not None and cut[1].interval_px[2] == (259, 261)
    # Two alike in one tile stay two; the same place with another label is another thing.
    two = joined([(left, (item("a", 150, 165), item("a", 170, 185))), (right, (item("a", 150, 165), item("d", 170, 185)))])
    assert [(thing.label, thing.box_px[0]) for thing in two] == [("a", 150), ("a", 170), ("d", 170)]


def test_cameras_of_long_pictures_keep_their_projection() -> None:
    box = Box3D((0.2, 0.1, 2.0), (0.1, 0.1, 0.1))
    camera = Camera.from_fov(1584, 480, 60)
    shown = shown_whole(picture(1584, 480))
    there = box.project(shown.view.camera_of_view(camera))
    assert there is not None
    np.testing.assert_allclose(shown.view.box_to_picture(there), box.project(camera))
