"""From places over time to how a thing moves: rolling, sliding, falling, bouncing, steady, at rest.

Knows points in metres with times in seconds, gravity, and a floor. Does not know pictures or what the thing is. Each model is
fitted by least squares, and the one with the best penalised likelihood (BIC) is chosen; how far fits to parts of the samples
differ goes into the uncertainty. Models: constant deceleration for rolling and for dry friction (v² = v₀² − 2as),
x(t) = x₀ + v₀t + gt²/2 in flight, restitution e at each bounce.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.errors import GeometryError
from deixis.geometry.box3d import Vec3

__all__ = [
    "GRAVITY_M_S2",
    "MotionKind",
    "Trajectory",
    "fit_trajectory",
    "vec3",
]

Array = NDArray[np.float64]
MotionKind = Literal["at_rest", "steady", "rolling", "sliding", "falling", "bouncing"]

GRAVITY_M_S2 = 9.81
_ROLLS_BELOW = 0.12  # friction coefficients: what slows down less than this rolls, what slows down more slides
_LEAST_NOISE_M = 0.0005
_LEAST_HOP_M_S, _MOST_BOUNCES = 0.02, 60  # slower, or after so many, it hops no more
_NEAR_FLOOR_M = 0.08  # lower than this, it is on the floor or about to be


@dataclass(frozen=True)
class Trajectory:
    """A fitted motion from `start_s` on: x(t) = place + velocity·t + acceleration·t²/2 until it stops or bounces.

    `up` is against gravity; `floor_m` the height along it below which it bounces. `covariance` (p, p) is that of the free numbers
    of the fit, in the order place, velocity, then deceleration where there is one.
    """

    kind: MotionKind
    start_s: float
    end_s: float
    place_m: Vec3
    velocity_m_s: Vec3
    up: Vec3
    deceleration_m_s2: float = 0.0
    gravity_m_s2: float = 0.0
    restitution: float = 0.0
    floor_m: float | None = None
    noise_m: float = 0.0
    bic: float = 0.0
    covariance: tuple[tuple[float, ...], ...] = ()

    def at(self, times_s: ArrayLike) -> Array:
        """Places (n, 3) at times (n,)."""
        t = np.atleast_1d(np.asarray(times_s, np.float64)) - self.start_s
        places: Array = _places(_Numbers.of(self), self.kind, t)
        return places

    @property
    def stops_s(self) -> float | None:
        """When it comes to rest, or None where the model has no end."""
        speed = math.hypot(*self.velocity_m_s)
        if self.kind == "at_rest":
            return self.start_s
        return self.start_s + speed / self.deceleration_m_s2 if self.deceleration_m_s2 > 1e-9 else None

    @property
    def lands_s(self) -> float | None:
        """When it next touches the floor after `end_s`, or None where the model knows no floor or does not come down."""
        if self.kind not in ("falling", "bouncing") or self.floor_m is None:
            return None
        touches = (self.start_s + after for after in _touches(_Numbers.of(self)))
        return next((time_s for time_s in touches if time_s > self.end_s), None)

    def sigma_m(self, times_s: ArrayLike) -> Array:
        """One standard deviation of the place (n,) at each time, from the fit's covariance alone."""
        t = np.atleast_1d(np.asarray(times_s, np.float64)) - self.start_s
        covariance = np.array(self.covariance)
        if not covariance.size:
            return np.full(len(t), self.noise_m)
        numbers = _Numbers.of(self)
        jacobian = _jacobian(numbers, self.kind, t, len(covariance))  # (n, 3, p)
        spread = np.einsum("nip,pq,niq->n", jacobian, covariance, jacobian) / 3
        sigma: Array = np.sqrt(np.maximum(spread, 0))
        return sigma


@dataclass(frozen=True)
class _Numbers:
    """What a model computes with."""

    place: Array
    velocity: Array
    up: Array
    deceleration: float = 0.0
    gravity: float = 0.0
    restitution: float = 0.0
    floor: float | None = None

    @classmethod
    def of(cls, t: Trajectory) -> _Numbers:
        arrays = (np.array(t.place_m), np.array(t.velocity_m_s), np.array(t.up))
        return cls(*arrays, t.deceleration_m_s2, t.gravity_m_s2, t.restitution, t.floor_m)


