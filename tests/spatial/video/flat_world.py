"""Rectangles that move before and behind each other, with exact truth: a small world to guide the memory by.

Knows what each thing does at each time, and what of it shows. The lab's worlds have physics and a camera; this one has paths, so
that a thousand frames cost a second. Replayed from its seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deixis.geometry import BoxPx
from deixis.spatial.video.detection import Detection, State

WIDTH, HEIGHT = 640, 480
LENGTH_S = 20.0
_CELL = 2  # px of the raster in which is counted what shows
COLORS = ("red", "blue", "green", "yellow", "purple", "cyan")
Path = Callable[[float], tuple[float, float]]


@dataclass
class Thing:
    """A rectangle. `depth`: larger is nearer. Present from `from_s` until `until_s`; `path` is its middle in the room."""

    label: str
    color: int
    size: tuple[float, float]
    depth: float
    path: Path
    from_s: float = -1.0
    until_s: float = 1e9
    role: str = ""


@dataclass
class World:
    """Things and a camera that looks at them from `camera(t)`."""

    things: list[Thing]
    camera: Path
    times: NDArray[np.float64]
    happened: list[tuple[str, float, tuple[int, ...]]] = field(default_factory=list)  # kind, when, which things


@dataclass(frozen=True)
class Truth:
    """Of one thing in one frame."""

    state: State
    full_px: BoxPx
    seen_px: BoxPx | None
    hidden_by: int | None


def still(x: float, y: float) -> Path:
    return lambda t: (x, y)


def between(*stations: tuple[float, float, float]) -> Path:
    """Through (time, x, y) in straight lines, at rest before the first and after the last."""
    times, xs, ys = (np.array(column) for column in zip(*stations, strict=True))
    return lambda t: (float(np.interp(t, times, xs)), float(np.interp(t, times, ys)))


def frame_truth(world: World, time_s: float) -> dict[int, Truth]:
    """What every present thing shows at a time."""
    present = [i for i, thing in enumerate(world.things) if thing.from_s <= time_s]
    raster = np.full((HEIGHT // _CELL, WIDTH // _CELL), -1)
    boxes: dict[int, BoxPx] = {}
    off_x, off_y = world.camera(time_s)
    for i in sorted(present, key=lambda i: world.things[i].depth):
        thing = world.things[i]
        x, y = thing.path(min(time_s, thing.until_s))
        w, h = thing.size
        boxes[i] = (x - off_x - w / 2, y - off_y - h / 2, x - off_x + w / 2, y - off_y + h / 2)
        if time_s < thing.until_s:
            x1, y1, x2, y2 = (max(0, round(edge / _CELL)) for edge in boxes[i])
            raster[y1:y2, x1:x2] = i
    truth = {}
    for i in present:
        box, thing = boxes[i], world.things[i]
        rows, columns = np.nonzero(raster == i)
        cells = thing.size[0] * thing.size[1] / _CELL**2
        inside = max(0.0, min(box[2], WIDTH) - max(box[0], 0)) * max(0.0, min(box[3], HEIGHT) - max(box[1], 0))
        state: State = "visible"
        seen: BoxPx | None = None
        hidden_by = None
        if time_s >= thing.until_s:
            state = "gone"
        elif len(rows) >= 0.1 * cells:
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            seen = tuple(float(edge * _CELL) for edge in edges)  # type: ignore[assignment]
        elif inside < 0.25 * thing.size[0] * thing.size[1]:
            state = "out_of_view"
        else:
            state = "occluded"
            x1, y1, x2, y2 = (max(0, round(edge / _CELL)) for edge in box)
            ids, counts = np.unique(raster[y1:y2, x1:x2], return_counts=True)
            ranked = [int(id_) for id_ in ids[np.argsort(-counts)] if id_ not in (-1, i)]
            hidden_by = ranked[0] if ranked else None
        truth[i] = Truth(state, box, seen, hidden_by)
    return truth


def detections(world: World, truth: dict[int, Truth], rng: np.random.Generator, noise_px: float, dropped: float) -> list:
    """(Detection, which thing) in a random order; `dropped`: the share that the detector misses."""
    found = []
    for i, one in truth.items():
        if one.seen_px is None or rng.random() < dropped:
            continue
        x1, y1, x2, y2 = (np.array(one.seen_px) + rng.normal(0, noise_px, 4)).tolist()
        color = np.full(len(COLORS), 0.04)
        color[world.things[i].color] = 1.0
        color = color * rng.uniform(0.8, 1.2, len(COLORS))
        box = (max(0.0, x1), max(0.0, y1), min(WIDTH, max(x2, x1 + 1)), min(HEIGHT, max(y2, y1 + 1)))
        found.append((Detection(world.things[i].label, box, 1.0, tuple((color / color.sum()).tolist())), i))
    order = rng.permutation(len(found))
    return [found[k] for k in order]


def make_world(seed: int, kinds: tuple[str, ...] | None = None) -> World:
    """Two happenings of these kinds (any of them by default) on two lanes, among things that stand still."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(sorted(HAPPENINGS) if kinds is None else sorted(kinds), 2)
    world = World([], still(0, 0), _times(rng))
    for lane, kind in enumerate(chosen):
        HAPPENINGS[kind](world, rng, 170.0 + 190 * lane, 10.0 * lane)
    for k in range(int(rng.integers(2, 4))):  # the back row, far from what happens
        x = 80.0 + 200 * k + rng.uniform(-30, 30)
        world.things.append(_thing(rng, "lamp", (x, 50.0), (40, 60), -5))
    if rng.random() < 0.35:
        swing, period = rng.uniform(20, 60), rng.uniform(8, 16)
        world.camera = lambda t: (swing * np.sin(2 * np.pi * t / period), 0.2 * swing * np.sin(4 * np.pi * t / period))
    return world


