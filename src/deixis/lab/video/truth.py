"""The exact truth of every frame of a clip: what shows of each thing, in which state it is, and where it is.

Knows ids at pixels, silhouettes and states. Does not know events (events.py) or questions.

States, as a perfect watcher would hold them:
    visible      at least VISIBLE_SHARE of its outline inside the picture shows, and VISIBLE_PX pixels of a 320x240 picture
    occluded     it is in the picture, but hidden; ``hidden_by`` hides most of it (None: the room does, or nothing alone)
    out_of_view  beyond the picture's border: carried or rolled there, or the camera turned away
    gone         taken away in the open: seen plainly, then not there at all
What lies in the open and is too small to be visible keeps its state. Before it was first seen a thing has no state (None).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deixis.lab.observe import Observation, observe, silhouette_arrays, silhouettes_of, stacked
from deixis.lab.scene import Scene, View
from deixis.lab.video.clip import Clip
from deixis.lab.video.filming import Filming
from deixis.spatial.video.detection import State

Array = NDArray[np.float64]
VISIBLE_SHARE = 0.1
VISIBLE_PX = 12.0  # at 320x240; grows with the picture's area
INSIDE_SHARE = 0.04  # of its whole box must lie in the picture, else the thing is out of view
SAME_M, SAME_TURN = 2e-4, 2e-3
RAYS = 20  # a side, over each thing's outline: shares are good to about 2%


@dataclass(frozen=True)
class Seen:
    """One thing in one frame. ``box_px`` of what shows (None: nothing), ``full_box_px`` of all of it, not clipped;
    ``center_m`` in the camera's frame, ``center_world_m`` in the room.
    """

    state: State | None
    box_px: tuple[float, float, float, float] | None
    full_box_px: tuple[float, float, float, float]
    visible_fraction: float
    hidden_by: int | None
    center_m: tuple[float, float, float]
    center_world_m: tuple[float, float, float]

    def to_json(self, id_: int) -> dict[str, Any]:
        """As a line of truth.jsonl holds it."""
        return {
            "id": id_,
            "state": self.state,
            "box_px": self.box_px and list(self.box_px),
            "full_box_px": list(self.full_box_px),
            "visible_fraction": self.visible_fraction,
            "hidden_by": self.hidden_by,
            "center_m": list(self.center_m),
            "center_world_m": list(self.center_world_m),
        }


@dataclass(frozen=True)
class Frame:
    """All of one frame; ``things[i]`` is thing i. ``view`` is the camera."""

    time_s: float
    view: View
    things: tuple[Seen, ...]

    @property
    def T_world_camera(self) -> Array:
        """(4, 4) world from camera."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.view.rotation, self.view.position_m
        return pose

    def to_json(self) -> dict[str, Any]:
        """As a line of truth.jsonl holds it."""
        pose = [[round(float(v), 5) for v in row] for row in self.T_world_camera]
        return {"time_s": self.time_s, "T_world_camera": pose, "objects": [s.to_json(i) for i, s in enumerate(self.things)]}


def frames_of(
    clip: Clip, fps: float, film: Filming | None = None, pictures: list[NDArray[np.uint8]] | None = None
) -> list[Frame]:
    """The truth of the clip at ``fps``. Draws ids only; with ``pictures`` also colours, appended there (height, width, 3).

    ``film``: a renderer to use; None opens one of the clip's own size.
    """
    if film is None:
        with Filming(clip.scene, clip.room, clip.camera.view) as opened:
            return frames_of(clip, fps, opened, pictures)
    times = [round(k / fps, 6) for k in range(int(clip.motion.seconds * fps + 1e-6) + 1)]
    views = [clip.camera.at(t) for t in times]
    drawn: list[int] = []  # the frames that differ from the one before
    source: list[int] = []  # for each frame, which of those shows it
    ids, outlines = [], []
    for k, (time_s, view) in enumerate(zip(times, views, strict=True)):
        if not (drawn and _same(clip, times[drawn[-1]], time_s)):
            placed = clip.placed_at(time_s)
            film.place(placed, view)
            ids.append(film.things())
            scene = Scene(clip.scene.world, clip.scene.table_half_m, clip.scene.floor_m, placed)
            outlines.append(silhouette_arrays(scene, view))
            drawn.append(k)
            if pictures is not None:
                pictures.append(film.pixels())
        elif pictures is not None:
            pictures.append(pictures[-1])
        source.append(len(drawn) - 1)
    seen = _observed(clip, [times[k] for k in drawn], [views[k] for k in drawn], np.stack(ids), outlines)
    return _frames(clip, times, views, seen, np.stack([o["amodal_box"] for o in outlines]), source)


