"""The electric things of the desk: laptop, keyboard, mouse, monitor, phone, USB stick, router, headphones.

Knows their shapes, sizes and styles. As they stand before a person at -y, screens look along -y and cables leave at +y.
"""

from itertools import pairwise

import numpy as np
from numpy.random import Generator

from deixis.lab.thing import Part, Thing, Vec3
from deixis.lab.worlds.parts import bar, box, capsule, cylinder, ellipsoid, moved, near, turned
from deixis.lab.worlds.world import Rgba, detail, paint, shade

DARK: Rgba = (0.07, 0.07, 0.08, 1.0)
STEEL: Rgba = (0.72, 0.73, 0.76, 1.0)
INLAY = 0.0012  # how far flat details stand out of the face that carries them: more than a depth buffer's grain


def _screen(rng: Generator) -> Rgba:
    """Dark bluish glass, always lighter and bluer than black paint."""
    level = rng.uniform(0.6, 1.2)
    return float(0.08 * level), float(0.16 * level), float(0.34 * level), 1.0


def laptop(rng: Generator, color: str) -> Thing:
    """Open, 12 to 17 inches; base with keys and touchpad, lid leaning back with a framed screen."""
    rgba, glass = paint(rng, color), _screen(rng)
    width = near(rng, 0.335, 0.12)
    depth, height, thick = width * rng.uniform(0.66, 0.72), width * rng.uniform(0.62, 0.68), near(rng, 0.017)
    keys, pad = detail(rgba), shade(rgba, 0.8)
    base = box(width, depth, thick, (0, 0, thick / 2), rgba)
    lid_box = box(width, 0.009, height, (0, 0, height / 2), rgba)
    lean, hinge = float(rng.uniform(8, 32)), (0.0, depth / 2 - 0.006, thick)
    lid = moved((lid_box, box(0.86 * width, 0.002, 0.74 * height, (0, -0.0048, 0.53 * height), glass)), hinge, turned("x", -lean))
    parts = (
        base,
        box(0.84 * width, 0.40 * depth, 2 * INLAY, (0, 0.17 * depth, thick), keys),
        box(0.30 * width, 0.26 * depth, 2 * INLAY, (0, -0.29 * depth, thick), pad),
        cylinder(0.007, 0.8 * width, hinge, shade(rgba, 0.6), turned("y", 90)),
        *lid,
    )
    return Thing("laptop", color, parts, (base, lid[0]), mass_kg=1.6)


def keyboard(rng: Generator, color: str) -> Thing:
    """Compact or full: a tray and rows of keys with the long space bar in the middle of the nearest row."""
    rgba = paint(rng, color)
    full = rng.uniform() < 0.5
    width, depth, thick = near(rng, 0.43 if full else 0.31, 0.1), near(rng, 0.138, 0.1), near(rng, 0.017)
    if rng.uniform() < 0.5:  # keys of the tray's own colour, set apart by their shadow
        tray, caps = rgba, shade(rgba, 0.78 if color != "white" else 0.9)  # not gray
    else:
        tray, caps = DARK if color != "black" else shade(rgba, 0.5), rgba
    block = 0.76 * width if full else 0.94 * width  # letters; the rest is the number pad
    left, pitch = -0.47 * width, 0.9 * depth / 4
    parts = [box(width, depth, thick, (0, 0, thick / 2), tray)]
    lift, gap = 0.006, 0.006

    def key(start: float, end: float, row: int, rows: int = 1) -> Part:
        """Keys from ``start`` to ``end`` (shares of the block), ``rows`` deep, counted from the person."""
        at = (left + (start + end) / 2 * block, -0.45 * depth + (row + rows / 2) * pitch, thick + lift / 2)
        return box((end - start) * block - gap, rows * pitch - gap, lift, at, caps)

    parts += [key(0, 0.27, 0), key(0.27, 0.70, 0), key(0.70, 1, 0)]
    for row, cuts in ((1, (0.36, 0.68)), (2, (0.30, 0.62)), (3, (0.42,))):
        edges = (0.0, *cuts, 1.0)
        parts += [key(a, b, row) for a, b in pairwise(edges)]
    if full:
        parts += [key(1.03, 1.24, 0, 4)]
    return Thing("keyboard", color, tuple(parts), (box(width, depth, thick + lift, (0, 0, (thick + lift) / 2)),), mass_kg=0.6)


