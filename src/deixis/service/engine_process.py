"""An engine's process as the gateway sees it: started, asked, watched, ended.

Knows processes and the wire. Does not know models nor HTTP. Every request that it takes has exactly one end: a value, an error,
or that whoever asked has gone. When the process ends by itself, all that wait for it are told at once (EngineLostError).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from deixis import errors
from deixis.errors import DeixisError, EngineLostError, OverloadError
from deixis.service.wire import Frame, read_frame

_STOP_S = 5.0
_STREAM_BYTES = 2**20


@dataclass(eq=False)
class Ask:
    """One request on its way; its events come through `queue`, the last of them with "end"."""

    number: int
    queue: asyncio.Queue[Frame | DeixisError] = field(default_factory=asyncio.Queue)
    over: bool = False


class EngineProcess:
    """One worker. `lost` is called once, when it ends without having been asked to."""

    def __init__(self, command: Sequence[str], lost: Callable[[], None]) -> None:
        self._command = command
        self._lost = lost
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asks: dict[int, Ask] = {}
        self._numbers = itertools.count(1)
        self._stopping = False
        self.card: Mapping[str, Any] = {}

    @property
    def pid(self) -> int | None:
        """The process, for whoever measures it."""
        return None if self._process is None else self._process.pid

    @property
    def open_asks(self) -> int:
        """Requests that have not come to their end."""
        return len(self._asks)

    async def start(self) -> None:
        """Start it, and wait until its model is there. Raises what it failed with, or EngineLostError where it died."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *self._command[:1],
                *[word.replace("{fd}", str(theirs.fileno())) for word in self._command[1:]],
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sys.stderr.fileno() if _has_number(sys.stderr) else None,
                process_group=0,  # Ctrl-C is for the gateway, which ends its engines in order; one session, so that NICE counts
            )
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=_STREAM_BYTES)
        try:
            first = await read_frame(reader)
            if first is None:
                raise EngineLostError("the engine's process ended while it loaded its model; the server's log tells more")
            if first.head.get("event") != "ready":
                raise error_of(first.head.get("error"))
        except BaseException:
            await self.stop()
            raise
        self.card = first.head["card"]
        self._reading = asyncio.create_task(self._read(reader))

    async def stop(self) -> None:
        """End it; requests that are not over are told EngineLostError."""
        self._stopping = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None and self._process.returncode is None:
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end_all()

    @asynccontextmanager
    async def asking(self, op: str, asked: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> AsyncIterator[AsyncIterator[Frame]]:
        """Ask; inside come the events, the last with "end": "value". Leaving early calls the request off.

        The iterator raises the request's own error.
        """
        ask = Ask(next(self._numbers))
        await self._write(Frame({"id": ask.number, "op": op, "asked": asked}, tuple(blobs)), ask)
        try:
            yield self._events(ask)
        finally:
            if self._asks.pop(ask.number, None) is not None and self._writer is not None and not self._writer.is_closing():
                self._send(Frame({"id": ask.number, "op": "cancel"}))

    async def value(self, op: str, asked: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
        """Ask and wait: the value's JSON."""
        async with self.asking(op, asked, blobs) as events:
            return await end_of(events)

    async def stats(self) -> dict[str, Any]:
        """What the engine holds and has done."""
        found: dict[str, Any] = json.loads(await self.value("stats", {}))
        return found

    async def _events(self, ask: Ask) -> AsyncIterator[Frame]:
        while True:
            got = await ask.queue.get()
            if isinstance(got, DeixisError):
                raise got
            yield got
            if "end" in got.head:
                return

    async def _write(self, frame: Frame, ask: Ask) -> None:
        if self._writer is None or self._writer.is_closing() or self._stopping:
            raise EngineLostError("the engine is not running; try again in a moment")
        self._asks[ask.number] = ask
        try:
            self._send(frame)
            await self._writer.drain()
        except OSError as error:
            self._asks.pop(ask.number, None)
            raise EngineLostError("the engine's process has ended; try again in a moment") from error
        except BaseException:
            self._asks.pop(ask.number, None)
            self._send(Frame({"id": ask.number, "op": "cancel"}))
            raise

    def _send(self, frame: Frame) -> None:
        assert self._writer is not None
        self._writer.writelines(frame.encoded())

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while (frame := await read_frame(reader)) is not None:
                ask = self._asks.get(frame.head["id"])
                if ask is None:  # called off in the meantime
                    continue
                if frame.head.get("end") == "error":
                    self._end(ask, error_of(frame.head.get("error")))
                elif "end" in frame.head:
                    self._end(ask, frame)
                else:
                    ask.queue.put_nowait(frame)
        finally:
            if self._writer is not None:
                self._writer.close()
            self._end_all()
            if not self._stopping:
                self._stopping = True
                if self._process is not None and self._process.returncode is None:
                    self._process.kill()  # it may have written what cannot be read
                self._lost()

    def _end(self, ask: Ask, end: Frame | DeixisError) -> None:
        del self._asks[ask.number]
        ask.queue.put_nowait(end)

    def _end_all(self) -> None:
        for ask in tuple(self._asks.values()):
            self._end(ask, EngineLostError("the engine's process ended while it answered; try again in a moment"))


async def end_of(events: AsyncIterator[Frame], tell: Callable[[Mapping[str, Any]], None] | None = None) -> bytes:
    """The value that events lead to, as JSON; `tell` hears those on the way. Raises the request's own error."""
    async for frame in events:
        if "end" in frame.head:
            return frame.blobs[0]
        if tell is not None:
            tell(frame.head)
    raise AssertionError("events end with an end")


def error_of(told: object) -> DeixisError:
    """The error that an engine told of."""
    if isinstance(told, Mapping):
        kind = getattr(errors, str(told.get("type")), None)
        if isinstance(kind, type) and issubclass(kind, DeixisError):
            error = kind(str(told.get("message")))
            wait_s = told.get("retry_after_s")
            if isinstance(error, OverloadError) and isinstance(wait_s, int | float):
                error.retry_after_s = wait_s
            return error
        return DeixisError(str(told.get("message")))
    return DeixisError("the engine failed without saying why")


def _has_number(stream: Any) -> bool:
    try:
        return int(stream.fileno()) >= 0
    except (AttributeError, OSError, ValueError):
        return False


def worker_command(model: str, threads: int) -> list[str]:
    """How an engine's process is started; {fd} becomes its end of the pair."""
    return [sys.executable, "-m", "deixis.service.worker", "{fd}", model, str(threads)]


def resident_bytes(pid: int | None) -> int:
    """Memory that a process holds; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
