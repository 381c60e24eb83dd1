"""A watcher's account of a clip, set beside the truth: which of its tracks was which thing, what it held of each when.

Knows how to run the tracker of ``spatial.video`` on a case and who is who. Does not know measures (bench_video.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from deixis.geometry import BoxPx, iou_px
from deixis.lab.video.case import VideoCase, true_detections
from deixis.lab.video.truth import Frame
from deixis.spatial.video.changes import Followed
from deixis.spatial.video.detection import Detection, Event, Sighting, State
from deixis.spatial.video.events import EventFinder
from deixis.spatial.video.tracker import Tracker

SAME_IOU = 0.5  # a track's box over a thing's: it is that thing
Detect = Callable[[VideoCase, Frame], Sequence[Detection]]


@dataclass(frozen=True)
class Watched:
    """All that was told and held. Per frame: ``track_of[k]`` thing -> the track that showed it in frame k (where it was seen);
    ``held[k]`` track -> what was held of it then; ``revised`` (k, track) -> the state that hindsight gave it. ``events`` as they
    were told last.
    """

    track_of: tuple[Mapping[int, int], ...]
    held: tuple[Mapping[int, Followed], ...]
    revised: Mapping[tuple[int, int], State]
    events: tuple[Event, ...]

    def last_track(self, k: int, thing: int) -> int | None:
        """The track that last showed the thing, up to frame k."""
        return next((self.track_of[j][thing] for j in range(k, -1, -1) if thing in self.track_of[j]), None)

    def sighting(self, k: int, thing: int) -> Sighting | None:
        """What was held of a thing in frame k by the track that last showed it."""
        track = self.last_track(k, thing)
        followed = None if track is None else self.held[k].get(track)
        return None if followed is None else followed.sighting

    def state(self, k: int, thing: int, hindsight: bool = True) -> State | None:
        """The state held of a thing in frame k."""
        track = self.last_track(k, thing)
        if track is None or track not in self.held[k]:
            return None
        return (
            self.revised.get((k, track), self.held[k][track].sighting.state) if hindsight else self.held[k][track].sighting.state
        )

    def thing_of(self, k: int, track: int | None) -> int | None:
        """The thing that a track last showed, up to frame k."""
        for j in range(k, -1, -1):
            for thing, shown in self.track_of[j].items():
                if shown == track:
                    return thing
        return None


def perfect(case: VideoCase, frame: Frame) -> Sequence[Detection]:
    """The truth's own boxes."""
    return [d for _, d in true_detections(case, frame)]


def watched(case: VideoCase, detect: Detect = perfect) -> Watched:
    """Run the tracker and its finder of events over a case."""
    tracker, finder = Tracker(), EventFinder()
    events: dict[object, Event] = {}
    track_of: list[dict[int, int]] = []
    held: list[Mapping[int, Followed]] = []
    revised: dict[tuple[int, int], State] = {}
    for frame in case.frames:
        changes = tracker.update(frame.time_s, detect(case, frame), case.size)
        events |= {event.key: event for event in finder.update(changes, case.size)}
        held.append(changes.things)
        for revision in changes.revisions:
            for k, past in enumerate(case.frames[: len(held)]):
                if past.time_s >= revision.since_s:
                    revised[k, revision.id] = revision.state
        for track, followed in changes.things.items():  # what is seen again needs no hindsight
            if followed.now:
                revised.pop((len(held) - 1, track), None)
        track_of.append(_who(frame, {t: f.sighting.box_px for t, f in changes.things.items() if f.now and f.sighting.box_px}))
    return Watched(tuple(track_of), tuple(held), revised, tuple(events.values()))


def _who(frame: Frame, boxes: Mapping[int, BoxPx]) -> dict[int, int]:
    """Thing -> track, by overlap of boxes in one frame."""
    shown = {i: seen.box_px for i, seen in enumerate(frame.things) if seen.state == "visible" and seen.box_px is not None}
    things = list(shown)
    tracks = list(boxes)
    if not things or not tracks:
        return {}
    overlap = np.array([[iou_px(shown[i], boxes[t]) for t in tracks] for i in things])
    rows, columns = linear_sum_assignment(-overlap)
    return {things[r]: tracks[c] for r, c in zip(rows, columns, strict=True) if overlap[r, c] >= SAME_IOU}