def mouse(rng: Generator, color: str) -> Thing:
    """Rounded back, wheel and the line between its two buttons; some have the start of a cable."""
    rgba = paint(rng, color)
    width, length, height = near(rng, 0.064, 0.1), near(rng, 0.112, 0.1), near(rng, 0.039, 0.12)
    mark = detail(rgba)
    parts = [
        ellipsoid(width, length, 0.93 * height, (0, 0, 0.475 * height), rgba),
        box(0.5 * width, 0.6 * length, 0.2 * height, (0, 0, 0.1 * height), shade(rgba, 0.7)),  # where it stands
        ellipsoid(1.01 * width, 0.66 * length, height, (0, -0.17 * length, 0.51 * height), rgba),  # the palm's hump
        # A thin lens through the body shows as a line between the buttons; the hump hides its other half.
        ellipsoid(0.012, 0.96 * length, 0.965 * height, (0, 0.035 * length, 0.4825 * height), mark),
        cylinder(0.0085, 0.010, (0, 0.27 * length, 0.77 * height), mark, turned("y", 90)),
    ]
    if rng.uniform() < 0.4:
        parts.append(bar((0, 0.45 * length, 0.4 * height), (0, 0.45 * length + 0.05, 0.003), 0.0022, mark))
    hull = box(0.84 * width, 0.9 * length, 0.8 * height, (0, 0, 0.4 * height))
    return Thing("mouse", color, tuple(parts), (hull,), mass_kg=0.1)


def monitor(rng: Generator, color: str) -> Thing:
    """19 to 27 inches with a broad chin, on a neck and a square or round foot."""
    rgba, glass = paint(rng, color), _screen(rng)
    width = near(rng, 0.50, 0.14)
    height, thick = width * rng.uniform(0.62, 0.68), near(rng, 0.028, 0.2)
    rise, foot = near(rng, 0.085, 0.2), 0.42 * width
    panel = box(width, thick, height, (0, 0, height / 2), rgba)
    head: tuple[Part, ...] = (
        panel,
        box(0.88 * width, 0.003, 0.70 * height, (0, -thick / 2 - 0.0005, 0.595 * height), glass),
        box(0.10 * width, 0.002, 0.035 * height, (0, -thick / 2 - 0.0005, 0.12 * height), detail(rgba)),
    )
    head = moved(head, (0, 0, rise), turned("x", -float(rng.uniform(0, 8))))
    tone = shade(rgba, 0.8) if rng.uniform() < 0.5 else rgba
    neck_height = rise + 0.3 * height
    neck_at: Vec3 = (0, thick / 2 + 0.018, neck_height / 2)
    if rng.uniform() < 0.5:
        neck, stand = box(0.055, 0.018, neck_height, neck_at, tone), box(foot, 0.20, 0.014, (0, 0.01, 0.007), tone)
    else:
        neck, stand = cylinder(0.018, neck_height, neck_at, tone), cylinder(0.52 * foot, 0.014, (0, 0.01, 0.007), tone)
    return Thing("monitor", color, (*head, neck, stand), (head[0], neck, stand), mass_kg=4.0)


def phone(rng: Generator, color: str) -> Thing:
    """Mostly face down, so that its colour shows: back, camera island, lenses. Else face up with broad bezels."""
    rgba = paint(rng, color)
    width, length, thick = near(rng, 0.074, 0.08), near(rng, 0.152, 0.08), near(rng, 0.009, 0.12)
    slab = box(width, length, thick, (0, 0, thick / 2), rgba)
    if rng.uniform() < 0.3:
        parts: tuple[Part, ...] = (
            slab,
            box(0.84 * width, 0.62 * length, 2 * INLAY, (0, 0.02 * length, thick), _screen(rng)),
            cylinder(0.085 * width, 2 * INLAY, (0, -0.39 * length, thick), detail(rgba)),
            box(0.24 * width, 0.016 * length, 2 * INLAY, (0, 0.42 * length, thick), detail(rgba)),
        )
        return Thing("phone", color, parts, (slab,), mass_kg=0.18)
    glass = (0.16, 0.18, 0.22, 1.0) if color == "black" else DARK
    lens_radius, x, y, top = 0.105 * width, -0.25 * width, 0.36 * length, thick + 0.002
    lenses: tuple[Part, ...]
    if rng.uniform() < 0.5:  # a square island with three eyes
        island = box(0.42 * width, 0.21 * length, 0.004, (x, y, thick), shade(rgba, 0.75))
        spots = ((-0.085, 0.042), (-0.085, -0.042), (0.09, 0.0))
        lenses = tuple(cylinder(lens_radius, 0.003, (x + dx * width, y + dy * length, top), glass) for dx, dy in spots)
    else:  # a tall strip with two
        tone = DARK if color != "black" else shade(rgba, 0.4)
        island = box(0.24 * width, 0.23 * length, 0.004, (-0.33 * width, y, thick), tone)
        lenses = tuple(cylinder(lens_radius, 0.003, (-0.33 * width, y + dy * length, top), STEEL) for dy in (-0.05, 0.05))
    logo = cylinder(0.07 * width, 2 * INLAY, (0, 0, thick), detail(rgba))
    return Thing("phone", color, (slab, island, *lenses, logo), (slab,), mass_kg=0.18)


