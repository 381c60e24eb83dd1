"""World `primitives`: five solids in twelve colours, about 9 cm across, so that size on the picture tells distance.

Knows the solids. Does not know scenes.
"""

from numpy.random import Generator

from deixis.lab.thing import Thing
from deixis.lab.worlds.parts import CONES, box, capsule, cylinder, flat_foot, frustum, near, sphere, turned
from deixis.lab.worlds.world import ALL_COLORS, Kind, World, paint

_HALF_SIZE_M = 0.045
_SPREAD = 0.2


def _sphere(rng: Generator, color: str) -> Thing:
    radius = near(rng, _HALF_SIZE_M, _SPREAD)
    ball = sphere(radius, (0, 0, radius), paint(rng, color))
    return Thing("sphere", color, (ball,), (ball, flat_foot(radius)), symmetry="round", mass_kg=0.3)


def _cube(rng: Generator, color: str) -> Thing:
    side = 2 * near(rng, _HALF_SIZE_M, _SPREAD)
    cube = box(side, side, side, (0, 0, side / 2), paint(rng, color))
    return Thing("cube", color, (cube,), symmetry="quarter", mass_kg=0.4, stackable=True)


def _cylinder(rng: Generator, color: str) -> Thing:
    radius, height = near(rng, 0.9 * _HALF_SIZE_M, _SPREAD), 2 * near(rng, 1.05 * _HALF_SIZE_M, _SPREAD)
    drum = cylinder(radius, height, (0, 0, height / 2), paint(rng, color))
    return Thing("cylinder", color, (drum,), symmetry="round", mass_kg=0.35, stackable=True)


def _cone(rng: Generator, color: str) -> Thing:
    row = CONES[int(rng.integers(len(CONES)))]
    cone = frustum(row, (0, 0, row[2]), paint(rng, color))
    return Thing("cone", color, (cone,), symmetry="round", mass_kg=0.25)


def _capsule(rng: Generator, color: str) -> Thing:
    radius, length = near(rng, 0.6 * _HALF_SIZE_M, _SPREAD), 2 * near(rng, 1.2 * _HALF_SIZE_M, _SPREAD)
    rgba = paint(rng, color)
    if rng.uniform() < 0.5:
        pill = capsule(radius, length, (0, 0, length / 2), rgba)
        foot = cylinder(0.6 * radius, 0.2 * radius, (0, 0, 0.1 * radius))
        return Thing("capsule", color, (pill,), (pill, foot), symmetry="round", mass_kg=0.25)
    pill = capsule(radius, length, (0, 0, radius), rgba, turned("y", 90))
    rest = box(length - 2 * radius, 0.7 * radius, 0.1 * radius, (0, 0, 0.05 * radius))  # keeps it from rolling away
    return Thing("capsule", color, (pill,), (pill, rest), symmetry="half", mass_kg=0.25)


WORLD = World.of(
    "primitives",
    {
        "sphere": Kind("球体", ALL_COLORS, _sphere),
        "cube": Kind("立方体", ALL_COLORS, _cube),
        "cylinder": Kind("圆柱体", ALL_COLORS, _cylinder),
        "cone": Kind("圆锥体", ALL_COLORS, _cone),
        "capsule": Kind("胶囊体", ALL_COLORS, _capsule),
    },
)
