"""The gate before all routes: who asks, under which name, from which page; a place for the request; its bytes; its end.

Knows HTTP's headers and ASGI. Does not know what is asked. Whoever goes away is noticed at once: what is done for them is
cancelled, and their place is free. Refusals come before a single byte of the body is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deixis.errors import DeixisError, ForbiddenError, InputError, OverloadError, TooLargeError
from deixis.service.admission import Admission
from deixis.service.bodies import error_body
from deixis.service.keys import Keys

WORK = ("/v1/chat/completions", "/v1/spatial/")  # what takes a place
OPEN = ("/health/live", "/health/ready")  # what needs no key
_OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")
_SMALL_BODY, _HEADER_BYTES = 64 * 2**10, 32 * 2**10
_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_ONCE = (b"host", b"content-length", b"content-type", b"authorization", b"transfer-encoding", b"origin")
log = logging.getLogger("deixis.gate")
_DISCARD_BYTES, _DISCARD_S = 2**20, 1.0


@dataclass
class Passed:
    """What the gate knows of a request: for routes, the log and the figures."""

    id: str
    caller: str = ""
    method: str = ""
    path: str = ""
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    end: str = ""  # answered, refused, failed, gone
    error: str = ""
    place: bool = False


class Gate:
    """ASGI middleware. `ended` is told of every request once."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        keys: Keys,
        hosts: tuple[str, ...],
        origins: tuple[str, ...],
        strict_hosts: bool,
        max_body_bytes: int,
        body_s: float,
        ended: Callable[[Passed], None],
        streams: tuple[str, ...] = (),
    ) -> None:
        self._app = app
        self._admission = admission
        self._keys = keys
        self._hosts = (*_OWN_NAMES, *hosts)
        self._origins = origins
        self._strict_hosts = strict_hosts or bool(hosts)
        self._max_body_bytes = max_body_bytes
        self._body_s = body_s
        self._ended = ended
        self._streams = streams  # routes that read and write as they please

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        passed = Passed(_request_id(scope), method=scope["method"], path=scope["path"])
        scope.setdefault("state", {})["passed"] = passed
        speaking = _Speaking(send, passed, self._body_s)
        try:
            await self._pass(scope, receive, speaking, passed)
        except asyncio.CancelledError:  # the server is being ended by force
            passed.end = passed.end or "failed"
            raise
        except ClientGoneError:
            passed.end = "gone"
        except DeixisError as error:
            passed.end = "refused" if error.http_status < 500 or isinstance(error, OverloadError) else "failed"
            passed.error = type(error).__name__
            if not passed.status:
                await _refuse(error, speaking, receive)
        except Exception as error:  # its words may quote what was asked: they are not told
            passed.end, passed.error = ("gone", "") if speaking.stuck else ("failed", type(error).__name__)
            if speaking.stuck:
                return
            log.error("a fault in %s: %s", passed.path, passed.error, exc_info=bool(os.environ.get("DEIXIS_DEBUG")))
            if not passed.status:
                await _refuse(DeixisError("a fault inside Deixis; the server's log tells more"), speaking, receive)
        finally:
            passed.end = passed.end or "answered"
            self._ended(passed)

    async def _pass(self, scope: Scope, receive: Receive, send: _Speaking, passed: Passed) -> None:
        headers = _headers(scope)
        self._check_names(headers)
        # What a browser asks before it sends a key is answered from the list of pages alone.
        preflight = scope["method"] == "OPTIONS" and headers.get(b"origin", b"").decode("latin-1").lower() in self._origins
        if passed.path not in OPEN and not preflight:
            passed.caller = self._keys.caller(headers.get(b"authorization", b"").decode("latin-1"))
        if passed.path.startswith(self._streams or ("\0",)):
            await self._app(scope, receive, send)
            return
        with ExitStack() as held:
            work = scope["method"] == "POST" and passed.path.startswith(WORK)
            if work:
                address = scope["client"][0] if scope.get("client") else ""
                held.enter_context(self._admission.place(passed.caller or address))
                passed.place = True
            most = self._max_body_bytes if work else _SMALL_BODY
            body = await self._body(receive, most, held.enter_context(self._admission.body()), headers)
            await self._run(scope, body, receive, send)

    def _check_names(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if not name or (self._strict_hosts and name not in self._hosts):
            raise ForbiddenError("the Host header names a server that this is not; set DEIXIS_ALLOWED_HOSTS if it is")
        origin = headers.get(b"origin")
        if origin is not None:
            asked = origin.decode("latin-1").lower()
            if asked not in self._origins and urlsplit(asked).netloc != host:
                raise ForbiddenError("pages of other origins may not ask here; set DEIXIS_ALLOWED_ORIGINS if they may")

    async def _body(self, receive: Receive, most: int, came: Callable[[int], None], headers: dict[bytes, bytes]) -> bytes:
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most:
            raise TooLargeError(f"the request has {int(announced)} bytes; expected at most {most}")
        held = bytearray()
        try:
            async with asyncio.timeout(self._body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    piece = message.get("body", b"")
                    if len(held) + len(piece) > most:
                        raise TooLargeError(f"the request has more than {most} bytes")
                    came(len(piece))
                    held += piece
                    if not message.get("more_body"):
                        return bytes(held)
        except TimeoutError:
            raise InputError(f"the request's body did not arrive within {self._body_s:g} s") from None

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: _Speaking) -> None:
        """The app, until it has answered or the client has gone."""
        gone = asyncio.Event()
        given = False

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        running: asyncio.Task[None] = asyncio.create_task(self._app(scope, replay, send))  # type: ignore[arg-type]
        watching = asyncio.create_task(watch())
        try:
            await asyncio.wait((running, watching), return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not send.done:
                running.cancel()
                await asyncio.wait((running,))
                raise ClientGoneError
            await running
        finally:
            gone.set()
            for task in (running, watching):
                if not task.done():
                    task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)


class ClientGoneError(Exception):
    """Nobody is there to be answered."""


class _Speaking:
    """`send`, with the request's id on every answer, and an eye on what was said."""

    def __init__(self, send: Send, passed: Passed, within_s: float) -> None:
        self._send = send
        self._passed = passed
        self._within_s = within_s
        self.done = False
        self.stuck = False  # what was said is not read

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._passed.status = message["status"]
            headers = [
                (b"x-request-id", self._passed.id.encode()),
                (b"x-content-type-options", b"nosniff"),
                *message.get("headers", ()),
            ]
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self.done = True
        try:
            async with asyncio.timeout(self._within_s):
                await self._send(message)
        except TimeoutError:
            self.stuck = True
            raise ClientGoneError from None


def _request_id(scope: Scope) -> str:
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Raises InputError for headers that two servers could read in two ways."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) > _HEADER_BYTES:
        raise InputError(f"the request's headers have more than {_HEADER_BYTES} bytes")
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in found and name in _ONCE:
            raise InputError(f"the header {name.decode('latin-1')} is given twice")
        found[name] = value
    if b"content-length" in found and b"transfer-encoding" in found:
        raise InputError("the request has both Content-Length and Transfer-Encoding; expected one of them")
    return found


def refusal(error: DeixisError, param: str | None = None) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, headers and body for an error."""
    headers = {}
    if isinstance(error, OverloadError):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return error.http_status, headers, error_body(error, param)


async def _refuse(error: DeixisError, send: _Speaking, receive: Receive) -> None:
    """Answer at once; then read a while what is still being sent, for a connection that is closed too early loses the answer."""
    status, extra, value = refusal(error)
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close", **extra}
    encoded = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    left = _DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    break
    await send({"type": "http.response.body", "body": b"", "more_body": False})
