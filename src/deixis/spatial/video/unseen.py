"""Where a thing is that no detection belongs to: what is believed of it is written into it, and into the frames before.

Knows one thing, its guesses and what may hide it. Does not know detections, nor how the others were found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deixis.spatial.video.association import middle_px
from deixis.spatial.video.camera_motion import mapped
from deixis.spatial.video.changes import Revision
from deixis.spatial.video.hypotheses import Belief, Cover, Hypotheses
from deixis.spatial.video.target import AT_EDGE_PX, Target

Array = NDArray[np.float64]

_AHEAD_S = 0.6  # what would be out of the frame by then has left it


def sought(
    target: Target, seconds: float, camera: Array, covers: Sequence[Cover], frame_size: tuple[int, int], slip: float
) -> list[Revision]:
    """One more frame, `seconds` after the last one, does not show a thing that `covers` may hide.

    `camera`: the affine map (2, 3) from that frame. `slip`: how often a thing in the open is not reported.
    """
    if target.state == "gone":
        if target.guesses is not None:
            target.guesses.places = mapped(camera, target.guesses.places)
        return []
    begun = target.guesses is None
    if target.guesses is None:
        target.guesses = _begun(target, camera, covers, frame_size)
    return _believed(target, target.guesses.step(seconds, camera, covers, frame_size, slip), begun)


def _begun(target: Target, camera: Array, covers: Sequence[Cover], frame_size: tuple[int, int]) -> Hypotheses:
    place = target.completed(target.box_px, target.cut)
    target.hidden_from_px = target.box_px
    inverse = np.linalg.inv(np.vstack([camera, [0, 0, 1]]))[:2]
    before = mapped(inverse, place[None])[0]  # the step maps it again
    exits = mapped(inverse, np.reshape(_exits(target, place, frame_size), (-1, 2))).tolist()
    return Hypotheses.begin(
        *(before, target.velocity_px_s, target.size, target.moving, covers, [(x, y) for x, y in exits]),
        under_way=target.under_way and _inside(place + _AHEAD_S * target.velocity_px_s, frame_size),
        set_off=target.set_off,
    )


def _believed(target: Target, belief: Belief, begun: bool) -> list[Revision]:
    revisions: list[Revision] = []
    was = target.state
    if belief.state == "visible":  # nobody hides it, and it is too early to say that it is gone
        target.confidence = belief.confidence * 0.5
    else:
        if was == "visible" and not begun:
            # The frames since the last sighting were taken for a detector's slip; now it is clear what they were.
            revisions.append(Revision(target.id, math.nextafter(target.seen_s, math.inf), belief.state))
        target.state, target.confidence = belief.state, belief.confidence
    target.hidden_by, target.carried = belief.hidden_by, belief.carried
    if belief.box_px is not None:
        middle = np.array(middle_px(belief.box_px))
        target.step_px = middle - target.motion.place
        target.motion.place = middle
    elif belief.state == "out_of_view" and target.guesses is not None:
        target.motion.place = target.guesses.weights @ target.guesses.places / target.guesses.weights.sum()
    return revisions


def _exits(target: Target, place: Array, frame_size: tuple[int, int]) -> list[tuple[float, float]]:
    """Places just outside of the frame, for a thing that was last seen at its edge."""
    half = target.size / 2
    x, y = place.tolist()
    x1, y1, x2, y2 = target.box_px
    width, height = frame_size
    exits: list[tuple[float, float]] = []
    for further in (0.02, 0.4):  # of the frame: a camera that turns back a little does not see it again at once
        along, down = half[0] + further * width, half[1] + further * height
        if x1 <= AT_EDGE_PX:
            exits.append((-along, y))
        if x2 >= width - AT_EDGE_PX:
            exits.append((width + along, y))
        if y1 <= AT_EDGE_PX:
            exits.append((x, -down))
        if y2 >= height - AT_EDGE_PX:
            exits.append((x, height + down))
    return exits


def _inside(place: Array, frame_size: tuple[int, int]) -> bool:
    return bool((place > 0).all() and (place < np.array(frame_size)).all())
