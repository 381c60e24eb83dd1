"""What is remembered of one thing between frames so that its events can be told: its way, its rest, who hid it.

Knows places and times of one thing. Does not know the other things, nor what its changes are called. Ways are steady: what the
camera did is taken out, so that differences of one thing's places mean something. Boxes are in pixels of the last frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import BoxPx, PointPx
from deixis.spatial.video.camera_motion import STILL, mapped
from deixis.spatial.video.detection import State

Place = tuple[float, float]

_REST_PX, _REST_SHARE = 4.0, 0.08  # a box that strays by less is at rest
_CUT_SHARE = 0.3  # the place of a thing that is partly hidden is a guess: it strays more
_KEPT_S = 3.0  # of each thing's way
_SETTLES_S = 1.0  # over which a place of rest follows small drifts


@dataclass
class Life:
    """One thing. Mutable: what its past frames were, as far as events need them."""

    label: str
    state: State
    seen_s: float
    box_px: BoxPx  # with its hidden parts, as last seen
    rest: Place
    way: list[tuple[float, float, float]] = field(default_factory=list)  # (time_s, x, y)
    cut: bool = False
    started_s: float = -math.inf  # its last movement
    moving: bool = False
    moved_until_s: float = -math.inf
    came_from_px: Place | None = None  # where it stood before its last movement
    left_s: float = -math.inf  # and when it set off from there
    lost_s: float = -math.inf  # half-way from its last sighting to the first frame without it
    hidden_by: int | None = None
    hidden_s: float | None = None
    hidden_told: bool = False
    hider_at: Place | None = None  # where the one that hides it was then
    carried_s: float | None = None
    carried_until_s: float = -math.inf
    gone_since_s: float | None = None
    fall_s: float | None = None
    fall_y: float = 0.0

    @property
    def size(self) -> float:
        """In pixels, the mean of width and height."""
        return 0.5 * (self.box_px[2] - self.box_px[0] + self.box_px[3] - self.box_px[1])

    @property
    def reach(self) -> float:
        """How far from its place of rest it may be seen while it rests."""
        return max(_REST_PX, (_CUT_SHARE if self.cut and not self.moving else _REST_SHARE) * self.size)

    @property
    def foot_px(self) -> Place:
        """Where it stands: tall and flat things that change places have this in common, and not their middles."""
        return (self.box_px[0] + self.box_px[2]) / 2, self.box_px[3]

    @property
    def last_moving_s(self) -> float:
        """Until when it was moving, as far as it was seen."""
        return self.seen_s if self.moving else self.moved_until_s

    def camera_moves(self, camera: NDArray[np.float64]) -> None:
        """Brings its places to the pixels of a new frame, by the affine map (2, 3) from those of the last one."""
        if camera is STILL:
            return
        x1, y1, x2, y2 = mapped(camera, [self.box_px[:2], self.box_px[2:]]).ravel().tolist()
        self.box_px = (x1, y1, x2, y2)
        if self.came_from_px is not None:
            x, y = mapped(camera, [self.came_from_px])[0].tolist()
            self.came_from_px = (x, y)

    def sees(self, time_s: float, box_px: BoxPx, steady_px: PointPx, cut: bool) -> None:
        """A frame that shows it."""
        self.way.append((time_s, *steady_px))
        while len(self.way) > 3 and self.way[0][0] < time_s - _KEPT_S:
            self.way.pop(0)
        self.seen_s, self.box_px, self.cut = time_s, box_px, cut

    def rests(self, seconds: float) -> None:
        """Its place of rest follows where it is seen: slowly, so that what sets off slowly is noticed too."""
        share = 1 - math.exp(-seconds / _SETTLES_S)
        _, x, y = self.way[-1]
        self.rest = (self.rest[0] + share * (x - self.rest[0]), self.rest[1] + share * (y - self.rest[1]))

    def step(self, start_s: float, end_s: float) -> Place:
        """How far it came from the last sample until one time to the first one since another."""
        _, x0, y0 = next((sample for sample in reversed(self.way) if sample[0] <= start_s), self.way[0])
        _, x1, y1 = next((sample for sample in self.way if sample[0] >= end_s), self.way[-1])
        return x1 - x0, y1 - y0

    def shift(self, since_s: float) -> Place:
        """How far it came since the first sample from then on."""
        first = next((sample for sample in self.way if sample[0] >= since_s), self.way[-1])
        return self.way[-1][1] - first[1], self.way[-1][2] - first[2]

    @property
    def speed(self) -> float:
        """Over the last samples, in pixels per second."""
        if len(self.way) < 2:
            return 0.0
        (t0, *a), (t1, *b) = self.way[max(0, len(self.way) - 3)], self.way[-1]
        return math.dist(a, b) / max(t1 - t0, 1e-9)

    def set_off_s(self) -> float:
        """When the movement began that its way shows: where the straight line through its first samples meets the rest."""
        distances = [math.dist(self.rest, sample[1:]) for sample in self.way]
        nearest = distances.index(min(distances))
        near = max((k for k, d in enumerate(distances) if d <= 0.4 * self.reach), default=nearest)
        first = min(near + 1, len(self.way) - 1)
        t0, t1 = self.way[near][0], self.way[first][0]
        start = (t0 + t1) / 2
        if len(self.way) > first + 1 and distances[-1] > distances[first]:
            start = t1 - distances[first] * (self.way[-1][0] - t1) / (distances[-1] - distances[first])
        return min(max(start, t0, self.moved_until_s), t1)

    def settled(self) -> int:
        """The first sample on its way since which it is where it is now."""
        here = self.way[-1][1:]
        still = len(self.way)
        while still > 0 and math.dist(self.way[still - 1][1:], here) <= 0.6 * self.reach:
            still -= 1
        return still

    def stop_s(self, still: int) -> float:
        """When it stopped, if it is still since that sample: where its last speed would have brought it there."""
        since = self.way[still][0]
        if still < 2:
            return max(since, self.started_s)
        (ta, *a), (tb, *b) = self.way[still - 2], self.way[still - 1]
        speed = math.dist(a, b) / max(tb - ta, 1e-9)
        stop = min(max(tb + math.dist(b, self.way[-1][1:]) / speed, tb), since) if speed > 0 else since
        return max(stop, self.started_s)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Life:
        """What `asdict` gave, through JSON."""
        life = cls(**row)
        x1, y1, x2, y2 = row["box_px"]
        life.box_px = (x1, y1, x2, y2)
        life.rest, life.came_from_px, life.hider_at = (
            (0.0, 0.0) if row["rest"] is None else (row["rest"][0], row["rest"][1]),
            row["came_from_px"] and (row["came_from_px"][0], row["came_from_px"][1]),
            row["hider_at"] and (row["hider_at"][0], row["hider_at"][1]),
        )
        life.way = [(t, x, y) for t, x, y in row["way"]]
        return life
