"""Where a thing will be, how surely, and what happens to it on the way: stops, falls off, hits, leaves the view, lands.

Knows a fitted motion (trajectory.py), obstacles, the outline of what it stands on, and a floor. Does not know pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Vec3
from deixis.geometry.trajectory import Trajectory, fit_trajectory, vec3

__all__ = ["FORECAST_STEP_S", "Forecast", "PredictedEvent", "across", "forecast"]

Array = NDArray[np.float64]
FORECAST_STEP_S = 0.1


@dataclass(frozen=True)
class PredictedEvent:
    """What will happen: kind "stops", "falls_off", "hits", "leaves_view" or "lands", when, where, and with what."""

    kind: Literal["stops", "falls_off", "hits", "leaves_view", "lands"]
    time_s: float
    place_m: Vec3
    other: str = ""

    def to_json(self) -> dict[str, Any]:
        """As in `forecast`'s JSON."""
        return {"kind": self.kind, "time_s": round(self.time_s, 3), "place_m": _rounded(self.place_m), "with": self.other or None}


@dataclass(frozen=True)
class Forecast:
    """Where it will be, how surely, and what happens first."""

    trajectory: Trajectory
    times_s: tuple[float, ...]
    places_m: tuple[Vec3, ...]
    radius_m: tuple[float, ...]  # of a tube that holds the place with 90%
    events: tuple[PredictedEvent, ...]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """`trajectory_3d`, `predicted_event` (the first, or null), `confidence`; and the model and the tube."""
        return {
            "trajectory_3d": [_rounded(place) for place in self.places_m],
            "times_s": [round(t, 3) for t in self.times_s],
            "radius_m": [round(r, 4) for r in self.radius_m],
            "predicted_event": self.events[0].to_json() if self.events else None,
            "confidence": round(self.confidence, 3),
            "model": self.trajectory.kind,
        }


def forecast(
    times_s: Sequence[float],
    places_m: ArrayLike,
    horizon_s: float = 2.0,
    up: Vec3 = (0.0, -1.0, 0.0),
    floor_m: float | None = None,
    noise_m: float | None = None,
    obstacles: Mapping[str, tuple[Vec3, Vec3]] | None = None,
    support: Sequence[tuple[float, float]] | None = None,
    view: Any = None,
    radius_m: float = 0.0,
) -> Forecast:
    """Fits, looks `horizon_s` ahead, and says what happens on the way.

    `obstacles`: name → the lowest and highest corner of a box along the axes. `support`: corners of the convex polygon that it
    stands on, along the two axes of `across(up)`. `view(place) → bool`: whether the camera sees it. `radius_m`: the thing's.
    """
    if not (math.isfinite(horizon_s) and horizon_s > 0):
        raise GeometryError(f"horizon is {horizon_s} s; expected a positive number")
    times, places = np.asarray(times_s, np.float64), np.asarray(places_m, np.float64)
    fitted = fit_trajectory(times_s, places_m, up, floor_m, noise_m)
    ahead = fitted.end_s + np.arange(0, horizon_s + 1e-9, FORECAST_STEP_S)
    way = fitted.at(ahead)
    # The same samples without their oldest half, and without the newest: where the answers differ the model is in doubt.
    spread = np.zeros(len(ahead))
    for part in (slice(len(times) // 3, None), slice(None, -1)):
        if len(times[part]) >= 3:
            other = fit_trajectory(times[part].tolist(), places[part], up, floor_m, noise_m)
            spread = np.maximum(spread, np.linalg.norm(other.at(ahead) - way, axis=1))
    radius = 2.5 * np.sqrt(fitted.sigma_m(ahead) ** 2 + (0.5 * spread) ** 2 + fitted.noise_m**2)  # 90% of three axes
    events = _events(fitted, float(ahead[-1]), obstacles or {}, support, view, radius_m)
    moved = float(np.linalg.norm(way[-1] - way[0]))
    confidence = 1 / (1 + float(radius[-1]) / max(moved, 0.1))
    return Forecast(
        fitted, tuple(ahead.tolist()), tuple(vec3(p) for p in way), tuple(radius.tolist()), tuple(events), min(0.99, confidence)
    )


def across(up: Vec3) -> tuple[Vec3, Vec3]:
    """Two unit vectors across `up`: the axes of a support polygon."""
    vertical = np.array(up)
    first = np.cross(vertical, [0.0, 0.0, 1.0] if abs(vertical[2]) < 0.9 else [1.0, 0.0, 0.0])
    first /= np.linalg.norm(first)
    return vec3(first), vec3(np.cross(vertical, first))


def _events(
    fitted: Trajectory,
    until_s: float,
    obstacles: Mapping[str, tuple[Vec3, Vec3]],
    support: Sequence[tuple[float, float]] | None,
    view: Any,
    radius_m: float,
) -> list[PredictedEvent]:
    """In order of time, each kind once."""
    fine = np.linspace(fitted.end_s, until_s, max(2, int((until_s - fitted.end_s) / 0.01)))
    way = fitted.at(fine)
    found: list[PredictedEvent] = []

    def first(kind: Any, holds: NDArray[np.bool_], other: str = "") -> None:
        if holds.any() and not holds[0]:
            k = int(np.argmax(holds))
            found.append(PredictedEvent(kind, float(fine[k]), vec3(way[k]), other))

    for name, (low, high) in obstacles.items():
        gap = np.linalg.norm(np.maximum(np.maximum(np.array(low) - way, way - np.array(high)), 0), axis=1)
        first("hits", gap <= radius_m, name)
    if support is not None:
        axes = np.array(across(fitted.up))
        first("falls_off", ~_within(way @ axes.T, np.array(support, np.float64)))
    if view is not None:
        first("leaves_view", np.array([not view(vec3(place)) for place in way]))
    touch = fitted.lands_s
    if touch is not None and touch <= until_s:
        found.append(PredictedEvent("lands", touch, vec3(fitted.at([touch])[0])))
    stop = fitted.stops_s
    if stop is not None and fitted.end_s <= stop <= until_s:
        found.append(PredictedEvent("stops", stop, vec3(fitted.at([stop])[0])))
    found.sort(key=lambda event: event.time_s)
    return found


def _within(points: Array, polygon: Array) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in a convex polygon (k, 2) of either turn."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    offsets = points[:, None] - polygon[None]
    sides = edges[None, :, 0] * offsets[:, :, 1] - edges[None, :, 1] * offsets[:, :, 0]
    return np.asarray((sides >= -1e-12).all(axis=1) | (sides <= 1e-12).all(axis=1))


def _rounded(place: Vec3) -> list[float]:
    return [round(value, 4) for value in place]
