"""Videos from files, bytes, folders, addresses and webcams.

Knows what a source may be, and says in one line what is wrong with one that is no video. Does not choose frames.
"""

from __future__ import annotations

import io
import math
import re
import stat
import warnings
from pathlib import Path

from PIL import Image

from deixis.errors import OptionError, VideoError
from deixis.media.container import ContainerReader, Orientation
from deixis.media.exif import BROKEN
from deixis.media.live import Folder, FolderReader, StillReader
from deixis.media.picture import FORMATS, MIN_SIDE_PX, load_picture
from deixis.media.reader import FrameReader, Problems, Still, VideoInfo
from deixis.media.source import Input, webcam
from deixis.media.timeline import Timeline, measure
from deixis.media.video import Video

VideoSource = str | Path | bytes | int | Folder

NETWORK_TIMEOUT_S = 10.0
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"//[^/?#]*@")  # names and passwords stay out of messages
_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "rtp", "srt")
_CUT_OFF_S, _CUT_OFF_SHARE = 0.5, 0.02  # by how much a header may exaggerate
_STILL_BRANDS = ("avif", "mif1", "heic", "heix")  # pictures in a video's container


def open_video(source: VideoSource, *, name: str | None = None, timeout_s: float = NETWORK_TIMEOUT_S) -> Video:
    """Open a video: a file that FFmpeg reads (path or bytes), a folder of pictures (a path, or a `Folder` with its settings), an
    address (rtsp://, http://, …), or a webcam by its number. Addresses and cameras are opened as given: whoever takes them from
    strangers checks them first.

    Reads the header, one frame, and the timestamps at both ends. `name` stands in messages; `timeout_s` is how long an address
    may keep silent. Raises VideoError, always one line, for what is missing, empty, no video, without a single readable frame,
    or too large; OptionError for a setting out of range.
    """
    if not 0 < timeout_s < math.inf:
        raise OptionError(f"timeout_s is {timeout_s}; expected more than 0")
    if isinstance(source, Folder):
        _is_folder(source.path)
        return _open_folder(source, name or source.path.name)
    if isinstance(source, bytes):
        return _open_file(Input(source, name or "video", bytes=len(source)), source)
    if isinstance(source, int) and not isinstance(source, bool):
        return _open_container(webcam(source, timeout_s), None)
    if isinstance(source, str) and (found := _ADDRESS.match(source)):
        if found["scheme"].lower() not in _SCHEMES:
            raise VideoError(
                f"{found['scheme']}://… cannot be opened; expected a file, or an address that begins with {', '.join(_SCHEMES)}"
            )
        shown = name or _CREDENTIALS.sub("//", source)
        return _open_container(Input(source, shown, "network", timeout_s=timeout_s), None)
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        if _is_folder(path):
            return _open_folder(Folder(path), name or path.name)
        return _open_file(Input(f"file:{path}", name or path.name, bytes=path.stat().st_size), path)
    raise VideoError(f"video is a {type(source).__name__}; expected a path, a file's bytes, an address or a webcam's number")


def open_still(path: str | Path) -> Video:
    """A picture as a video of one frame at 0 s, for what remembers both. Raises PictureError."""
    path = Path(path).expanduser()
    picture = load_picture(path)
    info = VideoInfo(picture.width, picture.height, 0.0, 0.0, None, "picture")
    return Video(path.name, info, Problems(), lambda _: StillReader(picture), data=path)


