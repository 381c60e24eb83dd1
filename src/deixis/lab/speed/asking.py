"""Which questions are asked, how many and how often: the same of the engine and of its peers.

Knows sizes and counts; imports nothing but numpy, so that a peer's own Python can read it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NEW_TOKENS = 64
ROWS = ("first", "second", "decode", "many", "one")


@dataclass(frozen=True)
class Asking:
    """Side of the square pictures; repetitions of a latency and of a burst; tokens over which decoding is timed; requests of a
    burst and their tokens."""

    side_px: int
    repeats: int
    burst_repeats: int
    decode_tokens: int
    requests: int
    request_tokens: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


# Device, shape -> what is asked; a peer of the CPU needs minutes for one answer of the large shapes.
_CPU_LARGE = Asking(512, 2, 1, 16, 4, 8)
_GPU = Asking(1024, 7, 3, 128, 64, NEW_TOKENS)


def asking_of(device: str, shape: str) -> Asking:
    """What is asked of a shape on a device."""
    if device == "cuda":
        return _GPU
    return Asking(512, 7, 3, 64, 20, 16) if shape == "nano" else _CPU_LARGE


def picture(number: int, side_px: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decoded pixels (side, side, 3) of a picture that nobody has seen: noise, in memory that nobody can write to."""
    pixels = np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return np.frombuffer(pixels.tobytes(), np.uint8).reshape(pixels.shape)


def question(number: int, row: str) -> str:
    """A short question, unlike the others from its first words on; a token a byte, so no longer than real ones of a sentence."""
    return f"{number} {row}: where?"
