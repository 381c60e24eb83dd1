"""What happens in a video: happenings drawn one after the other, each from what then stands on the desk.

Knows the desk, the things, the camera's way and what has been done to whom. Does not know how a happening goes
(happenings.py), pixels or questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deixis.lab.scene import View
from deixis.lab.thing import Thing
from deixis.lab.video.camera_path import CameraPath, projected
from deixis.lab.video.hand import resting
from deixis.lab.video.stage import Stage

Array = NDArray[np.float64]
FRAME_MARGIN = 0.06  # of the picture: how far from its border a thing is put down
REST_S = 2.0  # how long a happening may take to come to rest
AWAY_M = np.array([0.0, 0.0, -40.0])


@dataclass(frozen=True)
class Deed:
    """Something that was done: ``who`` first, ``by`` what else took part; ``kind`` is a name of happenings.HAPPENINGS."""

    kind: str
    start_s: float
    end_s: float
    who: tuple[int, ...]
    by: int | None = None


@dataclass
class Director:
    """The state of a video in the making. Mutable, used by one thread."""

    stage: Stage
    camera: CameraPath
    rng: np.random.Generator
    twins: tuple[int, int] | None
    waiting: list[int]  # things not yet put in
    covered: dict[int, int] = field(default_factory=dict)  # hidden thing -> its cover
    out: set[int] = field(default_factory=set)  # carried out of the picture or taken away
    deeds: list[Deed] = field(default_factory=list)

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.stage.things

    @property
    def view(self) -> View:
        return self.camera.at(self.stage.time_s)

    def size_m(self, i: int) -> Array:
        """(3,) of the upright thing, its own axes."""
        low, high = self.things[i].bounds
        return np.asarray(high - low)

    def radius_m(self, i: int) -> float:
        """Of the disc around its footprint."""
        size = self.size_m(i)
        return float(np.hypot(size[0], size[1]) / 2)

    def at_m(self, i: int) -> Array:
        return self.stage.pose(i)[0]

    def standing(self) -> list[int]:
        """Upright on the table, free for the hand: neither hidden under a cover, nor a cover, nor gone."""
        busy = {*self.waiting, *self.out, *self.covered, *self.covered.values()}
        return [i for i in range(len(self.things)) if i not in busy and self._stands(i)]

    def _stands(self, i: int) -> bool:
        position, rotation = self.stage.pose(i)
        on = abs(position[2]) < 0.02 and all(abs(position[k]) < self.stage.table_half_m[k] for k in (0, 1))
        return on and (rotation[2, 2] > 0.97 or self.things[i].category == "ball")

    def in_picture(self, position_m: Array, i: int, times_s: Sequence[float] | None = None) -> bool:
        """Would the thing stand well inside the picture there, now (or at these times)?"""
        points = self.corners_m(i, position_m)
        for time_s in times_s or (self.stage.time_s,):
            view = self.camera.at(time_s)
            pixels, depth = projected(points, view)
            edge = FRAME_MARGIN * np.array([view.width, view.height])
            if depth.min() < 0.1 or (pixels < edge).any() or (pixels > [view.width, view.height] - edge).any():
                return False
        return True

    def corners_m(self, i: int, position_m: Array) -> Array:
        """(8, 3) corners of a box around the thing if it stood there, unturned at worst."""
        radius, height = self.radius_m(i) * 0.8, self.size_m(i)[2]
        box = np.array([(x * radius, y * radius, z * height) for x in (-1, 1) for y in (-1, 1) for z in (0, 1)])
        return np.asarray(position_m + box)

    def clear_at(self, position_m: Array, radius_m: float, but: Sequence[int] = (), gap_m: float = 0.015) -> bool:
        """Does a disc on the table there touch nothing (but these) and stay on the table?"""
        half = self.stage.table_half_m
        if any(abs(position_m[k]) > half[k] - 0.8 * radius_m for k in (0, 1)):
            return False
        away = {*but, *self.waiting, *self.out}
        return all(
            np.hypot(*(position_m - self.at_m(j))[:2]) > radius_m + self.radius_m(j) + gap_m
            for j in range(len(self.things))
            if j not in away and self.at_m(j)[2] > -0.1
        )

    def free_spot(self, i: int, near_m: Array | None = None, reach_m: float = 2.0, least_m: float = 0.0) -> Array | None:
        """A place on the table for thing ``i`` that is clear and in the picture; within ``reach_m`` of ``near_m`` if given."""
        half = self.stage.table_half_m
        for _ in range(60):
            spot = np.array([self.rng.uniform(-half[0], half[0]), self.rng.uniform(-half[1], half[1]), 0.0])
            apart = np.linalg.norm(spot - near_m) if near_m is not None else least_m
            if least_m <= apart <= reach_m and self.clear_at(spot, self.radius_m(i), (i,)) and self.in_picture(spot, i):
                return spot
        return None

    def pick(self, options: Sequence[int]) -> int:
        return int(options[int(self.rng.integers(len(options)))])

    def shuffled(self, options: Sequence[int]) -> list[int]:
        return [int(options[k]) for k in self.rng.permutation(len(options))]

    def let_go(self, i: int) -> None:
        """Back to physics where it stands."""
        self.stage.release(i)

    def keep_covered(self, hidden: int, cover: int) -> None:
        """Both rest where they are: a thing within another cannot be left to physics."""
        self.covered[hidden] = cover
        self.stage.hold(hidden, resting(self.stage.pose(hidden)))
        self.stage.hold(cover, resting(self.stage.pose(cover)), touch="all")

    def take_away(self, i: int) -> None:
        """Out of the room, at once."""
        self.out.add(i)
        self.stage.remove(i)

    def wait(self, seconds: float) -> None:
        self.stage.advance(seconds)

    def settle(self) -> None:
        """Wait until nothing free moves, but not for ever."""
        for _ in range(int(REST_S / 0.1)):
            if self.stage.still():
                return
            self.stage.advance(0.1)

    def done(self, kind: str, start_s: float, who: Sequence[int], by: int | None = None) -> bool:
        """Write down a deed that began at ``start_s`` and ends now."""
        self.deeds.append(Deed(kind, start_s, self.stage.time_s, tuple(who), by))
        return True
