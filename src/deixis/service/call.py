"""One request inside an engine's process: its number, what it sends back, and the way to call it off.

Knows tickets of the engine. Does not know what is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol

from deixis.errors import DeixisError, OverloadError

Send = Callable[[Mapping[str, Any]], None]


class CalledOffError(DeixisError):
    """Whoever asked has gone; nobody will read the answer."""


class Stoppable(Protocol):
    """Something under way that can be ended."""

    def cancel(self) -> object: ...


class Call:
    """`send` gives an event to whoever asked. `cancel` may come from another thread at any time."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self._lock = threading.Lock()
        self._over = False
        self._held: list[Stoppable] = []

    def cancel(self) -> None:
        """End what is under way; the next `check` raises."""
        with self._lock:
            self._over = True
            held = tuple(self._held)
        for one in held:
            one.cancel()

    def check(self) -> None:
        """Raises CalledOffError where the request was called off."""
        if self._over:
            raise CalledOffError("the request was called off")

    @contextmanager
    def holding(self, work: Stoppable) -> Iterator[None]:
        """While inside, calling off ends `work`. Raises CalledOffError at the end where that happened."""
        with self._lock:
            self._held.append(work)
            over = self._over
        if over:
            work.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(work)
        self.check()


_CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call | None:
    """The request that this thread works for."""
    return _CURRENT.get()


@contextmanager
def working_for(call: Call) -> Iterator[None]:
    """This thread works for that request."""
    token = _CURRENT.set(call)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def held_by_call(work: Stoppable) -> AbstractContextManager[None]:
    """`Call.holding` of the request that this thread works for, if any."""
    call = current_call()
    return nullcontext() if call is None else call.holding(work)


def error_json(error: Exception) -> dict[str, Any]:
    """An error for the wire. What is not the house's own may quote a picture or a question: its class alone is told."""
    if isinstance(error, OverloadError):
        return {"type": type(error).__name__, "message": str(error), "retry_after_s": error.retry_after_s}
    if isinstance(error, DeixisError):
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "DeixisError", "message": f"a fault inside Deixis ({type(error).__name__}); the server's log tells more"}
