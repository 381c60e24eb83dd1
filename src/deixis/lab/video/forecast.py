"""Movements whose ending is cut off: what was seen of them, what then really happened, and how well it was foretold.

Knows short physics scenes, what a camera tells of a place, and the measures of a forecast. Does not know how one is made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import Vec3
from deixis.geometry.forecasting import Forecast, across, forecast
from deixis.lab.scene import View
from deixis.lab.thing import Thing
from deixis.lab.video.camera_path import drawn_path, projected
from deixis.lab.video.memory_scores import Score
from deixis.lab.video.stage import SAMPLE_S, Motion, Stage, with_round_feet
from deixis.lab.worlds import load_world

Array = NDArray[np.float64]
Ending = Literal["stops", "falls_off", "hits", "lands", "none"]
SIZE = (640, 480)
EVERY = 2  # samples between two observed places: 25 a second
AHEAD_S = 2.0
JUDGED_S = 1.0  # the place is judged this long after the last one seen
LEAST_WAY_M = 0.03  # a thing that goes on for less is not judged by its place
SLOW_M_S = 0.02
NOISE_PX = 0.5
LEVEL_M = 0.003
SOONEST_S = 0.1  # what happens sooner after the cut is no forecast
IN_THE_AIR = ("falls", "bounces")
UP = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class ForecastCase:
    """``places_m`` (n, 3) in the room as the camera tells them at ``times_s``; ``later_m`` (m, 3) the true places every SAMPLE_S
    from the last of those on. ``ending`` is what happens first within AHEAD_S, at ``ending_s``. ``rest_m``: height of the centre
    when the thing lies on the table. ``obstacles``: boxes that stand in the room; ``half_m`` of the table.
    """

    kind: str
    index: int
    times_s: tuple[float, ...]
    places_m: Array
    later_m: Array
    ending: Ending
    ending_s: float | None
    rest_m: float
    radius_m: float
    half_m: tuple[float, float]
    obstacles: dict[str, tuple[Vec3, Vec3]]

    @property
    def judged_s(self) -> float:
        """How long after the last place seen the forecast is judged: JUDGED_S, or sooner where the thing hits something, falls
        off or lands: what such a blow does to it nothing seen before tells. (Not so a ball whose bounces were seen.)
        """
        if self.ending_s is None or self.ending == "stops" or self.kind == "bounces":
            return JUDGED_S
        return min(JUDGED_S, self.ending_s - self.times_s[-1])

    @property
    def way_m(self) -> float:
        """How far the thing travels until it is judged."""
        judged = self.later_m[: round(self.judged_s / SAMPLE_S) + 1]
        return float(np.linalg.norm(np.diff(judged, axis=0), axis=1).sum())

    def foretold(self) -> Forecast:
        """What ``geometry`` makes of it."""
        x, y = self.half_m
        return forecast(
            self.times_s,
            self.places_m,
            AHEAD_S,
            UP,
            self.rest_m,
            obstacles=self.obstacles,
            support=_corners(x, y),
            radius_m=self.radius_m,
        )


def _corners(x: float, y: float) -> list[tuple[float, float]]:
    """The table's corners on the axes that ``geometry`` uses across ``UP``."""
    axes = np.array(across(UP))
    corners = np.array([[x, y, 0.0], [-x, y, 0.0], [-x, -y, 0.0], [x, -y, 0.0]]) @ axes.T
    return [(float(a), float(b)) for a, b in corners]


KINDS = ("rolls", "rolls_off", "hits", "falls", "bounces", "slides")


def forecast_case(seed: int, index: int) -> ForecastCase:
    """Case ``index`` of a seed, of each kind in turn; the same for ever."""
    kind = KINDS[index % len(KINDS)]
    rng = np.random.default_rng([seed, index, 2])
    while (case := _tried(kind, index, rng)) is None:
        pass
    return case


