"""Where a thing may be that is not seen: weighted guesses that stay, move on, stop, or are carried along by what hides them.

Knows places in the picture, covers and the frame's edges. Does not know labels or colours. Each frame in which the thing is not
seen speaks against the guesses that lie in the open; those under a cover or outside of the frame cost nothing. What is left is
the belief: "still there, behind the book", "under the cup, wherever that went", "out on the left", or "taken away".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import BoxPx
from deixis.spatial.video.camera_motion import mapped
from deixis.spatial.video.covering import cover_shares, lost_to_sight
from deixis.spatial.video.detection import State

Array = NDArray[np.float64]

_SPEEDS = np.array([0.45, 0.7, 0.85, 1.0, 1.15, 1.35, 1.7, 2.3])
_SPEED_WEIGHTS = np.array([0.08, 0.14, 0.18, 0.2, 0.18, 0.12, 0.07, 0.03])
_STOPS_S = np.array([0.0, 0.25, 0.6, 1.2, 2.5, 1e9])  # after this time in hiding it lies still
_STOP_WEIGHTS = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.5])
_SETS_OFF_PX = 3.5
_MOST_GUESSES = 400
_INSIDE = 0.25  # share of a box within the frame below which nobody reports it
_HOSTS = 2
_TAKEN = 0.01  # that a thing which is not there any more was taken away just now
_SNATCHED = 0.2  # the same of a thing that had just set off: what slips behind something by itself was on its way there
_TAKEN_PER_S = 0.0005  # and while nobody can see it
_UNREPORTED = 0.04  # that a thing which moves slips behind something that nobody reports: a table's edge, a wall
_CARRIED, _CARRIED_BY_MOVING = 0.35, 0.15  # prior that a cover takes along what it hides; one that just passes by does so less


@dataclass(frozen=True)
class Cover:
    """A thing that may hide another one. `nearer`: the probability that it stands before it. `moved_px`: since the last frame."""

    id: int
    box_px: BoxPx
    nearer: float
    moved_px: tuple[float, float] = (0.0, 0.0)
    moving: bool = False


@dataclass(frozen=True)
class Belief:
    """What the guesses say together. `box_px` is None where the thing is believed to be nowhere in the frame."""

    state: State
    confidence: float
    box_px: BoxPx | None
    hidden_by: int | None
    carried: bool


class Hypotheses:
    """The guesses of one thing that is not seen."""

    def __init__(self, places: Array, velocities: Array, stops_s: Array, hosts: Array, weights: Array, size: Array) -> None:
        self.places, self.velocities, self.stops_s = places, velocities, stops_s  # (n, 2), (n, 2), (n,)
        self.hosts, self.weights, self.size = hosts, weights, size  # (n,), (n,), (2,)
        self.under = np.full(len(weights), -1)  # (n,) what hid each guess in the last frame
        self.rested: set[int] = set()  # covers that stood still in the last frame
        self.taken = _TAKEN
        self.unreported = 0.0
        self.age_s = 0.0

    @classmethod
    def begin(
        cls,
        place_px: Array,
        velocity_px_s: Array,
        size_px: Array,
        moving: bool,
        covers: Sequence[Cover],
        exits: Sequence[tuple[float, float]],
        under_way: bool = False,
        set_off: bool = False,
    ) -> Hypotheses:
        """At the place of the last sighting. `exits`: places outside of the frame that the thing may have slipped to.
        `under_way`: it had been moving within the frame for a while; `set_off`: it had just begun to move.
        """
        still = 0.12 if moving else 0.9
        speeds, stops = (grid.ravel() for grid in np.meshgrid(_SPEEDS, _STOPS_S[1:], indexing="ij"))
        flow = np.outer(_SPEED_WEIGHTS, _STOP_WEIGHTS[1:]).ravel()
        velocities = np.vstack([np.zeros((1, 2)), speeds[:, None] * velocity_px_s])
        weights = np.concatenate([[still], (1 - still) * flow / flow.sum()])
        stops = np.concatenate([[0.0], stops])
        n = len(weights)
        places = np.repeat(place_px[None], n, axis=0)
        hosts = np.full(n, -1)
        # Where it will be in a moment decides who may have taken it in.
        ahead = places + velocities * np.minimum(stops, 0.5)[:, None]
        near = sorted(covers, key=lambda cover: -_meets(ahead, weights, size_px, cover))[:_HOSTS]
        parts = [(places, velocities, stops, hosts, weights.copy())]
        for cover in near:
            share = _meets(ahead, weights, size_px, cover)
            if share > 0.05:
                carried = (_CARRIED_BY_MOVING if cover.moving else _CARRIED) * min(1.0, share) / len(near)
                parts.append((places, velocities, stops, np.full(n, cover.id), weights * carried))
                parts[0][4][:] *= 1 - carried
        parts += [
            (np.array([exit_px]), np.zeros((1, 2)), np.zeros(1), np.array([-1]), np.array([0.25 / len(exits)]))
            for exit_px in exits
        ]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        guesses = cls(columns[0], columns[1], columns[2], columns[3], columns[4] / columns[4].sum(), size_px.copy())
        guesses.unreported = _UNREPORTED if under_way else 0.0
        guesses.taken = _SNATCHED if set_off else _TAKEN
        return guesses

    def step(self, seconds: float, camera: Array, covers: Sequence[Cover], frame_size: tuple[int, int], missed: float) -> Belief:
        """Moves all guesses on, and weighs them by its not being seen. `missed`: how often a thing in the open is not."""
        self.places = mapped(camera, self.places)
        self.velocities = self.velocities @ camera[:, :2].T
        going = np.clip(self.stops_s - self.age_s, 0, seconds)
        self.places = self.places + self.velocities * going[:, None]
        for cover in covers:
            moves = cover.moving or math.hypot(*cover.moved_px) > _SETS_OFF_PX
            if moves and cover.id in self.rested:
                self._taken_along(cover.id)
            (self.rested.discard if moves else self.rested.add)(cover.id)
            self.places[self.hosts == cover.id] += cover.moved_px
        self.age_s += seconds
        boxes = self.boxes()
        hidden, nearer, by = _hidden(boxes, covers)
        # Whether a cover stands before it is one question, not one for each frame: it is asked when a guess slips under it.
        hidden = np.where(by == self.under, hidden, hidden * nearer)
        self.under = np.where(hidden > 0.05, by, -1)
        outside = _inside_share(boxes, frame_size) < _INSIDE
        unseen = np.where(outside, 1.0, 1 - (1 - missed) * (1 - hidden))
        self.weights = self.weights * unseen
        self.taken += _TAKEN_PER_S * seconds
        total = self.weights.sum() + self.taken + self.unreported
        self.weights, self.taken, self.unreported = self.weights / total, self.taken / total, self.unreported / total
        return self._belief(boxes, hidden, by, outside, covers)

    def _taken_along(self, cover: int) -> None:
        """A cover sets off: each guess under it splits into one that stays behind and one that goes along."""
        goes = (self.under == cover) & (self.hosts != cover) & (self.weights > 1e-4)
        if not goes.any() or len(self.weights) > _MOST_GUESSES:
            return
        lies = goes & (self.age_s >= self.stops_s)  # what is carried no longer rolls by itself
        share = np.where(lies[goes], _CARRIED, 0.5 * _CARRIED)
        extra = {name: getattr(self, name)[goes] for name in _COLUMNS}
        extra["weights"] = extra["weights"] * share
        extra["hosts"] = np.full(int(goes.sum()), cover)
        extra["stops_s"] = np.minimum(extra["stops_s"], self.age_s)
        self.weights[goes] *= 1 - share
        for name in _COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), extra[name]]))

    def boxes(self) -> Array:
        """(n, 4)."""
        return np.hstack([self.places - self.size / 2, self.places + self.size / 2])

    def density(self, place_px: Array, sigma_px: float) -> float:
        """Probability density of seeing it now at a place, per square pixel; less than 1 in all where it may be gone."""
        squared = ((self.places - place_px) ** 2).sum(axis=1)
        sigma = np.hypot(sigma_px, 0.12 * np.linalg.norm(self.velocities, axis=1) * min(self.age_s, 1.5))
        return float((self.weights * np.exp(-0.5 * squared / sigma**2) / (2 * np.pi * sigma**2)).sum())

    def _belief(
        self, boxes: Array, hidden: Array, by: NDArray[np.int_], outside: NDArray[np.bool_], covers: Sequence[Cover]
    ) -> Belief:
        covered = ~outside & (hidden >= 0.3)
        in_open = ~outside & ~covered
        masses: dict[State, float] = {
            "occluded": float(self.weights[covered].sum()),
            "out_of_view": float(self.weights[outside].sum()),
            "visible": float(self.weights[in_open].sum()),
            "gone": self.taken,
        }
        if self.unreported > max(masses.values()):
            return Belief("occluded", self.unreported, None, None, False)
        state = max(masses, key=lambda name: masses[name])
        chosen = {"occluded": covered, "out_of_view": outside, "visible": in_open}.get(state)
        if chosen is None or not chosen.any():
            return Belief("gone", masses["gone"], None, None, False)
        weights = np.where(chosen, self.weights, 0)
        hidden_by = None
        if state == "occluded":
            votes = {cover.id: float(weights[by == cover.id].sum()) for cover in covers}
            hidden_by = max(votes, key=lambda key: votes[key])
            weights = np.where(by == hidden_by, weights, 0)
        carried = bool(weights[self.hosts >= 0].sum() > 0.8 * weights.sum())
        x1, y1, x2, y2 = _weighted_median(boxes, weights).tolist()
        return Belief(state, masses[state], None if state == "out_of_view" else (x1, y1, x2, y2), hidden_by, carried)

    def to_json(self) -> dict[str, Any]:
        """For the ledger; guesses that weigh nothing are left out."""
        keep = self.weights > 1e-5
        columns = {name: getattr(self, name)[keep].round(5).tolist() for name in _COLUMNS}
        return (
            columns
            | {"size": self.size.tolist(), "taken": self.taken, "unreported": self.unreported}
            | {
                "age_s": self.age_s,
                "rested": sorted(self.rested),
            }
        )

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Hypotheses:
        """What `to_json` wrote."""
        places, velocities, stops, hosts, weights, under = (np.array(row[name], np.float64) for name in _COLUMNS)
        guesses = cls(places.reshape(-1, 2), velocities.reshape(-1, 2), stops, hosts.astype(int), weights, np.array(row["size"]))
        guesses.under, guesses.rested = under.astype(int), set(row["rested"])
        guesses.taken, guesses.unreported, guesses.age_s = row["taken"], row["unreported"], row["age_s"]
        return guesses


_COLUMNS = ("places", "velocities", "stops_s", "hosts", "weights", "under")


def _meets(centers: Array, weights: Array, size: Array, cover: Cover) -> float:
    """How much of the guesses' weight a cover hides."""
    boxes = np.hstack([centers - size / 2, centers + size / 2])
    shares, _ = cover_shares(boxes, np.array([cover.box_px]))
    return float((weights * lost_to_sight(shares[:, 0])).sum() * cover.nearer)


