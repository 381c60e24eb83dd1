"""Questions about videos that are answered in the background: their progress, their answers, their end.

Knows jobs and time. Does not know what is asked. Results are kept in memory, the latest only, and for their own caller only.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from deixis.errors import DeixisError, NotFoundError, OverloadError
from deixis.service.bodies import error_body

Status = Literal["queued", "running", "done", "failed", "cancelled"]
Tell = Callable[[str, float], None]
_OVER = ("done", "failed", "cancelled")


@dataclass(eq=False)
class Job:
    """One of them. `changed` is set at every step."""

    caller: str
    id: str = field(default_factory=lambda: f"job-{uuid4().hex}")
    status: Status = "queued"
    step: str = ""
    share: float = 0.0
    result: Any = None
    error: dict[str, Any] | None = None
    task: asyncio.Task[None] | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.status in _OVER

    def to_json(self) -> dict[str, Any]:
        """See bodies.JobTold."""
        row = {"id": self.id, "status": self.status, "step": self.step, "share": self.share}
        if self.error is not None:
            row |= self.error
        return row | ({"result": self.result} if self.result is not None else {})


class Jobs:
    """At most `most`, the finished ones that were asked for first are forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def start(self, caller: str, work: Callable[[Tell], Awaitable[Any]]) -> Job:
        """Begin; `work` is told how to say where it stands. Raises OverloadError where none is over yet."""
        while len(self._jobs) >= self._most:
            oldest = next((job for job in self._jobs.values() if job.over), None)
            if oldest is None:
                raise OverloadError(f"{self._most} jobs are in progress; try again later")
            del self._jobs[oldest.id]
        job = Job(caller)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job, work))
        return job

    def of(self, caller: str, number: str) -> Job:
        """Raises NotFoundError, for other callers' jobs too."""
        job = self._jobs.get(number)
        if job is None or job.caller != caller:
            raise NotFoundError("no such job; it may be over and forgotten")
        return job

    async def cancel(self, job: Job) -> None:
        """End it; one that is over stays as it is."""
        if job.task is not None:
            job.task.cancel()
            await asyncio.gather(job.task, return_exceptions=True)

    async def stop(self) -> None:
        """End all of them."""
        await asyncio.gather(*(self.cancel(job) for job in self._jobs.values()))

    async def follow(self, job: Job) -> AsyncIterator[dict[str, Any]]:
        """Where it stands, whenever that changes, to its end."""
        while True:
            told = job.to_json()
            yield told
            if told["status"] in _OVER:
                return
            async with job.changed:
                await job.changed.wait_for(lambda told=told: job.to_json() != told)  # type: ignore[misc]

    async def _run(self, job: Job, work: Callable[[Tell], Awaitable[Any]]) -> None:
        notices: set[asyncio.Task[None]] = set()

        async def notify() -> None:
            async with job.changed:
                job.changed.notify_all()

        def tell(step: str, share: float) -> None:
            job.status, job.step, job.share = "running", step, share
            task = asyncio.create_task(notify())
            notices.add(task)
            task.add_done_callback(notices.discard)

        try:
            job.result = await work(tell)
            job.status, job.share = "done", 1.0
        except asyncio.CancelledError:
            job.status = "cancelled"
        except DeixisError as error:
            job.status, job.error = "failed", error_body(error)
        except Exception as error:  # noqa: BLE001 - its words may quote what was asked: only its class is told
            job.status, job.error = "failed", error_body(DeixisError(f"a fault inside Deixis ({type(error).__name__})"))
        finally:
            await notify()
