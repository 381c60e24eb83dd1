"""Physics of a desk on which things lie, fall, roll and push each other, and a hand that nobody sees.

Knows bodies, contacts and held paths. Does not know what is to happen (director.py), cameras or pixels.

World frame as in scene.py: metres, z up, the table's top is z = 0. A held thing follows its path exactly; a free one obeys
MuJoCo. Poses are recorded every SAMPLE_S.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deixis.lab.scene import add_parts, quaternion_of
from deixis.lab.thing import Thing

Array = NDArray[np.float64]
Pose = tuple[Array, Array]  # position (3,), rotation (3, 3) world from thing
Path = Callable[[float], Pose]  # seconds since the hand took it -> pose
Touch = Literal["all", "none"]

SAMPLE_S = 0.02
TIMESTEP_S = 0.0025
STEPS = round(SAMPLE_S / TIMESTEP_S)
G_M_S2 = 9.81
# A ball's contact as a spring: stiffness in 1/s^2 (a bounce of about 10 ms) and damping for this share of speed kept.
BALL_STIFFNESS = 1e5
ROLLING_M = 0.002  # rolling friction: a ball of 4.5 cm slows down by about 0.15 m/s every second
FRICTION = 0.8
STIFF_FRICTION = 100.0  # else rolling friction is so soft that a slow ball creeps on for ever
NEW_CONTACT_S = 0.3  # two things that touch again sooner are still the same contact
ROUND = ("ball",)


@dataclass(frozen=True)
class Contact:
    """Two things that begin to touch: ``a`` moved into ``b`` at ``time_s``, at ``speed_m_s`` of a towards b."""

    time_s: float
    a: int
    b: int
    speed_m_s: float


@dataclass(frozen=True)
class Motion:
    """Everything that moved: ``position_m`` (samples, things, 3) of the things' frames, ``rotation`` (samples, things, 3, 3),
    a sample every SAMPLE_S from 0; ``held`` (samples, things): in the hand; ``there`` (samples, things): in the room at all.
    """

    position_m: Array
    rotation: Array
    held: NDArray[np.bool_]
    there: NDArray[np.bool_]
    contacts: tuple[Contact, ...]

    @property
    def seconds(self) -> float:
        return (len(self.position_m) - 1) * SAMPLE_S

    def at(self, time_s: float) -> int:
        """The sample nearest to a time."""
        return int(np.clip(round(time_s / SAMPLE_S), 0, len(self.position_m) - 1))

    def until(self, time_s: float) -> "Motion":
        """The same, cut off behind a time."""
        end = self.at(time_s) + 1
        kept = tuple(c for c in self.contacts if c.time_s <= time_s)
        return Motion(self.position_m[:end], self.rotation[:end], self.held[:end], self.there[:end], kept)


class Stage:
    """A running simulation. ``things`` stand at ``start`` poses, on a table above a floor; ``bounce`` is the share of speed
    that a ball keeps, ``friction`` the coefficient of what slides. Mutable: ``advance`` moves time on.
    """

    def __init__(
        self,
        things: Sequence[Thing],
        start: Sequence[Pose],
        table_half_m: tuple[float, float],
        floor_m: float,
        bounce: float,
        friction: float = FRICTION,
    ) -> None:
        self.things = tuple(things)
        self.table_half_m = table_half_m
        self._model, self._geoms = _compiled(self.things, start, table_half_m, floor_m, bounce)
        self._model.geom_friction[self._model.geom_priority == 0, 0] = friction
        self._data = mujoco.MjData(self._model)
        self._paths: dict[int, tuple[Path, float]] = {}
        self._there = np.ones(len(self.things), bool)
        self._touched: dict[tuple[int, int], float] = {}
        self._contacts: list[Contact] = []
        self._rows: list[tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]] = []
        self._owner = np.full(self._model.ngeom, -1)
        for i, geoms in enumerate(self._geoms):
            self._owner[geoms] = i
        mujoco.mj_forward(self._model, self._data)
        self._record()

    @property
    def time_s(self) -> float:
        return (len(self._rows) - 1) * SAMPLE_S

    def pose(self, i: int) -> Pose:
        """Where thing ``i`` is now."""
        return self._data.xpos[i + 1].copy(), self._data.xmat[i + 1].reshape(3, 3).copy()

    def speed_m_s(self, i: int) -> float:
        """Of its centre, now; a turn counts as the speed of a point 5 cm off."""
        v = self._data.qvel[6 * i : 6 * i + 6]
        return float(np.linalg.norm(v[:3]) + 0.05 * np.linalg.norm(v[3:]))

    def hold(self, i: int, path: Path, touch: Touch = "none") -> None:
        """The hand takes thing ``i`` along ``path`` from now on; ``touch`` says whether it pushes what it meets."""
        self._paths[i] = (path, self.time_s)
        self._set_touch(i, touch)

    def release(self, i: int, velocity_m_s: ArrayLike = (0, 0, 0), spin_rad_s: ArrayLike = (0, 0, 0)) -> None:
        """The hand lets go of thing ``i`` (world velocities): physics from now on. A thing that lay free gets the velocities."""
        self._paths.pop(i, None)
        self._set_touch(i, "all")
        local = self._data.xmat[i + 1].reshape(3, 3).T @ np.asarray(spin_rad_s, float)  # a free joint spins in its own frame
        self._data.qvel[6 * i : 6 * i + 6] = np.concatenate([np.asarray(velocity_m_s, float), local])

    def remove(self, i: int) -> None:
        """Take thing ``i`` out of the room at once."""
        self._there[i] = False
        below = np.array([0.0, 0.0, -50.0 - i])
        self.hold(i, lambda _: (below, np.eye(3)))
        if self.time_s == 0:  # it never was there
            self._place_held(0.0, 0.0)
            mujoco.mj_forward(self._model, self._data)
            self._rows.clear()
            self._record()

    def bring(self, i: int) -> None:
        """The thing is in the room again (hold it somewhere first)."""
        self._there[i] = True

    def _set_touch(self, i: int, touch: Touch) -> None:
        bits = 1 if touch == "all" else 0
        self._model.geom_contype[self._geoms[i]] = bits
        self._model.geom_conaffinity[self._geoms[i]] = bits

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass (whole samples)."""
        for _ in range(round(seconds / SAMPLE_S)):
            self._place_held(self.time_s, 0.0)
            for step in range(STEPS):
                mujoco.mj_step(self._model, self._data)
                self._note_contacts(self.time_s + (step + 1) * TIMESTEP_S)
                self._place_held(self.time_s, (step + 1) * TIMESTEP_S)
            mujoco.mj_kinematics(self._model, self._data)
            self._record()

    def still(self) -> bool:
        """Does nothing free move?"""
        return all(i in self._paths or self.speed_m_s(i) < 0.02 for i in range(len(self.things)))

    def motion(self) -> Motion:
        """All that was recorded so far."""
        position, rotation, held, there = (np.stack(column) for column in zip(*self._rows, strict=True))
        return Motion(position, rotation, held, there, tuple(self._contacts))

    def _place_held(self, time_s: float, later_s: float) -> None:
        for i, (path, since) in self._paths.items():
            now = time_s + later_s - since
            position, rotation = path(now)
            ahead, _ = path(now + TIMESTEP_S)
            self._data.qpos[7 * i : 7 * i + 3] = position
            self._data.qpos[7 * i + 3 : 7 * i + 7] = quaternion_of(rotation)
            self._data.qvel[6 * i : 6 * i + 3] = (ahead - position) / TIMESTEP_S
            self._data.qvel[6 * i + 3 : 6 * i + 6] = 0

    def _note_contacts(self, time_s: float) -> None:
        owners = self._owner[self._data.contact.geom]  # (contacts, 2), -1 for the room
        between = owners[(owners.min(1) >= 0) & (owners[:, 0] != owners[:, 1])]
        for a, b in {(int(min(pair)), int(max(pair))) for pair in between}:
            before = self._touched.get((a, b), -1.0)
            self._touched[a, b] = time_s
            if time_s - before > NEW_CONTACT_S and time_s > NEW_CONTACT_S:
                fast_a, fast_b = self._recent_speed(a), self._recent_speed(b)
                mover, other = (a, b) if fast_a >= fast_b else (b, a)
                self._contacts.append(Contact(time_s, mover, other, max(fast_a, fast_b)))

    def _recent_speed(self, i: int) -> float:
        """Just before now, so that a push has not yet been passed on."""
        if len(self._rows) < 3:
            return 0.0
        moved = self._rows[-1][0][i] - self._rows[-3][0][i]
        return float(np.linalg.norm(moved) / (2 * SAMPLE_S))

    def _record(self) -> None:
        n = len(self.things)
        held = np.array([i in self._paths for i in range(n)])
        xmat = self._data.xmat[1 : n + 1].reshape(n, 3, 3)
        self._rows.append((self._data.xpos[1 : n + 1].copy(), xmat.copy(), held, self._there.copy()))


