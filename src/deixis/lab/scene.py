"""A scene: things settled by physics on a table in a room, and a camera that looks at it.

Knows layouts, physics and viewpoints. Does not know pixels, questions or which renderer draws it.

World frame: metres, z up, the table's top is z = 0. Camera axes: x right, y down, z forward.
Everything comes from a numpy Generator, so a (world, seed, index) gives the same scene for ever.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from deixis.lab import textures
from deixis.lab.thing import FRUSTUMS, Part, Thing, rotation_matrix
from deixis.lab.worlds import World, load_world

Array = NDArray[np.float64]
TABLE = -1  # the id of the table among the things that one may rest on
SETTLE_STEPS = 240
TIMESTEP_S = 0.005
STILL_M_S = 0.05  # faster than this after settling: settle on


@dataclass(frozen=True)
class Placed:
    """A thing at rest: pose in the world, ids of what carries it (TABLE or others) and of what it touches."""

    thing: Thing
    position_m: Array  # (3,)
    rotation: Array  # (3, 3) world from thing
    rests_on: tuple[int, ...] = ()
    touches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Surface:
    """A box of the room: part of the table, the floor or a wall. ``repeat`` is texture repeats per metre."""

    half_size_m: tuple[float, float, float]
    position_m: tuple[float, float, float]
    texture: str
    rgb: tuple[float, float, float]
    repeat: float
    specular: float = 0.1


@dataclass(frozen=True)
class Light:
    """A spot (with shadow) or a far, shadowless fill. Colours are linear multipliers of the surface's colour."""

    spot: bool
    position_m: tuple[float, float, float]
    direction: tuple[float, float, float]
    diffuse: tuple[float, float, float]
    ambient: float
    specular: float
    cutoff_deg: float = 75.0


@dataclass(frozen=True)
class Room:
    """What stands around the things: surfaces (N_SURFACES) and lights (N_LIGHTS)."""

    surfaces: tuple[Surface, ...]
    lights: tuple[Light, ...]


@dataclass(frozen=True)
class View:
    """A pinhole camera: ``rotation`` (3, 3) world from camera; principal point at the picture's centre."""

    position_m: Array
    rotation: Array
    focal_px: float
    width: int
    height: int

    @property
    def pitch_deg(self) -> float:
        """How far it looks down: 0 level, 90 straight down."""
        return float(np.degrees(np.arcsin(np.clip(-self.rotation[2, 2], -1, 1))))

    @property
    def fovy_deg(self) -> float:
        return float(np.degrees(2 * np.arctan(self.height / 2 / self.focal_px)))


@dataclass(frozen=True)
class Scene:
    """Things at rest on a table in a room whose floor lies ``floor_m`` below the table's top."""

    world: str
    table_half_m: tuple[float, float]
    floor_m: float  # height of the floor, below 0
    placed: tuple[Placed, ...]


MAX_DISTANCE_M = 2.6  # of a camera from what it looks at
N_SURFACES = 10  # floor, four walls, table top, four legs
N_LIGHTS = 2


def settled_scene(world_name: str, rng: np.random.Generator) -> Scene:
    """Draw a table with 2 to 12 things and let physics settle it. Things that fell off are left out."""
    world = load_world(world_name)
    while True:
        half = (float(rng.uniform(0.3, 0.62)), float(rng.uniform(0.25, 0.45)))
        # Few things as often as many, so that counting is not guessing the mean.
        things = _draw_things(world, rng, int(rng.integers(2, 13)))
        start = _lay_out(things, half, rng)
        placed = settle([things[i] for i, _, _ in start], [(p, r) for _, p, r in start], half)
        if len(placed) >= 2:
            return Scene(world_name, half, -float(rng.uniform(0.4, 0.8)), tuple(placed))


def _draw_things(world: World, rng: np.random.Generator, count: int) -> list[Thing]:
    names = list(world.categories)
    things: list[Thing] = []
    for _ in range(count):
        # A repeated category now and then: "all cups" and "which of the two cups" need company.
        repeat = things and rng.random() < 0.25
        category = things[int(rng.integers(len(things)))].category if repeat else names[int(rng.integers(len(names)))]
        colors = world.colors[category]
        things.append(world.build(rng, category, colors[int(rng.integers(len(colors)))]))
    return things


