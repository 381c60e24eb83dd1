"""Motions fitted and looked ahead: each model is recognised, forecasts keep to the truth, the tube holds, events come in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deixis.errors import GeometryError
from deixis.geometry.forecasting import across, forecast
from deixis.geometry.trajectory import GRAVITY_M_S2, fit_trajectory

UP = (0.0, 0.0, 1.0)
NOISE_M = 0.004
KINDS = ("rolling", "sliding", "falling", "bouncing", "steady", "at_rest")
RADIUS_M = 0.05


def moved(kind: str, rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """True places (n, 3) of a motion drawn from a kind; the floor's middle height is `RADIUS_M`."""
    heading = rng.uniform(0, 2 * math.pi)
    ahead = np.array([math.cos(heading), math.sin(heading), 0.0])
    start = np.array([*rng.uniform(-1, 1, 2), RADIUS_M])
    if kind == "at_rest":
        return start + np.zeros((len(t), 3))
    if kind == "steady":
        return start + rng.uniform(0.3, 1.5) * t[:, None] * ahead
    if kind in ("rolling", "sliding"):
        slower = rng.uniform(0.15, 0.5) if kind == "rolling" else rng.uniform(1.5, 2.5)
        speed = rng.uniform(1.2, 2.0) if kind == "rolling" else rng.uniform(3.0, 4.5)
        clipped = np.minimum(t, speed / slower)
        return start + (speed * clipped - 0.5 * slower * clipped**2)[:, None] * ahead
    height, drift = rng.uniform(6, 9) if kind == "falling" else rng.uniform(0.6, 1.2), rng.uniform(0.2, 1.0)
    bounce = rng.uniform(0.5, 0.85)
    heights = []
    for moment in t.tolist():
        h, v, left = height, 0.0, moment
        while True:
            flight = (v + math.sqrt(v * v + 2 * GRAVITY_M_S2 * h)) / GRAVITY_M_S2
            if left < flight or (v < 0.02 < moment and h == 0.0):
                heights.append(max(0.0, h + v * left - 0.5 * GRAVITY_M_S2 * left**2))
                break
            left -= flight
            v, h = bounce * (GRAVITY_M_S2 * flight - v), 0.0
    return start + drift * t[:, None] * ahead + np.array(heights)[:, None] * np.array(UP)


def drawn(kind: str, seed: int, seen_s: float, ahead_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Times and noisy places seen at about 15 Hz, true last place, true place `ahead_s` later."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.7, 1.3, round(seen_s * 15)) / 15)
    truth = moved(kind, np.random.default_rng(seed), np.concatenate([times, [times[-1] + ahead_s]]))
    return times, truth[:-1] + rng.normal(0, NOISE_M, (len(times), 3)), truth[-2], truth[-1]


# A fall of six metres is over after 1.1 s, a thing that bounces shows its restitution after the first one.
SEEN_S = {"falling": 0.5, "bouncing": 1.1}
AHEAD_S = {"falling": 0.4, "bouncing": 0.5}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_ahead_the_median_error_is_a_tenth_of_the_way(kind: str) -> None:
    errors, held, right = [], 0, 0
    seeds = range(820_000, 820_012)
    for seed in seeds:
        ahead_s = AHEAD_S.get(kind, 1.0)
        times, places, last, truth = drawn(kind, seed, SEEN_S.get(kind, 1.2), ahead_s)
        seen = forecast(times.tolist(), places, ahead_s, UP, RADIUS_M, NOISE_M)
        error = float(np.linalg.norm(np.array(seen.places_m[-1]) - truth))
        errors.append(error / max(float(np.linalg.norm(truth - last)), 0.05))
        held += error <= seen.radius_m[-1]
        right += seen.trajectory.kind == kind
    assert np.median(errors) <= 0.1, (kind, np.round(errors, 3))
    assert held >= 0.7 * len(seeds), f"{kind}: the 90% tube held {held} of {len(seeds)}"
    assert right >= 0.7 * len(seeds), f"{kind} was recognised {right} times of {len(seeds)}"


@settings(max_examples=25)
@given(
    speed=st.floats(0.5, 2.0),
    slower=st.floats(0.1, 0.8),
    heading=st.floats(0, 6.28),
    offset=st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 2)),
)
def test_without_noise_a_rolling_thing_is_known_to_the_millimetre(
    speed: float, slower: float, heading: float, offset: tuple
) -> None:
    t = np.linspace(0, 1.0, 16)
    clipped = np.minimum(t, speed / slower)
    way = np.array(offset) + (speed * clipped - slower * clipped**2 / 2)[:, None] * [math.cos(heading), math.sin(heading), 0]
    fitted = fit_trajectory((t + 3.2).tolist(), way, UP, noise_m=0.001)
    stop = speed / slower
    end = np.array(offset) + speed**2 / (2 * slower) * np.array([math.cos(heading), math.sin(heading), 0])
    assert np.linalg.norm(fitted.at([3.2 + stop + 5])[0] - end) < 0.02 * speed**2 / slower
    assert fitted.stops_s == pytest.approx(3.2 + stop, abs=0.05 * stop + 0.01)


