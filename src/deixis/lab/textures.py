"""Procedural textures for tables, floors and walls, the same for every renderer.

Knows pixels only. Each texture is a (SIDE, SIDE, 3) uint8 picture that tiles and is tinted by the surface's colour.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 256
_COUNT_BY_PATTERN = {
    "plain": 1,
    "wood": 4,
    "noise": 3,
    "checker": 2,
    "tiles": 3,
    "stripes": 2,
    "bricks": 2,
    "marble": 3,
    "weave": 2,
}
NAMES: tuple[str, ...] = tuple(f"{pattern}-{i}" for pattern, count in _COUNT_BY_PATTERN.items() for i in range(count))

_Y, _X = np.mgrid[0:SIDE, 0:SIDE] / SIDE


@cache
def texture(name: str) -> NDArray[np.uint8]:
    """The picture (SIDE, SIDE, 3) of one of NAMES; always the same for the same name."""
    rng = np.random.default_rng([7, NAMES.index(name)])
    shade = np.clip(_pattern(name.split("-")[0], rng), 0, 1)  # (SIDE, SIDE), 1 is the surface's own colour
    warmth = 1 + 0.06 * np.array([1, 0, -1]) * rng.uniform(-1, 1) * (1 - shade[..., None])
    return np.asarray(np.clip(shade[..., None] * warmth * 255, 0, 255), np.uint8)


def _pattern(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    low = rng.uniform(0.55, 0.85)  # how dark the darkest tone is
    if kind == "plain":
        return np.ones((SIDE, SIDE))
    if kind == "wood":
        rings = _X * rng.integers(3, 7) + 0.25 * _clouds(rng, 2, 1) + 0.03 * _clouds(rng, 32, 4)
        return np.asarray(low + (1 - low) * (0.5 + 0.5 * np.sin(2 * np.pi * rings)) * (0.85 + 0.15 * _clouds(rng, 64, 2)))
    if kind == "noise":
        return low + (1 - low) * _clouds(rng, int(rng.choice([8, 24, 64])), 0)
    if kind == "checker":
        n = int(rng.choice([2, 4]))
        return np.where((np.floor(_X * n) + np.floor(_Y * n)) % 2 == 0, 1.0, low)
    if kind == "tiles":
        n, joint = int(rng.choice([2, 3, 4])), 0.03
        gap = ((_X * n) % 1 < joint) | ((_Y * n) % 1 < joint)
        return np.where(gap, low - 0.15, 1 - 0.1 * _clouds(rng, 16, 0))
    if kind == "stripes":
        return np.where((_X * int(rng.choice([4, 8]))) % 1 < rng.uniform(0.2, 0.6), low, 1.0)
    if kind == "bricks":
        rows = 8
        shift = np.floor(_Y * rows) % 2 * 0.5
        gap = ((_X * rows / 2 + shift) % 1 < 0.04) | ((_Y * rows) % 1 < 0.08)
        return np.where(gap, low - 0.1, 0.85 + 0.15 * _clouds(rng, 32, 0))
    if kind == "marble":
        veins = np.abs(np.sin(2 * np.pi * (_X + _Y + 0.6 * _clouds(rng, 4, 0))))
        return np.asarray(low + (1 - low) * veins ** rng.uniform(0.2, 0.6))
    weave = np.sin(2 * np.pi * _X * 32) * np.sin(2 * np.pi * _Y * 32)
    return np.asarray(low + (1 - low) * (0.5 + 0.5 * weave))


def _clouds(rng: np.random.Generator, cells: int, stretch: int) -> NDArray[np.float64]:
    """Smooth noise in [0, 1] that tiles, with ``cells`` features a side; ``stretch`` draws it out along y."""
    spectrum = np.fft.fft2(rng.standard_normal((SIDE, SIDE)))
    fy, fx = np.meshgrid(np.fft.fftfreq(SIDE) * SIDE, np.fft.fftfreq(SIDE) * SIDE, indexing="ij")
    keep = np.exp(-(fx**2 + (fy * (1 + 3 * stretch)) ** 2) / (2 * (cells / 2) ** 2))
    noise = np.fft.ifft2(spectrum * keep).real
    return np.asarray((noise - noise.min()) / (noise.max() - noise.min()))
