"""What a world is: kinds of things, the colours that each may have, and their names in English and Chinese.

Knows colours. Does not know shapes (parts.py), scenes or physics.
"""

import colorsys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from numpy.random import Generator

from deixis.errors import OptionError
from deixis.lab.thing import Thing

Rgba = tuple[float, float, float, float]
Rgb = tuple[float, float, float]

COLORS: Mapping[str, tuple[Rgb, str]] = MappingProxyType(
    {
        "red": ((0.82, 0.07, 0.07), "红色"),
        "blue": ((0.09, 0.20, 0.82), "蓝色"),
        "green": ((0.09, 0.58, 0.14), "绿色"),
        "yellow": ((0.96, 0.84, 0.08), "黄色"),
        "purple": ((0.45, 0.12, 0.68), "紫色"),
        "orange": ((1.00, 0.48, 0.03), "橙色"),
        "cyan": ((0.08, 0.80, 0.84), "青色"),
        "gray": ((0.48, 0.48, 0.48), "灰色"),
        "white": ((0.94, 0.94, 0.94), "白色"),
        "black": ((0.05, 0.05, 0.05), "黑色"),
        "brown": ((0.38, 0.20, 0.08), "棕色"),
        "pink": ((0.98, 0.53, 0.72), "粉色"),
    }
)
ALL_COLORS = tuple(COLORS)


@dataclass(frozen=True)
class Kind:
    """One category: how to build it, its Chinese name, and the colours in which people would expect it."""

    zh: str
    colors: tuple[str, ...]
    build: Callable[[Generator, str], Thing]


@dataclass(frozen=True)
class World:
    """A family of things. ``build(rng, category, color)`` makes one; the same generator state makes the same one."""

    name: str
    build: Callable[[Generator, str, str], Thing]
    categories: tuple[str, ...]
    colors: Mapping[str, tuple[str, ...]]  # category -> colour names
    categories_zh: Mapping[str, str]

    @classmethod
    def of(cls, name: str, kinds: Mapping[str, Kind]) -> "World":
        """The world whose categories are ``kinds``. Its ``build`` raises OptionError for what it does not have."""

        def build(rng: Generator, category: str, color: str) -> Thing:
            if category not in kinds:
                raise OptionError(f"world {name!r} has no category {category!r}; it has {', '.join(kinds)}")
            if color not in kinds[category].colors:
                raise OptionError(f"no {color!r} {category} in world {name!r}; colours are {', '.join(kinds[category].colors)}")
            return kinds[category].build(rng, color)

        return cls(
            name=name,
            build=build,
            categories=tuple(kinds),
            colors=MappingProxyType({category: kind.colors for category, kind in kinds.items()}),
            categories_zh=MappingProxyType({category: kind.zh for category, kind in kinds.items()}),
        )


def paint(rng: Generator, color: str) -> Rgba:
    """One instance's own tone of a named colour, close enough that the name stays certain.

    Hue moves by at most 4.5 degrees (red, orange and yellow lie 25 degrees apart), saturation and value by 7%.
    Gray, white and black move in value only, with at most a breath of tint.
    """
    if color not in COLORS:
        raise OptionError(f"unknown colour {color!r}; choose one of {', '.join(COLORS)}")
    hue, saturation, value = colorsys.rgb_to_hsv(*COLORS[color][0])
    if color in ("gray", "white", "black"):
        hue, saturation = rng.uniform(), rng.uniform(0, 0.04)
        value += rng.uniform(-0.04, 0.04)
    else:
        hue = (hue + rng.uniform(-0.0125, 0.0125)) % 1.0
        saturation *= rng.uniform(0.93, 1.07)
        value *= rng.uniform(0.93, 1.07)
    red, green, blue = colorsys.hsv_to_rgb(hue, min(saturation, 1.0), min(value, 1.0))
    return float(red), float(green), float(blue), 1.0


def shade(rgba: Rgba, factor: float) -> Rgba:
    """A darker tone of the same paint that still stands out: near black, where darker is not seen, a dark gray."""
    red, green, blue, alpha = rgba
    if max(red, green, blue) < 0.2:
        lift = 0.55 * (1 - factor)
        return red + lift, green + lift, blue + lift, alpha
    return red * factor, green * factor, blue * factor, alpha


def detail(rgba: Rgba) -> Rgba:
    """A gray that stands out on the paint: light on dark paints, dark on light ones."""
    luminance = 0.3 * rgba[0] + 0.59 * rgba[1] + 0.11 * rgba[2]
    return (0.62, 0.63, 0.65, 1.0) if luminance < 0.2 else (0.13, 0.13, 0.14, 1.0)
