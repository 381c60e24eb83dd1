"""The lab: rendered worlds with exact truth, the training of nano on them, and the benchmarks.

Needs the extra ``[lab]``. Its commands are ``deixis lab …`` and ``deixis bench …``; a name is imported when it is first used,
so that settling a scene does not load a network, nor training a renderer that it does not need.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "WORLDS": "worlds",
    "load_world": "worlds",
    "Example": "make",
    "example": "make",
    "Question": "questions",
    "ask_everything": "questions",
    "score": "scoring",
    "report": "bench",
    "scored": "bench",
    "Plan": "train",
    "launch": "train",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
