"""Follows things through frames at irregular times: which detection is who, and where those are that nobody sees.

Knows boxes, labels, colours and times; the frames themselves it never sees. Does not know what the changes mean (events.py), nor
keeps what is past (memory.py). The same detections in the same order give the same tracks: nothing is random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry import BoxPx, PointPx
from deixis.spatial.video.association import alike, assigned, birth_cost, match_cost, middle_px
from deixis.spatial.video.camera_motion import NOT_TURNING, STILL, fitted, mapped, shift_by_vote
from deixis.spatial.video.changes import Changes, Followed, Revision
from deixis.spatial.video.covering import DepthOrder, cover_shares, depth_prior
from deixis.spatial.video.detection import Detection, Sighting
from deixis.spatial.video.hypotheses import Cover
from deixis.spatial.video.motion_model import ConstantVelocity
from deixis.spatial.video.target import Target, cut_edges, own_step
from deixis.spatial.video.unseen import sought

Array = NDArray[np.float64]

_ACCELERATION = 0.35  # of the frame's diagonal, per s^1.5: things are pushed, dropped and stopped
_LEAST_SCORE = 0.25  # below this a detection may be a known thing but is no new one
_SURE_SCORE = 0.9  # from here on one detection is enough for a new thing, else it needs a second one
_MOST_TARGETS = 200
_BELIEVED_GONE_BACK_S = 1.5  # a thing back at its place within this time was never gone


class Tracker:
    """`update` once for each frame, in order of time."""

    def __init__(self) -> None:
        self.targets: dict[int, Target] = {}
        self.time_s: float | None = None
        self.order = DepthOrder()
        self.next_id = 1
        self.offset_px: Array = np.zeros(2)  # where the camera carried the middle of the first frame
        self.camera_moved = False
        self.turning: Array = NOT_TURNING  # of the camera: the linear part of its map less the identity, per second
        # How often a thing in the open is not reported, learnt as it happens: (missed, looked) with a prior of 1 in 40.
        self.missed, self.looked = 1.0, 40.0

    def update(
        self,
        time_s: float,
        detections: Sequence[Detection],
        frame_size: tuple[int, int],
        camera_motion: ArrayLike | None = None,
        same_view: bool = True,
        complete: bool = True,
    ) -> Changes:
        """The frame at a time later than the last one. Raises GeometryError for one that is not, or for a frame without an area.

        `camera_motion`: the affine map (2, 3) from pixels of the last frame to this one's if it is known, else estimated.
        With `same_view` False the places of the last picture say nothing about this one, and what is missing is out of view.
        With `complete` False not everything was looked for: what is missing stays as it was.
        """
        if not math.isfinite(time_s) or (self.time_s is not None and time_s <= self.time_s):
            raise GeometryError(f"time is {time_s} s after {self.time_s} s; give frames in order of time")
        if min(frame_size) < 1:
            raise GeometryError(f"frame is {frame_size[0]}×{frame_size[1]}; expected a width and a height of at least 1")
        seconds = 0.0 if self.time_s is None else time_s - self.time_s
        first, self.time_s = self.time_s is None, time_s
        diagonal = math.hypot(*frame_size)
        camera = STILL
        if same_view and not first:
            camera = (
                self._camera(detections, diagonal, seconds) if camera_motion is None else np.asarray(camera_motion, np.float64)
            )
        self.camera_moved = camera is not STILL
        self.turning = (camera[:, :2] - np.eye(2)) / seconds if self.camera_moved else NOT_TURNING
        middle = np.array(frame_size) / 2
        self.offset_px = self.offset_px + mapped(camera, middle[None])[0] - middle
        for target in self.targets.values():
            target.predict(seconds, _ACCELERATION * diagonal, camera)
        before = {id_: target.motion.place.copy() for id_, target in self.targets.items()}
        cuts = cut_edges([d.box_px for d in detections], frame_size)
        matches = self._matched(detections, cuts, frame_size, time_s, first, same_view)
        revisions: list[Revision] = []
        resting = {id_: middle_px(target.box_px) for id_, target in self.targets.items()}
        for j, id_ in enumerate(matches):
            if id_ is not None:
                revisions += self._sees(self.targets[id_], detections[j], cuts[j], time_s)
        unseen = [t for t in self.targets.values() if t.id not in set(matches)] if complete else []
        for j, id_ in enumerate(matches):
            if id_ is None and detections[j].score >= _LEAST_SCORE:
                self._begins(detections[j], time_s, -math.inf if first else time_s)
        moved = {id_: self._moved(id_, before[id_], resting[id_]) for id_ in before}
        self._learn_order(time_s)
        # What is hidden under something hidden follows it: so those that may carry others go first.
        for target in sorted(unseen, key=lambda t: (t.guesses is not None, -float(t.size.prod()))):
            target.misses += 1
            target.step_px = np.zeros(2)
            if not target.confirmed:
                continue
            if same_view:
                covers = self._covers(target, moved, time_s, frame_size[1])
                revisions += sought(target, seconds, camera, covers, frame_size, self.missed / self.looked)
            else:
                target.state, target.hidden_by, target.confidence = (
                    ("gone" if target.state == "gone" else "out_of_view"),
                    None,
                    0.5,
                )
            moved[target.id] = (float(target.step_px[0]), float(target.step_px[1]))
        self._forget()
        things = {t.id: self._followed(t, time_s) for t in self.targets.values() if t.confirmed}
        return Changes(time_s, things, tuple(revisions), camera)

    def _camera(self, detections: Sequence[Detection], diagonal: float, seconds: float) -> Array:
        """From the things that are in sight, most of which stand still."""
        targets = [t for t in self.targets.values() if t.state == "visible" and t.misses == 0 and t.confirmed]
        if len(targets) < 2 or not detections:
            return STILL
        might = alike(targets, detections)
        before = np.array([middle_px(t.box_px) for t in targets])
        after = np.array([middle_px(d.box_px) for d in detections])
        shift = shift_by_vote(before, after, might, diagonal)
        distance = np.linalg.norm(mapped(shift, before)[:, None] - after[None], axis=2)
        distance[~might] = np.inf
        pairs = [(i, int(j)) for i, j in enumerate(distance.argmin(axis=1)) if distance[i, j] < 0.06 * diagonal]
        # Parts that others or the frame cut off move the middle of what is left: the edges that are a thing's own tell its way.
        cuts = cut_edges([d.box_px for d in detections], (10**9, 10**9))
        sure, moved_to = [], []
        for i, j in pairs:
            target, box = targets[i], detections[j].box_px
            cut = target.really_cut(box, cuts[j])
            if not any((target.cut[axis] or cut[axis]) and (target.cut[axis + 2] or cut[axis + 2]) for axis in (0, 1)):
                sure.append(i)
                partly = any(target.cut) or any(cut)
                moved_to.append(before[i] + own_step(target.box_px, target.cut, box, cut, target.size) if partly else after[j])
        return fitted(before[sure], moved_to, diagonal, shift, self.camera_moved, self.turning * seconds)

    def _matched(
        self,
        detections: Sequence[Detection],
        cuts: Sequence[Any],
        frame_size: tuple[int, int],
        time_s: float,
        first: bool,
        same_view: bool,
    ) -> list[int | None]:
        targets = list(self.targets.values())
        if not detections:
            return []
        costs = np.array(
            [[match_cost(t, d, cut, frame_size, same_view) for d, cut in zip(detections, cuts, strict=True)] for t in targets]
        ).reshape(len(targets), len(detections))
        births = np.array([birth_cost(d, targets, frame_size, first) for d in detections])
        misses = np.array([self._miss_cost(t, time_s, frame_size, same_view) for t in targets])
        rows = assigned(costs, births, misses)
        return [None if row is None else targets[row].id for row in rows]

    def _miss_cost(self, target: Target, time_s: float, frame_size: tuple[int, int], same_view: bool) -> float:
        """Of not seeing a target: little where it was not seen before or where others stand in front of it."""
        if target.guesses is not None or not same_view:
            return 0.1
        covers = self._covers(target, {}, time_s, frame_size[1])
        box = target.full_box()[None]
        hidden = 0.0
        if covers:
            shares, _ = cover_shares(box, np.array([cover.box_px for cover in covers]))
            hidden = float((shares[0] * np.array([cover.nearer for cover in covers])).max())
        x, y = target.motion.place.tolist()
        outside = not (0 < x < frame_size[0] and 0 < y < frame_size[1])
        return -math.log(min(1.0, self.missed / self.looked + 0.01 + 0.6 * hidden + 0.4 * outside))

    def _sees(self, target: Target, detection: Detection, cut: Any, time_s: float) -> list[Revision]:
        revisions = []
        since = target.seen_s
        if target.misses and target.state == "visible":
            self.missed += target.misses
            self.looked += target.misses
        if target.state == "gone" and time_s - since < _BELIEVED_GONE_BACK_S:
            (x, y), (u, v) = middle_px(target.box_px), middle_px(detection.box_px)
            if math.hypot(x - u, y - v) < 0.5 * float(target.size.mean()):
                revisions.append(Revision(target.id, math.nextafter(since, math.inf), "visible"))
                self.missed += target.misses
                self.looked += target.misses
        self.looked += 1
        if self.looked > 2_000:  # the detector may change: what was learnt fades
            self.missed, self.looked = self.missed / 2, self.looked / 2
        target.seen(detection, cut, time_s)
        if target.label != detection.label and len(detection.label) > len(target.label) and target.label in detection.label:
            target.label = detection.label  # "cup" turned out to be the "red cup"
        if target.hits >= 2:
            target.confirmed = True
        return revisions

    def _begins(self, detection: Detection, time_s: float, first_s: float) -> None:
        x1, y1, x2, y2 = detection.box_px
        size = np.array([x2 - x1, y2 - y1])
        motion = ConstantVelocity(middle_px(detection.box_px), 2.0 + 0.03 * float(size.mean()), 0.5 * float(size.mean()))
        target = Target(self.next_id, detection.label, motion, size, detection.box_px, time_s, first_s)
        target.appearance, target.confidence = detection.appearance, detection.score
        target.steady_px = np.array(middle_px(detection.box_px)) - self.offset_px
        target.confirmed = detection.score >= _SURE_SCORE
        target.recent = [(time_s, float(target.steady_px[0]), float(target.steady_px[1]))]
        if detection.center_m is not None:
            target.place_m = ConstantVelocity(detection.center_m, 0.02, 1.0)
        self.targets[target.id] = target
        self.next_id += 1

    def _moved(self, id_: int, predicted: Array, resting: PointPx) -> tuple[float, float]:
        """How far a possible carrier moved by itself since the last frame."""
        target = self.targets[id_]
        if target.state == "visible" and target.misses == 0 and target.seen_s == self.time_s:
            step = target.step_px
        elif target.guesses is None:
            step = predicted - np.array(resting)
        else:
            step = np.zeros(2)
        return float(step[0]), float(step[1])

    def _covers(self, target: Target, moved: Mapping[int, tuple[float, float]], time_s: float, height: int) -> list[Cover]:
        """All things that may hide a target: those in sight, and those that are themselves hidden."""
        mine = {"bottom_px": target.full_box()[3] + target.lifted_px, "depth_m": target.place_m and target.place_m.place[2]}
        covers = []
        for other in self.targets.values():
            if other.id == target.id or not other.confirmed or other.state not in ("visible", "occluded"):
                continue
            x1, y1, x2, y2 = other.full_box().tolist()
            theirs = {"bottom_px": y2, "depth_m": other.place_m and other.place_m.place[2]}
            nearer = self.order.before(target.id, other.id, time_s, depth_prior(mine, theirs, height))
            covers.append(Cover(other.id, (x1, y1, x2, y2), nearer, moved.get(other.id, (0.0, 0.0)), other.moving))
        return covers

    def _learn_order(self, time_s: float) -> None:
        """A thing that is whole where another box overlaps it stands before that one; one that is cut there stands behind it."""
        seen = [t for t in self.targets.values() if t.seen_s == time_s]
        if len(seen) < 2:
            return
        full = np.array([t.full_box() for t in seen])
        shares, _ = cover_shares(full, full)
        for i, target in enumerate(seen):
            for j in np.flatnonzero(shares[i] > 0.2).tolist():
                other = seen[j]
                if i == j:
                    continue
                if _cut_by(target, other):
                    self.order.saw(target.id, other.id, time_s, 1.5)
                elif not any(target.cut) and shares[i, j] > 0.5:
                    self.order.saw(target.id, other.id, time_s, -1.0)

    def _forget(self) -> None:
        """Things that were one slip of the detector, and the longest gone where there are too many."""
        for target in list(self.targets.values()):
            if not target.confirmed and target.misses >= 2:
                self._drop(target.id)
        if len(self.targets) > _MOST_TARGETS:
            for target in sorted(self.targets.values(), key=lambda t: t.seen_s)[: len(self.targets) - _MOST_TARGETS]:
                self._drop(target.id)

    def _drop(self, id_: int) -> None:
        del self.targets[id_]
        self.order.forget(id_)

    def _followed(self, target: Target, time_s: float) -> Followed:
        seen = target.seen_s == time_s
        x1, y1, x2, y2 = target.full_box().tolist()
        box: BoxPx | None = target.box_px if seen else (x1, y1, x2, y2)
        if target.state in ("out_of_view", "gone"):
            box = None
        sighting = Sighting(time_s, box, target.state, target.center_m, target.hidden_by, round(target.confidence, 4))
        steady = (float(target.steady_px[0]), float(target.steady_px[1]))
        return Followed(
            *(target.id, target.label, sighting, (x1, y1, x2, y2), steady, target.carried, any(target.cut), seen, target.first_s)
        )

    def to_json(self) -> dict[str, Any]:
        """All that it needs to go on after a restart."""
        return {
            "targets": [target.to_json() for target in self.targets.values()],
            "time_s": self.time_s,
            "order": self.order.to_json(),
            "next_id": self.next_id,
            "offset_px": self.offset_px.tolist(),
            "camera_moved": self.camera_moved,
            "turning": self.turning.tolist(),
            "missed": self.missed,
            "looked": self.looked,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Tracker:
        """What `to_json` wrote."""
        tracker = cls()
        tracker.targets = {t.id: t for t in (Target.from_json(part) for part in row["targets"])}
        tracker.order = DepthOrder.from_json(row["order"])
        tracker.time_s, tracker.next_id = row["time_s"], row["next_id"]
        tracker.offset_px = np.array(row["offset_px"], np.float64)
        tracker.camera_moved, tracker.turning = row["camera_moved"], np.array(row["turning"], np.float64)
        tracker.missed, tracker.looked = row["missed"], row["looked"]
        return tracker


def _cut_by(target: Target, other: Target) -> bool:
    """Whether an edge at which a target is cut lies in the other one's box."""
    for edge in range(4):
        axis = edge % 2
        inside = other.box_px[axis] - 4 <= target.box_px[edge] <= other.box_px[axis + 2] + 4
        if target.cut[edge] and inside:
            return True
    return False
