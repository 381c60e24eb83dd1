"""Pictures by content: what makes two of them the same, and the ViT's features of those seen lately.

Knows pixels, digests and features. Does not know tokens or requests.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.model import Grid, Processor, VisualFeatures, pixels_of

PIECE_BYTES = 2**18  # part of what a digest is: pieces are hashed side by side


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture or video of a prompt. `places` (visual tokens,) say where in the prompt its features stand, in their order."""

    digest: bytes
    part: Mapping[str, Any]
    grid: Grid
    places: NDArray[np.int64]


def digest_of(part: Mapping[str, Any], processor: Processor) -> bytes:
    """A digest of everything that a picture's features depend on, weights aside. Raises PictureError."""
    return begin_digest(part, processor)()


def begin_digest(part: Mapping[str, Any], processor: Processor) -> Callable[[], bytes]:
    """`digest_of`, whose work on large pictures goes on elsewhere until the result is called for."""
    pixels = pixels_of(part)
    limits = processor.image_limits if part["type"] == "image" else processor.video_limits
    whole = hashlib.sha256(repr((part["type"], pixels.shape, limits, processor.block_px)).encode())
    known = _fixed.get(id(pixels))
    if known is not None and known[0]() is pixels:
        return _joined(whole, known[1])
    hashed = _begin_hash(pixels)
    return lambda: _joined(whole, hashed())()


def _joined(whole: hashlib._Hash, told: bytes) -> Callable[[], bytes]:
    whole.update(told)
    return whole.digest


def _begin_hash(pixels: NDArray[np.uint8]) -> Callable[[], bytes]:
    """A hash of the bytes, piece by piece; of a picture that nobody can ever write to it is kept."""
    data = np.ascontiguousarray(pixels).reshape(-1).data
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    hashed = _hashers().map(_hash, pieces) if len(pieces) > 2 else map(_hash, pieces)
    key = id(pixels)

    def finish() -> bytes:
        told = b"".join(hashed)
        if _is_fixed(pixels):
            _fixed[key] = weakref.ref(pixels, lambda _: _fixed.pop(key, None)), told
        return told

    return finish


# What pictures hold whose memory is Python's own bytes, while they live: asked about often, they are hashed once. An array that
# is merely read-only does not count: its owner may let it be written to, and forbid it again.
_fixed: dict[int, tuple[weakref.ref[NDArray[np.uint8]], bytes]] = {}


def _is_fixed(pixels: NDArray[np.uint8]) -> bool:
    """Whether nobody can ever write to the array's memory."""
    memory: object = pixels
    while isinstance(memory, np.ndarray):
        if memory.flags.writeable:
            return False
        memory = memory.base
    return isinstance(memory, bytes)


class VisionCache:
    """Features by digest, within a budget in bytes; the longest unused go first.

    Features that some request still holds are found beyond the budget, too: they cost nothing more.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[bytes, VisualFeatures] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[bytes, VisualFeatures] = weakref.WeakValueDictionary()
        self.nbytes = 0

    def get(self, digest: bytes) -> VisualFeatures | None:
        """The features, which are now the most recently used."""
        found = self._kept.get(digest)
        if found is None:
            return self._alive.get(digest)
        self._kept.move_to_end(digest)
        return found

    def put(self, digest: bytes, features: VisualFeatures) -> None:
        """Keep features; what does not fit in the budget at all is not kept."""
        self._alive[digest] = features
        if digest in self._kept or features.nbytes > self._limit:
            return
        self._kept[digest] = features
        self.nbytes += features.nbytes
        while self.nbytes > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.nbytes -= dropped.nbytes


def _hash(piece: memoryview) -> bytes:
    return hashlib.sha256(piece).digest()


@cache
def _hashers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="picture-digest")
