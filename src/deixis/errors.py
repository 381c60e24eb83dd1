"""The one exception tree of the house. It knows names, exit codes and HTTP statuses, and nothing of what went wrong where.

DeixisError                 exit 1, HTTP 500   anything that Deixis itself reports
├── InputError              exit 2, HTTP 400   the caller's request cannot be served as it stands
│   ├── PictureError        exit 2, HTTP 400   a picture is missing, broken, too small or too large
│   ├── VideoError          exit 2, HTTP 400   a video is missing, has no picture that can be read, or does not answer
│   ├── QuestionError       exit 2, HTTP 400   a question is empty or too long
│   ├── CameraError         exit 2, HTTP 400   camera numbers are missing, zero, negative or not finite
│   ├── GeometryError       exit 2, HTTP 400   a box, a rotation or a relation is malformed
│   ├── OptionError         exit 2, HTTP 400   an option has a value that does not exist or does not fit the others
│   ├── SchemaError         exit 2, HTTP 400   a JSON schema that no reply can be held to: impossible, unsupported or too large
│   ├── ModelNotFoundError  exit 2, HTTP 404   no model of that name is on this machine or answers at that address
│   └── CheckpointError     exit 2, HTTP 422   a checkpoint is broken: missing, left-over or misshapen tensors
├── BackendError            exit 1, HTTP 502   a model server failed, or answered what it must not
├── EngineError             exit 1, HTTP 500   the network in this process failed at a request: numbers that are none, no memory
└── OverloadError           exit 1, HTTP 503   the queue is full: the same request may succeed later

A message says what was found, what was expected and what to do, on one line. File names and server replies end up in messages, so
the constructor replaces line breaks and other control characters by spaces: a message neither spans lines nor drives a terminal.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendError",
    "CameraError",
    "CheckpointError",
    "DeixisError",
    "EngineError",
    "GeometryError",
    "InputError",
    "ModelNotFoundError",
    "OptionError",
    "OverloadError",
    "PictureError",
    "QuestionError",
    "SchemaError",
    "VideoError",
]


class DeixisError(Exception):
    """Base of everything that Deixis raises on purpose; `str(error)` is one printable line."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else " " for c in message).strip())


class InputError(DeixisError):
    """The request is at fault, and the message says how to mend it."""

    exit_code = 2
    http_status = 400


class PictureError(InputError):
    """A picture cannot be read, or is outside the sizes that can be served."""


class VideoError(InputError):
    """A video, a folder of pictures or a camera of which no frame can be read, or one outside the sizes that can be served."""


class QuestionError(InputError):
    """A question is empty, too long, or not text."""


class CameraError(InputError):
    """Camera numbers that no pinhole camera can have."""


class GeometryError(InputError):
    """A box, rotation or relation that is malformed: wrong count, not finite, inverted, not orthonormal."""


class OptionError(InputError):
    """An option's value is unknown or does not fit the others."""


class SchemaError(InputError):
    """A JSON schema that no reply can be held to: impossible, unsupported, malformed or too large."""


class ModelNotFoundError(InputError):
    """The named model is neither on this machine nor served at the given address."""

    http_status = 404


class CheckpointError(InputError):
    """A checkpoint directory that cannot be loaded whole; the message names the tensors or files."""

    http_status = 422


class BackendError(DeixisError):
    """A model server failed or broke its protocol."""

    http_status = 502


class EngineError(DeixisError):
    """The network in this process failed at this request; others go on."""


class OverloadError(DeixisError):
    """No room for the request now; nothing is wrong with it."""

    http_status = 503