def _tried(kind: str, index: int, rng: np.random.Generator) -> ForecastCase | None:
    world = load_world("desk")
    category = {"falls": "book", "slides": str(rng.choice(["phone", "book", "mouse"]))}.get(kind, "ball")
    mover = with_round_feet(world.build(rng, category, str(rng.choice(world.colors[category]))))
    target = world.build(rng, "box", "brown")
    half = (0.6, 0.45)
    low, high = mover.bounds
    rest = float((high - low)[2] / 2)
    angle = rng.uniform(-np.pi, np.pi)
    way = np.array([np.cos(angle), np.sin(angle), 0.0])
    begin = np.array([*rng.uniform(-0.15, 0.15, 2), -low[2] + 0.0003])
    speed, seen_s, away = _drawn(kind, rng)
    # The other thing stands in the way, or far off to the side.
    ahead = begin * [1, 1, 0] + way * away
    aside = begin * [1, 1, 0] + np.array([-way[1], way[0], 0.0]) * 0.3
    place = {"hits": ahead}.get(kind, aside)
    if kind == "rolls_off":
        begin[:2] += way[:2] * (_to_edge(begin, way, half) - away)
    if kind in IN_THE_AIR:
        begin[2] += rng.uniform(0.5, 0.9) if kind == "falls" else rng.uniform(0.2, 0.4)
    poses = [(begin, np.eye(3)), (place, np.eye(3))]
    bounce, friction = float(rng.uniform(0.55, 0.8)), float(rng.uniform(0.15, 0.3))
    stage = Stage([mover, target], poses, half, -0.7, bounce, friction)
    spin = np.cross(UP, way) * speed / rest if category == "ball" and begin[2] < 0.01 else np.zeros(3)
    stage.release(0, way * speed, spin)
    stage.advance(seen_s + AHEAD_S)
    return _case(kind, index, rng, stage.motion(), (mover, target), seen_s, half)