def fit_trajectory(
    times_s: Sequence[float],
    places_m: ArrayLike,
    up: Vec3 = (0.0, -1.0, 0.0),
    floor_m: float | None = None,
    noise_m: float | None = None,
) -> Trajectory:
    """The motion of points (n, 3) at rising times (n,), n ≥ 2; the latest hold the most.

    `up` is a unit vector against gravity (the camera frame's y is down), `floor_m` the height along it of the thing's middle when
    it lies on the ground, None where that is not known; `noise_m` the standard deviation of the places where it is known. Raises
    GeometryError for fewer than two points, times that do not rise, or numbers that are not finite.
    """
    times, places, direction = np.asarray(times_s, np.float64), np.asarray(places_m, np.float64), np.asarray(up, np.float64)
    if times.ndim != 1 or len(times) < 2 or places.shape != (len(times), 3):
        raise GeometryError(f"got {times.shape} times and {places.shape} places; expected at least two, (n,) and (n, 3)")
    if not (np.isfinite(times).all() and np.isfinite(places).all() and (np.diff(times) > 0).all()):
        raise GeometryError("times must rise and all numbers be finite; sort the samples and drop repeated ones")
    if abs(np.linalg.norm(direction) - 1) > 1e-3:
        raise GeometryError(f"up is {list(up)}; expected a unit vector")
    start = float(times[0])
    t = times - start
    fits = [_fit_rest(t, places, direction, noise_m), _fit_steady(t, places, direction, noise_m)]
    if len(t) >= 4:
        fits += _fit_slowing(t, places, direction, noise_m)
    if len(t) >= 3:
        fits += _fit_flight(t, places, direction, floor_m, noise_m)
    kind, numbers, noise, bic, covariance = min(fits, key=lambda fit: fit[3])
    return Trajectory(
        kind, start, float(times[-1]), vec3(numbers.place), vec3(numbers.velocity), vec3(direction), numbers.deceleration,
        numbers.gravity, numbers.restitution, numbers.floor, noise, bic, tuple(tuple(row) for row in covariance.tolist()),
    )  # fmt: skip


_Fit = tuple[MotionKind, _Numbers, float, float, Array]


def _scored(
    kind: MotionKind, numbers: _Numbers, t: Array, places: Array, free: int, known: float | None, jacobian_of: int
) -> _Fit:
    """A fit with its noise, BIC and covariance."""
    residual = places - _places(numbers, kind, t)
    n = residual.size
    squares = float((residual**2).sum())
    noise = max(known if known is not None else math.sqrt(squares / max(n - free, 1)), _LEAST_NOISE_M)
    if known is not None:
        bic = squares / noise**2 + free * math.log(n)
    else:
        bic = n * math.log(max(squares / n, _LEAST_NOISE_M**2)) + free * math.log(n)
    jacobian = _jacobian(numbers, kind, t, jacobian_of).reshape(n, -1)
    covariance = np.asarray(noise**2 * np.linalg.pinv(jacobian.T @ jacobian), np.float64)
    return kind, numbers, noise, bic, covariance


def _fit_rest(t: Array, places: Array, up: Array, known: float | None) -> _Fit:
    return _scored("at_rest", _Numbers(places.mean(axis=0), np.zeros(3), up), t, places, 3, known, 3)


def _line(t: Array, places: Array) -> tuple[Array, Array]:
    """Least squares place and velocity (3,) each."""
    solution, *_ = np.linalg.lstsq(np.column_stack([np.ones_like(t), t]), places, rcond=None)
    return solution[0], solution[1]


def _fit_steady(t: Array, places: Array, up: Array, known: float | None) -> _Fit:
    place, velocity = _line(t, places)
    return _scored("steady", _Numbers(place, velocity, up), t, places, 6, known, 6)