def _turn(yaw: float) -> Array:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _lay_out(things: list[Thing], half: tuple[float, float], rng: np.random.Generator) -> list[tuple[int, Array, Array]]:
    """Start poses (thing index, position, rotation) just above where each thing is to rest.

    Most stand on the table without overlap, some on a flat-topped thing, a few lean on a tall one.
    """
    order = sorted(range(len(things)), key=lambda i: not things[i].stackable)  # carriers first
    spots: list[tuple[int, Array, Array]] = []
    discs: list[tuple[float, float, float]] = []
    top: dict[int, float] = {}
    crowd = rng.uniform(0.62, 1.15)  # how close things stand: below 1 their discs may overlap a little
    for i in order:
        low, high = things[i].bounds
        size = high - low
        rotation = _turn(rng.uniform(-np.pi, np.pi))
        radius = float(np.hypot(size[0], size[1]) / 2)
        carriers = [s for s in spots if things[s[0]].stackable and s[0] in top and _fits(size, things[s[0]])]
        tall = [s for s in spots if things[s[0]].bounds[1][2] > 0.09 and abs(s[1][2]) < 0.02]
        if carriers and rng.random() < 0.35:
            j, at, _ = carriers[int(rng.integers(len(carriers)))]
            position = at + np.array([*rng.uniform(-0.012, 0.012, 2), top.pop(j) - at[2] + 0.004])
            spots.append((i, position, rotation))
            top[i] = position[2] + high[2]
            continue
        if tall and min(size) < 0.05 and max(size) < 0.3 and rng.random() < 0.25:
            spots.append((i, *_lean(things[i], spots_at=tall[int(rng.integers(len(tall)))], things=things, rng=rng)))
            continue
        for _ in range(40):
            x, y = (float(rng.uniform(-h + 0.7 * radius, h - 0.7 * radius)) if h > radius else 0.0 for h in half)
            if all(np.hypot(x - a, y - b) > crowd * 0.85 * (radius + r) for a, b, r in discs):
                discs.append((x, y, radius))
                spots.append((i, np.array([x, y, 0.003 - low[2]]), rotation))
                top[i] = 0.003 + high[2]
                break
    return spots


def _fits(size: Array, carrier: Thing) -> bool:
    low, high = carrier.bounds
    room = high - low
    return bool(max(size[0], size[1]) < 1.25 * min(room[0], room[1]) or (size[0] < room[0] and size[1] < room[1]))


def _lean(thing: Thing, spots_at: tuple[int, Array, Array], things: list[Thing], rng: np.random.Generator) -> tuple[Array, Array]:
    """A pose on edge, tipped 15 to 25 degrees from upright, its top against the tall thing."""
    j, at, frame = spots_at
    low, high = thing.bounds
    size = high - low
    flat = int(np.argmin(size))
    up = int(np.argmax(size))
    axes = np.zeros((3, 3))
    axes[0, flat], axes[2, up], axes[1, 3 - flat - up] = 1, 1, 1  # thin along x, long along z
    if np.linalg.det(axes) < 0:
        axes[1] *= -1
    tip = np.radians(rng.uniform(15, 25))
    c, s = np.cos(tip), np.sin(tip)
    tilt = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])  # top towards +x
    side = frame @ _turn(rng.integers(4) * np.pi / 2)
    reach = things[j].bounds[1] - things[j].bounds[0]
    away = max(reach[0], reach[1]) / 2 * 0.9 + size[up] / 2 * s + size[flat]
    rotation = side @ tilt @ axes
    middle = at - side[:, 0] * away
    middle[2] = size[up] / 2 * c + size[flat] / 2 * s + 0.004
    return middle - rotation @ ((low + high) / 2), rotation


