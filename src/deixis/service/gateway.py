"""What all routes share: settings, models, admission, contents, figures, jobs.

Knows the order of a request: its model, its pictures, a slot, the answer, all within its time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp

from deixis.errors import DeadlineError, OptionError
from deixis.service.admission import Admission
from deixis.service.contents import Contents
from deixis.service.engine_process import end_of
from deixis.service.fetching import Fetcher
from deixis.service.gate import Gate, Passed
from deixis.service.jobs import Jobs
from deixis.service.keys import Keys
from deixis.service.metrics import Metrics
from deixis.service.models import Command, Models
from deixis.service.served import Served
from deixis.service.settings import Settings
from deixis.service.wire import Frame

GIB = 2**30
_MEMORY_SHARE = 0.8


@dataclass(frozen=True)
class Gateway:
    """One server's parts."""

    settings: Settings
    models: Models
    admission: Admission
    contents: Contents
    metrics: Metrics
    jobs: Jobs

    @classmethod
    def build(cls, settings: Settings, command: Command | None = None, fetcher: Fetcher | None = None) -> Gateway:
        """From settings; `command` starts engines and `fetcher` fetches, for tests. Raises OptionError."""
        given = {} if command is None else {"command": command}
        budget = int(settings.memory_gib * GIB) or int(_machine_bytes() * _MEMORY_SHARE)
        models = Models(settings.models, settings.slots, budget, canary=settings.canary, **given)
        places = settings.slots * len(models.served) + settings.queue
        fetcher = fetcher or Fetcher(settings.fetch, settings.fetch_private, settings.fetch_hosts, settings.fetch_s)
        contents = Contents(fetcher, settings.max_picture_bytes, settings.max_video_bytes, settings.max_pixels)
        admission = Admission(places, settings.max_bodies_bytes, settings.rate_per_minute)
        return cls(settings, models, admission, contents, Metrics(), Jobs(settings.max_jobs))

    def gate(self, app: ASGIApp, ended: Callable[[Passed], None], streams: tuple[str, ...] = ()) -> Gate:
        """The one door, before whatever is served behind it."""
        settings = self.settings
        return Gate(
            app,
            admission=self.admission,
            keys=Keys(settings.api_keys),
            hosts=settings.allowed_hosts,
            origins=settings.allowed_origins,
            strict_hosts=settings.on_loopback,
            max_body_bytes=settings.max_body_bytes,
            body_s=settings.body_s,
            ended=ended,
            streams=streams,
        )

    def deadline_s(self, wanted: float | None, most: float) -> float:
        """The time for a request. Raises OptionError for more than the server allows."""
        if wanted is not None and wanted > most:
            raise OptionError(f"timeout_s is {wanted:g}; this server allows {most:g}")
        return wanted or most

    @asynccontextmanager
    async def within(self, passed: Passed, seconds: float) -> AsyncIterator[None]:
        """Counted from the request's arrival. Raises DeadlineError."""
        try:
            async with asyncio.timeout(seconds - (time.monotonic() - passed.began)):
                yield
        except TimeoutError:
            raise DeadlineError(f"there was no answer within {seconds:g} s") from None

    @asynccontextmanager
    async def asking(
        self, model: Served, passed: Passed, op: str, asked: Mapping[str, Any], blobs: Sequence[bytes]
    ) -> AsyncIterator[AsyncIterator[Frame]]:
        """See `Served.asking`; the time until the slot is counted."""
        async with model.asking(op, asked, blobs) as events:
            self.metrics.queued.labels(model.name).observe(time.monotonic() - passed.began)
            yield events

    async def value(self, model: Served, passed: Passed, op: str, asked: Mapping[str, Any], blobs: Sequence[bytes]) -> bytes:
        """Ask and wait: the value's JSON."""
        async with self.asking(model, passed, op, asked, blobs) as events:
            return await end_of(events)


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
