"""Messages between the gateway and an engine's process: JSON with blobs of bytes behind it, over a socket pair.

Knows frames. Does not know what they say. Nothing is unpickled: what an engine writes can be wrong, but runs nothing here.

A frame is 8 bytes (the lengths of its JSON and of all its blobs, big-endian), the JSON (UTF-8, with the blobs' lengths under
"blobs"), and the blobs one after the other.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deixis.errors import BackendError

_HEAD = struct.Struct(">II")
MAX_JSON_BYTES = 256 * 2**20
MAX_BLOB_BYTES = 2**31


@dataclass(frozen=True, eq=False)
class Frame:
    """One message: `head` is JSON, `blobs` are bytes that it speaks of."""

    head: Mapping[str, Any]
    blobs: tuple[bytes, ...] = ()

    def encoded(self) -> list[bytes]:
        """The bytes to send, in pieces, so that no blob is copied."""
        text = json.dumps({**self.head, "blobs": [len(blob) for blob in self.blobs]}, ensure_ascii=False).encode()
        return [_HEAD.pack(len(text), sum(map(len, self.blobs))), text, *self.blobs]


def _lengths(head: bytes) -> tuple[int, int]:
    json_bytes, blob_bytes = _HEAD.unpack(head)
    if json_bytes > MAX_JSON_BYTES or blob_bytes > MAX_BLOB_BYTES:
        raise BackendError(f"a message of {json_bytes} + {blob_bytes} bytes between gateway and engine; expected less")
    return json_bytes, blob_bytes


def _frame(text: bytes, rest: bytes) -> Frame:
    try:
        head = json.loads(text)
        lengths: Sequence[int] = head.pop("blobs")
        ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
        if ends and ends[-1] != len(rest):
            raise ValueError(f"blobs of {ends[-1]} bytes in {len(rest)}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackendError(f"a message between gateway and engine is malformed: {error}") from error
    return Frame(head, tuple(rest[end - length : end] for end, length in zip(ends, lengths, strict=True)))


class Pipe:
    """The engine's end: blocking, and safe to write to from any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._lock = threading.Lock()

    def read(self) -> Frame | None:
        """The next message; None where the other end has gone."""
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        json_bytes, blob_bytes = _lengths(head)
        text, rest = self._file.read(json_bytes), self._file.read(blob_bytes)
        return None if len(text) < json_bytes or len(rest) < blob_bytes else _frame(text, rest)

    def write(self, frame: Frame) -> None:
        """Raises OSError where the other end has gone."""
        pieces = frame.encoded()
        with self._lock:
            for piece in pieces:
                self._sock.sendall(piece)


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The gateway's end: the next message; None where the engine has gone."""
    try:
        json_bytes, blob_bytes = _lengths(await reader.readexactly(_HEAD.size))
        text = await reader.readexactly(json_bytes)
        return _frame(text, await reader.readexactly(blob_bytes))
    except (asyncio.IncompleteReadError, OSError):
        return None
