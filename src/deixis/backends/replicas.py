"""Several servers of one model: which one is asked, and which one is left alone for a while.

Knows loads, failures and clocks. Does not know HTTP. A request goes to the server that has least to do, unless the one that
has seen its picture before is not much busier (by rendezvous hashing: the same picture, the same server, whoever else is there).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from deixis.errors import BackendError

SLACK = 4  # requests by which the server that knows a picture may be busier
FAILURES = 3  # in a row, after which a server is not asked until it answers a probe


@dataclass(eq=False)
class Replica:
    """One server. `open` is the circuit breaker's word: nothing is sent to it."""

    url: str
    load: int = 0
    failures: int = 0
    open: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While it works on a request."""
        with self._lock:
            self.load += 1
        try:
            yield
        finally:
            with self._lock:
                self.load -= 1

    def failed(self) -> bool:
        """It did not answer. Whether that opened its breaker now."""
        with self._lock:
            self.failures += 1
            opened = self.failures >= FAILURES and not self.open
            self.open = self.open or opened
        return opened

    def worked(self) -> None:
        """It answered, whatever it said."""
        with self._lock:
            self.failures, self.open = 0, False


class Replicas:
    """The servers of one model."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.all = tuple(Replica(url) for url in dict.fromkeys(urls))

    def choose(self, key: str = "", tried: Collection[Replica] = ()) -> Replica:
        """The server for a request about the picture with that key. Raises BackendError where none may be asked."""
        usable = [one for one in self.all if not one.open]
        if not usable:
            names = ", ".join(one.url for one in self.all)
            raise BackendError(f"{names} did not answer {FAILURES} times in a row; it is asked again once it answers a probe")
        fresh = [one for one in usable if one not in tried] or usable
        least = min(fresh, key=lambda one: one.load)
        if not key:
            return least
        knows = max(fresh, key=lambda one: hashlib.sha256(f"{one.url} {key}".encode()).digest())
        return knows if knows.load <= least.load + SLACK else least
