"""Deixis as tools of the Model Context Protocol: ask, locate, scene and watch, over stdio or streamable HTTP.

Knows MCP. Knows nothing spatial: the tools ask the same engines' processes as the HTTP routes, through the same doors. Only over
stdio, where whoever asks is this machine's own user, may a picture be the path of a file.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

from deixis.errors import DeixisError, PictureError
from deixis.service.bodies import MAX_QUESTION
from deixis.service.gate import Passed
from deixis.service.gateway import Gateway
from deixis.service.logs import log_request

PATH = "/mcp"
_TOLD = "Ask where things are in pictures and videos; every answer comes with boxes, checked claims and a confidence."
_PICTURE = "A picture: an http(s) address, a data URI, or, over stdio, the path of a file."
_VIDEO = "A video: an http(s) address, a data URI, or, over stdio, the path of a file."
Image = Annotated[str, Field(description=_PICTURE, min_length=1)]
Video = Annotated[str, Field(description=_VIDEO, min_length=1)]
Words = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
Camera = Annotated[list[float] | None, Field(description="fx, fy, cx, cy in pixels.", min_length=4, max_length=4)]


def mcp_server(gateway: Gateway, *, files: bool) -> MCPServer[Any]:
    """The server. `files`: sources may be paths."""
    server: MCPServer[Any] = MCPServer("deixis", title="Deixis", instructions=_TOLD)
    tools = _Tools(gateway, files)

    @server.tool()
    async def ask(image: Image, question: Words, camera: Camera = None, model: str | None = None) -> dict[str, Any]:
        """Answer a question about a picture, in English or Chinese: verdict, confidence, objects with boxes, checked claims."""
        return await tools.picture("ask", image, model, {"question": question, "evidence": True, "camera": camera})

    @server.tool()
    async def locate(
        image: Image, what: Words, three_d: bool = False, camera: Camera = None, model: str | None = None
    ) -> dict[str, Any]:
        """Find every instance of something in a picture: boxes in pixels, 3D boxes in metres, or that it is absent."""
        return await tools.picture("locate", image, model, {"what": what, "three_d": three_d, "camera": camera})

    @server.tool()
    async def scene(image: Image, camera: Camera = None, model: str | None = None) -> dict[str, Any]:
        """Everything in a picture: boxes in 2D and 3D, relations, what rests on what, and the camera."""
        return await tools.picture("scene", image, model, {"language": "en", "camera": camera})

    @server.tool()
    async def watch(
        video: Video,
        question: Words,
        frames: Annotated[int | None, Field(ge=2, le=100_000)] = None,
        model: str | None = None,
    ) -> dict[str, Any]:
        """Answer a question about a video: where things are now, what happened when, what was hidden by what."""
        return await tools.video(video, model, {"question": question, "frames": frames, "fps": None, "camera": None})

    return server


class _Tools:
    """The way of a call: a place, the bytes, the engine."""

    def __init__(self, gateway: Gateway, files: bool) -> None:
        self._gateway = gateway
        self._files = files

    async def picture(self, op: str, image: str, model: str | None, asked: dict[str, Any]) -> dict[str, Any]:
        async def found() -> bytes:
            return await self._gateway.contents.picture(self._source(image))

        return await self._asked(op, model, asked, found, self._gateway.settings.deadline_s)

    async def video(self, video: str, model: str | None, asked: dict[str, Any]) -> dict[str, Any]:
        async def found() -> bytes:
            return await self._gateway.contents.video(self._source(video))

        return await self._asked("watch", model, asked, found, self._gateway.settings.watch_deadline_s)

    async def _asked(self, op: str, model: str | None, asked: dict[str, Any], found: Any, within_s: float) -> dict[str, Any]:
        passed = Passed(uuid4().hex, caller="mcp", path=PATH, began=time.monotonic(), place=True)
        try:
            with self._gateway.admission.place("mcp"):
                served = self._gateway.models.chosen(model, op)
                await served.settled()
                served.require_grounding()
                async with self._gateway.within(passed, within_s):
                    value = await self._gateway.value(served, passed, op, {"fov_deg": None} | asked, (await found(),))
        except DeixisError as error:
            raise ToolError(f"{type(error).__name__}: {error}") from None
        answer: dict[str, Any] = json.loads(value)
        return answer

    def _source(self, source: str) -> str | bytes:
        if source[:5].lower() == "data:" or "://" in source:
            return source
        if not self._files:
            raise PictureError("expected an http(s) address or a data URI; this server reads no files")
        path, most = Path(source).expanduser(), self._gateway.contents.max_video_bytes
        try:
            if not path.is_file() or path.stat().st_size > most:
                raise PictureError(f"{path.name} is no file of at most {most} bytes")
            return path.read_bytes()
        except (OSError, ValueError) as error:
            raise PictureError(f"{path.name} cannot be read ({type(error).__name__})") from None


@asynccontextmanager
async def loaded(gateway: Gateway) -> AsyncIterator[None]:
    """Inside, the gateway's models are loaded, or about to be."""
    loading = asyncio.create_task(gateway.models.start())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
        await gateway.models.stop()


async def serve_stdio(gateway: Gateway) -> None:
    """Serve whoever started this process, until it closes its end."""
    async with loaded(gateway):
        await mcp_server(gateway, files=True).run_stdio_async()


def mcp_app(gateway: Gateway) -> ASGIApp:
    """Streamable HTTP at /mcp, behind the same gate as all routes."""
    settings = gateway.settings
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the gate does that
    inner = mcp_server(gateway, files=False).streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        max_request_body_size=settings.max_body_bytes,
        transport_security=security,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with loaded(gateway):
                await inner(scope, receive, send)
        else:
            await inner(scope, receive, send)

    return gateway.gate(app, log_request, streams=(PATH,))