def _fit_slowing(t: Array, places: Array, up: Array, known: float | None) -> list[_Fit]:
    """Straight ahead with constant deceleration until it stops; Gauss–Newton from several starts, as the stop is a kink."""
    place, velocity = _line(t, places)
    speed = float(np.linalg.norm(velocity))
    if speed < 1e-6:
        return []
    best: tuple[float, _Numbers] | None = None
    for share in (0.15, 0.5, 0.9, 1.4):  # of the mean speed lost within the span
        numbers = _Numbers(place, velocity * (1 + share / 2), up, deceleration=share * speed / float(t[-1]))
        for _ in range(12):
            jacobian = _jacobian(numbers, "rolling", t, 7).reshape(-1, 7)
            residual = (places - _places(numbers, "rolling", t)).ravel()
            step = np.linalg.lstsq(jacobian.T @ jacobian + 1e-9 * np.eye(7), jacobian.T @ residual, rcond=None)[0]
            slower = min(max(numbers.deceleration + float(step[6]), 1e-4), GRAVITY_M_S2)
            numbers = _Numbers(numbers.place + step[:3], numbers.velocity + step[3:6], up, deceleration=slower)
            if np.abs(step).max() < 1e-7:
                break
        squares = float(((places - _places(numbers, "rolling", t)) ** 2).sum())
        if math.isfinite(squares) and (best is None or squares < best[0]):
            best = squares, numbers
    if best is None:
        return []
    kind: MotionKind = "rolling" if best[1].deceleration < _ROLLS_BELOW * GRAVITY_M_S2 else "sliding"
    return [_scored(kind, best[1], t, places, 7, known, 7)]


def _fit_flight(t: Array, places: Array, up: Array, floor: float | None, known: float | None) -> list[_Fit]:
    """Free fall with known gravity; with a floor also bounces, whose restitution is searched on a grid and refined."""
    fall = -0.5 * GRAVITY_M_S2 * t[:, None] ** 2 * up
    place, velocity = _line(t, places - fall)
    numbers = _Numbers(place, velocity, up, gravity=GRAVITY_M_S2, floor=floor)
    fits = [_scored("falling", numbers, t, places, 6, known, 6)]
    if floor is None:
        return fits
    heights = places @ up - floor
    reached = np.flatnonzero(heights < _NEAR_FLOOR_M)
    if not len(reached) or float(heights.max()) < 2 * _NEAR_FLOOR_M:
        return fits  # it never came down, or never left the floor
    best: tuple[float, _Numbers] | None = None
    for span in sorted({max(3, int(reached[0])), max(3, int(reached[0]) - 1)}):  # up to the first touch
        origin, speed = _line(t[:span], places[:span] - fall[:span])
        for restitution in (0.45, 0.75):
            tried = _refined(_Numbers(origin, speed, up, 0.0, GRAVITY_M_S2, restitution, floor), t, places)
            squares = float(((places - _places(tried, "bouncing", t)) ** 2).sum())
            if best is None or squares < best[0]:
                best = squares, tried
    assert best is not None
    return [*fits, _scored("bouncing", best[1], t, places, 7, known, 7)]


def _refined(numbers: _Numbers, t: Array, places: Array) -> _Numbers:
    """A few damped Gauss–Newton steps on place, velocity and restitution; a step that does not help is not taken."""

    def squares(candidate: _Numbers) -> float:
        return float(((places - _places(candidate, "bouncing", t)) ** 2).sum())

    now, damping = squares(numbers), 1e-4
    for _ in range(8):
        jacobian = _jacobian(numbers, "bouncing", t, 7).reshape(-1, 7)
        residual = (places - _places(numbers, "bouncing", t)).ravel()
        normal = jacobian.T @ jacobian
        ridge = damping * (np.diag(np.diag(normal)) + 1e-9 * np.eye(7))
        step = np.asarray(np.linalg.solve(normal + ridge, jacobian.T @ residual), np.float64)
        tried = _moved(numbers, step)
        then = squares(tried)
        if then < now:
            done = now - then < 1e-9 * now
            numbers, now, damping = tried, then, damping / 5
            if done:
                break
        else:
            damping *= 10
    return numbers


