"""Deixis: pointing with words. Ask where, and get an answer that you can check.

`from deixis import Deixis` is the whole public face. The name is resolved on first use, so that importing the package
(as every room does) neither loads torch nor runs anything.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deixis.spatial import Deixis

__all__ = ["Deixis", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Deixis":
        from deixis.spatial import Deixis

        return Deixis
    if name == "__version__":
        try:
            return version("deixis")
        except PackageNotFoundError:  # a source tree on the path, not installed
            return "0+unknown"
    raise AttributeError(f"module 'deixis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
