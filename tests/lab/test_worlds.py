"""Every registered world, found by itself: what it builds has real sizes, true colours, and stands by itself."""

import dataclasses
import itertools

import mujoco
import numpy as np
import pytest

from deixis.errors import OptionError
from deixis.lab.scene import add_parts, settle
from deixis.lab.thing import FRUSTUMS, Part, Thing, rotation_matrix
from deixis.lab.worlds import COLORS, WORLDS, World, load_world, paint
from deixis.lab.worlds.parts import CONES, LAMPSHADES, POTS, TUMBLERS, bar, box, capsule, moved, near, then, turned
from deixis.lab.worlds.world import detail, shade

MOST_PARTS = 14
EVERY = [(name, category) for name in WORLDS for category in load_world(name).categories]
# Longest and shortest side of the bounds, metres: what a person would believe of such a thing.
REAL_SIZES_M = {
    "sphere": (0.07, 0.11), "cube": (0.07, 0.11), "cylinder": (0.06, 0.12), "cone": (0.06, 0.14), "capsule": (0.04, 0.14),
    "laptop": (0.17, 0.40), "keyboard": (0.015, 0.50), "mouse": (0.03, 0.18), "monitor": (0.15, 0.65), "cup": (0.06, 0.14),
    "bottle": (0.055, 0.30), "book": (0.015, 0.27), "phone": (0.007, 0.17), "usb stick": (0.008, 0.09), "router": (0.11, 0.32),
    "lamp": (0.12, 0.45), "plant": (0.06, 0.26), "pen": (0.007, 0.19), "box": (0.06, 0.26), "ball": (0.06, 0.12),
    "headphones": (0.06, 0.22),
}  # fmt: skip


def built(world: World, category: str, seeds: range) -> list[Thing]:
    return [
        world.build(np.random.default_rng([seed, k]), category, color)
        for k, color in enumerate(world.colors[category])
        for seed in seeds
    ]


@pytest.mark.parametrize("name", WORLDS)
def test_world_names_everything(name: str) -> None:
    world = load_world(name)
    assert isinstance(world, World)
    assert world.name == name
    assert len(set(world.categories)) == len(world.categories) > 0
    assert set(world.colors) == set(world.categories_zh) == set(world.categories)
    assert len(set(world.categories_zh.values())) == len(world.categories)
    assert not any(text.isascii() and "USB" not in text for text in world.categories_zh.values())
    for colors in world.colors.values():
        assert 5 <= len(set(colors)) == len(colors) <= 12
        assert set(colors) <= set(COLORS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        world.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("name", "category"), EVERY)
def test_things_are_sound_and_of_real_size(name: str, category: str) -> None:
    shortest, longest = REAL_SIZES_M[category]
    for thing in built(load_world(name), category, range(6)):
        low, high = thing.bounds
        size = high - low
        assert thing.category == category
        assert 1 <= len(thing.parts) <= MOST_PARTS
        assert len(thing.colliders) <= 3
        assert thing.mass_kg > 0
        assert -1e-6 < low[2] < 0.002, "the bottom is the table's top"
        assert shortest <= size.min() <= size.max() <= longest
        assert np.all(np.abs((low + high)[:2]) < 0.45 * size[:2].max() + 0.001), "the origin is in the footprint"
        for part in (*thing.parts, *thing.colliders):
            assert_sound(part)
        reach = np.concatenate([p.extent_points() for p in thing.colliders or thing.parts])
        assert np.all(reach.min(0) > low - 0.002)
        assert np.all(reach.max(0) < high + 0.002)
        if thing.symmetry in ("round", "quarter"):
            assert size[0] == pytest.approx(size[1], rel=0.15)
            assert np.all(np.abs((low + high)[:2]) < 0.15 * size[0])


def assert_sound(part: Part) -> None:
    assert np.all(np.isfinite([*part.size, *part.position, *part.rotation, *part.rgba]))
    assert np.linalg.norm(part.rotation) == pytest.approx(1)
    assert all(0 <= value <= 1 for value in part.rgba)
    used = {"sphere": 1, "cylinder": 2, "capsule": 2}.get(part.shape, 3)
    if part.shape == "frustum":
        assert part.size in FRUSTUMS
    else:
        assert all(value > 0.0003 for value in part.size[:used])
        assert all(value == 0 for value in part.size[used:])


def visible_colors(thing: Thing) -> list[str]:
    """Names of the colours that rays meet which come in parallel from all around, 10 to 60 degrees above."""
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body()
    add_parts(spec, body, thing.parts)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    low, high = thing.bounds
    reach = float(np.linalg.norm(high - low)) / 2
    names = []
    for azimuth, elevation in itertools.product(np.radians(np.arange(20, 360, 60)), np.radians((15, 35, 55))):
        forward = -np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        up = np.cross(right, forward)
        for x, y in itertools.product(np.linspace(-reach, reach, 21), repeat=2):
            hit = np.full(1, -1, np.int32)
            mujoco.mj_ray(model, data, (low + high) / 2 - 2 * reach * forward + x * right + y * up, forward, None, 1, -1, hit)
            if hit[0] >= 0:
                names.append(nearest_color(thing.parts[hit[0]].rgba))
    return names


def nearest_color(rgba: tuple[float, float, float, float]) -> str:
    return min(COLORS, key=lambda name: float(np.linalg.norm(np.subtract(COLORS[name][0], rgba[:3]))))


@pytest.mark.parametrize(("name", "category"), EVERY)
def test_named_color_dominates(name: str, category: str) -> None:
    world = load_world(name)
    shares = []
    for k, color in enumerate(world.colors[category][:4]):
        names = visible_colors(world.build(np.random.default_rng(50 + k), category, color))
        shares.append(names.count(color) / len(names))
    assert min(shares) > 0.3
    assert np.mean(shares) > 0.5


