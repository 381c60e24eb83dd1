"""Which of two things hides the other: what is covered by whose box, and who stands before whom.

Knows boxes, and what earlier frames told about who is nearer. Does not know tracks' states.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_GRID = (np.arange(5) + 0.5) / 5
_FORGOTTEN_S = 6.0  # things move: who stood before whom is worth less after this time
_MOST_EVIDENCE = 4.0
# A box covers more than the shape in it does, and detectors do not report slivers: from here to there a thing is lost to sight.
_BEGINS, _ENDS = 0.4, 0.85


def cover_shares(boxes: Array, covers: Array) -> tuple[Array, Array]:
    """Boxes (n, 4), covers (m, 4) → the share of each box under each cover (n, m), and under all of them together (n,)."""
    if not len(covers):
        return np.zeros((len(boxes), 0)), np.zeros(len(boxes))
    x = boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * _GRID  # (n, 5)
    y = boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * _GRID
    in_x = (x[:, None] >= covers[None, :, 0, None]) & (x[:, None] <= covers[None, :, 2, None])  # (n, m, 5)
    in_y = (y[:, None] >= covers[None, :, 1, None]) & (y[:, None] <= covers[None, :, 3, None])
    inside = in_x[:, :, None, :] & in_y[:, :, :, None]  # (n, m, 5, 5)
    return inside.mean(axis=(2, 3)), inside.any(axis=1).mean(axis=(1, 2))


def lost_to_sight(share: Array) -> Array:
    """The probability that a thing is not reported when this share of its box lies under nearer things."""
    place: Array = np.clip((share - _BEGINS) / (_ENDS - _BEGINS), 0, 1)
    return place * place * (3 - 2 * place)


class DepthOrder:
    """What was seen of who is before whom: log odds for each ordered pair (behind, before)."""

    def __init__(self) -> None:
        self._odds: dict[tuple[int, int], tuple[float, float]] = {}  # → (log odds, when)

    def saw(self, behind: int, before: int, time_s: float, weight: float = 1.0) -> None:
        """A frame in which `before` cut off a part of `behind`; weight < 0: `behind` was whole where the other overlapped it."""
        for pair, sign in (((behind, before), weight), ((before, behind), -weight)):
            odds = self._now(pair, time_s) + sign
            self._odds[pair] = (max(-_MOST_EVIDENCE, min(_MOST_EVIDENCE, odds)), time_s)

    def before(self, behind: int, before: int, time_s: float, prior: float) -> float:
        """The probability that `before` is nearer than `behind`; `prior` in log odds, from how they stand."""
        return 1 / (1 + math.exp(-prior - self._now((behind, before), time_s)))

    def forget(self, gone: int) -> None:
        """Drops all that was held of one thing."""
        self._odds = {pair: value for pair, value in self._odds.items() if gone not in pair}

    def _now(self, pair: tuple[int, int], time_s: float) -> float:
        odds, when = self._odds.get(pair, (0.0, time_s))
        return odds * math.exp(-max(0.0, time_s - when) / _FORGOTTEN_S)

    def to_json(self) -> list[list[float]]:
        """For the ledger."""
        return [[*pair, round(odds, 2), when] for pair, (odds, when) in self._odds.items()]

    @classmethod
    def from_json(cls, rows: list[list[Any]]) -> DepthOrder:
        """What `to_json` wrote."""
        order = cls()
        order._odds = {(int(a), int(b)): (odds, when) for a, b, odds, when in rows}
        return order


def depth_prior(behind: Mapping[str, Any], before: Mapping[str, Any], frame_height: float) -> float:
    """Log odds that the second is nearer, from depths in metres where both are known, else from who stands lower in the picture.

    Each mapping: `bottom_px`, and `depth_m` or None.
    """
    if behind["depth_m"] is not None and before["depth_m"] is not None:
        return float(np.clip((behind["depth_m"] - before["depth_m"]) / 0.05, -3, 3))
    return float(np.clip((before["bottom_px"] - behind["bottom_px"]) / (0.05 * frame_height), -1.5, 1.5))