def _is_folder(path: Path) -> bool:
    """Raises VideoError where there is neither a folder nor a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise VideoError(f"{path} does not exist; check the path of the video") from None
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise VideoError(f"{str(path)!r} is not a file name") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):  # a pipe or a device might never end
        raise VideoError(f"{path} is not a regular file; expected a video file (give a webcam by its number)")
    return stat.S_ISDIR(mode)


def _open_file(source: Input, data: Path | bytes) -> Video:
    if not source.bytes:
        raise VideoError(f"{source.name} is empty; expected a video")
    try:
        return _open_container(source, data)
    except VideoError as error:
        if kind := _still_kind(data):
            raise VideoError(f"{source.name} is a picture ({kind}), not a video; ask about it as a picture") from None
        raise error


def _open_container(source: Input, data: Path | bytes | None) -> Video:
    problems = Problems()
    live = source.kind == "device"
    reader = ContainerReader(source, problems, live=live)
    try:
        kind = reader.format
        suspect = kind == "gif" or reader.metadata.get("major_brand") in _STILL_BRANDS
        if kind.endswith("_pipe") or (suspect and data is not None and _still_kind(data)):
            raise VideoError(f"{source.name} is a picture ({kind.removesuffix('_pipe')}), not a video; ask about it as a picture")
        first = reader.read()
        if first is None:
            told = "".join(f" ({problem.text})" for problem in problems.found)
            raise VideoError(f"{source.name} has no frame that can be decoded{told}; convert or download it again")
        if min(first.raw.width, first.raw.height) < MIN_SIDE_PX:
            found = f"{first.raw.width}×{first.raw.height}"
            raise VideoError(f"{source.name} has frames of {found} pixels; expected at least {MIN_SIDE_PX}×{MIN_SIDE_PX}")
        endless = live or (source.kind == "network" and not reader.claims[1])
        timeline = Timeline(None, reader.rate, None) if endless else measure(source, first.time_s)
        _note_cut(reader, timeline, source.name, problems)
        video = Video(
            source.name,
            _info(reader, first.raw.width, first.raw.height, first.orientation, first.time_s, timeline),
            problems,
            lambda keyframes: ContainerReader(source, problems, live=timeline.end_s is None, keyframes=keyframes),
            data=data,
            held=_Begun(first, reader) if endless else None,
        )
    except BaseException:
        reader.close()
        raise
    if not endless:
        reader.close()
    return video


def _info(
    reader: ContainerReader, width: int, height: int, orientation: Orientation, start_s: float, timeline: Timeline
) -> VideoInfo:
    stretch = reader.stretch()
    width, height = (round(width * stretch), height) if stretch > 1 else (width, round(height / stretch))
    if orientation.transposed:
        width, height = height, width
    return VideoInfo(
        width=width,
        height=height,
        start_s=start_s,
        duration_s=None if timeline.end_s is None else max(timeline.end_s - start_s, 0.0),
        fps=timeline.fps,
        codec=reader.codec,
        rotation_deg=orientation.rotation_deg,
        variable_rate=timeline.variable_rate,
        frames_claimed=reader.claims[0],
        has_audio=reader.has_audio,
    )


def _note_cut(reader: ContainerReader, timeline: Timeline, name: str, problems: Problems) -> None:
    claimed_s = reader.claims[1]
    if timeline.end_s is None or claimed_s is None:
        return
    if claimed_s - timeline.end_s > max(_CUT_OFF_S, _CUT_OFF_SHARE * timeline.end_s):
        problems.note("cut_off", f"{name} ends at {timeline.end_s:.2f} s, though its header says {claimed_s:.2f} s")


def _open_folder(folder: Folder, name: str) -> Video:
    problems = Problems()
    reader = FolderReader(folder, problems)
    first = reader.read()
    if first is None:
        told = "".join(f" ({problem.text})" for problem in problems.found)
        raise VideoError(f"{folder.path} holds no pictures{told}; expected a video file, or a folder of PNG or JPEG pictures")
    info = VideoInfo(first.picture.width, first.picture.height, first.time_s, None, folder.fps, "pictures")
    return Video(name, info, problems, lambda _: FolderReader(folder, problems))


def _still_kind(data: Path | bytes) -> str | None:
    """The format of a single picture, whatever its name; None for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS) as image:
                return None if getattr(image, "is_animated", False) else image.format
    except (Image.DecompressionBombError, *BROKEN):
        return None


class _Begun:
    """A live source whose first frame was already read: it comes first."""

    def __init__(self, first: Still, rest: FrameReader) -> None:
        self._first: Still | None = first
        self._rest = rest

    @property
    def decoded(self) -> int:
        """See `FrameReader`."""
        return self._rest.decoded

    def read(self) -> Still | None:
        """See `FrameReader`."""
        first, self._first = self._first, None
        return first or self._rest.read()

    def seek(self, time_s: float) -> bool:
        """Never: what flows by is not there to go to."""
        del time_s
        return False

    def close(self) -> None:
        """See `FrameReader`."""
        self._rest.close()
