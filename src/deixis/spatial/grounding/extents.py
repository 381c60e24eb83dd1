"""Boxes of which no two fill nearly the same place. Knows corners, 2D or 3D. Does not know labels or text."""

from __future__ import annotations

import numpy as np

DUPLICATE_IOU = 0.95


class Extents:
    """Boxes (lower corner, upper corner; 2D or 3D) of which no two fill nearly the same place; quick for thousands."""

    def __init__(self, numbers: int) -> None:
        self._rows = np.empty((16, numbers))
        self._count = 0

    def add(self, extent: tuple[float, ...]) -> bool:
        """False, and nothing added, where one of them fills nearly the same place."""
        n = len(extent) // 2
        low, high, o = np.array(extent[:n]), np.array(extent[n:]), self._rows[: self._count]  # (n,), (n,), (k, 2n)
        inner = np.clip(np.minimum(high, o[:, n:]) - np.maximum(low, o[:, :n]), 0, None).prod(1)
        union = (high - low).prod() + (o[:, n:] - o[:, :n]).prod(1) - inner
        if (inner >= DUPLICATE_IOU * union).any():
            return False
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = extent
        self._count += 1
        return True
