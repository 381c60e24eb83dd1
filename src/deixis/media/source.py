"""What PyAV is asked to open: a local file, a file's bytes, an address or a camera, and what it must not do with it.

Knows FFmpeg's options. Does not decode. A file may come from a stranger: only its own bytes are read (no playlists, no other
protocols). PyAV is imported on first use.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deixis.errors import OptionError, VideoError
from deixis.media.picture import MAX_PIXELS

if TYPE_CHECKING:
    from av import VideoStream
    from av.container import InputContainer

# Demuxers that open other files or addresses, or take any bytes for pictures.
_NEVER_FROM_FILES = {"hls", "concat", "dash", "imf", "image2", "tty", "rawvideo", "sdp", "lavfi"}
_NETWORK = (
    "http,https,tls,tcp,udp,rtp,rtsp,rtmp,rtmps,rtmpt,srtp,srt,crypto,httpproxy"  # no "file": a playlist from outside reads none
)


@dataclass(frozen=True)
class Input:
    """What is opened: a local file ("file:…"), a file's bytes, an address, or a device with its format."""

    target: str | bytes = field(repr=False)
    name: str
    kind: Literal["file", "network", "device"] = "file"
    format: str | None = None
    timeout_s: float | None = None
    bytes: int | None = None  # the file's size

    def open(self) -> InputContainer:
        """The container, its streams probed. Raises VideoError, one line."""
        import av

        options = {}
        if self.kind == "file":
            options["protocol_whitelist"] = "file"
            options["format_whitelist"] = ",".join(sorted(av.formats_available - _NEVER_FROM_FILES))
        elif self.kind == "network":
            options["protocol_whitelist"] = _NETWORK
            if self.target.startswith("rtsp"):  # type: ignore[arg-type]
                options["rtsp_transport"] = "tcp"  # lost packets would be lost pictures
        file = io.BytesIO(self.target) if isinstance(self.target, bytes) else self.target
        try:
            return av.open(file, "r", format=self.format, options=options, metadata_errors="replace", timeout=self.timeout_s)
        except (av.error.FileNotFoundError, av.error.PermissionError) as error:
            raise VideoError(f"{self.name} cannot be opened: {one_line(error)}") from None
        except av.error.ExitError:
            raise VideoError(f"{self.name} did not answer within {self.timeout_s:g} s; check the address") from None
        except (av.error.FFmpegError, ValueError, RuntimeError) as error:
            if self.kind != "file":
                raise VideoError(f"{self.name} cannot be opened as a video ({one_line(error)}); check the address") from None
            why = (
                "begins as MP4, but its index is missing or broken: it was cut off" if self._begins_as_mp4() else "is not a video"
            )
            expected = "expected a whole MP4, MKV, WebM, MOV, AVI or other file that FFmpeg reads"
            raise VideoError(f"{self.name} {why} ({one_line(error)}); {expected}") from None

    def _begins_as_mp4(self) -> bool:
        if isinstance(self.target, bytes):
            return self.target[4:8] == b"ftyp"
        with Path(self.target.removeprefix("file:")).open("rb") as file:
            return file.read(8)[4:] == b"ftyp"


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream to look at. Raises VideoError where there is none, or its frames are too large."""
    from av.stream import Disposition

    found = container.streams.best("video")
    usable = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not usable:
        sound = bool(container.streams.audio)
        raise VideoError(f"{name} has {'sound alone' if sound else 'no video stream'}; expected a file with moving pictures")
    stream = next((stream for stream in usable if found is not None and stream.index == found.index), usable[0])
    if stream.codec_context is None:
        raise VideoError(f"{name} is encoded in a way that this FFmpeg cannot decode; convert it to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > MAX_PIXELS:
        raise VideoError(f"{name} has frames of {width}×{height} pixels; expected at most {MAX_PIXELS // 1_000_000} megapixels")
    return stream


def webcam(number: int, timeout_s: float) -> Input:
    """The camera /dev/videoN. Raises OptionError where this PyAV was built without Video4Linux."""
    import av

    if not any("v4l2" in name for name in av.formats_available):
        raise OptionError("this PyAV cannot read webcams (no video4linux2); give an RTSP or HTTP address instead")
    return Input(f"/dev/video{number}", f"webcam {number}", "device", "v4l2", timeout_s)


def one_line(error: Exception) -> str:
    """What FFmpeg says of an error."""
    text = str(getattr(error, "strerror", None) or error)
    return text if len(text) < 200 else text[:200]