def _times(rng: np.random.Generator) -> NDArray[np.float64]:
    """At 2 to 10 frames a second, unevenly."""
    fps = rng.uniform(2, 10)
    return np.cumsum(rng.uniform(0.6, 1.4, int(LENGTH_S * fps)) / fps)


def _thing(rng: np.random.Generator, noun: str, at: tuple[float, float], size: tuple[float, float], depth: float) -> Thing:
    color = int(rng.integers(len(COLORS)))
    return Thing(f"{COLORS[color]} {noun}", color, size, depth, still(*at))


def roll_behind(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """A ball rolls behind a wall, and out again or not."""
    x, width = rng.uniform(280, 360), rng.uniform(110, 180)
    world.things.append(_thing(rng, "wall", (x, y - 10), (width, 110), depth + 5))
    ball = _thing(rng, "ball", (0, 0), (36, 36), depth)
    start, speed = rng.uniform(2, 6), rng.uniform(60, 220)
    end = 580 if rng.random() < 0.65 else x + rng.uniform(-0.2, 0.2) * width
    ball.path = between((start, 60, y), (start + (end - 60) / speed, end, y))
    if rng.random() < 0.5 and end == 580:
        pause, until = rng.uniform(1, 4), (x - 60) / speed
        ball.path = between(
            (start, 60, y), (start + until, x, y), (start + until + pause, x, y), (start + pause + (end - 60) / speed, end, y)
        )
    world.things.append(ball)


def pass_by(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """Something wide passes before two things that stand still."""
    for x in (230, 430):
        world.things.append(_thing(rng, "cup", (x + rng.uniform(-30, 30), y), (40, 50), depth))
    box = _thing(rng, "box", (0, 0), (rng.uniform(100, 150), 100), depth + 5)
    start, speed = rng.uniform(2, 6), rng.uniform(50, 200)
    box.path = between((start, 80, y - 10), (start + 480 / speed, 560, y - 10))
    world.things.append(box)


def shell(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """A cup comes over a ball, takes it along (or not), and goes on."""
    home, target = rng.uniform(180, 250), rng.uniform(400, 480)
    over, go = rng.uniform(3, 5), rng.uniform(6, 8)
    arrive, away = go + rng.uniform(1.5, 3), rng.uniform(13, 15)
    carried = rng.random() < 0.7
    ball = _thing(rng, "ball", (home, y), (30, 30), depth)
    if carried:
        ball.path = between((go, home, y), (arrive, target, y))
    cup = _thing(rng, "cup", (0, 0), (64, 74), depth + 5)
    cup.path = between(
        (over, 60, y), (over + 1.2, home, y), (go, home, y), (arrive, target, y), (away, target, y), (away + 1.2, 590, y)
    )
    world.things += [ball, cup]
    if carried:
        world.happened.append(("carried_by", go, (len(world.things) - 2, len(world.things) - 1)))


def swap(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """Two look-alikes exchange places; on their way one passes before the other."""
    a = _thing(rng, "cup", (0, 0), (44, 54), depth)
    b = Thing(a.label, a.color, a.size, depth + 2, a.path)
    start, lasts, apart = rng.uniform(3, 8), rng.uniform(1.5, 4), rng.uniform(25, 60)
    left, right, middle = 180.0, 440.0, start + lasts / 2
    a.path = between((start, left, y), (middle, 310, y - apart), (start + lasts, right, y))
    b.path = between((start, right, y), (middle, 310, y + apart * 0.6), (start + lasts, left, y))
    world.things += [a, b]
    world.happened.append(("swapped", start, (len(world.things) - 2, len(world.things) - 1)))


def leave(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """A thing moves out of the picture, and comes back or not."""
    car = _thing(rng, "car", (0, 0), (70, 40), depth)
    start, speed = rng.uniform(2, 5), rng.uniform(60, 250)
    out = start + 460 / speed
    stations = [(start, 300, y), (out, 760, y)]
    if rng.random() < 0.6:
        back = out + rng.uniform(1, 4)
        stations += [(back, 760, y), (back + 400 / speed, 360, y)]
    car.path = between(*stations)
    world.things.append(car)
    world.things.append(_thing(rng, "book", (150, y), (70, 50), depth))


def take_out(world: World, rng: np.random.Generator, y: float, depth: float) -> None:
    """A thing in the open is gone from one frame to the next; another one is put in."""
    for x in (170, 330):
        world.things.append(_thing(rng, "cup", (x, y), (44, 54), depth))
    world.things[-1].until_s = rng.uniform(5, 15)
    world.happened.append(("is_taken_out", world.things[-1].until_s, (len(world.things) - 1,)))
    new = _thing(rng, "bottle", (490, y), (30, 70), depth)
    new.from_s = rng.uniform(3, 12)
    world.things.append(new)
    world.happened.append(("is_put_in", new.from_s, (len(world.things) - 1,)))


HAPPENINGS = {
    "roll_behind": roll_behind,
    "pass_by": pass_by,
    "shell": shell,
    "swap": swap,
    "leave": leave,
    "take_out": take_out,
}