def usb_stick(rng: Generator, color: str) -> Thing:
    """Body, metal plug with its two windows, and a ring or a cap line at the other end."""
    rgba = paint(rng, color)
    width, length, thick = near(rng, 0.021), near(rng, 0.046), near(rng, 0.010)
    plug, end, middle = 0.0155, length / 2, thick / 2
    body = box(width, length, thick, (0, 0, middle), rgba)
    plug_box = box(0.62 * width, plug, 0.5 * thick, (0, end + plug / 2, middle), STEEL)
    window = (0.12 * width, 0.25 * plug, 0.0014)
    parts = [body, plug_box]
    parts += [box(*window, (side * 0.14 * width, end + 0.6 * plug, 0.75 * thick), DARK) for side in (-1, 1)]
    if rng.uniform() < 0.5:
        parts += [
            cylinder(0.42 * width, 0.5 * thick, (0, -end - 0.1 * width, middle), rgba),
            cylinder(0.2 * width, 0.5 * thick + 2 * INLAY, (0, -end - 0.18 * width, middle), DARK),
        ]
    else:
        parts += [
            box(width + 0.001, 0.05 * length, thick + 0.001, (0, 0.2 * length, middle + 0.0005), detail(rgba)),
            box(0.5 * width, 0.3 * length, 2 * INLAY, (0, -0.1 * length, thick), shade(rgba, 0.65)),
        ]
    return Thing("usb stick", color, tuple(parts), (body, plug_box), mass_kg=0.02)


def router(rng: Generator, color: str) -> Thing:
    """Flat case, two to four antennas at its back, a row of lights at its front.

    Flat-topped, but not stackable: what is let fall from above its antennas does not come to rest on the case.
    """
    rgba = paint(rng, color)
    width, depth, thick = near(rng, 0.22), near(rng, 0.145), near(rng, 0.034)
    reach, count = near(rng, 0.15), int(rng.integers(2, 5))
    case = box(width, depth, thick, (0, 0, thick / 2), rgba)
    stripe = box(0.9 * width, 0.10 * depth, 2 * INLAY, (0, -0.38 * depth, thick), detail(rgba))
    lamp = (0.25, 0.95, 0.35, 1.0)
    lights = tuple(box(0.012, 0.006, 2 * INLAY, (x * width, -0.38 * depth, thick + INLAY), lamp) for x in (-0.3, -0.18, -0.06))
    antenna = rgba if rng.uniform() < 0.5 else DARK
    spread = float(rng.uniform(0, 22))
    back = depth / 2 + 0.004
    antennas = []
    for share in np.linspace(-1, 1, count):
        root, tilt = float(0.42 * width * share), np.radians(spread * share)
        tip = (root + reach * float(np.sin(tilt)), back, 0.4 * thick + reach * float(np.cos(tilt)))
        antennas.append(bar((root, back, 0.4 * thick), tip, 0.006, antenna))
    parts = (case, stripe, *lights, *antennas)
    return Thing("router", color, parts, (case, antennas[0], antennas[-1]), mass_kg=0.5)


def headphones(rng: Generator, color: str) -> Thing:
    """Two cups with dark cushions and a band, standing on the cups or lying back until the band rests."""
    rgba = paint(rng, color)
    cup, half_width, rise, wire = near(rng, 0.039, 0.1), near(rng, 0.078, 0.1), near(rng, 0.135, 0.1), near(rng, 0.0075, 0.12)
    down = 0.0 if rng.uniform() < 0.4 else 1.0
    # The band is half an ellipse in the plane spanned by x and `along`, which points up or falls back to the table.
    drop = (cup - wire) / rise
    along = np.array([0, np.sqrt(1 - drop**2), -drop]) if down else np.array([0, 0, 1.0])
    across, centre = np.array([1.0, 0, 0]), np.array([0, 0, cup])
    angles = np.linspace(np.radians(4), np.radians(176), 8)
    points = [centre + half_width * np.cos(a) * across + rise * np.sin(a) * along for a in angles]
    ends = [(float(x), float(y), float(z)) for x, y, z in points]
    band = [bar(a, b, wire, rgba) for a, b in pairwise(ends)]
    sideways, cushion = turned("y", 90), DARK if color != "black" else shade(rgba, 0.6)
    parts = list(band)
    for side in (-1, 1):
        parts.append(cylinder(cup, 0.024, (side * (half_width + 0.004), 0, cup), rgba, sideways))
        parts.append(cylinder(0.86 * cup, 0.022, (side * (half_width - 0.018), 0, cup), cushion, sideways))
    _, y, z = (float(v) for v in (points[3] + points[4]) / 2)
    crown = capsule(wire, half_width, (0, y, z), turn=sideways)
    blocks = (box(0.045, 1.5 * cup, 2 * cup, (side * (half_width - 0.007), 0, cup)) for side in (-1, 1))
    middle = (0.0, (cup - y - wire) / 2 if down else 0.0, 0.0)  # of the footprint, when the band lies behind the cups
    standing = moved(tuple(parts), middle), moved((*blocks, crown), middle)
    return Thing("headphones", color, *standing, symmetry="none" if down else "half", mass_kg=0.25)
