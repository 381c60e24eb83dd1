"""Sources that go on while they are read: a folder into which pictures fall. (Cameras and streams are containers without an end.)

Knows folders and pictures. A folder is polled; it ends when nothing new has come for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deixis.errors import OptionError, PictureError, VideoError
from deixis.media.picture import Picture, load_picture
from deixis.media.reader import Problems

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jp2"}
Order = Literal["name", "time"]

_POLL_S = 0.2
_TRIES = 5  # a picture may be seen while it is still being written


@dataclass(frozen=True)
class Folder:
    """A folder watched for pictures.

    Pictures stand in the order of their names or of their times of change. Their times are those of the changes, counted from the
    first picture's; with `fps` they are index / fps. The folder ends when nothing new has come for `idle_s`.
    """

    path: Path
    order: Order = "name"
    fps: float | None = None
    idle_s: float = 2.0
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if self.order not in ("name", "time"):
            raise OptionError(f"pictures are ordered by {self.order!r}; expected 'name' or 'time'")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise OptionError(f"pictures come at {self.fps} a second; expected more than 0 and at most 1000")
        if not 0 <= self.idle_s < float("inf"):
            raise OptionError(f"the folder ends after {self.idle_s} s without a picture; expected 0 or more")

    def listed(self) -> list[tuple[float, Path]]:
        """Pictures that are there now, with their times of change, in order. Raises VideoError where it cannot be read."""
        found: list[tuple[float, Path]] = []
        try:
            for path in self.path.iterdir():
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    try:
                        found.append((path.stat().st_mtime, path))
                    except FileNotFoundError:  # gone between the listing and the look
                        continue
        except OSError as error:
            raise VideoError(f"{self.path} cannot be read: {error.strerror or error}") from None
        return sorted(found, key=lambda row: (row[1].name,) if self.order == "name" else (row[0], row[1].name))


@dataclass(frozen=True, eq=False)
class FolderStill:
    """One picture of a folder."""

    time_s: float
    picture: Picture

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """RGB (height, width, 3)."""
        image = Image.fromarray(self.picture.pixels)
        return np.array(image if image.size == size else image.resize(size, Image.Resampling.BOX))


class StillReader:
    """`FrameReader` over a single picture: one frame, at 0 s."""

    def __init__(self, picture: Picture) -> None:
        self.decoded = 0
        self._picture = picture

    def read(self) -> FolderStill | None:
        """The picture, once."""
        self.decoded += 1
        return FolderStill(0.0, self._picture) if self.decoded == 1 else None

    def seek(self, time_s: float) -> bool:
        """Never."""
        del time_s
        return False

    def close(self) -> None:
        """Nothing is held open."""


class FolderReader:
    """`FrameReader` over a folder. Holds one picture, and the names of those given."""

    def __init__(self, folder: Folder, problems: Problems) -> None:
        self.decoded = 0
        self._folder = folder
        self._problems = problems
        self._given: set[str] = set()
        self._tries: dict[str, int] = {}
        self._broken, self._other = 0, 0
        self._size: tuple[int, int] | None = None
        self._first_s: float | None = None
        self._last_s: float | None = None

    def read(self) -> FolderStill | None:
        """The next picture; waits for one up to the folder's `idle_s`. Raises VideoError where the folder has gone."""
        idle_s = 0.0
        while True:
            new = [row for row in self._folder.listed() if row[1].name not in self._given]
            for changed_s, path in new:
                try:
                    picture = load_picture(path)
                except PictureError as error:
                    if self._may_be_unfinished(path):
                        break  # those behind it wait, so that the order stays
                    self._leave_out(path, str(error))
                    continue
                self._given.add(path.name)
                self.decoded += 1
                if (still := self._still(picture, changed_s)) is not None:
                    return still
            if not any(path.name not in self._given for _, path in new) and idle_s >= self._folder.idle_s:
                return None
            self._folder.sleep(_POLL_S)
            idle_s += _POLL_S

    def seek(self, time_s: float) -> bool:
        """Never: pictures before `time_s` cost one look each."""
        del time_s
        return False

    def close(self) -> None:
        """Nothing is held open."""

    def _still(self, picture: Picture, changed_s: float) -> FolderStill | None:
        size = (picture.width, picture.height)
        if self._size is None:
            self._size, self._first_s = size, changed_s
        if size != self._size:
            self._other += 1
            text = f"{self._other} pictures of another size than the first ({self._size[0]}×{self._size[1]}) were left out"
            self._problems.note("other_size", f"{text}, the last is {picture.name}")
            return None
        assert self._first_s is not None
        time_s = changed_s - self._first_s
        if self._folder.fps is not None:
            time_s = 0.0 if self._last_s is None else self._last_s + 1 / self._folder.fps
        elif self._last_s is not None and time_s <= self._last_s:
            self._problems.note(
                "times", f"{picture.name} is not newer than the picture before it: left out; give the rate instead"
            )
            return None
        self._last_s = time_s
        return FolderStill(time_s, picture)

    def _may_be_unfinished(self, path: Path) -> bool:
        self._tries[path.name] = self._tries.get(path.name, 0) + 1
        return self._tries[path.name] < _TRIES and self._folder.idle_s > 0

    def _leave_out(self, path: Path, why: str) -> None:
        self._given.add(path.name)
        self._broken += 1
        self._problems.note("broken_picture", f"{self._broken} pictures were left out, the last because {why}")
