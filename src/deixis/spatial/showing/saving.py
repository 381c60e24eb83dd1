"""Pictures to files: whole or not at all, in the format that the name ends in. Does not know what is drawn in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from PIL import Image

from deixis.errors import OptionError

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def checked_target(path: Path | str) -> Path:
    """A path that a picture can be saved to. Raises OptionError for another suffix or a missing directory."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"cannot save a picture as {path.name!r}; expected a name that ends in {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise OptionError(f"cannot save to {path}; expected a file in a directory that exists")
    return path


def save_picture(image: Image.Image, path: Path | str) -> None:
    """Write a picture whole or not at all: to a file beside it first, then renamed."""
    path = checked_target(path)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, FORMATS[path.suffix.lower()], quality=92)
        readable(Path(draft)).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def readable(draft: Path) -> Path:
    """A temporary file given the rights that the user's other files have."""
    draft.chmod(0o666 & ~_umask())
    return draft


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
