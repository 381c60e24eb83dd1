import io
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deixis.errors import PictureError
from deixis.media import MAX_PIXELS, MIN_SIDE_PX, Picture, PictureSource, load_picture

# Four distinct corners, so that every flip and turn shows; wide, so that a turn changes the shape.
SCENE = np.zeros((24, 40, 3), np.uint8)
SCENE[:12, :20], SCENE[:12, 20:], SCENE[12:, :20], SCENE[12:, 20:] = (200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 200)


def encoded(image: Image.Image, codec: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, codec, **options)
    return buffer.getvalue()


def scene() -> Image.Image:
    return Image.fromarray(SCENE)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and has next to nothing behind its header."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(bytes(100))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


def fails(source: PictureSource, *words: str) -> None:
    with pytest.raises(PictureError) as caught:
        load_picture(source)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_every_source_gives_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(scene()))
    pictures = [load_picture(source) for source in (path, str(path), path.read_bytes(), scene(), SCENE, np.asfortranarray(SCENE))]
    for picture in pictures:
        np.testing.assert_array_equal(picture.pixels, SCENE)
        assert picture.sha256 == pictures[0].sha256
        assert (picture.width, picture.height, picture.camera) == (40, 24, None)
    assert pictures[0].name == "scene.png"
    assert load_picture(path, name="front door").name == "front door"
    assert pictures[0] == pictures[1] and hash(pictures[0]) == hash(pictures[1])


def test_pixels_are_a_read_only_copy() -> None:
    array = SCENE.copy()
    picture = load_picture(array)
    array[:] = 0
    np.testing.assert_array_equal(picture.pixels, SCENE)
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0] = 1


def test_the_hash_tells_shapes_and_pixels_apart() -> None:
    changed = SCENE.copy()
    changed[0, 0, 0] ^= 1
    hashes = {load_picture(array).sha256 for array in (SCENE, changed, SCENE.reshape(40, 24, 3))}
    assert len(hashes) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_every_orientation_comes_out_upright(orientation: int, mode: str) -> None:
    stored = scene()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that a camera held so has stored
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(load_picture(encoded(stored.convert(mode), exif=exif)).pixels, SCENE)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "RGBA", "LA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = load_picture(scene().convert(mode))
    assert picture.pixels.shape == (24, 40, 3) and picture.pixels.dtype == np.uint8
    if mode in ("RGB", "P", "CMYK", "RGBA"):
        assert np.abs(picture.pixels.astype(int) - SCENE).max() <= 60  # a web palette is coarse
    elif mode == "L":
        assert picture.pixels[0, 0].tolist() == [60, 60, 60]


@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_every_format_opens(codec: str) -> None:
    picture = load_picture(encoded(scene(), codec))
    assert np.abs(picture.pixels[4, 4].astype(int) - (200, 0, 0)).max() < 12


def test_transparency_lies_on_white() -> None:
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[8:] = (0, 0, 0, 255)
    for source in (layer, encoded(Image.fromarray(layer)), encoded(Image.fromarray(layer).convert("LA"))):
        pixels = load_picture(source).pixels
        assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[15, 0].tolist() == [0, 0, 0]
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert load_picture(encoded(palette, transparency=0)).pixels[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bits_are_scaled() -> None:
    ramp = np.linspace(0, 65535, 256 * 16).astype(np.uint16).reshape(16, 256)
    for codec in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(load_picture(encoded(Image.fromarray(ramp), codec)).pixels[..., 0], ramp >> 8)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load_picture(data).pixels[0, 0].tolist() == [255, 0, 0]


def test_grey_arrays() -> None:
    assert load_picture(np.full((9, 9), 7, np.uint8)).pixels[3, 3].tolist() == [7, 7, 7]


def test_missing_file(tmp_path: Path) -> None:
    fails(tmp_path / "none.png", "none.png", "does not exist")
    fails("", "directory")  # the empty path is the current directory
    fails("no\0name.png", "not a file name")
    fails("x" * 5000, "cannot be read")


def test_directory(tmp_path: Path) -> None:
    fails(tmp_path, "is a directory")


def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    fails(tmp_path / "pipe.png", "not a regular file")


def test_text_named_png(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("This is not a picture.\n" * 100)
    fails(path, "notes.png", "not a picture", "expected JPEG, PNG")


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    fails(path, "is empty")


def test_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(600_000_000)  # sparse: claims the size, takes no room
    fails(path, "600 MB")


@pytest.mark.parametrize("codec", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_truncated(codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise), codec)
    fails(data[: len(data) // 2])


def test_truncated_jpeg_names_the_fault(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(scene().resize((640, 480)), "JPEG")[:-2000])
    fails(path, "cut.jpg", "cut off", "truncated")


@pytest.mark.parametrize(("width", "height"), [(40_000, 40_000), (10_001, 10_000), (2**31 - 1, 1), (1, MAX_PIXELS + 1)])
def test_a_header_that_claims_too_much(width: int, height: int) -> None:
    fails(png_header(width, height), "megapixels" if min(width, height) > 1 else "picture")


def test_a_header_alone() -> None:
    fails(png_header(40_000, 40_000)[:33], "PNG", "cut off")


def test_the_limit_is_ours_and_not_pillows() -> None:
    fails(png_header(10_001, 10_000), "10001×10000", "100 megapixels")
    fails(png_header(10_000, 9_500), "broken")  # 95 megapixels, which Pillow warns of, are allowed; here no pixels follow


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (500, 7)])
def test_too_small(size: tuple[int, int]) -> None:
    fails(encoded(Image.new("RGB", size)), f"{size[0]}×{size[1]}", f"at least {MIN_SIDE_PX}×{MIN_SIDE_PX}")
    fails(np.zeros((size[1], size[0], 3), np.uint8), "at least")


def test_unknown_ranges() -> None:
    fails(encoded(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF"), "floating-point")
    fails(encoded(Image.fromarray(np.full((9, 9), 70_000, np.int32)), "TIFF"), "32-bit")
    fails(np.zeros((9, 9, 3), np.float32), "float32", "uint8")
    fails(np.zeros((9, 9, 2), np.uint8), "shape (9, 9, 2)")
    fails(np.zeros((2, 9, 9, 3), np.uint8), "shape")


def test_formats_that_run_programs_stay_closed() -> None:
    fails(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n", "not a picture")


def test_other_types_raise() -> None:
    fails(42, "int", "expected a path")  # type: ignore[arg-type]


def test_a_closed_image() -> None:
    image = Image.open(io.BytesIO(encoded(scene())))
    image.close()
    fails(image)


@given(st.data())
@settings(max_examples=300)
def test_damage_gives_a_picture_or_one_clear_error(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"]))
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = bytearray(encoded(scene(), codec, **({} if codec in ("GIF", "BMP", "PPM") else {"exif": exif})))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = load_picture(bytes(damaged))
    except PictureError:
        return
    assert isinstance(picture, Picture)


def test_threads_load_at_once() -> None:
    data, seen = encoded(scene()), []
    threads = [threading.Thread(target=lambda: seen.append(load_picture(data).sha256)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(seen)) == 1
