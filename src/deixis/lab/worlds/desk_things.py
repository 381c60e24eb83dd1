"""The plain things of the desk: cup, bottle, book, lamp, plant, pen, box (called carton here), ball.

Knows their shapes, sizes and styles. Frustums come in the sizes of thing.FRUSTUMS only.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from deixis.lab.thing import Part, Thing
from deixis.lab.worlds.parts import (
    LAMPSHADES,
    POTS,
    TUMBLERS,
    bar,
    box,
    cylinder,
    ellipsoid,
    flat_foot,
    frustum,
    moved,
    near,
    sphere,
    then,
    turned,
)
from deixis.lab.worlds.world import Rgba, detail, paint, shade

COFFEE: Rgba = (0.13, 0.07, 0.04, 1.0)
SOIL: Rgba = (0.15, 0.10, 0.07, 1.0)
PAPER: Rgba = (0.93, 0.90, 0.80, 1.0)
PALE: Rgba = (0.90, 0.90, 0.88, 1.0)
TAPE: Rgba = (0.80, 0.70, 0.48, 1.0)
GLOW: Rgba = (1.0, 0.95, 0.75, 1.0)


def cup(rng: Generator, color: str) -> Thing:
    """Mug with a handle (straight or tapered), or tumbler without; looked into from above it is dark."""
    rgba = paint(rng, color)
    inside = COFFEE if color not in ("black", "brown") else (0.45, 0.46, 0.48, 1.0)
    if rng.uniform() < 0.6:
        radius, height = near(rng, 0.041), near(rng, 0.096)
        wall = cylinder(radius, height, (0, 0, height / 2), rgba)
        flare = 1.0
    else:
        row = TUMBLERS[int(rng.integers(len(TUMBLERS)))]
        radius, height = row[1], 2 * row[2]
        wall = frustum(row, (0, 0, row[2]), rgba)
        flare = row[0] / row[1]
    parts = [wall, cylinder(0.86 * radius, 0.002, (0, 0, height), inside)]
    body = cylinder(0.5 * (1 + flare) * radius, height, (0, 0, height / 2))
    if flare < 1 and rng.uniform() < 0.5:
        band = 0.5 * height
        parts.append(cylinder(0.955 * radius, 0.02, (0, 0, band), shade(rgba, 0.75)))
        return Thing("cup", color, tuple(parts), (body,), symmetry="round", mass_kg=0.2)
    # The handle leaves at +x: two arms and a grip.
    top, low, out = 0.80 * height, 0.26 * height, radius + 0.026
    wall_at = [radius * (flare + (1 - flare) * z / height) for z in (top, low)]
    wire = near(rng, 0.0055)
    parts += [
        bar((wall_at[0] - 0.004, 0, top), (out, 0, top - 0.008), wire, rgba),
        bar((out, 0, top - 0.008), (out, 0, low + 0.010), wire, rgba),
        bar((out, 0, low + 0.010), (wall_at[1] - 0.004, 0, low), wire, rgba),
    ]
    grip = box(out - 0.7 * radius, 2 * wire, top - low, ((out + 0.7 * radius) / 2, 0, (top + low) / 2))
    return Thing("cup", color, tuple(parts), (body, grip), mass_kg=0.3)


def bottle(rng: Generator, color: str) -> Thing:
    """Body, shoulder, neck, cap and a pale label; or a wide flask with a broad cap and a ring."""
    rgba = paint(rng, color)
    if rng.uniform() < 0.6:
        radius, body, neck = near(rng, 0.034), near(rng, 0.15), near(rng, 0.035)
        cap = shade(rgba, 0.55) if color != "black" else (0.55, 0.55, 0.57, 1.0)
        label = (0.58, 0.66, 0.74, 1.0) if color == "white" else PALE
        top = body + 0.75 * radius + neck
        parts = (
            cylinder(radius, body, (0, 0, body / 2), rgba),
            ellipsoid(2 * radius, 2 * radius, 2.2 * radius, (0, 0, body), rgba),
            cylinder(0.38 * radius, 2 * neck, (0, 0, top - neck), rgba),
            cylinder(0.48 * radius, 0.020, (0, 0, top), cap),
            cylinder(radius + 0.0008, 0.30 * body, (0, 0, 0.55 * body), label),
        )
        height = top + 0.010
    else:
        radius, body = near(rng, 0.037), near(rng, 0.165)
        parts = (
            cylinder(radius, body, (0, 0, body / 2), rgba),
            ellipsoid(2 * radius, 2 * radius, 1.1 * radius, (0, 0, body), rgba),
            cylinder(0.62 * radius, 0.045, (0, 0, body + 0.4 * radius + 0.0225), detail(rgba)),
            cylinder(radius + 0.0008, 0.008, (0, 0, 0.10 * body), detail(rgba)),
            cylinder(0.64 * radius, 0.006, (0, 0, body + 0.4 * radius + 0.010), shade(rgba, 0.8)),
        )
        height = body + 0.4 * radius + 0.045
    trunk = cylinder(radius, body + 0.5 * radius, (0, 0, (body + 0.5 * radius) / 2))
    head = cylinder(0.5 * radius, height - body, (0, 0, (height + body) / 2))
    return Thing("bottle", color, parts, (trunk, head), symmetry="round", mass_kg=0.5)


def book(rng: Generator, color: str) -> Thing:
    """Lying closed: two covers, a spine at -x, pale pages on three sides, a title on the front cover."""
    rgba = paint(rng, color)
    width, length, thick = near(rng, 0.160), near(rng, 0.225), near(rng, 0.030, 0.45)
    board, pages = 0.0028, PAPER if color != "white" else (0.78, 0.72, 0.58, 1.0)
    title = detail(rgba) if color in ("white", "yellow", "pink", "gray", "cyan", "orange") else PAPER
    parts = [
        box(width, length, board, (0, 0, board / 2), rgba),
        box(width, length, board, (0, 0, thick - board / 2), rgba),
        box(0.004, length, thick, (-width / 2 + 0.002, 0, thick / 2), shade(rgba, 0.85)),
        box(width - 0.008, length - 0.010, thick - 2 * board, (0, 0, thick / 2), pages),
    ]
    style = rng.uniform()
    if style < 0.5:
        parts.append(box(0.62 * width, 0.10 * length, 0.0024, (0.03 * width, 0.22 * length, thick), title))
        parts.append(box(0.36 * width, 0.035 * length, 0.0024, (0.03 * width, 0.10 * length, thick), title))
    elif style < 0.8:
        parts.append(box(0.40 * width, 0.26 * length, 0.0024, (0.03 * width, 0.12 * length, thick), title))
        parts.append(box(0.62 * width, 0.025 * length, 0.0024, (0.03 * width, -0.30 * length, thick), title))
    else:
        parts.append(box(0.04 * width, length, 0.0024, (-0.36 * width, 0, thick), shade(rgba, 0.6)))
    hull = box(width, length, thick, (0, 0, thick / 2))
    return Thing("book", color, tuple(parts), (hull,), symmetry="half", mass_kg=0.5, stackable=True)


def lamp(rng: Generator, color: str) -> Thing:
    """Arm lamp (foot, two arms with an elbow, shade looking down) or table lamp (pole with a shade on top)."""
    rgba = paint(rng, color)
    row = LAMPSHADES[int(rng.integers(len(LAMPSHADES)))]
    radius, _, half = row
    base = 0.8 * radius + 0.018
    metal = shade(rgba, 0.85) if rng.uniform() < 0.5 else rgba
    foot = cylinder(base, 0.018, (0, 0, 0.009), metal)
    if rng.uniform() < 0.45:
        rise = near(rng, 2.6 * radius)
        stem = cylinder(0.011, rise, (0, 0, rise / 2), metal)
        knob = sphere(0.010, (0, 0, rise + 2 * half), metal)
        shade_at = (0.0, 0.0, rise + half)
        parts: tuple[Part, ...] = (
            foot,
            stem,
            frustum(row, shade_at, rgba),
            cylinder(0.86 * radius, 0.002, (0, 0, rise), GLOW),
            knob,
        )
        head = cylinder(0.75 * radius, 2 * half, shade_at)
        return Thing("lamp", color, parts, (foot, stem, head), symmetry="round", mass_kg=1.2)
    elbow = (0.0, near(rng, 0.075), near(rng, 0.20))
    joint = (0.0, -near(rng, 0.030), elbow[2] + near(rng, 0.125))
    nod = float(rng.uniform(0, 22))  # the shade looks down and a little forward
    slope = np.radians(nod)
    centre = (0.0, joint[1] - half * float(np.sin(slope)), joint[2] - half * float(np.cos(slope)))
    rim = (0.0, joint[1] - 2 * half * float(np.sin(slope)), joint[2] - 2 * half * float(np.cos(slope)))
    turn = turned("x", -nod)
    parts = (
        foot,
        bar((0, 0, 0.012), elbow, 0.009, metal),
        sphere(0.015, elbow, shade(metal, 0.8)),
        bar(elbow, joint, 0.008, metal),
        frustum(row, centre, rgba, turn),
        cylinder(0.86 * radius, 0.002, rim, GLOW, turn),
        cylinder(0.5 * row[1], 0.02, joint, metal, turn),
    )
    head = cylinder(0.8 * radius, 1.2 * half, centre, turn=turn)
    return Thing("lamp", color, parts, (foot, bar((0, 0, 0.012), elbow, 0.009, rgba), head), mass_kg=1.4)


def plant(rng: Generator, color: str) -> Thing:
    """A pot of the named colour (tapered with a rim and a saucer, or a straight planter); leaves are always green."""
    rgba = paint(rng, color)
    if rng.uniform() < 0.6:
        row = POTS[int(rng.integers(len(POTS)))]
        radius, top = row[1], 2 * row[2]
        pot = [
            frustum(row, (0, 0, row[2]), rgba),
            cylinder(1.08 * radius, 0.020, (0, 0, top - 0.010), rgba),
            cylinder(1.02 * radius, 0.010, (0, 0, 0.005), rgba),
        ]
    else:
        radius = near(rng, 0.052, 0.2)
        top = 2 * radius * float(rng.uniform(0.75, 1.0))
        pot = [cylinder(1.06 * radius, top, (0, 0, top / 2), rgba)]
    hue = float(rng.uniform(-1, 1))
    leaf = (0.14 + 0.06 * hue, 0.46 + 0.06 * hue, 0.14 - 0.03 * hue, 1.0)
    leaves = _LEAVES[int(rng.choice(len(_LEAVES), p=(0.4, 0.3, 0.15, 0.15)))](rng, 0.92 * radius, leaf)
    parts = (*pot, cylinder(0.88 * radius, 0.004, (0, 0, top), SOIL), *moved(leaves, (0, 0, top)))
    crown = float(max(part.extent_points()[:, 2].max() for part in leaves))
    body = cylinder(0.95 * radius, top, (0, 0, top / 2))
    heart = cylinder(0.4 * radius, crown, (0, 0, top + crown / 2))
    return Thing("plant", color, parts, (body, heart), symmetry="round", mass_kg=0.8)


def _broad_leaves(rng: Generator, radius: float, green: Rgba) -> tuple[Part, ...]:
    """Leaves that grow from the origin outwards all around a pot of this radius."""
    count, length, lean = int(rng.integers(4, 7)), near(rng, 1.9 * radius), float(rng.uniform(28, 48))
    leaves: list[Part] = []
    for k in range(count):
        leaf = ellipsoid(0.32 * length, 0.010, length, (0, 0, 0.46 * length), shade(green, float(rng.uniform(0.8, 1.1))))
        leaves += moved(moved((leaf,), turn=turned("x", lean + float(rng.uniform(-4, 4)))), turn=turned("z", 360 * k / count))
    return tuple(leaves)


def _blades(rng: Generator, radius: float, green: Rgba) -> tuple[Part, ...]:
    """Upright blades, close together."""
    blades: list[Part] = []
    for k in range(int(rng.integers(4, 7))):
        around, length = np.radians(137.5 * k), near(rng, 1.9 * radius)
        at = (0.36 * radius * float(np.cos(around)), 0.36 * radius * float(np.sin(around)), 0.42 * length)
        turn = then(turned("x", float(rng.uniform(-10, 10))), turned("z", float(rng.uniform(0, 180))))
        blades.append(ellipsoid(0.022, 0.008, length, at, shade(green, float(rng.uniform(0.75, 1.1))), turn))
    return tuple(blades)


def _cactus(rng: Generator, radius: float, green: Rgba) -> tuple[Part, ...]:
    """A stem with two arms."""
    height = near(rng, 1.8 * radius)
    return (
        ellipsoid(0.95 * radius, 0.95 * radius, height, (0, 0, 0.42 * height), green),
        ellipsoid(0.36 * radius, 0.36 * radius, 0.5 * height, (0.5 * radius, 0, 0.55 * height), green),
        ellipsoid(0.34 * radius, 0.34 * radius, 0.42 * height, (-0.5 * radius, 0, 0.45 * height), green),
    )


def _bush(rng: Generator, radius: float, green: Rgba) -> tuple[Part, ...]:
    """Three round tufts and one on top."""
    tufts = []
    for k in range(3):
        size, around = near(rng, 1.1 * radius), 2 * np.pi * k / 3
        at = (0.34 * radius * float(np.cos(around)), 0.34 * radius * float(np.sin(around)), 0.38 * radius)
        tufts.append(ellipsoid(size, size, 0.9 * size, at, shade(green, 0.8 + 0.15 * k)))
    return (*tufts, ellipsoid(radius, radius, radius, (0, 0, 0.8 * radius), green))


_LEAVES: tuple[Callable[[Generator, float, Rgba], tuple[Part, ...]], ...] = (_broad_leaves, _blades, _cactus, _bush)


def pen(rng: Generator, color: str) -> Thing:
    """Lying along y: barrel, pointed end at +y, cap with a clip. Slim or a thick marker."""
    rgba = paint(rng, color)
    marker = rng.uniform() < 0.45
    radius, length = (near(rng, 0.0085), near(rng, 0.115, 0.1)) if marker else (near(rng, 0.0053), near(rng, 0.125, 0.1))
    flat, trim = turned("x", 90), detail(rgba) if color in ("white", "yellow", "pink", "cyan", "orange", "black") else PALE
    end = length / 2
    parts = (
        cylinder(radius, length, (0, 0, radius), rgba, flat),
        ellipsoid(1.9 * radius, 0.034, 1.9 * radius, (0, end, radius), trim),
        cylinder(0.22 * radius, 0.012, (0, end + 0.017, radius), (0.15, 0.15, 0.16, 1.0), flat),
        cylinder(1.0 * radius, 0.012, (0, -end - 0.006, radius), trim, flat),
        box(0.5 * radius, 0.036, 0.0026, (0, -end + 0.016, 2 * radius + 0.0012), trim),
    )
    hull = box(1.6 * radius, length + 0.034, 2 * radius, (0, 0.006, radius))
    return Thing("pen", color, parts, (hull,), symmetry="half", mass_kg=0.02)


def carton(rng: Generator, color: str) -> Thing:
    """Closed box: taped shut across its top, or with a lid that overhangs; a small label."""
    rgba = paint(rng, color)
    width, depth, height = near(rng, 0.19, 0.3), near(rng, 0.14, 0.25), near(rng, 0.095, 0.3)
    tape = TAPE if color not in ("yellow", "orange", "white") else (0.45, 0.36, 0.24, 1.0)
    seam, label = shade(rgba, 0.6), PALE if color not in ("white", "yellow", "pink") else detail(rgba)
    if rng.uniform() < 0.55:
        wide, thin = 0.2 * depth, 0.0016
        parts: tuple[Part, ...] = (
            box(width, depth, height, (0, 0, height / 2), rgba),
            box(width + 2 * thin, wide, thin, (0, 0, height + thin / 2), tape),
            box(thin, wide, 0.4 * height, (width / 2 + thin / 2, 0, 0.8 * height), tape),
            box(thin, wide, 0.4 * height, (-width / 2 - thin / 2, 0, 0.8 * height), tape),
            box(0.3 * width, thin, 0.34 * height, (0.22 * width, -depth / 2 - thin / 2, 0.5 * height), label),
        )
        hull = box(width, depth, height, (0, 0, height / 2))
    else:
        lid, over = 0.28 * height, 0.006
        parts = (
            box(width, depth, height - 0.001, (0, 0, height / 2), rgba),
            box(width + over, depth + over, lid, (0, 0, height - lid / 2), rgba),
            box(width + 0.6 * over, depth + 0.6 * over, 0.006, (0, 0, height - lid - 0.003), seam),
            box(0.34 * width, 0.30 * depth, 0.0024, (0, 0, height), label),
        )
        hull = box(width + over, depth + over, height, (0, 0, height / 2))
    return Thing("box", color, parts, (hull,), symmetry="half", mass_kg=0.4, stackable=True)


def ball(rng: Generator, color: str) -> Thing:
    """Toy or sport ball with one stripe around it, or two crossing seams."""
    rgba = paint(rng, color)
    radius = near(rng, 0.045, 0.3)
    over = 1.012 * radius
    line = detail(rgba) if color in ("white", "yellow", "orange", "pink") else PALE
    at = (0.0, 0.0, over)
    tilt, around = float(rng.uniform(20, 70)), float(rng.uniform(0, 360))
    turn = then(turned("x", tilt), turned("z", around))
    body = sphere(radius, at, rgba)
    parts = [body]
    if rng.uniform() < 0.5:
        parts.append(cylinder(over, 0.28 * radius, at, line, turn))
    else:
        across = then(turned("x", tilt + 90), turned("z", around))
        parts += [cylinder(over, 0.09 * radius, at, line, turn), cylinder(over, 0.09 * radius, at, line, across)]
    hull = sphere(over, at)
    return Thing("ball", color, tuple(parts), (hull, flat_foot(over)), symmetry="round", mass_kg=0.2)
