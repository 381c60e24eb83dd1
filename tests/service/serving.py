"""A gateway on a free port of this machine, in a thread, and what tests ask it with."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from deixis.service.fetching import Fetcher
from deixis.service.gateway import Gateway
from deixis.service.server import Server, server_for
from deixis.service.settings import Settings

ROOT = Path(__file__).parents[2]
READY_S = 120.0


def fake_command(model: str, threads: int) -> list[str]:
    """Scripted engines."""
    return [sys.executable, "-m", "tests.service.fake_worker", "{fd}", model, str(threads)]


@dataclass
class Running:
    """A gateway that serves. Calls into it from tests go through its loop."""

    gateway: Gateway
    server: Server
    url: str
    loop: asyncio.AbstractEventLoop

    def client(self, **given: Any) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, timeout=60, trust_env=False, verify=False, **given
        )  # certificates take long to read


@contextmanager
def running(
    *, models: Sequence[str] = ("fake",), fake: bool = True, fetcher: Fetcher | None = None, **given: Any
) -> Iterator[Running]:
    """Serve while inside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = {"canary": False, "drain_s": 5.0} | given
    settings = Settings(models=tuple(models), port=port, **given)
    loops: list[asyncio.AbstractEventLoop] = []
    made: list[tuple[Gateway, Server]] = []
    started = threading.Event()

    def run() -> None:
        async def main() -> None:
            gateway = Gateway.build(settings, fake_command if fake else None, fetcher)
            made.append((gateway, server_for(gateway)))
            loops.append(asyncio.get_running_loop())
            started.set()
            await made[0][1].serve()

        asyncio.run(main())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(30)
    gateway, server = made[0]
    here = Running(gateway, server, f"http://127.0.0.1:{port}", loops[0])
    try:
        wait_for(lambda: server.started, 30)
        wait_for(lambda: gateway.models.started, READY_S)
        yield here
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_for(what: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def png(width: int = 64, height: int = 64) -> bytes:
    pixels = np.full((height, width, 3), 240, np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = (192, 32, 32)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
