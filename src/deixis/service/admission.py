"""Who is let in: places for requests, bytes for their bodies, rates of keys, and the end of it all.

Knows counts and clocks. Does not know what is asked. A place is taken before a request's body is read, so that what cannot be
served costs nothing; it is given back exactly once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deixis.errors import OverloadError, RateError

_KEPT_CALLERS = 10_000
_MINUTE_S = 60.0
_MOST_WAIT_S = 60.0


@dataclass
class _Bucket:
    """What a caller may still ask, filling up evenly."""

    tokens: float
    at: float


class Admission:
    """`places` requests at a time, `body_bytes` for all their bodies, `per_minute` requests of one caller (0: any number)."""

    def __init__(
        self, places: int, body_bytes: int, per_minute: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.places = places
        self.body_bytes = body_bytes
        self.per_minute = per_minute
        self.taken = 0
        self.bytes_taken = 0
        self.accepted = 0
        self.ended = 0
        self.draining = False
        self._clock = clock
        self._mean_s = 1.0
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place while inside. Raises RateError for a caller that asks too often, OverloadError where all places are taken."""
        if self.draining:
            raise retry_after(OverloadError("the server is being ended; try again in a moment"), 5.0)
        self._within_rate(caller)
        if self.taken >= self.places:
            wait_s = min(max(self._mean_s, 1.0), _MOST_WAIT_S)
            raise retry_after(OverloadError(f"all {self.places} places are taken; try again in {wait_s:.0f} s"), wait_s)
        self.taken += 1
        self.accepted += 1
        began = self._clock()
        try:
            yield
        finally:
            self.taken -= 1
            self.ended += 1
            self._mean_s += 0.1 * (self._clock() - began - self._mean_s)

    @contextmanager
    def body(self) -> Iterator[Callable[[int], None]]:
        """Inside, call with every count of bytes that came. Raises OverloadError where all bodies together are too much."""
        mine = 0

        def came(count: int) -> None:
            nonlocal mine
            if self.bytes_taken + count > self.body_bytes:
                raise retry_after(OverloadError("too many bytes are being sent at a time; try again in a moment"), 1.0)
            mine += count
            self.bytes_taken += count

        try:
            yield came
        finally:
            self.bytes_taken -= mine

    def _within_rate(self, caller: str) -> None:
        if not self.per_minute:
            return
        now, most = self._clock(), max(self.per_minute, 1.0)
        bucket = self._buckets.pop(caller, None) or _Bucket(most, now)
        bucket.tokens = min(most, bucket.tokens + (now - bucket.at) * self.per_minute / _MINUTE_S)
        bucket.at = now
        self._buckets[caller] = bucket
        if len(self._buckets) > _KEPT_CALLERS:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            wait_s = (1 - bucket.tokens) * _MINUTE_S / self.per_minute
            raise retry_after(RateError(f"more than {self.per_minute:g} requests a minute; try again in {wait_s:.0f} s"), wait_s)
        bucket.tokens -= 1


def retry_after(error: OverloadError, seconds: float) -> OverloadError:
    """The same error, which says when to try again."""
    error.retry_after_s = seconds
    return error
