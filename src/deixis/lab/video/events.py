"""What happened in a clip, with start and end: from the physics, from what was done, and from what showed.

Knows motion, contacts, deeds and states. Does not know pixels or wordings. Kinds are those of spatial.video; ``objects`` holds
who it happened to first, then by or with whom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.lab.video.clip import Clip
from deixis.lab.video.stage import SAMPLE_S
from deixis.lab.video.truth import Frame
from deixis.spatial.video.detection import EventKind

Array = NDArray[np.float64]
MOVING_M_S = 0.03
WINDOW_S = 0.1  # speed is taken over this much to either side
PAUSE_S = 0.5  # shorter stops are part of one movement
LEAST_WAY_M, LEAST_MOVE_S = 0.025, 0.3
FALL_SPEED_M_S = 0.6
LEAST_FALL_M = 0.08
HIT_SPEED_M_S = 0.06
HIT_SHIFT_M = 0.01  # what is hit moves at least this far within a second
LEAST_HIDDEN_S = 0.4
ENTRIES: tuple[EventKind, ...] = ("appears", "is_put_in")
EXITS: tuple[EventKind, ...] = ("leaves", "is_taken_out")


@dataclass(frozen=True)
class TrueEvent:
    """Something that happened; ``shown``: it could be seen and was no trifle (a roll behind a box could not,
    a shift by a centimetre is one): then a watcher must tell it, else he may.
    """

    kind: EventKind
    start_s: float
    end_s: float
    objects: tuple[int, ...]
    shown: bool = True

    def to_json(self) -> dict[str, Any]:
        """As a line of truth.jsonl holds it."""
        times = {"start_s": round(self.start_s, 2), "end_s": round(self.end_s, 2)}
        return {"kind": self.kind, **times, "objects": list(self.objects), "shown": self.shown}


def events_of(clip: Clip, frames: Sequence[Frame]) -> list[TrueEvent]:
    """All events in order of start. Those that states tell (hidden, left, …) are as exact as the frames are dense."""
    moves = moves_of(clip, frames)
    found = [*moves, *_falls(clip, frames), *_hits(clip, frames, moves), *_state_changes(clip, frames)]
    found += [*_carried(clip), *_swaps(clip)]
    return sorted(found, key=lambda e: (e.start_s, e.kind, e.objects))


def speeds_m_s(clip: Clip) -> Array:
    """(samples, things): of their centres in the room, over WINDOW_S to either side."""
    centers = clip.centers_m()
    reach = round(WINDOW_S / SAMPLE_S)
    padded = np.concatenate([centers[:1].repeat(reach, 0), centers, centers[-1:].repeat(reach, 0)])
    away = np.linalg.norm(padded[2 * reach :] - padded[: -2 * reach], axis=-1) / (2 * WINDOW_S)
    jumped = ~clip.motion.there
    for _ in range(reach):  # coming and going is no movement
        jumped[1:] |= jumped[:-1].copy()
    for _ in range(reach):
        jumped[:-1] |= jumped[1:].copy()
    return np.where(jumped, 0.0, away)


def moves_of(clip: Clip, frames: Sequence[Frame]) -> list[TrueEvent]:
    """Movements of things in the room, one a stretch; ``shown`` where some frame shows the thing meanwhile."""
    centers, moving = clip.centers_m(), speeds_m_s(clip) > MOVING_M_S
    found = []
    for i in range(len(clip.things)):
        for first, last in _joined(_runs(moving[:, i]), round(PAUSE_S / SAMPLE_S)):
            way = np.linalg.norm(np.diff(centers[first : last + 1, i], axis=0), axis=-1).sum()
            start, end = first * SAMPLE_S, last * SAMPLE_S
            if shown := way >= LEAST_WAY_M and end - start >= LEAST_MOVE_S and _shown(frames, i, start, end):
                start, end = _seen_part(frames, i, start, end)
            found.append(TrueEvent("moves", start, end, (i,), shown))
    return found


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _joined(runs: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in runs:
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _shown(frames: Sequence[Frame], i: int, start_s: float, end_s: float) -> bool:
    """Does the thing show at both ends of the stretch, or at least twice within it?"""
    during = [f.things[i].state == "visible" for f in frames if start_s - 0.2 <= f.time_s <= end_s + 0.2]
    return sum(during) >= 2


def _seen_part(frames: Sequence[Frame], i: int, start_s: float, end_s: float) -> tuple[float, float]:
    """The stretch without what came before the thing was first seen or after it was last seen in it."""
    during = [f.time_s for f in frames if start_s - 0.2 <= f.time_s <= end_s + 0.2 and f.things[i].state == "visible"]
    step = frames[1].time_s - frames[0].time_s
    return max(start_s, during[0] - step), min(end_s, during[-1] + step)


def _falls(clip: Clip, frames: Sequence[Frame]) -> Iterator[TrueEvent]:
    """From letting go (or the table's edge) to the first impact; bounces are part of what follows."""
    height = clip.centers_m()[..., 2]
    speed = np.gradient(height, SAMPLE_S, axis=0)
    for i in range(len(clip.things)):
        fast = (speed[:, i] < -FALL_SPEED_M_S) & ~clip.motion.held[:, i] & clip.motion.there[:, i]
        before = -1.0
        for first, last in _joined(_runs(fast), 2):
            start = first
            while start > 0 and speed[start - 1, i] < -0.05 and not clip.motion.held[start - 1, i]:
                start -= 1
            again = start * SAMPLE_S - before < 0.7  # fell, bounced, fell: one fall
            if height[start, i] - height[last, i] >= LEAST_FALL_M and not again:
                times = (start * SAMPLE_S, last * SAMPLE_S)
                yield TrueEvent("falls", *times, (i,), _shown(frames, i, *times))
            before = last * SAMPLE_S


def _hits(clip: Clip, frames: Sequence[Frame], moves: Sequence[TrueEvent]) -> Iterator[TrueEvent]:
    """Contacts in which one thing that moves sets another one off; shown where both are, and what it does is no trifle."""
    centers = clip.centers_m()
    for contact in clip.motion.contacts:
        a, b = contact.a, contact.b
        at, later = clip.motion.at(contact.time_s), clip.motion.at(contact.time_s + 1.0)
        shift_m = np.linalg.norm(centers[later, b] - centers[at, b])
        if contact.speed_m_s < HIT_SPEED_M_S or shift_m < HIT_SHIFT_M:
            continue
        ran_before = any(m.objects == (b,) and m.start_s < contact.time_s - 0.15 <= m.end_s for m in moves)
        if not ran_before:
            seen = all(_shown(frames, i, contact.time_s, contact.time_s) for i in (a, b))
            yield TrueEvent("hits", contact.time_s, contact.time_s, (a, b), seen and bool(shift_m >= LEAST_WAY_M))


def _state_changes(clip: Clip, frames: Sequence[Frame]) -> Iterator[TrueEvent]:
    """Hidden and revealed, out of the picture and back. By a hand it is taken out or put in, else it leaves or appears."""
    for i in range(len(clip.things)):
        states = [f.things[i].state for f in frames]
        k = 0
        while k < len(frames):
            end = k
            while end + 1 < len(frames) and states[end + 1] == states[k]:
                end += 1
            start_s, until_s = frames[k].time_s, frames[min(end + 1, len(frames) - 1)].time_s
            if states[k] == "occluded":
                long = until_s - start_s >= LEAST_HIDDEN_S
                by = [f.things[i].hidden_by for f in frames[k : end + 1]]
                who = max(set(by), key=by.count)
                objects = (i,) if who is None else (i, who)
                if k > 0 and states[k - 1] == "visible":
                    yield TrueEvent("is_hidden", start_s, start_s, objects, long)
                if end + 1 < len(frames) and states[end + 1] == "visible":
                    yield TrueEvent("is_revealed", until_s, until_s, objects, long)
            if states[k] in ("out_of_view", "gone") and k > 0 and states[k - 1] in ("visible", "occluded"):
                taken = states[k] == "gone" or clip.motion.held[clip.motion.at(start_s - 0.1), i]
                yield TrueEvent("is_taken_out" if taken else "leaves", start_s, start_s, (i,))
            if states[k] == "visible" and k > 0 and states[k - 1] in (None, "out_of_view", "gone"):
                brought = clip.motion.held[clip.motion.at(start_s), i]
                yield TrueEvent("is_put_in" if brought else "appears", start_s, start_s, (i,))
            k = end + 1


def _carried(clip: Clip) -> Iterator[TrueEvent]:
    """What lies under a cover goes with it."""
    covered: dict[int, int] = {}
    for deed in clip.deeds:
        if deed.kind == "cover" and deed.by is not None:
            covered[deed.who[0]] = deed.by
        elif deed.kind == "reveal":
            covered.pop(deed.who[0], None)
        elif deed.kind == "carry_along" and deed.by is not None:
            yield TrueEvent("carried_by", deed.start_s, deed.end_s, (deed.who[0], deed.by))
        elif deed.kind == "swap":
            for hidden, by in covered.items():
                if by in deed.who:
                    yield TrueEvent("carried_by", deed.start_s, deed.end_s, (hidden, by))


def _swaps(clip: Clip) -> Iterator[TrueEvent]:
    for deed in clip.deeds:
        if deed.kind == "swap":
            yield TrueEvent("swapped", deed.start_s, deed.end_s, deed.who)