def _moved(n: _Numbers, step: Array) -> _Numbers:
    restitution = min(max(n.restitution + (float(step[6]) if len(step) > 6 else 0.0), 0.0), 0.98)
    return _Numbers(n.place + step[:3], n.velocity + step[3:6], n.up, n.deceleration, n.gravity, restitution, n.floor)


def _places(numbers: _Numbers, kind: MotionKind, t: Array) -> Array:
    """Places (n, 3) at times after the start (n,)."""
    if kind == "bouncing" and numbers.floor is not None:
        return _bounced(numbers, t)
    speed = float(np.linalg.norm(numbers.velocity))
    moving = t[:, None]
    if kind in ("rolling", "sliding") and speed > 0:
        clipped = np.minimum(t, speed / max(numbers.deceleration, 1e-9))
        way = speed * clipped - 0.5 * numbers.deceleration * clipped**2
        return np.asarray(numbers.place + way[:, None] * numbers.velocity / speed)
    if kind == "falling" and numbers.floor is not None:  # what the blow does to it nothing tells: it lies where it lands
        moving = np.minimum(moving, next(_touches(numbers)))
    return np.asarray(numbers.place + numbers.velocity * moving - 0.5 * numbers.gravity * moving**2 * numbers.up)


def _touches(numbers: _Numbers) -> Iterator[float]:
    """When it touches the floor, in seconds after the start, until it hops no more."""
    assert numbers.floor is not None
    height, rise = float(numbers.place @ numbers.up) - numbers.floor, float(numbers.velocity @ numbers.up)
    now = 0.0
    for _ in range(_MOST_BOUNCES):
        flight = (rise + math.sqrt(max(rise**2 + 2 * numbers.gravity * max(height, 0.0), 0.0))) / numbers.gravity
        now += flight
        yield now
        height, rise = 0.0, numbers.restitution * (numbers.gravity * flight - rise)
        if rise < _LEAST_HOP_M_S:
            return


def _bounced(numbers: _Numbers, t: Array) -> Array:
    """Flight with bounces on the floor; below a small hop it rolls on along the floor."""
    assert numbers.floor is not None
    g, up = numbers.gravity, numbers.up
    height, rise = float(numbers.place @ up) - numbers.floor, float(numbers.velocity @ up)
    across, drift = numbers.place - (numbers.place @ up) * up, numbers.velocity - rise * up
    heights, began = np.empty_like(t), 0.0
    left = np.ones(len(t), bool)
    for _ in range(_MOST_BOUNCES):
        inside = max(rise**2 + 2 * g * max(height, 0.0), 0.0)
        flight = (rise + math.sqrt(inside)) / g
        within = left & (t < began + flight)
        tau = t[within] - began
        heights[within] = height + rise * tau - 0.5 * g * tau**2
        left &= ~within
        began, height, rise = began + flight, 0.0, numbers.restitution * (g * flight - rise)
        if not left.any() or rise < _LEAST_HOP_M_S:
            break
    heights[left] = 0.0
    return np.asarray(across + drift * t[:, None] + (heights + numbers.floor)[:, None] * up)


def _jacobian(numbers: _Numbers, kind: MotionKind, t: Array, free: int) -> Array:
    """Of the places by the free numbers, (n, 3, p), by central differences: kinks at stops and bounces have no formula."""
    columns = []
    for index in range(free):
        step = 1e-5
        pair = []
        for sign in (1, -1):
            place, velocity = numbers.place.copy(), numbers.velocity.copy()
            deceleration, restitution = numbers.deceleration, numbers.restitution
            if index < 3:
                place[index] += sign * step
            elif index < 6:
                velocity[index - 3] += sign * step
            elif kind == "bouncing":
                restitution += sign * step
            else:
                deceleration += sign * step
            changed = _Numbers(place, velocity, numbers.up, deceleration, numbers.gravity, restitution, numbers.floor)
            pair.append(_places(changed, kind, t))
        columns.append((pair[0] - pair[1]) / (2 * step))
    return np.stack(columns, axis=2) if columns else np.zeros((len(t), 3, 0))


def vec3(values: Array) -> Vec3:
    """Three numbers as a tuple."""
    x, y, z = values.tolist()
    return x, y, z
