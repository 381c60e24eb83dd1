"""The worlds: each is one file and one line here.

Knows where every world lives. Does not import one before it is asked for.
"""

from importlib import import_module

from deixis.errors import OptionError
from deixis.lab.worlds.world import COLORS, World, paint

WORLDS: dict[str, str] = {
    "primitives": "deixis.lab.worlds.primitives",
    "desk": "deixis.lab.worlds.desk",
}

__all__ = ["COLORS", "WORLDS", "World", "load_world", "paint"]


def load_world(name: str) -> World:
    """The world called ``name``; raises OptionError when there is none. Its module holds it as ``WORLD``."""
    if name not in WORLDS:
        raise OptionError(f"unknown world {name!r}; choose one of {', '.join(WORLDS)}")
    world = import_module(WORLDS[name]).WORLD
    if not isinstance(world, World):
        raise TypeError(f"{WORLDS[name]}.WORLD is a {type(world).__name__}, expected a World")
    return world