def _hidden(boxes: Array, covers: Sequence[Cover]) -> tuple[Array, Array, NDArray[np.int_]]:
    """For each box how likely covers hide it if they are nearer, how likely they are, and who hides most of it (-1: nobody)."""
    if not covers:
        return np.zeros(len(boxes)), np.ones(len(boxes)), np.full(len(boxes), -1)
    shares, together = cover_shares(boxes, np.array([cover.box_px for cover in covers]))
    nearer = np.array([cover.nearer for cover in covers])
    ids = np.array([cover.id for cover in covers])
    mine = shares * nearer
    weight = mine.sum(axis=1) / np.maximum(shares.sum(axis=1), 1e-9)
    return lost_to_sight(together), weight, np.where(together > 0, ids[np.argmax(mine, axis=1)], -1)


def _weighted_median(values: Array, weights: Array) -> Array:
    """Of each column of (n, k): unlike the mean it is one of the guesses, and those far off do not pull at it."""
    order = np.argsort(values, axis=0)
    sums = np.cumsum(weights[order], axis=0)
    rows = (sums < 0.5 * weights.sum()).sum(axis=0)
    columns = np.arange(values.shape[1])
    middle: Array = values[order[np.minimum(rows, len(values) - 1), columns], columns]
    return middle


def _inside_share(boxes: Array, frame_size: tuple[int, int]) -> Array:
    width, height = frame_size
    across = np.minimum(boxes[:, 2], width) - np.maximum(boxes[:, 0], 0)
    down = np.minimum(boxes[:, 3], height) - np.maximum(boxes[:, 1], 0)
    sizes = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    share: Array = np.clip(across, 0, None) * np.clip(down, 0, None) / np.maximum(sizes, 1e-9)
    return share
