"""The gateway on a socket: started, drained, ended.

Knows uvicorn and signals. Does not know routes.
"""

from __future__ import annotations

import asyncio
import gc
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from deixis.service.app import create_app
from deixis.service.gateway import Gateway
from deixis.service.logs import set_up_logs
from deixis.service.settings import Settings


class Server(uvicorn.Server):
    """uvicorn's server, which takes no new work from the moment it is told to end."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; see uvicorn for what a second one does."""
        self._gateway.admission.draining = True
        super().handle_exit(sig, frame)


def server_for(gateway: Gateway, app: ASGIApp | None = None) -> Server:
    """The server, not yet running. HTTP is read by h11, which is strict about what a request is."""
    settings = gateway.settings
    config = uvicorn.Config(
        app or create_app(gateway),
        host=settings.host,
        port=settings.port,
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who asks is who is connected
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(settings.drain_s) or 1,
        h11_max_incomplete_event_size=64 * 2**10,
    )
    return Server(config, gateway)


def serve(settings: Settings) -> None:
    """Serve until told to end. Raises OptionError for settings that do not fit."""
    gateway = Gateway.build(settings)
    set_up_logs(settings.log_level)
    server = server_for(gateway)
    # What is loaded by now stays: looking for garbage among it would hold up all requests (measured: 50 ms each time).
    gc.collect()
    gc.freeze()
    server.run()


def serve_mcp(settings: Settings, *, http: bool) -> None:
    """Serve tools to whoever started this process, or over HTTP. Raises OptionError for settings that do not fit."""
    from deixis.service.mcp_server import mcp_app, serve_stdio

    gateway = Gateway.build(settings)
    set_up_logs(settings.log_level)  # to stderr: stdout is the protocol's
    if http:
        server_for(gateway, mcp_app(gateway)).run()
    else:
        asyncio.run(serve_stdio(gateway))