def test_what_will_happen_is_said_in_order() -> None:
    t = np.linspace(0, 1, 16)
    way = np.column_stack([t, 0 * t, 0 * t])  # 1 m/s along x
    edge = [(-5.0, -5.0), (5.0, -5.0), (5.0, 5.0), (-5.0, 5.0)]
    axes = np.array(across(UP))
    polygon = [tuple(axes @ np.array([x, y, 0.0])) for x, y in [(-1.0, -1.0), (2.0, -1.0), (2.0, 1.0), (-1.0, 1.0)]]
    box = {"wall": ((1.5, -0.2, -0.2), (1.7, 0.2, 0.2))}
    seen = forecast(
        t.tolist(), way, 2.0, UP, noise_m=0.002, obstacles=box, support=polygon, view=lambda p: p[0] < 2.5, radius_m=0.1
    )
    assert [event.kind for event in seen.events] == ["hits", "falls_off", "leaves_view"]
    assert [event.time_s for event in seen.events] == pytest.approx([1.4, 2.0, 2.5], abs=0.03)
    row = seen.to_json()
    assert row["predicted_event"]["kind"] == "hits" and row["predicted_event"]["with"] == "wall"
    assert len(row["trajectory_3d"]) == len(row["times_s"]) == 21 and 0 < row["confidence"] <= 1
    assert all(a <= b + 1e-9 for a, b in zip(row["radius_m"], row["radius_m"][1:], strict=False)), "the tube widens"
    assert not forecast(t.tolist(), way, 1.0, UP, noise_m=0.002, support=edge).events


def test_a_rolling_thing_stops_where_and_when_its_speed_is_spent() -> None:
    t = np.linspace(0, 1, 16)
    way = np.column_stack([1.0 * t - 0.25 * t**2, 0 * t, 0 * t])
    seen = forecast(t.tolist(), way, 2.0, UP, noise_m=0.001)
    assert [event.kind for event in seen.events] == ["stops"]
    assert seen.events[0].time_s == pytest.approx(2.0, abs=0.05) and seen.events[0].place_m[0] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("times", "places", "why"),
    [
        ([0.0], np.zeros((1, 3)), "at least two"),
        ([0.0, 0.0], np.zeros((2, 3)), "must rise"),
        ([0.0, 1.0], np.full((2, 3), np.nan), "finite"),
        ([0.0, 1.0], np.zeros((2, 2)), "expected"),
    ],
)
def test_samples_that_are_none_are_refused(times: list[float], places: np.ndarray, why: str) -> None:
    with pytest.raises(GeometryError, match=why):
        fit_trajectory(times, places, UP)


def test_a_horizon_must_lie_ahead() -> None:
    with pytest.raises(GeometryError, match="horizon"):
        forecast([0.0, 1.0], np.zeros((2, 3)), 0.0, UP)


@pytest.mark.parametrize("restitution", [0.0, 0.7])
def test_what_falls_or_bounces_lands_where_it_meets_the_floor(restitution: float) -> None:
    t = np.arange(0, 0.25 if restitution == 0 else 0.6, 0.04)
    touch = math.sqrt(2 * 0.6 / GRAVITY_M_S2)  # from 0.6 m above the floor
    again = touch * (1 + 2 * restitution)
    rise = restitution * GRAVITY_M_S2 * touch
    height = np.where(t < touch, 0.6 - GRAVITY_M_S2 / 2 * t**2, rise * (t - touch) - GRAVITY_M_S2 / 2 * (t - touch) ** 2)
    places = np.column_stack([0.3 * t, -height, np.ones_like(t)])
    told = forecast(t.tolist(), places, 1.5, floor_m=0.0, noise_m=0.001)
    assert told.events[0].kind == "lands"
    assert told.events[0].time_s == pytest.approx(again if restitution else touch, abs=0.02)
    assert min(-y for _, y, _ in told.places_m) > -0.01, "nothing goes through the floor"