def _drawn(kind: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Speed, seconds observed, and how far away the obstacle or the edge is."""
    speed = {"falls": rng.uniform(0, 0.05), "bounces": rng.uniform(0.01, 0.05), "slides": rng.uniform(0.9, 1.5)}.get(
        kind, rng.uniform(0.25, 0.5) if kind != "rolls" else rng.uniform(0.1, 0.35)
    )
    seen = {"falls": rng.uniform(0.2, 0.26), "bounces": rng.uniform(0.7, 1.0), "slides": rng.uniform(0.2, 0.3)}.get(
        kind, rng.uniform(0.6, 0.9)
    )
    away = speed * (seen + rng.uniform(0.2, 0.7)) + (0.14 if kind == "hits" else 0.0)
    return float(speed), round(float(seen) / (EVERY * SAMPLE_S)) * EVERY * SAMPLE_S, float(away)


def _to_edge(begin: Array, way: Array, half: tuple[float, float]) -> float:
    """How far it is along ``way`` to the table's edge."""
    return float(min((h - np.sign(w) * b) / abs(w) for b, w, h in zip(begin[:2], way[:2], half, strict=True) if abs(w) > 1e-6))


def _case(
    kind: str,
    index: int,
    rng: np.random.Generator,
    motion: Motion,
    things: tuple[Thing, Thing],
    seen_s: float,
    half: tuple[float, float],
) -> ForecastCase | None:
    low, high = things[0].bounds
    centers = motion.position_m[:, 0] + motion.rotation[:, 0] @ ((low + high) / 2)
    cut = motion.at(seen_s)
    later = centers[cut:]
    rest = float((high - low)[2] / 2)
    if kind not in IN_THE_AIR and np.abs(centers[: cut + 1, 2] - rest).max() > LEVEL_M:
        return None  # it has left the table already
    radius = rest if things[0].category == "ball" else float(np.hypot(*(high - low)[:2]) / 2)
    ending, ending_s = _ending(motion, centers, cut, half, rest, kind)
    if any(c.time_s < cut * SAMPLE_S + SOONEST_S for c in motion.contacts) or (
        ending_s is not None and ending_s < cut * SAMPLE_S + SOONEST_S
    ):
        return None
    view = drawn_path(rng, "still", np.array([[0, 0, 0.1], [0.35, 0, 0], [-0.35, 0, 0.0]]), SIZE, 1.0).view
    steps = np.arange(cut % EVERY, cut + 1, EVERY)
    told = _as_seen(centers[steps], view, None if kind in IN_THE_AIR else rest, rng)
    box_low, box_high = things[1].bounds
    at = motion.position_m[0, 1]
    corners = (_vec(at + box_low), _vec(at + box_high))
    seen_at = tuple(float(k * SAMPLE_S) for k in steps)
    case = ForecastCase(kind, index, seen_at, told, later, ending, ending_s, rest, radius, half, {"box": corners})
    wanted = {"rolls": ("stops", "none"), "rolls_off": ("falls_off",), "hits": ("hits",), "slides": ("stops",)}.get(
        kind, ("lands",)
    )
    return case if ending in wanted else None


def _vec(values: Array) -> Vec3:
    x, y, z = (float(v) for v in values)
    return x, y, z


def _ending(
    motion: Motion, centers: Array, cut: int, half: tuple[float, float], rest: float, kind: str
) -> tuple[Ending, float | None]:
    """What happens first after the cut."""
    found: list[tuple[float, Ending]] = [(c.time_s, "hits") for c in motion.contacts if {c.a, c.b} == {0, 1}]
    beyond = (np.abs(centers[cut:, :2]) > half).any(1)
    if beyond.any():
        found.append(((cut + int(beyond.argmax())) * SAMPLE_S, "falls_off"))
    speed = np.linalg.norm(np.diff(centers[cut:], axis=0), axis=1) / SAMPLE_S
    if kind in IN_THE_AIR:
        low = centers[cut:, 2] < rest + 0.006
        if low.any():
            found.append(((cut + int(low.argmax())) * SAMPLE_S, "lands"))
    elif (slow := speed < SLOW_M_S).any():
        found.append(((cut + int(slow.argmax())) * SAMPLE_S, "stops"))
    if not found:
        return "none", None
    time_s, ending = min(found)
    return ending, time_s


def _as_seen(centers: Array, view: View, height_m: float | None, rng: np.random.Generator) -> Array:
    """Places (n, 3) from pixels that are up to NOISE_PX off: on the level plane at ``height_m`` (rolling, sliding), or (None) on
    the upright plane through the first place that faces the camera.
    """
    pixels, _ = projected(centers, view)
    pixels = pixels + rng.uniform(-NOISE_PX, NOISE_PX, pixels.shape)
    rays = np.column_stack([(pixels - [view.width / 2, view.height / 2]) / view.focal_px, np.ones(len(pixels))]) @ view.rotation.T
    normal = np.array(UP) if height_m is not None else view.rotation[:, 2] * [1, 1, 0]
    through = np.array([0.0, 0.0, height_m]) if height_m is not None else centers[0]
    reach = ((through - view.position_m) @ normal) / (rays @ normal)
    places: Array = view.position_m + rays * reach[:, None]
    return places


def forecast_scores(case: ForecastCase) -> Iterator[Score]:
    """``forecast_event``: is the first event foretold within AHEAD_S the one that happens first (none where none does)?
    ``forecast_place`` (only of things that travel at least LEAST_WAY_M): ``error_share`` is the distance between the place
    foretold for ``judged_s`` after the last one seen and the true one, over the distance travelled meanwhile; right if at most
    a tenth.
    """
    told = case.foretold()
    first = next((e for e in told.events if e.time_s <= case.times_s[-1] + AHEAD_S), None)
    at = {"clip": case.index, "kind": case.kind, "time_s": case.times_s[-1], "model": told.trajectory.kind}
    said = "none" if first is None else first.kind
    yield {"measure": "forecast_event", "right": said == case.ending, "said": said, "truth": case.ending, **at}
    if case.way_m >= LEAST_WAY_M:
        when = case.times_s[-1] + case.judged_s
        place = np.array([np.interp(when, told.times_s, axis) for axis in np.array(told.places_m).T])
        error = float(np.linalg.norm(place - case.later_m[round(case.judged_s / SAMPLE_S)]))
        share = error / case.way_m
        yield {
            "measure": "forecast_place",
            "right": share <= 0.1,
            "error_share": share,
            "error_m": error,
            "way_m": case.way_m,
            **at,
        }
