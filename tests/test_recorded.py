"""Real answers of Qwen3-VL-235B about real photographs: read, projected, and held against what an eye sees.

How the regions were drawn: each photograph was shown with a ruler along its edges, at 0.625 (office), 0.75 (street), 1.875
(table) and 0.385 (phone) of its size, and the outermost visible parts of each thing were read off to about 5 px of what was
shown. The chair's box runs from castor to castor and from backrest to castor; a car's includes wheels and roof rails, and ends
at the picture's edge or where the other car hides it.
"""

import json
from pathlib import Path

import pytest

from deixis.geometry import Box3D, Camera, iou_px, polygon_contains, polygon_iou
from deixis.spatial.grounding.parse import parse_objects

RECORDED = Path(__file__).parents[2] / "shared" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="../shared/recorded is not beside this checkout")

SIZES = {  # width, height
    "office.jpg": (1440, 1920),
    "autonomous_driving.jpg": (1600, 900),
    "spatio_case2_aff.png": (480, 640),
    "mobile_en_example.png": (1440, 3120),
}
BLACK_CHAIR = (323, 525, 685, 1099)
DARK_CAR, YELLOW_TAXI = (1137, 459, 1600, 885), (984, 476, 1164, 630)
# The white table's top, with its front edge, as far as it is in the picture.
WHITE_TABLE = [(352, 387), (419, 368), (480, 384), (480, 429), (357, 395)]
SEARCH_BAR = [(286, 177), (1017, 177), (1017, 322), (286, 322)]


def answer(image: str) -> str:
    cases = json.loads((RECORDED / "answers.json").read_text(encoding="utf-8"))["cases"]
    found = next(case["answer"] for case in cases if case["image"] == image)
    return found if isinstance(found, str) else json.dumps(found)


def projected(image: str) -> list[tuple[Box3D, Camera]]:
    known = json.loads((RECORDED / "cam_infos.json").read_text(encoding="utf-8"))[image]
    camera = Camera(**known, width=SIZES[image][0], height=SIZES[image][1])
    parsed = parse_objects(answer(image), camera.width, camera.height, expect="box_3d")
    assert not parsed.problems
    return [(Box3D.from_qwen(item.box_3d), camera) for item in parsed.objects if item.box_3d is not None]


def outline_iou(box: Box3D, camera: Camera, drawn) -> float:
    x1, y1, x2, y2 = drawn
    return polygon_iou(box.outline_px(camera), [(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


def test_every_answer_is_read_without_an_exception() -> None:
    for case in json.loads((RECORDED / "answers.json").read_text(encoding="utf-8"))["cases"]:
        text = case["answer"] if isinstance(case["answer"], str) else json.dumps(case["answer"])
        parsed = parse_objects(text, *SIZES.get(case["image"], (1000, 1000)))
        assert bool(parsed.objects) == any(word in text for word in ("bbox_3d", "point_2d", "coordinate"))


def test_the_photographs_have_the_sizes_of_the_drawn_regions() -> None:
    from deixis.media import load_picture

    for name, (width, height) in SIZES.items():
        assert load_picture(RECORDED / name).pixels.shape == (height, width, 3)


def test_both_cars_stand_where_the_eye_sees_them() -> None:
    cars = projected("autonomous_driving.jpg")
    assert len(cars) == 2
    for (box, camera), drawn in zip(cars, (DARK_CAR, YELLOW_TAXI), strict=True):
        window = box.project(camera)
        assert window is not None and iou_px(window, drawn) >= 0.5
        assert outline_iou(box, camera, drawn) >= 0.5


def test_the_black_chair_stands_where_the_eye_sees_it() -> None:
    """The outline, not the upright box around it: a turned cuboid's is larger than the chair, and has IoU 0.46."""
    ((box, camera),) = projected("office.jpg")
    assert outline_iou(box, camera, BLACK_CHAIR) >= 0.5


def test_the_free_place_is_on_the_white_table() -> None:
    (item,) = parse_objects(answer("spatio_case2_aff.png"), *SIZES["spatio_case2_aff.png"], expect="point_2d").objects
    assert item.point_px is not None and polygon_contains(WHITE_TABLE, item.point_px)


def test_the_click_is_on_the_search_bar() -> None:
    parsed = parse_objects(answer("mobile_en_example.png"), *SIZES["mobile_en_example.png"], expect="point_2d", full=999)
    (item,) = parsed.objects
    assert item.point_px is not None and polygon_contains(SEARCH_BAR, item.point_px)
