"""One picture from anywhere to upright 8-bit RGB pixels, its content hash, and the camera that it tells of.

Knows files, formats and EXIF. Does not know models, patches or questions. A picture is measured before it is decoded, so that a
small file cannot claim all memory; formats whose decoders start other programs (EPS) are not opened at all.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deixis.errors import PictureError
from deixis.geometry import Camera
from deixis.media.exif import BROKEN, camera_from_tags, read_exif

__all__ = ["MAX_PIXELS", "MIN_SIDE_PX", "Picture", "PictureSource", "load_picture"]

MAX_PIXELS = 100_000_000
MIN_SIDE_PX = 8
MAX_FILE_BYTES = 500_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
_FORMATS_TEXT = "JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF or JPEG 2000"
_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}
_UPRIGHT = {  # EXIF orientation: what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PictureSource = str | Path | bytes | Image.Image | NDArray[np.generic]


@dataclass(frozen=True)
class Picture:
    """Upright RGB pixels (height, width, 3), uint8, read-only; equal pictures have equal pixels, camera and name.

    `sha256` is of the shape and the pixels, so the same picture from a PNG and from an array shares every cache.
    """

    pixels: NDArray[np.uint8] = field(repr=False, compare=False)
    sha256: str
    camera: Camera | None
    name: str

    @property
    def width(self) -> int:
        """Pixels across, after EXIF orientation."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels down, after EXIF orientation."""
        return int(self.pixels.shape[0])


def load_picture(source: PictureSource, *, name: str | None = None) -> Picture:
    """Read a picture from a path, encoded bytes, a Pillow image or an array of 8 bits a channel ((h, w), (h, w, 3) or (h, w, 4)).

    EXIF orientation is applied, the first frame of an animation taken, transparency laid on white; 16-bit, CMYK, grey and palette
    pictures become RGB. `name` stands in messages and results; by default it is the file's name.
    Raises PictureError, always one line, for what is missing, unreadable, broken, or outside 8×8 to 100 megapixels.
    """
    if isinstance(source, np.ndarray):
        return _picture(_from_array(source, name or "array"), None, name or "array")
    if isinstance(source, Image.Image):
        return _from_image(source, name or "image")
    if isinstance(source, bytes):
        return _from_encoded(source, name or "picture")
    if isinstance(source, str | Path):
        return _from_encoded(_read(Path(source)), name or Path(source).name)
    raise PictureError(f"picture is a {type(source).__name__}; expected a path, encoded bytes, a Pillow image or a numpy array")


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        mode, size = status.st_mode, status.st_size
        if stat.S_ISDIR(mode):
            raise PictureError(f"{path} is a directory; expected a picture file ({_FORMATS_TEXT})")
        if not stat.S_ISREG(mode):  # a pipe or a device might never end
            raise PictureError(f"{path} is not a regular file; expected a picture file ({_FORMATS_TEXT})")
        if size > MAX_FILE_BYTES:
            raise PictureError(f"{path} has {size / 1e6:.0f} MB; expected a picture of at most {MAX_FILE_BYTES / 1e6:.0f} MB")
        return path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist; check the path of the picture") from None
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise PictureError(f"{str(path)!r} is not a file name") from None


def _from_encoded(data: bytes, name: str) -> Picture:
    if not data:
        raise PictureError(f"{name} is empty; expected a picture ({_FORMATS_TEXT})")
    try:
        with _no_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _from_image(image, name)
    except Image.DecompressionBombError:
        raise PictureError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels; make it smaller first") from None
    except UnidentifiedImageError:
        kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
        if kind:
            raise PictureError(f"{name} begins as a {kind} picture but is broken or cut off; save or download it again") from None
        raise PictureError(f"{name} is not a picture that can be read; expected {_FORMATS_TEXT}") from None
    except BROKEN as error:
        raise PictureError(f"{name} is broken: {error}; save or download it again") from None


def _from_image(image: Image.Image, name: str) -> Picture:
    _check_size(image.width, image.height, name)
    try:
        with _no_warnings():
            image.load()
            rgb = _to_rgb(image, name)
            orientation, tags = read_exif(image)
            if orientation in _UPRIGHT:
                rgb = rgb.transpose(_UPRIGHT[orientation])
    except BROKEN as error:
        raise PictureError(f"{name} is broken or cut off: {error}; save or download it again") from None
    return _picture(np.array(rgb), camera_from_tags(tags, rgb.width, rgb.height), name)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Pillow warns of large pictures at a size of its own, and of odd metadata; here `_check_size` and `exif` decide.

    Filters are process-wide before Python 3.14: all that threads can do to one another is to let a warning be seen.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, some formats widened to 32; convert() would cut off at 255 instead of scaling
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 0xFFFF:
            raise PictureError(f"{name} has 32-bit pixels without a known range; save it with 8 or 16 bits a channel")
        return Image.fromarray((wide >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise PictureError(f"{name} has floating-point pixels without a known range; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _from_array(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise PictureError(f"{name} holds {array.dtype}; expected uint8, 0 to 255")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PictureError(f"{name} has shape {array.shape}; expected (h, w), (h, w, 3) or (h, w, 4)")
    _check_size(array.shape[1], array.shape[0], name)
    return np.array(_to_rgb(Image.fromarray(array), name))


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(f"{name} is {width}×{height} pixels; expected at least {MIN_SIDE_PX}×{MIN_SIDE_PX}")
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise PictureError(f"{name} is {width}×{height} pixels, more than {limit} megapixels; make it smaller first")


def _picture(pixels: NDArray[np.uint8], camera: Camera | None, name: str) -> Picture:
    # Bytes, so that nobody can ever write to them: who has read them once (the engine's hash) need not look again.
    height, width = pixels.shape[:2]
    pixels = np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape)
    digest = hashlib.sha256(f"{width}x{height} RGB8 ".encode())
    digest.update(pixels.data)
    return Picture(pixels, digest.hexdigest(), camera, name)