def with_round_feet(thing: Thing) -> Thing:
    """A ball that may roll: without the foot that lets it stand in pictures."""
    return replace(thing, colliders=thing.colliders[:1]) if thing.category in ROUND else thing


def _compiled(
    things: Sequence[Thing], start: Sequence[Pose], table_half_m: tuple[float, float], floor_m: float, bounce: float
) -> tuple[mujoco.MjModel, list[list[int]]]:
    """The model to simulate, and the geoms of each thing."""
    spec = mujoco.MjSpec()
    spec.option.timestep = TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.gravity = [0, 0, -G_M_S2]
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = STIFF_FRICTION
    rough = {"type": mujoco.mjtGeom.mjGEOM_BOX}
    spec.worldbody.add_geom(size=[*table_half_m, 0.05], pos=[0, 0, -0.05], **rough)
    spec.worldbody.add_geom(size=[20, 20, 0.1], pos=[0, 0, floor_m - 0.1], **rough)
    damping = -np.log(max(bounce, 0.05))
    ratio = damping / np.hypot(np.pi, damping)
    for thing, (position, rotation) in zip(things, start, strict=True):
        body = spec.worldbody.add_body(pos=position, quat=quaternion_of(rotation))
        body.add_freejoint()
        add_parts(spec, body, thing.colliders or thing.parts, mass_kg=thing.mass_kg)
        for geom in body.geoms:
            geom.condim = 6
            if thing.category in ROUND:
                geom.friction = [0.5, 0.005, ROLLING_M]
                geom.solref = [-BALL_STIFFNESS, -2 * ratio * np.sqrt(BALL_STIFFNESS)]
                geom.priority = 1
    model = spec.compile()
    bodies = model.geom_bodyid
    return model, [np.flatnonzero(bodies == i + 1).tolist() for i in range(len(things))]