def settle(things: list[Thing], start: list[tuple[Array, Array]], table_half_m: tuple[float, float]) -> list[Placed]:
    """Run physics from start poses until things rest; returns those still on or above the table, ids renumbered."""
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    table = {"size": [*table_half_m, 0.05], "pos": [0, 0, -0.05], "friction": [1.0, 0.01, 0.001]}
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, **table)
    for thing, (position, rotation) in zip(things, start, strict=True):
        body = spec.worldbody.add_body(pos=position, quat=quaternion_of(rotation))
        body.add_freejoint()
        add_parts(spec, body, thing.colliders or thing.parts, mass_kg=thing.mass_kg)
    model = spec.compile()
    model.dof_damping[:] = 1e-4
    data = mujoco.MjData(model)
    for _ in range(3):
        mujoco.mj_step(model, data, nstep=SETTLE_STEPS)
        if np.abs(data.qvel).max(initial=0.0) < STILL_M_S:
            break
    positions, rotations = data.xpos[1:].copy(), data.xmat[1:].reshape(-1, 3, 3).copy()
    on = [i for i in range(len(things)) if positions[i, 2] > -0.03 and np.isfinite(positions[i]).all()]
    rank = {i: k for k, i in enumerate(on)}
    carried: dict[int, set[int]] = {i: set() for i in on}
    touching: dict[int, set[int]] = {i: set() for i in on}
    for k in range(data.ncon):
        contact = data.contact[k]
        a, b = (int(model.geom_bodyid[g]) - 1 for g in (contact.geom1, contact.geom2))
        normal = contact.frame[2]  # z of the normal, which points from a to b
        for upper, lower, lift in ((b, a, normal), (a, b, -normal)):
            if upper not in rank or (lower != TABLE and lower not in rank):
                continue
            if lower != TABLE:
                touching[upper].add(rank[lower])
            if lift > 0.5:
                carried[upper].add(TABLE if lower == TABLE else rank[lower])
    return [Placed(things[i], positions[i], rotations[i], tuple(sorted(carried[i])), tuple(sorted(touching[i]))) for i in on]


_GEOM = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "ellipsoid": mujoco.mjtGeom.mjGEOM_ELLIPSOID,
    "frustum": mujoco.mjtGeom.mjGEOM_MESH,
}


@cache
def _frustum_vertices(row: int) -> tuple[float, ...]:
    bottom, top, half = FRUSTUMS[row]
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    rings = [np.concatenate([circle * r, np.full((32, 1), z)], -1) for r, z in ((bottom, -half), (max(top, 1e-4), half))]
    return tuple(np.concatenate(rings).ravel().tolist())


def add_frustum_mesh(spec: mujoco.MjSpec, row: int) -> str:
    """Add FRUSTUMS[row] as a mesh asset once; returns its name."""
    name = f"frustum-{row}"
    if spec.mesh(name) is None:
        # Exact inertia keeps the mesh frame where the part's frame is (up to the shift that readers undo).
        spec.add_mesh(name=name, uservert=_frustum_vertices(row))
    return name


def add_parts(spec: mujoco.MjSpec, body: mujoco.MjsBody, parts: tuple[Part, ...], mass_kg: float | None = None) -> None:
    """Add parts as geoms: colliders of ``mass_kg`` together, or (None) drawn shapes that touch nothing."""
    kind: dict[str, Any] = {"contype": 0, "conaffinity": 0, "group": 1}
    if mass_kg is not None:
        kind = {"friction": [0.9, 0.02, 0.002], "condim": 4, "mass": mass_kg / len(parts)}
    for part in parts:
        place = {"pos": part.position, "quat": part.rotation}
        mesh = {"meshname": add_frustum_mesh(spec, FRUSTUMS.index(part.size))} if part.shape == "frustum" else {}
        body.add_geom(type=_GEOM[part.shape], size=part.size, rgba=part.rgba, **place, **mesh, **kind)


def quaternion_of(rotation: Array) -> Array:
    """(w, x, y, z) of a rotation (3, 3)."""
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, rotation.ravel())
    return quat


