"""One thing that is being followed: where it is, how large it is when nothing hides it, what it looks like, who hides it.

Knows its own boxes. Does not know the other things; whoever links the frames does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import BoxPx, Vec3
from deixis.spatial.video.camera_motion import mapped
from deixis.spatial.video.detection import Detection, State
from deixis.spatial.video.hypotheses import Hypotheses
from deixis.spatial.video.motion_model import ConstantVelocity

Array = NDArray[np.float64]
Cut = tuple[bool, bool, bool, bool]  # which edges of a box (x1, y1, x2, y2) are not the thing's own

WHOLE: Cut = (False, False, False, False)
AT_EDGE_PX = 3.0  # a box whose edge is so near the frame's may go on outside
NOISE_PX = 1.5  # what a good detector is off by, beside a share of the size
_NOISE_SHARE = 0.03
_SHRUNK = 0.93  # below this share of its size something hides a part of it
_STAYS_PX, _STAYS_SHARE = 2.0, 0.1  # an edge that is off its old place by no more than this is there
_LEAP = 0.4  # share of a size by which nothing moves unnoticed from one frame to the next
_MOMENT_S = 0.5  # over which a velocity is measured
_BEFORE, _DEEP = 0.7, 0.35  # shares of a box: so much of it in another one's, it stands before; so far in, that one cuts it
_LEAST_JITTER_PX = 0.5
_DOUBT = 0.1  # below this it is believed to be there
_LEARN = 0.15  # how much of a new look goes into what is remembered


@dataclass
class Target:
    """Mutable on purpose: a filter's state. Boxes and places are pixels of the last frame, whatever the camera did before."""

    id: int
    label: str
    motion: ConstantVelocity
    size: Array  # (2,) width and height when nothing hides it
    box_px: BoxPx  # as last seen
    seen_s: float
    first_s: float  # of its first sighting; -inf where that was in the first frame of all
    cut: Cut = WHOLE
    appearance: tuple[float, ...] = ()
    state: State = "visible"
    hidden_by: int | None = None
    confidence: float = 1.0
    guesses: Hypotheses | None = None
    place_m: ConstantVelocity | None = None
    steady_px: Array = field(default_factory=lambda: np.zeros(2))  # its own way: what the camera did is taken out
    step_px: Array = field(default_factory=lambda: np.zeros(2))  # its own motion since the last frame
    recent: list[tuple[float, float, float]] = field(default_factory=list)  # (time_s, x, y) of its own way, a moment long
    jitter_px: float = NOISE_PX  # how much it strays from frame to frame while it rests
    carried: bool = False
    hits: int = 1  # sightings since it was believed, and one before
    doubts: dict[str, float] = field(default_factory=dict)  # label → the chance that all who saw that were wrong
    misses: int = 0
    confirmed: bool = True
    hidden_from_px: BoxPx | None = None  # its place when it was hidden, in pixels of now

    @property
    def sigma_px(self) -> float:
        """What its measured place is off by."""
        return NOISE_PX + _NOISE_SHARE * float(self.size.mean())

    @property
    def center_m(self) -> Vec3 | None:
        """In the room, where depths are known."""
        if self.place_m is None:
            return None
        x, y, z = self.place_m.place.tolist()
        return x, y, z

    @property
    def velocity_px_s(self) -> Array:
        """(2,): its own, over the last moment in which it was seen; 0 where it did not move by more than boxes are off by."""
        if len(self.recent) < 2:
            return np.zeros(2)
        way = np.array(self.recent)
        if np.linalg.norm(way[-1, 1:] - way[0, 1:]) < 3 * self.noise_px:
            return np.zeros(2)
        times = way[:, 0] - way[:, 0].mean()
        slope: Array = times @ (way[:, 1:] - way[:, 1:].mean(axis=0)) / (times @ times)
        last: Array = (way[-1, 1:] - way[-2, 1:]) / (way[-1, 0] - way[-2, 0])
        set_off = np.linalg.norm(way[-1, 1:] - way[-2, 1:]) > 3 * self.noise_px
        speeding = set_off and np.linalg.norm(last) > 1.3 * np.linalg.norm(slope)
        return last if speeding else slope

    @property
    def moving(self) -> bool:
        """Whether it was moving by itself when it was last seen."""
        return bool(self.velocity_px_s.any())

    @property
    def under_way(self) -> bool:
        """Whether it has been moving for the whole last moment: what a hand snatches has not."""
        early, _ = self._in_the_last_moment()
        return early > self.sigma_px and math.dist(self.recent[0][1:], self.recent[-1][1:]) > 3 * self.sigma_px

    @property
    def set_off(self) -> bool:
        """Whether it rested at the beginning of the last moment, and moves."""
        early, late = self._in_the_last_moment()
        return early <= self.noise_px < late

    def _in_the_last_moment(self) -> tuple[float, float]:
        """How far it came in the first and in the second half of a moment; 0 where it does not move or too little is known."""
        if not self.moving or len(self.recent) < 3 or self.recent[-1][0] - self.recent[0][0] < 0.7 * _MOMENT_S:
            return 0.0, 0.0
        (_, *a), (_, *b), (_, *c) = self.recent[0], self.recent[len(self.recent) // 2], self.recent[-1]
        return math.dist(a, b), math.dist(b, c)

    @property
    def lifted_px(self) -> float:
        """How far it is above where it rested a moment ago: what has just been lifted is still as near as it was there."""
        return max(0.0, self.recent[0][2] - self.recent[-1][2]) if self.set_off else 0.0

    @property
    def noise_px(self) -> float:
        """What its place strays by while it rests, as measured, within what boxes are off by."""
        return min(self.sigma_px, max(_LEAST_JITTER_PX, 1.5 * self.jitter_px))

    def full_box(self) -> Array:
        """(4,): where all of it is believed to be, hidden parts too."""
        return np.concatenate([self.motion.place - self.size / 2, self.motion.place + self.size / 2])

    def completed(self, box_px: BoxPx, cut: Cut) -> Array:
        """The middle (2,) of all of it when this much of it is seen and these edges are cut."""
        middle = np.zeros(2)
        for axis in (0, 1):
            low, high = box_px[axis], box_px[axis + 2]
            full = float(self.size[axis])
            middle[axis] = (low + high) / 2
            if high - low < _SHRUNK * full and cut[axis] != cut[axis + 2]:
                middle[axis] = high - full / 2 if cut[axis] else low + full / 2
        return middle

    def really_cut(self, box_px: BoxPx, may: Cut) -> Cut:
        """Which edges are not its own, of a box that is smaller than it is: those that another box or the frame `may` have cut.

        Where one edge is at its old place and the other is not, that one is cut, whoever does it: nothing shrinks on one side.
        But what moves behind something seems to do that: where the edge that stays may be cut, it must have rested and the other
        edge have leapt.
        """
        cut = [False] * 4
        middle = self.completed(self.box_px, self.cut)
        for axis in (0, 1):
            size = float(self.size[axis])
            if box_px[axis + 2] - box_px[axis] >= _SHRUNK * size:
                continue
            slack = max(_STAYS_PX, _STAYS_SHARE * size)
            low_in = box_px[axis] - (middle[axis] - size / 2)
            high_in = middle[axis] + size / 2 - box_px[axis + 2]
            inner, stays = (axis + 2, axis) if high_in > low_in else (axis, axis + 2)
            least = slack if not may[stays] else math.inf if self.moving else _LEAP * size
            if min(abs(low_in), abs(high_in)) < slack and max(low_in, high_in) > least:
                cut[inner] = True
            else:
                cut[axis], cut[axis + 2] = may[axis], may[axis + 2]
        return cut[0], cut[1], cut[2], cut[3]

    def predict(self, seconds: float, acceleration: float, camera: Array) -> None:
        """To the next frame: the camera's motion, then its own."""
        self.motion.mapped(camera)
        self.box_px = _mapped_box(camera, self.box_px)
        if self.hidden_from_px is not None:
            self.hidden_from_px = _mapped_box(camera, self.hidden_from_px)
        if self.guesses is None:
            self.motion.predict(seconds, acceleration)
        if self.place_m is not None:
            self.place_m.predict(seconds, 1.0)

    def seen(self, detection: Detection, may: Cut, time_s: float) -> None:
        """Takes in a detection. Its size grows at once and shrinks only where nothing hides it."""
        cut = self.really_cut(detection.box_px, may)
        before_cut, before_box, unseen = self.cut, self.box_px, self.guesses is not None
        seconds = max(time_s - self.seen_s, 1e-6)
        for axis in (0, 1):
            extent = detection.box_px[axis + 2] - detection.box_px[axis]
            if extent > self.size[axis]:
                self.size[axis] += (0.7 if self.hits < 5 or extent > 1.1 * self.size[axis] else 0.3) * (extent - self.size[axis])
            elif not (may[axis] or may[axis + 2]):
                self.size[axis] += (0.1 if cut[axis] or cut[axis + 2] else 0.3) * (extent - self.size[axis])
        middle = self.completed(detection.box_px, cut)
        self.step_px = own_step(before_box, before_cut, detection.box_px, cut, self.size)
        if unseen:
            self.step_px = middle - self.completed(before_box, before_cut)
            self.motion.rest_at(middle, self.sigma_px, 3.0 * float(self.size.mean()))
            self.motion.velocity = self.step_px / seconds if seconds < 1.0 else np.zeros(2)
        else:
            doubt = 2.0 if any(cut) else 1.0
            self.motion.update(middle, doubt * self.sigma_px)
        strayed = float(np.linalg.norm(self.step_px))
        if not unseen and strayed < self.sigma_px:
            self.jitter_px += _LEARN * (strayed - self.jitter_px)
        self.steady_px = self.steady_px + self.step_px
        if unseen and seconds > _MOMENT_S:
            self.recent.clear()
        self.recent.append((time_s, float(self.steady_px[0]), float(self.steady_px[1])))
        # At least two samples, however far apart in time; of a fast sequence those of a moment.
        while len(self.recent) > 2 and self.recent[0][0] < time_s - _MOMENT_S:
            self.recent.pop(0)
        if detection.center_m is not None:
            if self.place_m is None:
                self.place_m = ConstantVelocity(detection.center_m, 0.02, 1.0)
            else:
                self.place_m.update(detection.center_m, 0.02)
        if detection.appearance:
            old = np.array(self.appearance or detection.appearance)
            share = 0.3 * _LEARN if any(cut) else _LEARN  # a cut box shows more of what hides it
            self.appearance = tuple((old + share * (np.array(detection.appearance) - old)).tolist())
        self.hits += self._is_believed(detection)
        self.box_px, self.cut, self.seen_s = detection.box_px, cut, time_s
        self.state, self.hidden_by, self.guesses, self.carried = "visible", None, None, False
        self.hidden_from_px, self.confidence, self.misses = None, detection.score, 0

    def _is_believed(self, detection: Detection) -> bool:
        """Whether it is there at all: a shadow is taken for a book now and for a pen then, a thing has one name."""
        if self.confirmed:
            return True
        self.doubts = self.doubts or {self.label: 1 - self.confidence}
        self.doubts[detection.label] = self.doubts.get(detection.label, 1.0) * (1 - detection.score)
        return self.doubts[detection.label] <= _DOUBT

    def to_json(self) -> dict[str, Any]:
        """For the ledger."""
        row: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        row |= {name: getattr(self, name).round(4).tolist() for name in _ARRAYS}
        row |= {"motion": self.motion.to_json(), "place_m": self.place_m and self.place_m.to_json()}
        return row | {"guesses": self.guesses and self.guesses.to_json()}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Target:
        """What `to_json` wrote."""
        values: dict[str, Any] = {name: row[name] for name in _PLAIN}
        values |= {name: np.array(row[name], np.float64) for name in _ARRAYS}
        values |= {name: tuple(values[name]) for name in ("box_px", "cut", "appearance")}
        values["recent"] = [(t, x, y) for t, x, y in values["recent"]]
        values["hidden_from_px"] = values["hidden_from_px"] and tuple(values["hidden_from_px"])
        place, guesses = row["place_m"], row["guesses"]
        values["place_m"] = place and ConstantVelocity.from_json(place)
        values["guesses"] = guesses and Hypotheses.from_json(guesses)
        return cls(motion=ConstantVelocity.from_json(row["motion"]), **values)


_ARRAYS = ("size", "steady_px", "step_px")
_PLAIN = (
    *("id", "label", "box_px", "seen_s", "first_s", "cut", "appearance", "state", "hidden_by", "confidence", "recent"),
    *("jitter_px", "carried", "hits", "doubts", "misses", "confirmed", "hidden_from_px"),
)


def own_step(before_px: BoxPx, before_cut: Cut, after_px: BoxPx, after_cut: Cut, size_px: Array) -> Array:
    """How far a thing itself moved between two frames, (2,), from the edges that are its own in both.

    A thing that comes out from behind another one grows on one side and stands still; one that comes nearer grows on both. Where
    one side is cut before and the other one after, `size_px` (2,) tells where the hidden edge was; where both are cut at once
    nothing tells that it moved.
    """
    step = np.zeros(2)
    for axis in (0, 1):
        shifts = {edge: after_px[edge] - before_px[edge] for edge in (axis, axis + 2)}
        own = [edge for edge in shifts if not (before_cut[edge] or after_cut[edge])]
        if len(own) == 1:
            step[axis] = shifts[own[0]]
        elif len(own) == 2:
            low, high = shifts[axis], shifts[axis + 2]
            step[axis] = math.copysign(min(abs(low), abs(high)), low) if low * high > 0 else 0.0
        elif before_cut[axis] != before_cut[axis + 2] and after_cut[axis] != after_cut[axis + 2]:
            low_before = before_px[axis + 2] - size_px[axis] if before_cut[axis] else before_px[axis]
            low_after = after_px[axis + 2] - size_px[axis] if after_cut[axis] else after_px[axis]
            step[axis] = low_after - low_before
    return step


def cut_edges(boxes_px: Sequence[BoxPx], frame_size: tuple[int, int]) -> list[Cut]:
    """For each box of a frame which of its edges another box or the frame's border may have cut off."""
    if not boxes_px:
        return []
    boxes = np.array(boxes_px, np.float64)  # (n, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    size = high - low
    margin = 2.0 + 0.03 * size  # (n, 2)
    overlap = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])  # (n, other, 2)
    beside = overlap > 0.25 * size[:, None]  # they share enough of the other axis
    # What shows within another box stands before it: what that one hides would not show.
    before = overlap.clip(0).prod(axis=2) > _BEFORE * size.prod(axis=1)[:, None]
    beside &= ~before[:, :, None]
    np.einsum("iia->ia", beside)[:] = False
    cut = np.abs(boxes - np.array([0.0, 0.0, *frame_size])) <= AT_EDGE_PX  # (n, 4)
    for edge in range(4):
        axis = edge % 2
        place = boxes[:, edge, None]
        # It hides what lies beyond the edge, so the edge is at its own far side, not deep in its box.
        far_low = high[None, :, axis] - _DEEP * size[None, :, axis] if edge < 2 else low[None, :, axis]
        far_high = high[None, :, axis] if edge < 2 else low[None, :, axis] + _DEEP * size[None, :, axis]
        within = (far_low - margin[:, axis, None] <= place) & (place <= far_high + margin[:, axis, None])
        cut[:, edge] |= (within & beside[:, :, 1 - axis]).any(axis=1)
    return [(a, b, c, d) for a, b, c, d in cut.tolist()]


def _mapped_box(camera: Array, box_px: BoxPx) -> BoxPx:
    (x1, y1), (x2, y2) = mapped(camera, [box_px[:2], box_px[2:]]).tolist()
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
