"""The HTTP gateway: OpenAI's chat and `/v1/spatial/*` on one port, models in processes of their own, doors that hold.

Needs the extra `deixis[serve]`. Names are resolved on first use, so that a worker's process does not load the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deixis.service.app import create_app
    from deixis.service.gateway import Gateway
    from deixis.service.server import serve, serve_mcp
    from deixis.service.settings import Settings, read_settings

__all__ = ["Gateway", "Settings", "create_app", "read_settings", "serve", "serve_mcp"]

_HOMES = {
    "Gateway": "gateway",
    "Settings": "settings",
    "create_app": "app",
    "read_settings": "settings",
    "serve": "server",
    "serve_mcp": "server",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"deixis.service.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deixis.service' has no attribute {name!r}")
