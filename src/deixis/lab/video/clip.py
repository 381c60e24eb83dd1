"""A clip: the things of one video, how they moved, what was done to whom, and the camera's way; all from (seed, index).

Knows which things a video has and how its happenings are strung together. Does not know pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deixis.errors import OptionError
from deixis.lab.scene import Placed, Room, Scene, furnished_room
from deixis.lab.thing import Thing
from deixis.lab.video.camera_path import MOVES, CameraPath, drawn_path
from deixis.lab.video.director import Deed, Director
from deixis.lab.video.happenings import HAPPENINGS
from deixis.lab.video.stage import Motion, Pose, Stage, with_round_feet
from deixis.lab.worlds import World, load_world

Array = NDArray[np.float64]
WORLD = "video"  # what truth lines and commands call these clips; their things are the desk's
THINGS_FROM = "desk"
SECONDS = 20.0
FIRST_S = 0.8  # nothing happens before
LAST_S = 16.5  # nothing new begins after
# What follows: what hides is worth little unless it also comes back.
FOLLOW_UP = {
    "cover": ("reveal", "carry_along", "swap", "roll"),
    "carry_along": ("reveal",),
    "behind": ("come_out", "carry", "roll"),
}
OPENERS = (
    *("roll", "cover", "push", "swap", "behind", "drop", "cover", "take_out"),
    *("roll", "carry", "put_in", "cover", "take_away", "behind", "push", "swap"),
)
TALL = ("laptop", "monitor", "bottle", "plant", "lamp", "box", "book")


@dataclass(frozen=True)
class Clip:
    """One video before it is filmed. ``deeds`` in order of time; ``scene`` holds the things (poses: ``placed_at``)."""

    seed: int
    index: int
    scene: Scene
    room: Room
    camera: CameraPath
    motion: Motion
    deeds: tuple[Deed, ...]
    bounce: float

    @property
    def things(self) -> tuple[Thing, ...]:
        return tuple(p.thing for p in self.scene.placed)

    def placed_at(self, time_s: float) -> tuple[Placed, ...]:
        """The things as they are at a time; those that are not in the room lie far below it."""
        k = self.motion.at(time_s)
        position, rotation = self.motion.position_m[k], self.motion.rotation[k]
        return tuple(Placed(t, p, r) for t, p, r in zip(self.things, position, rotation, strict=True))

    def centers_m(self) -> Array:
        """(samples, things, 3) centres of the things' bounds, in the room."""
        low_high = [t.bounds for t in self.things]
        middle = np.array([(low + high) / 2 for low, high in low_high])
        centers: Array = self.motion.position_m + np.einsum("tnij,nj->tni", self.motion.rotation, middle)
        return centers


def clip_of(
    seed: int, index: int, size: tuple[int, int] = (320, 240), seconds: float = SECONDS, first: str | None = None
) -> Clip:
    """Clip number ``index`` of a seed; the same for ever. ``first`` asks for a happening to begin with, if it can.

    Raises OptionError for an unknown happening.
    """
    if first is not None and first not in HAPPENINGS:
        raise OptionError(f"no happening {first!r}; choose one of {', '.join(HAPPENINGS)}")
    opener = first or OPENERS[index % len(OPENERS)]
    rng = np.random.default_rng([seed, index])
    while True:
        director, floor_m, bounce = set_up(rng, opener, MOVES[int(rng.integers(len(MOVES)))], size, seconds)
        if _play(director, opener, seconds):
            break
    poses = [director.stage.pose(i) for i in range(len(director.things))]
    placed = tuple(Placed(t, p, r) for t, (p, r) in zip(director.things, poses, strict=True))
    scene = Scene(THINGS_FROM, director.stage.table_half_m, floor_m, placed)
    motion = director.stage.motion()
    return Clip(seed, index, scene, furnished_room(scene, rng), director.camera, motion, tuple(director.deeds), bounce)


