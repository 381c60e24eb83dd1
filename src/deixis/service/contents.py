"""Pictures and videos of a request: from an address, a data URI or an upload to bytes that were looked at and not yet decoded.

Knows formats by their content, never by their name. Does not decode: an engine's process does that.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import warnings
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from PIL import Image, UnidentifiedImageError

from deixis.errors import PictureError, TooLargeError, VideoError
from deixis.media import MIN_SIDE_PX
from deixis.service.fetching import Fetcher

Kind = Literal["picture", "video"]

# Those that phones, cameras and programs write; decoders of the rest are more surface than use.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_VIDEO_MARKS = {4: (b"ftyp", b"moov", b"mdat"), 0: (b"\x1a\x45\xdf\xa3", b"RIFF", b"OggS", b"FLV", b"\x00\x00\x01\xba", b"GIF8")}
_TRANSPORT_STREAM = 0x47, 188


@dataclass(frozen=True)
class Contents:
    """What a request may send, and how it is fetched."""

    fetcher: Fetcher
    max_picture_bytes: int
    max_video_bytes: int
    max_pixels: int

    async def picture(self, source: str | bytes, max_pixels: int | None = None) -> bytes:
        """A picture's bytes, whose format and size were read. Raises PictureError, TooLargeError, AddressError."""
        data = await self._bytes(source, "picture", self.max_picture_bytes)
        await asyncio.to_thread(check_picture, data, min(max_pixels or self.max_pixels, self.max_pixels))
        return data

    async def video(self, source: str | bytes) -> bytes:
        """A video's bytes, which begin as one. Raises VideoError, TooLargeError, AddressError."""
        data = await self._bytes(source, "video", self.max_video_bytes)
        check_video(data)
        return data

    async def _bytes(self, source: str | bytes, kind: Kind, most: int) -> bytes:
        if isinstance(source, bytes):
            data = source
        elif source[:5].lower() == "data:":
            data = await asyncio.to_thread(from_data_uri, source, kind)
        else:
            return await self.fetcher.fetch(source, most)
        if len(data) > most:
            raise TooLargeError(f"the {kind} has {len(data)} bytes; expected at most {most}")
        return data


def from_data_uri(uri: str, kind: Kind) -> bytes:
    """The bytes in `data:…;base64,…`. Raises PictureError or VideoError."""
    head, comma, body = uri.partition(",")
    wrong = PictureError if kind == "picture" else VideoError
    if not comma:
        raise wrong(f"the {kind}'s data URI has no comma; expected data:…;base64,…")
    if not head.lower().endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise wrong(f"the {kind}'s data URI is not base64") from None


def check_picture(data: bytes, max_pixels: int) -> None:
    """Read a picture's header. Raises PictureError for another format, or more pixels than that."""
    expected = f"expected {', '.join(FORMATS)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise PictureError(f"the picture has more than {max_pixels} pixels; make it smaller first") from None
    except UnidentifiedImageError:
        raise PictureError(f"this is no picture that can be read; {expected}") from None
    except Exception as error:  # noqa: BLE001 - Pillow's readers of headers raise whatever a broken one makes of them
        raise PictureError(f"the picture's header is broken ({type(error).__name__}); {expected}") from None
    if min(width, height) < MIN_SIDE_PX:
        raise PictureError(f"the picture is {width}×{height} pixels; expected at least {MIN_SIDE_PX}×{MIN_SIDE_PX}")
    if width * height > max_pixels:
        raise PictureError(f"the picture is {width}×{height} pixels; expected at most {max_pixels} in all")


def kind_of(data: bytes) -> str:
    """The media type that a picture's or video's first bytes tell of."""
    marks = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp", b"BM": "image/bmp"}
    marks |= {b"II": "image/tiff", b"MM": "image/tiff", b"\x1a\x45": "video/webm"}
    if data[8:12] == b"avif" or data[8:11] == b"AVI":
        return "image/avif" if data[8:12] == b"avif" else "video/x-msvideo"
    return next((kind for mark, kind in marks.items() if data.startswith(mark)), "video/mp4")


def check_video(data: bytes) -> None:
    """Look at a video's first bytes. Raises VideoError for anything else, playlists and scripts of FFmpeg above all."""
    known = any(data[at : at + len(mark)] == mark for at, marks in _VIDEO_MARKS.items() for mark in marks)
    sync, packet = _TRANSPORT_STREAM
    stream = len(data) > packet and data[0] == sync and data[packet] == sync
    if not known and not stream:
        raise VideoError("this is no video that can be read; expected MP4, MOV, WebM, Matroska, AVI, Ogg, FLV, MPEG or GIF")