def furnished_room(scene: Scene, rng: np.random.Generator) -> Room:
    """Random textures, colours and lights around the scene's table."""
    hx, hy = scene.table_half_m
    thick, floor = float(rng.uniform(0.015, 0.04)), scene.floor_m
    # Walls beyond every camera: a view stands at most MAX_DISTANCE_M from a point above the table.
    far, tall = float(rng.uniform(MAX_DISTANCE_M + 0.9, 4.6)), 4.0

    def tone(low: float, high: float) -> tuple[float, float, float]:
        level, hue = rng.uniform(low, high), rng.uniform(-0.12, 0.12, 3)
        return tuple(float(v) for v in np.clip(level + hue, 0.05, 1))  # type: ignore[return-value]

    def wood() -> tuple[float, float, float]:
        level = rng.uniform(0.45, 1.0)
        return float(level), float(level * rng.uniform(0.72, 0.9)), float(level * rng.uniform(0.45, 0.75))

    def pick() -> str:
        return textures.NAMES[int(rng.integers(len(textures.NAMES)))]

    table = wood() if rng.random() < 0.5 else tone(0.25, 0.95)
    table_texture, wall_texture, wall = pick(), pick(), tone(0.3, 0.95)
    wall_repeat = float(rng.uniform(0.3, 1.5))
    shine = float(rng.uniform(0, 0.3))
    floor_texture, floor_rgb = pick(), wood() if rng.random() < 0.4 else tone(0.2, 0.9)
    surfaces = [Surface((far + 1, far + 1, 0.05), (0, 0, floor - 0.05), floor_texture, floor_rgb, float(rng.uniform(0.4, 2)))]
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        half = (0.05, far, tall / 2) if x else (far, 0.05, tall / 2)
        surfaces.append(Surface(half, (x * far, y * far, floor + tall / 2), wall_texture, wall, wall_repeat, 0.0))
    surfaces.append(Surface((hx, hy, thick), (0, 0, -thick), table_texture, table, float(rng.uniform(0.8, 4)), shine))
    leg = (-floor - 2 * thick) / 2
    corners = [(x * (hx - 0.04), y * (hy - 0.04), -2 * thick - leg) for x in (-1, 1) for y in (-1, 1)]
    surfaces += [Surface((0.025, 0.025, leg), corner, table_texture, table, 1.0, shine) for corner in corners]
    warmth = np.array([1, 0, -1]) * rng.uniform(-0.08, 0.12)
    lights = []
    power = rng.uniform(0.85, 1.25)  # total brightness of the picture
    ambient = float(rng.uniform(0.22, 0.45))
    main = rng.uniform(0.5, 0.9)
    shares = np.array([main, 1 - main]) * power
    for k in range(N_LIGHTS):
        azimuth, height, reach = rng.uniform(-np.pi, np.pi), rng.uniform(1.0, 2.4), rng.uniform(0.2, 1.9)
        position = np.array([reach * np.cos(azimuth), reach * np.sin(azimuth), height])
        aim = np.array([*rng.uniform(-0.2, 0.2, 2), 0.0]) - position
        spot = k != 1
        diffuse = np.clip(shares[k] * 0.75 * (1 + warmth), 0, 1)
        lights.append(
            Light(
                spot,
                tuple(float(v) for v in position),  # type: ignore[arg-type]
                tuple(float(v) for v in aim / np.linalg.norm(aim)),  # type: ignore[arg-type]
                tuple(float(v) for v in diffuse),  # type: ignore[arg-type]
                0.0 if spot else ambient,  # a spot's ambient light means different things to different renderers
                float(rng.uniform(0, 0.4)) if spot else 0.0,
                float(rng.uniform(55, 80)),
            )
        )
    return Room(tuple(surfaces), tuple(lights))


def sampled_view(scene: Scene, rng: np.random.Generator, width: int, height: int) -> View:
    """A camera that frames the things: pitch 0 to 85 degrees, roll within 5, random lens and distance."""
    centers = np.array([p.position_m + p.rotation @ sum(p.thing.bounds) / 2 for p in scene.placed])
    spread = float(np.linalg.norm(centers - centers.mean(0), axis=1).max()) + 0.12
    level = rng.random()
    pitch = rng.uniform(1, 11) if level < 0.14 else rng.uniform(11, 57) if level < 0.82 else rng.uniform(57, 85)
    focal = float(rng.uniform(0.8, 1.5)) * max(width, height)
    # At fill 1 the sphere around all things just fits the shorter side.
    fill = rng.uniform(0.75, 1.45)
    distance = float(np.clip(spread / fill * 2 * focal / min(width, height), 0.45, MAX_DISTANCE_M))
    p, a, roll = np.radians(pitch), rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(-5, 5))
    forward = np.array([np.cos(p) * np.cos(a), np.cos(p) * np.sin(a), -np.sin(p)])
    right = np.array([np.sin(a), -np.cos(a), 0.0])
    down = np.cross(forward, right)
    turned = np.stack([right * np.cos(roll) + down * np.sin(roll), down * np.cos(roll) - right * np.sin(roll), forward], -1)
    target = centers.mean(0) + rng.uniform(-0.15, 0.15, 3) * spread * [1, 1, 0.3]
    position = target - forward * distance
    position[2] = max(position[2], 0.06)  # never inside the table
    return View(position, turned, focal, width, height)


def part_rotation(placed: Placed, part: Part) -> Array:
    """(3, 3) world from part."""
    return placed.rotation @ rotation_matrix(part.rotation)
