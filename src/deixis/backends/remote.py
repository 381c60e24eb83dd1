"""HTTP to the servers of one model: retries, time limits, a breaker for each server, and requests that can be called off.

Knows HTTP and replicas. Does not know what is asked. Requests run on a loop in a thread of their own, where one that is called
off ends at once and its connection with it: the server then stops to work for nobody. httpx is imported on first use.
"""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from deixis.backends.replicas import Replica, Replicas
from deixis.errors import BackendError, OverloadError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
_TIMEOUT_S, _CONNECT_S, _PROBE_S = 300.0, 5.0, 5.0
_RETRIES = 2
_BACKOFF_S = 0.2
_MOST_WAIT_S = 5.0  # that a server's Retry-After is obeyed for
_PROBES_S = (0.5, 1.0, 2.0, 5.0, 10.0)
_MAY_SUCCEED_LATER = (429, 502, 503, 504)
_MAX_LINE = 2**24


class Stoppable(Protocol):
    """A request under way."""

    def cancel(self) -> object: ...


Holding = Callable[[Stoppable], AbstractContextManager[None]]


@dataclass(frozen=True)
class Reply:
    """What a server said."""

    url: str
    status: int
    text: str
    retry_after_s: float = 0.0

    @property
    def is_error(self) -> bool:
        """Whether it is anything but a success."""
        return not 200 <= self.status < 300


class Remote:
    """`holding` is entered with every request under way, so that another thread may call it off. `transport` is for tests."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        api_key: str = "",
        transport: httpx.BaseTransport | None = None,
        retries: int = _RETRIES,
        backoff_s: float = _BACKOFF_S,
    ) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S)
        limits = httpx.Limits(max_connections=None)
        self.replicas = Replicas(urls)
        self.holding: Holding = lambda work: nullcontext()  # noqa: ARG005
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, transport=transport, limits=limits)  # type: ignore[arg-type]
        self._retries = retries
        self._backoff_s = backoff_s

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str = "") -> Reply:
        """The answer of a server, asked again, and elsewhere, where it may succeed later. Raises BackendError without any."""
        return self._run(self._request(method, path, body, key))

    def lines(self, path: str, body: Mapping[str, Any], key: str = "") -> Iterator[str | Reply]:
        """A stream's lines as they come; a reply in their place where the server refuses. Raises BackendError."""
        told: queue.SimpleQueue[str | Reply | Exception | None] = queue.SimpleQueue()

        async def follow() -> None:
            try:
                async for line in self._lines(path, body, key):
                    told.put(line)
                told.put(None)
            except asyncio.CancelledError:
                told.put(BackendError("the request was called off"))
                raise
            except Exception as error:  # noqa: BLE001 - it is raised where the lines are read
                told.put(error)

        future = asyncio.run_coroutine_threadsafe(follow(), _loop())
        try:
            with self.holding(future):
                while (got := told.get()) is not None:
                    if isinstance(got, Exception):
                        raise got
                    yield got
        finally:
            future.cancel()

    def close(self) -> None:
        """Close the connections."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), _loop()).result(_CONNECT_S)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, _loop())
        try:
            with self.holding(future):
                return future.result()
        except CancelledError:
            raise BackendError("the request was called off") from None
        finally:
            future.cancel()

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None, key: str) -> Reply:
        async with self._sent(method, path, body, key) as response:
            return await _read(response)

    async def _lines(self, path: str, body: Mapping[str, Any], key: str) -> AsyncIterator[str | Reply]:
        import httpx

        async with self._sent("POST", path, body, key) as response:
            if response.is_error:
                yield await _read(response)
                return
            try:
                async for line in response.aiter_lines():
                    if len(line) > _MAX_LINE:
                        raise BackendError(f"a line of {len(line)} characters from the server; expected server-sent events")
                    yield line
            except httpx.HTTPError as error:
                raise BackendError(f"{response.url} broke off ({type(error).__name__})") from error

    @asynccontextmanager
    async def _sent(self, method: str, path: str, body: Mapping[str, Any] | None, key: str) -> AsyncIterator[httpx.Response]:
        """The response whose headers are there; of several tries the last."""
        import httpx

        tried: list[Replica] = []
        for attempt in range(self._retries + 1):
            replica = self.replicas.choose(key, tried)
            tried.append(replica)
            last = attempt == self._retries
            with replica.busy():
                try:
                    request = self._client.build_request(method, replica.url + path, json=body)
                    response = await self._client.send(request, stream=True)
                except httpx.HTTPError as error:
                    if replica.failed():
                        self._probe(replica)
                    if last or all(one.open for one in self.replicas.all):
                        why = str(error) or type(error).__name__
                        raise BackendError(f"{replica.url} did not answer ({why}); is the server running?") from error
                    wait_s = self._backoff_s * 2**attempt
                else:
                    try:
                        later = response.status_code in _MAY_SUCCEED_LATER
                        if not later:
                            replica.worked()
                        wait_s = _retry_after(response) or self._backoff_s * 2**attempt
                        if not later or last or wait_s > _MOST_WAIT_S:
                            yield response
                            return
                    finally:
                        await response.aclose()
            await asyncio.sleep(wait_s * random.uniform(0.75, 1.25))

    def _probe(self, replica: Replica) -> None:
        task = asyncio.get_running_loop().create_task(self._until_healthy(replica))
        _PROBING.add(task)
        task.add_done_callback(_PROBING.discard)

    async def _until_healthy(self, replica: Replica) -> None:
        import httpx

        tries = 0
        while replica.open and not self._client.is_closed:
            await asyncio.sleep(_PROBES_S[min(tries, len(_PROBES_S) - 1)])
            tries += 1
            try:
                response = await self._client.get(replica.url + "/models", timeout=_PROBE_S)
            except (httpx.HTTPError, RuntimeError):
                continue
            if response.status_code < 500:
                replica.worked()


_PROBING: set[asyncio.Task[None]] = set()


def refused(reply: Reply) -> OverloadError:
    """The error for a server that is full."""
    error = OverloadError(f"{reply.url} answered {reply.status}: {reply.text[:300]}; try again later")
    error.retry_after_s = max(reply.retry_after_s, 1.0)
    return error


async def _read(response: httpx.Response) -> Reply:
    import httpx

    url = str(response.url)
    try:
        await response.aread()
    except httpx.HTTPError as error:
        raise BackendError(f"{url} broke off ({type(error).__name__})") from error
    return Reply(url, response.status_code, response.text, _retry_after(response))


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 0.0


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    """The loop that all requests of this process run on."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="deixis-remote", daemon=True).start()
    return loop