@pytest.mark.parametrize(("name", "category"), EVERY)
def test_things_settle_as_they_are_placed(name: str, category: str) -> None:
    world = load_world(name)
    for seed in range(3):
        rng = np.random.default_rng([7, seed])
        thing = world.build(rng, category, str(rng.choice(world.colors[category])))
        turn = rotation_matrix(turned("z", float(rng.uniform(0, 360))))
        (placed,) = settle([thing], [(np.array([0.0, 0.0, 0.003]), turn)], (0.5, 0.5))
        tilt = np.degrees(np.arccos(np.clip(placed.rotation[2, 2], -1, 1)))
        assert tilt < 8
        assert np.linalg.norm(placed.position_m) < 0.02, "it stays where it is put"
        assert abs(placed.position_m[2]) < 0.004


@pytest.mark.parametrize("name", WORLDS)
def test_same_seed_same_thing_other_seed_other_thing(name: str) -> None:
    world = load_world(name)
    for category in world.categories:
        color = world.colors[category][0]
        first, again, other = (world.build(np.random.default_rng(seed), category, color) for seed in (3, 3, 4))
        assert first == again
        assert first != other


@pytest.mark.parametrize("name", WORLDS)
def test_unknown_names_are_refused(name: str) -> None:
    world, rng = load_world(name), np.random.default_rng(0)
    with pytest.raises(OptionError, match="no category 'unicorn'"):
        world.build(rng, "unicorn", "red")
    with pytest.raises(OptionError, match="no 'mauve'"):
        world.build(rng, world.categories[0], "mauve")


def test_unknown_world_and_color_are_refused() -> None:
    with pytest.raises(OptionError, match="unknown world 'moon'; choose one of primitives, desk"):
        load_world("moon")
    with pytest.raises(OptionError, match="unknown colour 'mauve'"):
        paint(np.random.default_rng(0), "mauve")


def test_colors_stay_clearly_apart() -> None:
    rng = np.random.default_rng(0)
    tones = {color: np.array([paint(rng, color)[:3] for _ in range(60)]) for color in COLORS}
    for first, second in itertools.combinations(COLORS, 2):
        gaps = np.linalg.norm(tones[first][:, None] - tones[second][None], axis=-1)
        assert gaps.min() > 0.2, f"{first} and {second} come close"
    for color, seen in tones.items():
        assert {nearest_color((*map(float, tone), 1.0)) for tone in seen} == {color}
        assert len(np.unique(seen, axis=0)) > 1
    assert len({zh for _, zh in COLORS.values()}) == 12
    assert all(zh.endswith("色") for _, zh in COLORS.values())


def test_shade_and_detail_stand_out() -> None:
    black, red, white = (paint(np.random.default_rng(0), color) for color in ("black", "red", "white"))
    assert shade(red, 0.5) == pytest.approx((red[0] / 2, red[1] / 2, red[2] / 2, 1.0))
    assert min(shade(black, 0.5)[:3]) > max(black[:3]) + 0.2
    assert min(detail(black)[:3]) > 0.5
    assert max(detail(white)[:3]) < 0.2


def test_frustums_are_what_their_names_say() -> None:
    assert (*CONES, *LAMPSHADES, *POTS, *TUMBLERS) == FRUSTUMS
    assert all(top == 0 for _, top, _ in CONES)
    assert all(0 < top < bottom for bottom, top, _ in LAMPSHADES)
    assert all(bottom < top for bottom, top, _ in (*POTS, *TUMBLERS))


def test_parts_turn_and_move() -> None:
    part = box(0.2, 0.1, 0.05, (0.1, 0, 0), COLOR := (1.0, 0.0, 0.0, 1.0))
    assert part.size == (0.1, 0.05, 0.025)
    assert part.rgba == COLOR
    (turned_part,) = moved((part,), (0, 0, 1), turned("z", 90))
    assert turned_part.position == pytest.approx((0, 0.1, 1))
    assert np.ptp(turned_part.extent_points(), axis=0) == pytest.approx([0.1, 0.2, 0.05])
    first, second = turned("x", 30), turned("z", -70)
    assert rotation_matrix(then(first, second)) == pytest.approx(rotation_matrix(second) @ rotation_matrix(first))
    lengths = [near(np.random.default_rng(k), 0.1, 0.2) for k in range(50)]
    assert 0.08 <= min(lengths) < 0.09 < 0.11 < max(lengths) <= 0.12


@pytest.mark.parametrize("end", [(0.1, 0.2, 0.3), (0, 0, 1), (0, 0, -1), (1, 0, 0), (-0.3, 0.1, -0.9)])
def test_bar_runs_from_start_to_end(end: tuple[float, float, float]) -> None:
    start, radius = (0.05, -0.1, 0.2), 0.01
    tip = tuple(float(a + b) for a, b in zip(start, end, strict=True))
    part = bar(start, (tip[0], tip[1], tip[2]), radius, (1, 1, 1, 1))
    ends = [np.array(part.position) + side * part.size[1] * rotation_matrix(part.rotation)[:, 2] for side in (-1, 1)]
    if end == (0, 0, -1):
        ends.reverse()
    assert ends[0] == pytest.approx(start)
    assert ends[1] == pytest.approx(tip)


def test_capsule_is_longer_than_wide() -> None:
    assert capsule(0.02, 0.1, (0, 0, 0)).size == pytest.approx((0.02, 0.03, 0))
    with pytest.raises(ValueError, match="longer than"):
        capsule(0.02, 0.04, (0, 0, 0))
