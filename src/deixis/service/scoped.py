"""The embedded engine with requests that can be called off, whatever thread waits for them.

Knows the engine's tickets. Does not know what is asked. torch is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deixis.backends.local import LocalBackend
from deixis.engine import LocalEngine, Reply, Sampling
from deixis.service.call import held_by_call


class ScopedEngine(LocalEngine):
    """The same engine; what is asked while a call is worked for ends with that call."""

    def __init__(self, inner: LocalEngine) -> None:
        self.checkpoint = inner.checkpoint
        self.engine = inner.engine
        self.engine.start()

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """See LocalEngine. Raises CalledOffError too."""
        asked = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, schema=schema)
        ticket = self.engine.submit(messages, asked)
        with held_by_call(ticket):
            return ticket.result()


def callable_off(backend: object) -> LocalBackend:
    """The same backend; see `ScopedEngine`."""
    assert isinstance(backend, LocalBackend)
    return LocalBackend(ScopedEngine(backend.engine), backend.card)