def _same(clip: Clip, before_s: float, now_s: float) -> bool:
    """Does the picture of one time serve for the other? Things at rest on a table tremble by micrometres."""
    a, b = clip.motion.at(before_s), clip.motion.at(now_s)
    shift = np.abs(clip.motion.position_m[b] - clip.motion.position_m[a]).max()
    turn = np.abs(clip.motion.rotation[b] - clip.motion.rotation[a]).max()
    return clip.camera.move == "still" and bool(shift < SAME_M and turn < SAME_TURN)


def _observed(
    clip: Clip,
    times: Sequence[float],
    views: Sequence[View],
    ids: NDArray[np.int8],
    outlines: list[dict[str, NDArray[np.float32]]],
) -> Observation:
    """What shows, for all frames. A thing's depth is that of its centre: enough to tell what stands at an edge."""
    n = len(clip.things)
    most = max(len(t.parts) for t in clip.things)
    small = {k: v if v.ndim == 1 else v[:, :n] if k == "amodal_box" else v[:, :n, :most] for k, v in stacked(outlines).items()}
    centers = clip.centers_m()[[clip.motion.at(t) for t in times]]
    depths = np.stack([((c - v.position_m) @ v.rotation)[:, 2] for c, v in zip(centers, views, strict=True)])
    table = np.concatenate([depths, np.full((len(times), 1), 30.0)], 1).astype(np.float32)
    depth = np.take_along_axis(table, ids.reshape(len(times), -1).astype(np.int64) % (n + 1), 1).reshape(ids.shape)
    return observe(torch.from_numpy(ids), torch.from_numpy(depth), silhouettes_of(small), RAYS)


def _frames(
    clip: Clip,
    times: Sequence[float],
    views: Sequence[View],
    seen: Observation,
    full_px: NDArray[np.float32],
    source: Sequence[int],
) -> list[Frame]:
    """``seen`` and ``full_px`` hold a row a drawn picture; frame k is shown by picture ``source[k]``."""
    centers = clip.centers_m()
    n = len(clip.things)
    last: list[State | None] = [None] * n
    frames = []
    for k, time_s, view in zip(source, times, views, strict=True):
        sample = clip.motion.at(time_s)
        things = []
        for i in range(n):
            there = bool(clip.motion.there[sample, i])
            state, hidden_by = _state(seen, k, i, there, view, full_px[k, i], last[i])
            last[i] = state
            middle = centers[sample, i]
            box = tuple(round(float(v), 1) for v in seen.box_px[k, i]) if there and seen.visible_px[k, i] > 0 else None
            things.append(
                Seen(
                    state,
                    box,  # type: ignore[arg-type]
                    tuple(round(float(v), 1) for v in full_px[k, i]),  # type: ignore[arg-type]
                    round(float(seen.visible_fraction[k, i]), 3) if there else 0.0,
                    hidden_by,
                    _rounded((middle - view.position_m) @ view.rotation),
                    _rounded(middle),
                )
            )
        frames.append(Frame(time_s, view, tuple(things)))
    return frames


def _state(
    seen: Observation, k: int, i: int, there: bool, view: View, full_px: NDArray[np.float32], last: State | None
) -> tuple[State | None, int | None]:
    """The state of thing i in frame k, and what hides it."""
    if not there:
        return ("gone" if last == "visible" else last), None
    least_px = VISIBLE_PX * view.width * view.height / (320 * 240)
    if seen.visible_fraction[k, i] >= VISIBLE_SHARE and seen.visible_px[k, i] >= least_px:
        return "visible", None
    if last is None:
        return None, None
    x1, y1, x2, y2 = (float(v) for v in full_px)
    inside = max(0.0, min(x2, view.width) - max(x1, 0.0)) * max(0.0, min(y2, view.height) - max(y1, 0.0))
    hidden = seen.hidden_by[k, i]
    if inside < INSIDE_SHARE * (x2 - x1) * (y2 - y1):
        return "out_of_view", None
    if hidden.sum() < 0.5:  # in the open, and too small to be said to be seen: nothing has changed
        return ("visible" if last == "gone" else last), None
    by = int(hidden.argmax())
    return "occluded", by if by < len(hidden) - 1 else None


def _rounded(values: Array) -> tuple[float, float, float]:
    x, y, z = (round(float(v), 4) for v in values)
    return x, y, z
