"""Annotated pictures: inside the picture, off one another, at every size, in both languages, written whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from deixis.errors import OptionError
from deixis.geometry import Box3D, Camera
from deixis.media import Picture, load_picture
from deixis.spatial.answer import Answer, Claim, FoundObject, LocateAnswer, Provenance, as_percent
from deixis.spatial.language.prompts import Language
from deixis.spatial.places.free_space import Place
from deixis.spatial.showing import draw, lettering
from deixis.spatial.showing.draw import draw_answer, draw_locate, missing_letters
from deixis.spatial.showing.lettering import Lettering, missing
from deixis.spatial.showing.saving import checked_target, save_picture

NO_MODEL = Provenance("fake", "scripted")


def grey(width: int, height: int) -> Picture:
    return load_picture(np.full((height, width, 3), 128, np.uint8))


def answer_for(picture: Picture, labels: list[str], *, same_place: bool = False) -> Answer:
    w, h = picture.width, picture.height
    objects = []
    for i, label in enumerate(labels):
        shift = 0.0 if same_place else i / max(len(labels), 2)
        box = (w * (0.02 + 0.7 * shift), h * 0.3, w * (0.28 + 0.7 * shift), h * 0.7)
        objects.append(FoundObject(label, box, 0.9))
    claims = tuple(
        Claim("a is left of b", "yes", "yes", agrees, subject=0, others=(1,)) for agrees in (True, False, None) if len(labels) > 1
    )
    return Answer("Where?", "en", "Yes", "yes", 0.9, tuple(objects), claims, Camera.assumed(w, h), NO_MODEL)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (300, 200), (640, 480), (200, 900), (4000, 3000)])
def test_any_size(width: int, height: int) -> None:
    picture = grey(width, height)
    image = draw_answer(picture, answer_for(picture, ["red cup", "红色杯子"]))
    assert image.width == width
    assert image.height > height  # the strip below
    pixels = np.asarray(image)[:height]
    assert (pixels != 128).any()


def test_lines_and_letters_grow_with_the_picture() -> None:
    share = {}
    for width, height in ((300, 200), (3000, 2000)):
        picture = grey(width, height)
        image = np.asarray(draw_answer(picture, answer_for(picture, ["red cup"])))[:height]
        share[width] = float((image != 128).any(-1).mean())
    assert 0.25 < share[3000] / share[300] < 1.5


def test_labels_stay_inside_and_off_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = grey(640, 480)
    plates: list[list[draw.BoxPx]] = []
    original = draw.labelled

    def spy(sheet: draw.Sheet, text: str, box: draw.BoxPx, color: object, taken: list[draw.BoxPx], boxes: object) -> None:
        original(sheet, text, box, color, taken, boxes)  # type: ignore[arg-type]
        plates.append(list(taken))

    monkeypatch.setattr(draw, "labelled", spy)
    draw_answer(picture, answer_for(picture, [f"thing {i}" for i in range(6)], same_place=True))
    corner = (FoundObject("in the corner", (600, 0, 640, 20)), FoundObject("at the bottom", (0, 470, 60, 480)))
    draw_locate(picture, LocateAnswer("x", "en", corner, False, Camera.assumed(640, 480), False, NO_MODEL))
    for taken in (plates[5], plates[7]):
        for i, (x1, y1, x2, y2) in enumerate(taken):
            assert x1 >= 0
            assert y1 >= 0
            assert x2 <= 640
            assert y2 <= 480
            for a1, b1, a2, b2 in taken[:i]:
                assert min(x2, a2) - max(x1, a1) <= 0 or min(y2, b2) - max(y1, b1) <= 0


@pytest.mark.parametrize(("width", "probability", "color"), [(300, 0.95, (46, 160, 67)), (4000, 0.05, (214, 40, 40))])
def test_places_are_filled_and_no_label_hides_them(width: int, probability: float, color: tuple[int, int, int]) -> None:
    picture = grey(width, width * 3 // 4)
    x, y, side = width * 0.5, width * 0.4, width * 0.06
    outline = ((x - side, y - side), (x + side, y - side), (x + side, y + side), (x - side, y + side))
    place = Place((x, y), outline, (0.0, 0.0, 1.0), (0.1, 0.1), 0.1, probability)
    box = (x - 2 * side, y - 4 * side, x + 2 * side, y - 2 * side)  # its usual label would lie over the place
    objects = (FoundObject("red cup", box), FoundObject("tall lamp", (x - side, 0.0, x + side, y - 2 * side)))
    claim = Claim("red cup can stand there", "yes", "yes", True, subject=0, others=(1,))
    answer = replace(answer_for(picture, []), objects=objects, claims=(claim,), places=(place,))
    inside = np.asarray(draw_answer(picture, answer)).astype(int)[
        int(y + side * 0.4) : int(y + side * 0.8), int(x - side * 0.8) : int(x + side * 0.8)
    ]
    expected = 128 + (np.array(color) - 128) * 110 / 255
    assert np.abs(inside - expected).max(axis=2).mean() < 12


def test_3d_boxes_and_locate() -> None:
    picture = grey(640, 480)
    near = FoundObject("cup", (200, 100, 300, 200), box_3d=Box3D((0.0, 0.0, 1.0), (0.2, 0.2, 0.2)), depth_m=1.0)
    behind = FoundObject("wall", (0, 0, 640, 480), box_3d=Box3D((0.0, 0.0, 0.1), (2.0, 2.0, 2.0)), depth_m=0.1)
    found = LocateAnswer("杯子", "zh", (near, behind), False, Camera.assumed(640, 480), True, NO_MODEL)
    assert draw_locate(picture, found).width == 640
    absent = LocateAnswer("a dog", "en", (), True, Camera.assumed(640, 480), False, NO_MODEL)
    image = np.asarray(draw_locate(picture, absent))
    assert (image[:480] == 128).all()


@pytest.mark.parametrize("text", ["red cup", "红色杯子", "U盘 0.85 m", "笔记本电脑,平视?", "Ünïcode café", "胶囊体 圆锥体 键盘"])
def test_letters_of_both_languages_are_there(text: str) -> None:
    assert missing(text) == ""
    image = Image.new("RGB", (400, 60))
    Lettering(30).draw(ImageDraw.Draw(image), (5, 5), text, (255, 255, 255, 255))
    assert np.asarray(image).any()
    assert 0 < Lettering(30).width(text) < 400


def test_what_the_strip_says() -> None:
    said = Claim("a is left of b", "yes", "yes", True)
    assert draw._spoken(said, "en") == "a is left of b (geometry agrees)"
    assert draw._spoken(replace(said, model="no", geometry="no"), "en") == "a is left of b: no (geometry agrees)"
    assert draw._spoken(replace(said, model="no", agrees=False), "zh") == "a is left of b:否 (几何不符)"


def test_nothing_is_quite_sure() -> None:
    assert [as_percent(p) for p in (0.0, 0.5, 0.99, 0.9901, 1.0)] == ["0%", "50%", "99%", ">99%", ">99%"]


HEADLINES: list[tuple[str, str, Language, tuple[str, str]]] = [
    ("Yes", "yes", "en", ("Yes", "")),
    ("Yes", "absent", "en", ("Yes", "absent")),
    ("absent", "absent", "en", ("absent", "")),
    ("没有", "absent", "zh", ("没有", "")),
    ("是", "absent", "zh", ("是", "没有")),
    ("", "unsure", "zh", ("不确定", "")),
    ("0.85 m", "0.85 m", "en", ("0.85 m", "")),
    ("[{}]\n" * 40, "unsure", "en", (("[{}] " * 16)[:79] + "…", "unsure")),
]


@pytest.mark.parametrize(("said", "verdict", "language", "headline"), HEADLINES)
def test_headline(said: str, verdict: str, language: Language, headline: tuple[str, str]) -> None:
    answer = replace(answer_for(grey(64, 64), []), answer=said, verdict=verdict, language=language)
    assert answer.headline == headline


def test_letters_that_no_font_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_machine_font", lambda _: None)
    caches = (lettering._font_of, lettering._font, lettering._drawable)
    for cache in caches:
        cache.cache_clear()
    try:
        assert missing("café") == ""
        picture = grey(320, 240)
        answer = answer_for(picture, ["\U0001f9ff", "龘"])
        assert missing_letters(answer) == "\U0001f9ff龘"
        draw_answer(picture, answer)
        assert draw._caption(1, answer.objects[1]) == "#2"
        assert draw._caption(0, FoundObject("龘 cup", (0, 0, 1, 1), depth_m=0.5)) == "cup  0.50 m"
    finally:
        for cache in caches:
            cache.cache_clear()


def test_wrapping() -> None:
    letters = Lettering(20)
    lines = letters.wrapped("Is the red cup to the left of the keyboard? " * 3, 200)
    assert len(lines) > 3
    assert all(letters.width(line) <= 200 for line in lines)
    assert "".join(letters.wrapped("红色的杯子在键盘的左边吗", 60)) == "红色的杯子在键盘的左边吗"
    assert all(letters.width(line) <= 100 for line in letters.wrapped("x" * 200, 100))
    assert letters.wrapped("", 100) == []


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".PNG"])
def test_saving(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    save_picture(Image.new("RGB", (20, 10)), target)
    with Image.open(target) as image:
        assert image.size == (20, 10)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("name", ["out.txt", "out", "missing/out.png", "."])
def test_targets_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match="save"):
        checked_target(tmp_path / name)


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"before")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_picture(Image.new("RGB", (20, 10)), target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
