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
│   ├── CheckpointError     exit 2, HTTP 422   a checkpoint is broken: missing, left-over or misshapen tensors
│   ├── BodyError           exit 2, HTTP 400   a request's body does not say what its route reads
│   ├── AddressError        exit 2, HTTP 400   an address that is not fetched: private, malformed, not allowed, without an answer
│   ├── KeyMissingError     exit 2, HTTP 401   a request without an API key, or with one that is not known
│   ├── ForbiddenError      exit 2, HTTP 403   a request from a page or under a host name that this server does not serve
│   ├── NotFoundError       exit 2, HTTP 404   a job that does not exist, or is over and forgotten
│   ├── ConflictError       exit 2, HTTP 409   what the state of a model does not allow: no memory beside pinned ones
│   └── TooLargeError       exit 2, HTTP 413   more bytes than this server takes
├── BackendError            exit 1, HTTP 502   a model server failed, or answered what it must not
├── EngineError             exit 1, HTTP 500   the network in this process failed at a request: numbers that are none, no memory
├── DeadlineError           exit 1, HTTP 504   the answer was not there in time
└── OverloadError           exit 1, HTTP 503   the queue is full: the same request may succeed later
    ├── RateError           exit 1, HTTP 429   more requests of one key than its rate allows
    └── EngineLostError     exit 1, HTTP 503   the engine's process ended while it answered; another one is being started

A message says what was found, what was expected and what to do, on one line. File names and server replies end up in messages, so
the constructor replaces line breaks and other control characters by spaces: a message neither spans lines nor drives a terminal.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AddressError",
    "BackendError",
    "BodyError",
    "CameraError",
    "CheckpointError",
    "ConflictError",
    "DeadlineError",
    "DeixisError",
    "EngineError",
    "EngineLostError",
    "ForbiddenError",
    "GeometryError",
    "InputError",
    "KeyMissingError",
    "ModelNotFoundError",
    "NotFoundError",
    "OptionError",
    "OverloadError",
    "PictureError",
    "QuestionError",
    "RateError",
    "SchemaError",
    "TooLargeError",
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


class BodyError(InputError):
    """A request's body that does not say what its route reads; `param` is the field at fault, where it is one."""

    param: str | None = None


class AddressError(InputError):
    """An address that is not fetched: private, malformed, not allowed, or without an answer."""


class KeyMissingError(InputError):
    """A request without an API key, or with one that is not known."""

    http_status = 401


class ForbiddenError(InputError):
    """A request from a page, or under a host name, that this server does not serve."""

    http_status = 403


class NotFoundError(InputError):
    """A job that does not exist, or is over and forgotten."""

    http_status = 404


class ConflictError(InputError):
    """What the state of a model does not allow."""

    http_status = 409


class TooLargeError(InputError):
    """More bytes than this server takes."""

    http_status = 413


class BackendError(DeixisError):
    """A model server failed or broke its protocol."""

    http_status = 502


class EngineError(DeixisError):
    """The network in this process failed at this request; others go on."""


class DeadlineError(DeixisError):
    """The answer was not there in time."""

    http_status = 504


class OverloadError(DeixisError):
    """No room for the request now; nothing is wrong with it. `retry_after_s` is when to try again."""

    http_status = 503
    retry_after_s: float = 1.0


class RateError(OverloadError):
    """More requests of one key than its rate allows."""

    http_status = 429


class EngineLostError(OverloadError):
    """The engine's process ended while it answered; another one is being started."""