def set_up(
    rng: np.random.Generator, opener: str, move: str, size: tuple[int, int], seconds: float
) -> tuple[Director, float, float]:
    """The table laid, the camera placed, nothing begun."""
    if opener == "behind":
        move = "still"
    half = (float(rng.uniform(0.4, 0.62)), float(rng.uniform(0.32, 0.45)))
    while True:
        things, twins, waiting = _drawn_things(load_world(THINGS_FROM), rng, opener)
        start = _laid_out(things, half, rng)
        if start is not None:
            break
    floor_m, bounce = -float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.35, 0.75))
    stage = Stage([with_round_feet(t) for t in things], start, half, floor_m, bounce)
    shown = np.array([p for i, (p, _) in enumerate(start) if i not in waiting])
    camera = drawn_path(rng, move, shown, size, seconds)  # type: ignore[arg-type]
    director = Director(stage, camera, rng, twins, waiting)
    for i in waiting:
        stage.remove(i)
    return director, floor_m, bounce


def _drawn_things(world: World, rng: np.random.Generator, opener: str) -> tuple[list[Thing], tuple[int, int] | None, list[int]]:
    """Five to eight things: a ball, a box that covers, what it can cover, something tall; now and then look-alikes."""
    categories = ["ball", "box", str(rng.choice(["mouse", "cup", "usb stick", "phone"])), str(rng.choice(TALL))]
    categories += [str(c) for c in rng.choice(world.categories, int(rng.integers(1, 4)))]
    things: list[Thing] = []
    for category in categories:
        taken = {(t.category, t.color) for t in things}
        colors = [c for c in world.colors[category] if (category, c) not in taken]
        color = colors[int(rng.integers(len(colors)))]
        made = [world.build(rng, category, color) for _ in range(8 if category == "box" else 1)]
        things.append(max(made, key=lambda t: float(np.prod(t.bounds[1] - t.bounds[0]))))
    twins = None
    if opener == "swap" or rng.random() < 0.25:
        model = int(rng.integers(len(things)))
        things.append(things[model])
        twins = (model, len(things) - 1)
    waiting = [] if opener != "put_in" and rng.random() < 0.7 else [len(categories) - 1]
    if twins is not None:
        waiting = [i for i in waiting if i not in twins]
    return things, twins, waiting


def _laid_out(things: list[Thing], half: tuple[float, float], rng: np.random.Generator) -> list[Pose] | None:
    """Upright, turned at random, apart from each other; None where they do not fit."""
    poses: list[Pose] = []
    discs: list[tuple[float, float, float]] = []
    for thing in things:
        low, high = thing.bounds
        radius = float(np.hypot(*(high - low)[:2]) / 2)
        for _ in range(60):
            x, y = (float(rng.uniform(-h + min(radius, h), h - min(radius, h))) for h in half)
            if all(np.hypot(x - a, y - b) > radius + r + 0.01 for a, b, r in discs):
                break
        else:
            return None
        discs.append((x, y, radius))
        turn = rng.uniform(-np.pi, np.pi)
        c, s = np.cos(turn), np.sin(turn)
        poses.append((np.array([x, y, 0.0005 - low[2]]), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])))
    return poses


def _play(director: Director, opener: str, seconds: float) -> bool:
    """Let happenings follow each other until the time is up; False where the opener cannot begin."""
    director.wait(float(np.round(director.rng.uniform(FIRST_S, 1.6), 2)))
    names = list(HAPPENINGS)
    if not HAPPENINGS[opener](director):
        return False
    last = opener
    while director.stage.time_s < LAST_S:
        director.wait(float(np.round(director.rng.uniform(0.75, 1.5), 2)))
        if director.stage.time_s > LAST_S:
            break
        follow = [n for n in FOLLOW_UP.get(last, ()) if director.rng.random() < 0.6]
        others = [names[k] for k in director.rng.permutation(len(names))]
        before = director.stage.time_s
        for name in (*follow, *others):
            if HAPPENINGS[name](director):
                last = name
                break
        if director.stage.time_s == before:
            director.wait(0.5)
    director.wait(max(0.0, seconds - director.stage.time_s))
    return True
