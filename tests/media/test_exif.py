import io
import math

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from deixis.media import load_picture

LENGTH, EQUIVALENT, PLANE_X, PLANE_UNIT, WIDTH, HEIGHT = 0x920A, 0xA405, 0xA20E, 0xA210, 0xA002, 0xA003
MODEL = 0x0110


def photograph(tags: dict[int, object], size: tuple[int, int] = (600, 400), orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if MODEL in tags:
        exif[MODEL] = tags[MODEL]
        tags = {tag: value for tag, value in tags.items() if tag != MODEL}
    exif.get_ifd(0x8769).update(tags)
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_the_35_mm_equivalent_spans_the_diagonal() -> None:
    camera = load_picture(photograph({EQUIVALENT: 36})).camera
    assert camera is not None and camera.source == "exif"
    assert camera.fx == camera.fy == pytest.approx(600)  # 3:2 like the frame itself, whose 36 mm are 600 px here
    assert (camera.cx, camera.cy, camera.width, camera.height) == (300, 200, 600, 400)
    square = load_picture(photograph({EQUIVALENT: 50}, (500, 500))).camera
    assert square is not None and square.fx == pytest.approx(50 * math.hypot(500, 500) / math.hypot(36, 24))


def test_turned_photographs_have_turned_cameras() -> None:
    camera = load_picture(photograph({EQUIVALENT: 36, WIDTH: 6000, HEIGHT: 4000}, orientation=6)).camera
    assert camera is not None and (camera.width, camera.height, camera.cx) == (400, 600, 200)
    assert camera.fx == pytest.approx(600)


@pytest.mark.parametrize(("unit", "per_unit"), [(2, 4000 * 25.4 / 24), (3, 4000 * 10 / 24), (4, 4000 / 24), (5, 4 / 24)])
def test_focal_length_and_sensor(unit: int, per_unit: float) -> None:
    tags = {
        LENGTH: IFDRational(12),
        PLANE_X: IFDRational(round(per_unit * 1e6), 10**6),
        PLANE_UNIT: unit,
        WIDTH: 4000,
        HEIGHT: 3000,
    }
    camera = load_picture(photograph(tags, (800, 600))).camera  # recorded with 4000 px on 24 mm, since made smaller
    assert camera is not None and camera.fx == pytest.approx(12 / 24 * 800, rel=1e-4)


@pytest.mark.parametrize(
    ("model", "width_mm"), [("NIKON D750", 36), ("NIKON D7500", 23.5), ("Canon EOS 80D", 22.3), ("DMC-GX85", 17.3)]
)
def test_focal_length_and_a_known_camera(model: str, width_mm: float) -> None:
    camera = load_picture(photograph({LENGTH: IFDRational(24), MODEL: model})).camera
    assert camera is not None and camera.source == "exif"
    assert camera.fx == camera.fy == pytest.approx(24 / width_mm * 600)


def test_corrupt_exif_spoils_neither_pixels_nor_camera() -> None:
    data = photograph({EQUIVALENT: 36})
    start = data.index(b"Exif\0\0")
    for end in range(start + 6, start + 60, 3):
        damaged = data[: start + 6] + b"\xff" * (end - start - 6) + data[end:]
        picture = load_picture(damaged)
        assert picture.pixels.shape == (400, 600, 3)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {EQUIVALENT: 0},
        {LENGTH: IFDRational(12)},
        {LENGTH: IFDRational(12), MODEL: "Holga 120"},
        {LENGTH: IFDRational(0, 0), PLANE_X: IFDRational(4000), WIDTH: 4000, HEIGHT: 3000},
        {LENGTH: IFDRational(12), PLANE_X: IFDRational(100), PLANE_UNIT: 9, WIDTH: 600, HEIGHT: 400},
        {EQUIVALENT: 36, WIDTH: 4000, HEIGHT: 4000},  # recorded square, so this is a crop
        {EQUIVALENT: 1},  # 173 degrees
        {EQUIVALENT: 60000},
    ],
)
def test_absent_or_impossible_data_gives_no_camera(tags: dict[int, object]) -> None:
    assert load_picture(photograph(tags)).camera is None
